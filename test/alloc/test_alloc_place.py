"""Placing: what must never happen, and what comes out even."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from ganeti.alloc import place
from ganeti.alloc.cluster import AllocGroup, AllocInstance, AllocNode, WhatIf, make
from ganeti.alloc.score import Spread, score_of
from ganeti.model.ipolicy import default_ipolicy
from ganeti.types import AllocPolicy
from hypothesis import given, settings
from hypothesis import strategies as st


def group(name: str = "g", policy: str = "preferred", **ipolicy: Any) -> AllocGroup:
    return AllocGroup(
        uuid=f"uuid-{name}",
        name=name,
        alloc_policy=AllocPolicy(policy),
        ipolicy={**default_ipolicy(), **ipolicy},
    )


def node(name: str, in_group: str = "g", **changes: Any) -> AllocNode:
    values: dict[str, Any] = {
        "total_memory": 65536, "free_memory": 65536, "total_disk": 1 << 20,
        "free_disk": 1 << 20, "total_cpus": 32, "spindle_count": 100, **changes,
    }  # fmt: skip
    return AllocNode(name=name, group=f"uuid-{in_group}", **{"usable": True, **values})


def instance(name: str, template: str = "plain", **changes: Any) -> AllocInstance:
    values: dict[str, Any] = {
        "memory": 1024, "vcpus": 1, "disk": 4096, "disk_sizes": (4096,), **changes
    }  # fmt: skip
    return AllocInstance(name=name, disk_template=template, **values)


def cluster(nodes: list[AllocNode], *groups: AllocGroup) -> WhatIf:
    known = groups or (group(),)
    return make({one.uuid: one for one in known}, {one.name: one for one in nodes}, {})


def put(where: WhatIf, what: AllocInstance) -> tuple[WhatIf, place.Placement]:
    found = place.allocate(where, what)
    return (where.add(replace(what, nodes=found.nodes)) if found.found else where), found


@pytest.mark.parametrize("template, per_node", [("plain", {16, 17}), ("drbd", {33, 34})])
def test_fifty_equal_instances_spread_evenly_over_three_nodes(
    template: str, per_node: set[int]
) -> None:
    where = cluster([node(f"node{number}") for number in (1, 2, 3)])
    for number in range(50):
        where, found = put(where, instance(f"i{number}", template))
        assert found.found, found.reasons
    counts = {one.primaries + one.secondaries for one in where.nodes.values()}
    assert counts <= per_node
    assert max(one.primaries for one in where.nodes.values()) <= 18


def test_the_same_question_has_the_same_answer() -> None:
    names = ["node2", "node10", "node1"]
    for order in (names, names[::-1]):
        found = place.allocate(cluster([node(name) for name in order]), instance("i"))
        assert found.nodes == ("node1",)


memory = st.integers(0, 8192)
some_nodes = st.lists(
    st.builds(
        lambda usable, free, disk, cpus: {
            "usable": usable, "free_memory": free, "free_disk": disk, "total_cpus": cpus
        },  # fmt: skip
        st.booleans(), memory, st.integers(0, 20000), st.integers(1, 4),
    ),  # fmt: skip
    min_size=1, max_size=5,
)  # fmt: skip
some_instances = st.lists(
    st.builds(
        lambda template, mem, disk, vcpus: (
            template,
            {"memory": mem, "disk": disk, "disk_sizes": (disk,), "vcpus": vcpus},
        ),
        st.sampled_from(["plain", "drbd", "sharedfile"]),
        st.integers(128, 4096),
        st.integers(1024, 8192),
        st.integers(1, 4),
    ),  # fmt: skip
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(some_nodes, some_instances)
def test_no_placement_overloads_a_node(
    nodes: list[dict[str, Any]], wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    where = cluster([node(f"n{number}", **values) for number, values in enumerate(nodes)])
    for number, (template, values) in enumerate(wanted):
        where, found = put(where, instance(f"i{number}", template, **values))
        if found.found:
            assert len(set(found.nodes)) == (2 if template == "drbd" else 1)
            assert all(where.nodes[name].usable for name in found.nodes)
        else:
            assert found.refused
    for one in where.nodes.values():
        if one.primaries or one.secondaries:
            assert one.free_memory >= 0 and one.free_disk >= 0
            assert one.vcpus <= 4 * one.total_cpus
            assert one.free_memory >= one.failover_reserve


@settings(max_examples=60, deadline=None)
@given(some_nodes, some_instances)
def test_removing_what_was_added_gives_the_same_cluster(
    nodes: list[dict[str, Any]], wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    start = where = cluster([node(f"n{number}", **values) for number, values in enumerate(nodes)])
    for number, (template, values) in enumerate(wanted):
        where, _ = put(where, instance(f"i{number}", template, **values))
    for name in list(where.instances):
        where = where.remove(name)
    for name, one in where.nodes.items():
        peers = {peer: amount for peer, amount in one.peers.items() if amount}
        assert replace(one, peers=peers) == start.nodes[name]


@settings(max_examples=60, deadline=None)
@given(some_nodes)
def test_running_sums_give_the_plain_score(nodes: list[dict[str, Any]]) -> None:
    known = [node(f"n{number}", **values) for number, values in enumerate(nodes)]
    after = known[0].with_primary(instance("i"), 1, (), known=False)
    trial = Spread(known).score([(known[0], after)])
    assert trial == pytest.approx(score_of([after, *known[1:]]), abs=1e-6)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"free_memory": 512}, place.Refusal.MEMORY),
        ({"free_disk": 512}, place.Refusal.DISK),
        ({"total_cpus": 1, "vcpus": 4}, place.Refusal.CPU),
        ({"spindle_count": 1, "spindles": 32}, place.Refusal.SPINDLES),
        ({"free_memory": 2000, "peers": {"other": 1000}}, place.Refusal.FAILOVER),
    ],
)
def test_a_refusal_has_a_reason(changes: dict[str, Any], reason: place.Refusal) -> None:
    found = place.allocate(cluster([node("n", **changes)]), instance("i"))
    assert found.refused == Counter({reason.value: 1})
    assert reason.value in found.reasons


def test_two_instances_with_an_exclusion_tag_do_not_share_a_node() -> None:
    where = replace(cluster([node("a"), node("b")]), exclusion_prefixes=("service",))
    tags = frozenset({"service:dns", "other"})
    seen = []
    for number in range(3):
        where, found = put(where, instance(f"i{number}", tags=tags))
        seen.append(found.nodes)
    assert sorted(seen) == [(), ("a",), ("b",)]
    assert found.refused == Counter({place.Refusal.TAGS.value: 2})


def test_room_for_failovers_is_kept() -> None:
    nodes = [node(f"n{number}", free_memory=4096, total_memory=4096) for number in range(3)]
    where = cluster(nodes)
    for number in range(12):
        where, _ = put(where, instance(f"i{number}", "drbd"))
    assert where.instances
    for failed in where.nodes:
        for one in where.nodes.values():
            assert one.free_memory >= one.peers.get(failed, 0)


def test_preferred_groups_come_before_those_of_last_resort() -> None:
    groups = (group("a", "last_resort"), group("b"), group("c", "unallocable"))
    nodes = [node("an", "a"), node("bn", "b", free_memory=2048), node("cn", "c")]
    where = cluster(nodes, *groups)
    assert place.allocate(where, instance("i")).nodes == ("bn",)
    assert place.allocate(where, instance("i", memory=4096)).nodes == ("an",)
    assert not place.allocate(where, instance("i", memory=4096), within=["cn"]).found
    assert place.allocate(where, instance("i"), group="c").nodes == ("cn",)
    assert "no group x" in place.allocate(where, instance("i"), group="x").reasons


def test_mirrors_stay_in_one_group() -> None:
    where = cluster([node("a1", "a"), node("b1", "b")], group("a"), group("b"))
    assert not place.allocate(where, instance("i", "drbd")).found


def test_the_policy_of_the_group_is_kept() -> None:
    where = cluster([node("n")], group(**{"disk-templates": ["drbd"]}))
    found = place.allocate(where, instance("i"))
    assert "plain is not allowed" in found.reasons


def test_a_group_must_be_connected_to_the_networks() -> None:
    connected = replace(group("b"), networks=frozenset({"net"}))
    where = cluster([node("a1", "a"), node("b1", "b")], group("a"), connected)
    found = place.allocate(where, instance("i", networks=frozenset({"net"})))
    assert found.nodes == ("b1",)


def test_a_drbd_instance_gets_another_secondary_even_when_its_primary_is_drained() -> None:
    where = cluster([node("a", usable=False), node("b"), node("c")])
    where = where.add(instance("i", "drbd", nodes=("a", "b")))
    assert place.relocate(where, "i", ["b"]).nodes == ("a", "c")
    assert not place.relocate(where, "i", ["a"]).found


def test_what_is_stored_on_one_node_can_not_be_relocated() -> None:
    where = cluster([node("a"), node("b")]).add(instance("i", nodes=("a",)))
    assert "plain cannot be relocated" in place.relocate(where, "i", ["a"]).reasons
    shared = cluster([node("a"), node("b")]).add(instance("i", "rbd", nodes=("a",)))
    assert place.relocate(shared, "i", ["a"]).nodes == ("b",)


def test_many_nodes_are_no_trouble() -> None:
    nodes = [node(f"node{number}", free_memory=4096 + number) for number in range(200)]
    started = time.process_time()
    found = place.allocate(cluster(nodes), instance("i", "drbd"))
    assert found.found
    assert time.process_time() - started < 5.0
