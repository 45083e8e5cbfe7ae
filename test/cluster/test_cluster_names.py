"""Instances and nodes by shortened names and by uuids, in every command that takes one."""

from __future__ import annotations

import pytest
from cluster_bed import ClusterBed

# Lines are repeated for each form of a name; what is changed is changed back.
OF_INSTANCES = (
    "gnt-instance list {}",
    "gnt-instance info {}",
    "gnt-instance console --show-cmd {}",
    "gnt-instance add-tags {} x && gnt-instance list-tags {} && gnt-instance remove-tags {} x",
    "gnt-instance modify -B vcpus=2 {}",
    "gnt-instance shutdown {} && gnt-instance startup {} && gnt-instance reboot {}",
    "gnt-instance activate-disks {} && gnt-instance deactivate-disks --force {}",
    "gnt-instance migrate -f -n node2 {} && gnt-instance migrate -f -n node1 {}",
    "gnt-instance failover -f -n node2 {} && gnt-instance failover -f -n node1 {}",
    "gnt-instance remove --dry-run -f {}",
    "gnt-debug iallocator --dir=in --mode=change-group {}",
)
OF_NODES = (
    "gnt-node list {}",
    "gnt-node info {}",
    "gnt-node add-tags {} blue && gnt-node list-tags {} && gnt-node remove-tags {} blue",
    "gnt-node volumes {}",
    "gnt-node list-storage --storage-type=file {}",
    "gnt-node modify -C no -f {} && gnt-node modify -C yes {}",
    "gnt-node migrate -f {}",
    "gnt-node failover -f {}",
    "gnt-node evacuate -f -p {}",
    "gnt-cluster command -n {} true",
    "gnt-debug delay --no-master -n {} 0",
    "gnt-group assign-nodes default {}",
    "gnt-node remove --dry-run {}",
)
# They are refused, as there is nothing to work on, but not because of the name.
REFUSED = {
    "gnt-instance grow-disk --dry-run {} 0 4M": "wrong_input",
    "gnt-instance recreate-disks --dry-run {}": "wrong_input",
    "gnt-instance reinstall --dry-run -f {}": "wrong_input",
    "gnt-instance rename --no-name-check --no-ip-check -f {} other": "wrong_state",
}


@pytest.fixture(scope="module", autouse=True)
def instances(cluster: ClusterBed) -> None:
    cluster.add_empty_os("noop")
    for name in ("web.example.com", "twin.example.com", "twin.example.net"):
        cluster.ok(
            "gnt-instance add -t diskless -o noop+default -n node1 --no-name-check --no-ip-check"
            f" --no-install {name}"
        )
    cluster.ok("gnt-instance startup web.example.com")


def uuid_of(cluster: ClusterBed, what: str, name: str) -> str:
    return cluster.ok(f"gnt-{what} list --no-headers -o uuid {name}").strip()


def forms(cluster: ClusterBed, what: str, name: str) -> tuple[str, ...]:
    return (name.split(".")[0].upper(), uuid_of(cluster, what, name))


@pytest.mark.parametrize("lines", OF_INSTANCES)
def test_an_instance_by_short_name_and_uuid(cluster: ClusterBed, lines: str) -> None:
    for name in forms(cluster, "instance", "web.example.com"):
        for line in lines.split(" && "):
            cluster.ok(line.format(name))


@pytest.mark.parametrize(("line", "code"), REFUSED.items())
def test_a_refusal_is_not_because_of_the_name(cluster: ClusterBed, line: str, code: str) -> None:
    for name in forms(cluster, "instance", "web.example.com"):
        assert f"error type: {code}" in cluster(line.format(name)).err


@pytest.mark.parametrize("lines", (*OF_INSTANCES, *REFUSED))
def test_an_ambiguous_instance_is_told(cluster: ClusterBed, lines: str) -> None:
    for line in lines.split(" && "):
        done = cluster(line.format("twin"))
        assert done.rc == 1
        assert "error type: unknown_entity" in done.err
        assert "ambiguous: twin.example.com, twin.example.net" in done.err, line


@pytest.mark.parametrize("lines", OF_NODES)
def test_a_node_by_short_name_and_uuid(cluster: ClusterBed, lines: str) -> None:
    for name in forms(cluster, "node", "node2.example.com"):
        for line in lines.split(" && "):
            cluster.ok(line.format(name))
