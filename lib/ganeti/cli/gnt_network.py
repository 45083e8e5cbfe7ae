"""gnt-network: IP networks for instances."""

from __future__ import annotations

from typing import Any

from ganeti.cli import formats, options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.lists import JOINED, Listing
from ganeti.cli.options_cluster import MAC_PREFIX, NIC_PARAMETERS
from ganeti.cli.run import Run
from ganeti.cli.tags import add_tag_commands
from ganeti.constants import DEFAULT_BRIDGE, EXIT_FAILURE
from ganeti.types import NicMode, QueryResource, TagKind

PROGRAM = Program("gnt-network")

NETWORK = options.value(
    "--network",
    dest="network",
    help="IPv4 addresses, as CIDR: 192.0.2.0/24; without it the network has none",
)
GATEWAY = options.value("--gateway", dest="gateway", help="IPv4 address of the router")
NETWORK6 = options.value("--network6", dest="network6", help="IPv6 addresses, as CIDR")
GATEWAY6 = options.value("--gateway6", dest="gateway6", help="IPv6 address of the router")
ADD_RESERVED = options.value(
    "--add-reserved-ips",
    dest="add_reserved_ips",
    help="addresses, separated by commas, that no instance gets by itself",
)
REMOVE_RESERVED = options.value(
    "--remove-reserved-ips",
    dest="remove_reserved_ips",
    help="addresses, separated by commas, that instances may get again",
)
LISTING = (
    options.NO_HEADERS, options.SEPARATOR, options.OUTPUT, options.VERBOSE, options.FORMAT,
)  # fmt: skip
CHANGING = (options.DRY_RUN, options.PRIORITY, *options.SUBMITTING)


def _connections(groups: Any) -> str:
    return ", ".join(f"{name} ({', '.join(params)})" for name, *params in groups)


NETWORKS = Listing(
    QueryResource.NETWORK,
    ["name", "network", "gateway", "mac_prefix", "group_list", "tags"],
    formats={"group_list": _connections, "inst_list": JOINED, "tags": JOINED},
)


@PROGRAM.command("list", args=many("network"), options=LISTING)
def list_networks(run: Run) -> int:
    """List networks; all, or the named ones."""
    return NETWORKS.show(run)


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that networks have."""
    return NETWORKS.show_fields(run)


@PROGRAM.command("info", args=many("network"), options=[options.FORMAT])
def show_info(run: Run) -> None:
    """Show networks with a map of their addresses and who uses them."""
    from ganeti.cli import network_info

    found = network_info.ask(run.master, run.names)
    if run.options.format != "table":
        run.world.stdout.write(formats.render(found, run.options.format))
        return
    for network in found:
        for line in network_info.lines(network):
            run.out(line)


@PROGRAM.command(
    "add",
    args=one("network"),
    options=[
        *CHANGING,
        NETWORK,
        GATEWAY,
        NETWORK6,
        GATEWAY6,
        ADD_RESERVED,
        MAC_PREFIX,
        options.CONFLICTS_CHECK,
        options.TAGS,
    ],
)
def add(run: Run) -> None:
    """Add a network; then connect it to node groups."""
    from ganeti.opcodes.network import OpNetworkAdd

    wanted = run.options
    run.submit(
        OpNetworkAdd(
            network_name=run.names[0],
            network=wanted.network,
            gateway=wanted.gateway,
            network6=wanted.network6,
            gateway6=wanted.gateway6,
            mac_prefix=wanted.mac_prefix,
            add_reserved_ips=_words(wanted.add_reserved_ips),
            conflicts_check=wanted.conflicts_check,
            tags=_words(wanted.tags) or [],
        )
    )


@PROGRAM.command(
    "modify",
    args=one("network"),
    options=[*CHANGING, ADD_RESERVED, REMOVE_RESERVED, GATEWAY, MAC_PREFIX, NETWORK6, GATEWAY6],
)
def modify(run: Run) -> int | None:
    """Change a network; the word `none` clears gateway, gateway6, network6 and MAC prefix."""
    from ganeti.opcodes.network import OpNetworkSetParams

    wanted = run.options
    given = {
        "gateway": wanted.gateway,
        "network6": wanted.network6,
        "gateway6": wanted.gateway6,
        "mac_prefix": wanted.mac_prefix,
        "add_reserved_ips": _words(wanted.add_reserved_ips),
        "remove_reserved_ips": _words(wanted.remove_reserved_ips),
    }
    if all(value is None for value in given.values()):
        run.err("Please give at least one of the parameters.")
        return EXIT_FAILURE
    run.submit(OpNetworkSetParams(network_name=run.names[0], **given))
    return None


def _words(text: str | None) -> list[str] | None:
    """Parts of a comma list; None when the option was not given."""
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


@PROGRAM.command("remove", args=one("network"), options=[options.FORCE, *CHANGING])
def remove(run: Run) -> None:
    """Remove a network that is connected to no node group."""
    from ganeti.opcodes.network import OpNetworkRemove

    run.submit(OpNetworkRemove(network_name=run.names[0], force=run.options.force))


@PROGRAM.command("rename", args=(Argument("network", 2, 2),), options=CHANGING, usage="<old> <new>")
def rename(run: Run) -> None:
    """Give a network another name."""
    from ganeti.opcodes.network import OpNetworkRename

    old, new = run.names
    run.submit(OpNetworkRename(network_name=old, new_name=new))


@PROGRAM.command(
    "connect",
    args=(*one("network"), *many("group")),
    options=[options.CONFLICTS_CHECK, options.PRIORITY, NIC_PARAMETERS],
)
def connect(run: Run) -> None:
    """Connect a network to node groups, or to all."""
    from ganeti.model.params import check_params
    from ganeti.model.params_nic import NIC_PARAMS
    from ganeti.opcodes.network import OpNetworkConnect

    network, *groups = run.names
    params = check_params(NIC_PARAMS, run.options.nicparams)
    for group in groups or _all_groups(run):
        run.submit(
            OpNetworkConnect(
                group_name=group,
                network_name=network,
                network_mode=params.get("mode", NicMode.BRIDGED.value),
                network_link=params.get("link", DEFAULT_BRIDGE),
                network_vlan=params.get("vlan", ""),
                conflicts_check=run.options.conflicts_check,
            )
        )


@PROGRAM.command("disconnect", args=(*one("network"), *many("group")), options=[options.PRIORITY])
def disconnect(run: Run) -> None:
    """Disconnect a network from node groups, or from all."""
    from ganeti.opcodes.network import OpNetworkDisconnect

    network, *groups = run.names
    for group in groups or _all_groups(run):
        run.submit(OpNetworkDisconnect(group_name=group, network_name=network))


def _all_groups(run: Run) -> list[str]:
    """Uuids of all node groups."""
    return [uuid for (uuid,) in run.master.call("QueryGroups", [], ["uuid"], False)]


add_tag_commands(PROGRAM, TagKind.NETWORK)
