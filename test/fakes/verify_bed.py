"""A cluster of three nodes without a fault, to be harmed before `gnt-cluster verify` looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fakes.configs import NOW
from fakes.instance_bed import a_bed
from fakes.services import FakeCalls, FakeServices, Place, run_unit
from ganeti.config.snapshot import Snapshot
from ganeti.logic.verify_questions import ssconf_checksums
from ganeti.model.instance import Instance
from ganeti.opcodes.cluster import OpClusterVerifyConfig, OpClusterVerifyGroup
from ganeti.serializer import Json
from ganeti.utils import x509
from ganeti.version import CONFIG_VERSION, RELEASE

DIGEST = "aa:bb:cc:{}"


class VerifyCalls(FakeCalls):
    """Nodes that answer node_verify well. `told`: node name → check → answer instead."""

    def __init__(self, services: FakeServices) -> None:
        super().__init__()
        self.places = services.rpc.places
        self.services = services
        self.told: dict[str, dict[str, Json]] = {}
        self.asked: dict[str, Json] = {}

    def node_verify(
        self, place: Place, wanted: Mapping[str, Json], cluster: str, hvparams: Json
    ) -> dict[str, Json]:
        (uuid,) = [uuid for uuid, one in self.places.items() if one is place]
        node = self.services.config.nodes[uuid]
        self.asked = dict(wanted)
        config = self.services.config
        files = dict.fromkeys(wanted["filelist"], "0" * 40)
        files |= ssconf_checksums(config, config, self.services.paths)
        answers: dict[str, Json] = {
            "version": [CONFIG_VERSION, RELEASE],
            "time": [int(NOW), 0],
            "filelist": {
                path: digest
                for path, digest in files.items()
                if (node.master_candidate or not path.endswith("config.data"))
                and (node.vm_capable or "/kvm-" not in path)
            },
            "client-cert": [None, DIGEST.format(node.name)],
            "instancelist": sorted(place.running),
            "hvinfo": {"memory_total": 4096, "memory_free": 4096, "memory_dom0": 0},
            "oslist": [],
        }
        changes = self.told.get(node.name.split(".")[0], {})
        return {key: value for key, value in (answers | changes).items() if value is not None}


class VerifyBed:
    """Instance web1 runs on node2; all is well until a test says otherwise."""

    def __init__(self, root: Path) -> None:
        self.services: FakeServices = a_bed(root, up=True)
        self.rpc = VerifyCalls(self.services)
        self.services.rpc = self.rpc
        put_certificates(self.services)
        certs = {
            uuid: DIGEST.format(node.name)
            for uuid, node in self.config.nodes.items()
            if node.master_candidate
        }
        self.change_cluster(candidate_certs=certs)

    @property
    def config(self) -> Snapshot:
        return self.services.config

    @property
    def instance(self) -> Instance:
        (found,) = self.config.instances.values()
        return found

    def uuid(self, name: str) -> str:
        return self.services.node(name).uuid

    def tell(self, name: str, **answers: Json) -> None:
        """The node of that name answers so; `_` in the name of a check is written for `-`."""
        changes = {key.replace("_", "-"): value for key, value in answers.items()}
        self.rpc.told.setdefault(name, {}).update(changes)

    def write(self, kind: str, changed: Mapping[str, Any]) -> None:
        """Objects as they are, also what no transaction would let pass."""
        document = self.config.document()
        known = getattr(document, kind)
        self.services.config = Snapshot.of(replace(document, **{kind: {**known, **changed}}))

    def change_cluster(self, **values: Any) -> None:
        document = self.config.document()
        cluster = replace(document.cluster, **values)
        self.services.config = Snapshot.of(replace(document, cluster=cluster))

    def change_node(self, name: str, **values: Any) -> None:
        node = replace(self.services.node(name), **values)
        self.write("nodes", {node.uuid: node})

    def change_instance(self, **values: Any) -> None:
        self.write("instances", {self.instance.uuid: replace(self.instance, **values)})

    def change_disks(self, **values: Any) -> None:
        changed = {uuid: replace(self.config.disks[uuid], **values) for uuid in self.instance.disks}
        self.write("disks", changed)

    def verify(self, **options: Any) -> tuple[bool, list[str]]:
        """Whether both parts find no error, and their lines."""
        self.services.messages.clear()
        options = {"error_codes": True, **options}
        whole = {key: value for key, value in options.items() if key != "skip_checks"}
        results = [
            run_unit(self.services, OpClusterVerifyConfig(**whole)).result,
            run_unit(self.services, OpClusterVerifyGroup(group_name="default", **options)).result,
        ]
        return all(results), list(self.services.messages)


def put_certificates(services: FakeServices) -> None:
    paths = services.paths
    paths.data.mkdir(parents=True, exist_ok=True)
    server, client = certificates()
    for place in (paths.server_pem, paths.rapi_pem, paths.spice_pem):
        place.write_bytes(server)
    paths.client_pem.write_bytes(client)


@cache
def certificates() -> tuple[bytes, bytes]:
    server = x509.make_server(NOW)
    return server.pem(), x509.make_client("node1", server, NOW).pem()


Harm = Callable[[VerifyBed], object]
