"""What the built-in allocator promises, on random clusters; and that hail agrees on feasibility."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes.alloc_documents import (
    CPUS,
    GROUPS,
    a_group,
    a_node,
    an_instance,
    clusters,
    new_instances,
    policy,
    settle,
)
from ganeti.alloc import protocol
from ganeti.alloc.answer import solve
from ganeti.alloc.spare import packs
from ganeti.serializer import dumps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HAIL = Path("/usr/lib/ganeti/iallocators/hail")
SHARED = ("sharedfile", "ext", "diskless")
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ASKING_HAIL = settings(QUICK, max_examples=60, derandomize=True)  # each runs a program


def asked(cluster: dict[str, Any], request: dict[str, Any]) -> protocol.Answer:
    return protocol.parse_answer(request, dumps(solve({**cluster, "request": request})))


def with_it(cluster: dict[str, Any], one: dict[str, Any], nodes: list[str]) -> dict[str, Any]:
    """The cluster after the placement."""
    made: dict[str, Any] = json.loads(json.dumps(cluster))
    placed = {**one, "nodes": nodes, "admin_state": "up"}
    settle(made["nodes"], placed)
    made["instances"]["new"] = placed
    return made


def held_by(cluster: dict[str, Any], node: str) -> list[dict[str, Any]]:
    return [one for one in cluster["instances"].values() if one["nodes"][:1] == [node]]


def can_be_placed(sizes: list[int], rooms: list[int]) -> bool:
    """Tries everything."""
    if not sizes:
        return True
    size, *more = sizes
    return any(
        room >= size and can_be_placed(more, [*rooms[:at], room - size, *rooms[at + 1 :]])
        for at, room in enumerate(rooms)
    )


def survives(cluster: dict[str, Any], failing: str) -> bool:
    """Whether the other usable nodes of its group can take what runs there."""
    nodes = cluster["nodes"]
    rooms = {
        name: node["free_memory"]
        for name, node in nodes.items()
        if name != failing and node["group"] == nodes[failing]["group"] and not node["drained"]
    }
    shared = []
    for one in held_by(cluster, failing):
        if one["disk_template"] == "drbd":
            if one["nodes"][1] in rooms:
                rooms[one["nodes"][1]] -= one["memory"]
        elif one["disk_template"] in SHARED:
            shared.append(one["memory"])
    return not rooms or can_be_placed(sorted(shared, reverse=True), list(rooms.values()))


@QUICK
@given(clusters(), new_instances())
def test_a_new_instance_goes_only_where_it_may(cluster: Any, request: Any) -> None:
    answer = asked(cluster, request)
    if not answer.success:
        assert answer.info and answer.result == []
        return
    nodes = [cluster["nodes"][name] for name in answer.result]
    after = with_it(cluster, request, answer.result)
    (group,) = {node["group"] for node in nodes}
    assert cluster["nodegroups"][group]["alloc_policy"] != "unallocable"
    assert not any(node["drained"] for node in nodes)
    primary = answer.result[0]
    assert after["nodes"][primary]["free_memory"] >= 0
    held = held_by(after, primary)
    assert sum(one["vcpus"] for one in held) <= policy()["vcpu-ratio"] * CPUS
    if cluster["cluster_tags"]:
        others = held_by(cluster, primary)
        assert not set(request["tags"]) & {tag for one in others for tag in one["tags"]}


@QUICK
@given(clusters(), new_instances())
def test_after_a_placement_any_node_of_the_group_may_fail(cluster: Any, request: Any) -> None:
    answer = asked(cluster, request)
    if answer.success:
        after = with_it(cluster, request, answer.result)
        group = after["nodes"][answer.result[0]]["group"]
        for name, node in after["nodes"].items():
            if node["group"] == group and not node["drained"]:
                assert survives(after, name), (name, answer.result)


@QUICK
@given(clusters(), new_instances())
def test_last_resort_is_used_when_no_preferred_group_has_room(cluster: Any, request: Any) -> None:
    answer = asked(cluster, request)
    if answer.success:
        group = cluster["nodes"][answer.result[0]]["group"]
        if cluster["nodegroups"][group]["alloc_policy"] == "last_resort":
            for other in GROUPS:
                if cluster["nodegroups"][other]["alloc_policy"] == "preferred":
                    assert not asked(cluster, {**request, "group_name": other}).success


@QUICK
@given(clusters(), new_instances(), st.randoms())
def test_the_answer_does_not_depend_on_the_order_of_the_question(
    cluster: Any, request: Any, random: Any
) -> None:
    other = dict(cluster)
    for part in ("nodes", "instances", "nodegroups"):
        rows = list(cluster[part].items())
        random.shuffle(rows)
        other[part] = dict(rows)
    assert asked(cluster, request) == asked(other, request)


@QUICK
@given(clusters(), st.sampled_from(["primary-only", "secondary-only", "all"]))
def test_evacuated_instances_are_each_told_of_once(cluster: Any, mode: str) -> None:
    names = sorted(cluster["instances"])
    answer = asked(cluster, protocol.evacuate_request(names, protocol.EvacuationMode(mode)))
    assert answer.success
    moved, failed, jobs = answer.result
    assert sorted([row[0] for row in moved] + [row[0] for row in failed]) == names
    assert len(jobs) == len(moved)
    left = {name: node["free_memory"] for name, node in cluster["nodes"].items()}
    for name, group, nodes in moved:
        old = cluster["instances"][name]
        assert nodes != old["nodes"] and len(set(nodes)) == len(old["nodes"])
        assert {cluster["nodes"][node]["group"] for node in nodes} == {group}
        assert group == cluster["nodes"][old["nodes"][0]]["group"]
        left[old["nodes"][0]] += old["memory"]
        left[nodes[0]] -= old["memory"]
        if nodes[0] != old["nodes"][0]:
            assert left[nodes[0]] >= 0 and not cluster["nodes"][nodes[0]]["drained"]


@QUICK
@given(clusters(), st.sampled_from(GROUPS))
def test_instances_that_change_groups_are_in_the_target(cluster: Any, target: str) -> None:
    names = sorted(cluster["instances"])
    answer = asked(cluster, protocol.change_group_request(names, [target]))
    moved, failed, _ = answer.result
    assert sorted([row[0] for row in moved] + [row[0] for row in failed]) == names
    for name, group, nodes in moved:
        assert group == target and {cluster["nodes"][node]["group"] for node in nodes} == {target}
        assert cluster["nodes"][cluster["instances"][name]["nodes"][0]]["group"] != target


@QUICK
@given(clusters(), st.lists(new_instances(), min_size=1, max_size=6))
def test_many_at_once_is_one_after_the_other(cluster: Any, requests: list[Any]) -> None:
    named = [{**one, "name": f"new{number}"} for number, one in enumerate(requests)]
    placed, failed = [], []
    now = cluster
    for one in named:
        answer = asked(now, one)
        if answer.success:
            placed.append([one["name"], answer.result])
            now = with_it(now, one, answer.result)
            now["instances"][one["name"]] = now["instances"].pop("new")
        else:
            failed.append(one["name"])
    answer = asked(cluster, protocol.multi_allocate_request(named))
    assert answer.result == ([placed, failed] if placed else [])


@QUICK
@given(clusters(), new_instances())
def test_a_lenient_allocator_finds_a_place_wherever_a_strict_one_does(
    cluster: Any, request: Any
) -> None:
    document = {**cluster, "request": request}
    if solve(document)["success"]:
        assert solve(document, lenient=True)["success"]


@QUICK
@given(st.lists(st.integers(1, 9), max_size=6), st.lists(st.integers(0, 12), max_size=4))
def test_what_was_packed_can_be_placed(sizes: list[int], rooms: list[int]) -> None:
    if packs(sizes, [-room for room in rooms]):
        assert can_be_placed(sizes, rooms)


def test_a_group_of_one_node_takes_instances_without_a_promise() -> None:
    cluster = {
        "version": 2, "cluster_name": "c", "cluster_tags": [], "enabled_hypervisors": ["fake"],
        "ipolicy": policy(), "nodegroups": {GROUPS[0]: a_group("one")},
        "nodes": {"node1": a_node(GROUPS[0])}, "instances": {},
    }  # fmt: skip
    request = {**an_instance("sharedfile", 4, 1, []), "type": "allocate", "name": "new"}
    assert asked(cluster, {**request, "required_nodes": 1}).result == ["node1"]


# Debian's hail.


def hail(cluster: dict[str, Any], request: dict[str, Any]) -> protocol.Answer:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(dumps({**cluster, "request": request}))
        file.flush()
        done = subprocess.run([HAIL, file.name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return protocol.parse_answer(request, done.stdout)


ONE_GROUP = GROUPS[:1]
"""hail refuses every placement while any group is without its promise, and we that group only. Nor
do we follow it where a group has one node: there it places nothing at all."""


def agree(ours: protocol.Answer, theirs: protocol.Answer) -> None:
    """Both find a place or neither. hail packs less well when it looks whether a node may fail, and
    looks at nodes that the placement leaves alone as well."""
    if ours.success != theirs.success:
        assert ours.success and "FailN1" in theirs.info, (ours.info, theirs.info)


@pytest.mark.skipif(not HAIL.exists(), reason="needs hail (package ganeti-htools)")
@ASKING_HAIL
@given(clusters(SHARED, groups=ONE_GROUP, roles=False), new_instances(SHARED))
def test_hail_finds_a_place_where_we_do(cluster: Any, request: Any) -> None:
    agree(asked(cluster, request), hail(cluster, request))


@pytest.mark.skipif(not HAIL.exists(), reason="needs hail (package ganeti-htools)")
@ASKING_HAIL
@given(clusters(("drbd",), 5, ONE_GROUP, roles=False), new_instances(("drbd",)))
def test_hail_finds_two_nodes_where_we_do(cluster: Any, request: Any) -> None:
    agree(asked(cluster, request), hail(cluster, request))


@pytest.mark.skipif(not HAIL.exists(), reason="needs hail (package ganeti-htools)")
@ASKING_HAIL
@given(clusters(SHARED, groups=ONE_GROUP, roles=False), st.data())
def test_hail_moves_the_instances_that_we_move(cluster: Any, data: Any) -> None:
    if not cluster["instances"]:
        return
    name = data.draw(st.sampled_from(sorted(cluster["instances"])))
    request = protocol.evacuate_request([name], protocol.EvacuationMode.PRIMARY)
    ours, theirs = asked(cluster, request), hail(cluster, request)
    assert [row[0] for row in ours.result[0]] == [row[0] for row in theirs.result[0]], theirs.info


def refused_for_its_nics(request: dict[str, Any]) -> protocol.Answer:
    limits = policy()
    limits["minmax"] = [
        {**pair, "min": {**pair["min"], "nic-count": 1}} for pair in limits["minmax"]
    ]
    cluster = {
        "version": 2, "cluster_name": "c", "cluster_tags": [], "enabled_hypervisors": ["fake"],
        "ipolicy": limits, "nodegroups": {GROUPS[0]: {**a_group("one"), "ipolicy": limits}},
        "nodes": {"node1": a_node(GROUPS[0])}, "instances": {},
    }  # fmt: skip
    return asked(cluster, request)


def test_an_instance_among_many_is_refused_for_the_reason_that_it_alone_is() -> None:
    new = {**an_instance("sharedfile", 4, 1, []), "type": "allocate", "required_nodes": 1}
    new |= {"nics": []}
    alone = refused_for_its_nics({**new, "name": "web1"}).info
    why = alone.removeprefix("Request failed: no valid allocation: ")
    assert "nic" in why and not why[-1].isdigit()
    many = [{**new, "name": name} for name in ("web1", "web2")]
    together = refused_for_its_nics(protocol.multi_allocate_request(many)).info
    assert together.endswith(f"no instance can be allocated: web1: {why}; web2: {why}")
