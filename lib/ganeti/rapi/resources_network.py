"""Resources of networks and node groups."""

from __future__ import annotations

from ganeti.opcodes.group import (
    OpGroupAdd,
    OpGroupAssignNodes,
    OpGroupRemove,
    OpGroupRename,
    OpGroupSetParams,
)
from ganeti.opcodes.network import (
    OpNetworkAdd,
    OpNetworkConnect,
    OpNetworkDisconnect,
    OpNetworkRemove,
    OpNetworkRename,
    OpNetworkSetParams,
)
from ganeti.rapi.lists import listing, single
from ganeti.rapi.table import DRY_RUN, flag, from_path, resource, submit
from ganeti.types import QueryResource

NETWORK_FIELDS = (
    "name", "network", "gateway", "network6", "gateway6", "mac_prefix", "free_count",
    "reserved_count", "map", "group_list", "inst_list", "external_reservations", "ctime", "mtime",
    "uuid", "serial_no", "tags",
)  # fmt: skip
GROUP_FIELDS = (
    "alloc_policy", "name", "node_cnt", "node_list", "ipolicy", "custom_ipolicy", "diskparams",
    "custom_diskparams", "ndparams", "custom_ndparams", "ctime", "mtime", "uuid", "serial_no",
    "tags",
)  # fmt: skip

NETWORK = from_path("network")
GROUP = from_path("group")

NETWORKS = (
    resource(
        "/2/networks",
        get=listing(
            QueryResource.NETWORK,
            "/2/networks",
            NETWORK_FIELDS,
            key="name",
            permission="network.read",
            help="All networks.",
        ),
        post=submit(OpNetworkAdd, fixed={"dry_run": DRY_RUN}, permission="network.create"),
        since="2.7",
    ),
    resource(
        "/2/networks/{network}",
        get=single(
            QueryResource.NETWORK,
            "network",
            NETWORK_FIELDS,
            noun="network",
            permission="network.read",
            help="One network.",
        ),
        delete=submit(
            OpNetworkRemove,
            fixed={"network_name": NETWORK, "dry_run": DRY_RUN},
            permission="network.remove",
        ),
        since="2.7",
    ),
    resource(
        "/2/networks/{network}/connect",
        put=submit(
            OpNetworkConnect,
            fixed={"network_name": NETWORK, "dry_run": DRY_RUN},
            permission="network.connect",
        ),
        since="2.7",
    ),
    resource(
        "/2/networks/{network}/disconnect",
        put=submit(
            OpNetworkDisconnect,
            fixed={"network_name": NETWORK, "dry_run": DRY_RUN},
            permission="network.connect",
        ),
        since="2.7",
    ),
    resource(
        "/2/networks/{network}/modify",
        put=submit(
            OpNetworkSetParams, fixed={"network_name": NETWORK}, permission="network.modify"
        ),
        since="2.7",
    ),
    resource(
        "/2/networks/{network}/rename",
        put=submit(
            OpNetworkRename,
            fixed={"network_name": NETWORK, "dry_run": DRY_RUN},
            permission="network.rename",
        ),
        since="3.1",
    ),
)

GROUPS = (
    resource(
        "/2/groups",
        get=listing(
            QueryResource.GROUP,
            "/2/groups",
            GROUP_FIELDS,
            key="name",
            permission="group.read",
            help="All node groups.",
        ),
        post=submit(OpGroupAdd, fixed={"dry_run": DRY_RUN}, permission="group.create"),
        since="2.4",
    ),
    resource(
        "/2/groups/{group}",
        get=single(
            QueryResource.GROUP,
            "group",
            GROUP_FIELDS,
            noun="node group",
            permission="group.read",
            help="One node group.",
        ),
        delete=submit(
            OpGroupRemove,
            fixed={"group_name": GROUP, "dry_run": DRY_RUN},
            body=False,
            permission="group.remove",
        ),
        since="2.4",
    ),
    resource(
        "/2/groups/{group}/modify",
        put=submit(OpGroupSetParams, fixed={"group_name": GROUP}, permission="group.modify"),
        since="2.4",
    ),
    resource(
        "/2/groups/{group}/rename",
        put=submit(
            OpGroupRename,
            fixed={"group_name": GROUP, "dry_run": DRY_RUN},
            permission="group.rename",
        ),
        since="2.4",
    ),
    resource(
        "/2/groups/{group}/assign-nodes",
        put=submit(
            OpGroupAssignNodes,
            fixed={
                "group_name": GROUP,
                "dry_run": DRY_RUN,
                "force": flag("force", "even if instances end up in two groups"),
            },
            permission="group.modify",
        ),
        since="2.4",
    ),
)

RESOURCES = (*NETWORKS, *GROUPS)
