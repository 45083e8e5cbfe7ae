"""Tags, delays, undo steps on the configuration, and the pool of candidates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices
from fakes.configs import a_plain_disk, an_instance
from fakes.services import a_cluster
from ganeti.config.transaction import Draft
from ganeti.errors import Code, ProgrammerError, TagError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic.candidates import becomes_candidate, fill_pool, pool_stats
from ganeti.logic.config_steps import run_config_step
from ganeti.logic.tags import check_tag
from ganeti.opcodes.tags import OpTagsDel, OpTagsGet, OpTagsSearch, OpTagsSet
from ganeti.opcodes.test import OpTestDelay
from ganeti.types import TagKind

WEB = "web1.example.com"


@pytest.fixture
def services(tmp_path: Path) -> AdminServices:
    """Three nodes and one instance without disks."""
    made = AdminServices(tmp_path)
    primary = made.config.master().uuid
    made.change(lambda draft: draft.add(an_instance(1, primary)))
    return made


def tag(*tags: str, kind: TagKind = TagKind.CLUSTER, name: str | None = None) -> OpTagsSet:
    return OpTagsSet(kind=kind, name=name, tags=tags)


# Tags.


@pytest.mark.parametrize("text", ["a", "A-b_c.d", "x+y*z", "host:8080/path", "me@home"])
def test_letters_digits_and_some_signs_are_good_tags(text: str) -> None:
    check_tag(text)


@pytest.mark.parametrize("text", ["", "two words", "umläut", "a,b", "x" * 129, "line\n"])
def test_other_texts_are_no_tags(text: str) -> None:
    with pytest.raises(TagError):
        check_tag(text)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TagKind.CLUSTER, None),
        (TagKind.NODE, "node2"),
        (TagKind.NODEGROUP, "default"),
        (TagKind.INSTANCE, "web1"),
    ],
)
def test_every_kind_of_object_can_be_tagged(
    services: AdminServices, kind: TagKind, name: str | None
) -> None:
    services.run(tag("b", "a", kind=kind, name=name))
    got = services.run(OpTagsGet(kind=kind, name=name, use_locking=False)).result
    assert sorted(got) == ["a", "b"]
    services.run(OpTagsDel(kind=kind, name=name, tags=("a",)))
    assert services.run(OpTagsGet(kind=kind, name=name, use_locking=False)).result == ["b"]


def test_a_tag_that_is_there_changes_nothing(services: AdminServices) -> None:
    services.run(tag("a"))
    before = services.config
    services.run(tag("a", "a"))
    assert services.config is before


def test_an_absent_tag_cannot_be_removed(services: AdminServices) -> None:
    services.run(tag("a"))
    op = OpTagsDel(kind=TagKind.CLUSTER, name=None, tags=("a", "b"))
    assert services.refused(op) == ("OpPrereqError", Code.NOENT)


@pytest.mark.parametrize("kind", [TagKind.NODE, TagKind.INSTANCE, TagKind.NODEGROUP])
def test_unknown_objects_are_refused(services: AdminServices, kind: TagKind) -> None:
    op = tag("a", kind=kind, name="nosuch")
    assert services.refused(op) == ("OpPrereqError", Code.NOENT)


def test_an_object_takes_4096_tags_at_most(services: AdminServices) -> None:
    services.run(tag(*(f"t{n}" for n in range(4096))))
    assert services.refused(tag("one-more"))[0] == "OpExecError"
    services.run(tag("t17"))


def test_a_tagged_object_is_locked(services: AdminServices) -> None:
    ran = services.run(tag("a", kind=TagKind.INSTANCE, name="web1"))
    assert ran.locks.instances == {WEB: EXCLUSIVE}
    ran = services.run(OpTagsGet(kind=TagKind.INSTANCE, name="web1", use_locking=True))
    assert ran.locks.instances == {WEB: SHARED}
    ran = services.run(tag("a"))
    assert not ran.locks.nodes and not ran.locks.instances


def test_a_search_goes_over_all_objects(services: AdminServices) -> None:
    services.run(tag("prod"))
    services.run(tag("prod-db", "test", kind=TagKind.NODE, name="node2"))
    services.run(tag("product", kind=TagKind.INSTANCE, name="web1"))
    found = services.run(OpTagsSearch(pattern="^prod")).result
    assert sorted(found) == [
        ["/cluster", "prod"],
        [f"/instances/{WEB}", "product"],
        ["/nodes/node2.example.com", "prod-db"],
    ]


def test_a_pattern_that_is_none_is_refused(services: AdminServices) -> None:
    assert services.refused(OpTagsSearch(pattern="(")) == ("OpPrereqError", Code.INVAL)


# Delays.


def delay(**more: Any) -> OpTestDelay:
    return OpTestDelay(duration=0.5, **more)


def test_a_delay_waits_on_the_master_as_often_as_wanted(services: AdminServices) -> None:
    services.run(delay(repeat=3))
    assert services.waits == [0.5] * 3
    assert services.messages[0].endswith("iteration 0/2")


def test_a_delay_locks_the_nodes_where_it_sleeps(services: AdminServices) -> None:
    master, other = services.config.master(), services.config.find_node("node2.example.com")
    assert other is not None
    services.calls.failures["test_delay"] = "unused"
    ran = services.run(delay(on_master=True, no_locks=False))
    assert ran.locks.nodes == {master.uuid: EXCLUSIVE}
    assert not services.run(delay(no_locks=True)).locks.nodes


def test_a_node_that_cannot_sleep_is_an_error(services: AdminServices) -> None:
    services.calls.failures["test_delay"] = "insomnia"
    kind, _ = services.refused(delay(on_nodes=("node2",), on_master=False))
    assert kind == "OpExecError"


def test_nodes_that_sleep_are_named_or_given_by_uuid(services: AdminServices) -> None:
    other = services.config.find_node("node2.example.com")
    assert other is not None
    services.calls.failures["test_delay"] = "insomnia"
    op = delay(on_nodes=("node2",), on_node_uuids=(other.uuid,), on_master=False)
    assert services.refused(op)[0] == "OpExecError"
    by_uuid = delay(on_node_uuids=(other.uuid,), on_master=False, no_locks=False)
    assert services.refused(by_uuid)[0] == "OpExecError"


def test_a_negative_delay_is_refused(services: AdminServices) -> None:
    op = OpTestDelay(duration=-1.0)
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)


# Undo steps on the configuration.


def test_forgetting_an_instance_bears_that_it_was_never_there(services: AdminServices) -> None:
    instance = services.config.find_instance(WEB)
    assert instance is not None
    step = run_config_step("forget_instance", (instance.uuid,))
    services.commit(step)
    assert services.config.find_instance(WEB) is None
    before = services.config
    services.commit(step)
    assert services.config is before


def test_forgetting_an_instance_takes_its_disks_along(services: AdminServices) -> None:
    node = services.config.master().uuid
    disk = a_plain_disk(1, node)

    def add(draft: Draft) -> None:
        draft.add(disk)
        draft.add(replace(an_instance(2, node), disks=(disk.uuid,), nics=()))

    services.change(add)
    services.commit(run_config_step("forget_instance", (an_instance(2, node).uuid,)))
    assert disk.uuid not in services.config.disks


def test_an_unknown_step_is_an_error(services: AdminServices) -> None:
    with pytest.raises((ProgrammerError, KeyError)):
        services.commit(run_config_step("no_such_step", ()))


# The pool.


def test_the_pool_wants_no_more_than_there_can_be() -> None:
    config = a_cluster(3, candidate_pool_size=10)
    stats = pool_stats(config)
    assert (stats.now, stats.wanted, stats.possible) == (3, 3, 3)
    assert becomes_candidate(config, True, ())
    assert not becomes_candidate(config, False, ())
    assert not becomes_candidate(a_cluster(3, candidate_pool_size=3), True, ())


def test_the_pool_is_filled_in_the_order_of_names(services: AdminServices) -> None:
    for name in ("node2.example.com", "node3.example.com"):
        services.change_node(name, master_candidate=False)
    services.change(
        lambda draft: draft.update_cluster(replace(draft.snapshot.cluster, candidate_pool_size=2))
    )
    promoted = services.commit(fill_pool)
    assert [node.name for node in promoted] == ["node2.example.com"]
    assert services.commit(fill_pool) == []


def test_offline_drained_and_incapable_nodes_are_not_promoted(services: AdminServices) -> None:
    services.change_node("node2.example.com", master_candidate=False, offline=True)
    services.change_node("node3.example.com", master_candidate=False, drained=True)
    assert services.commit(fill_pool) == []
    services.change_node("node3.example.com", drained=False, master_capable=False)
    assert services.commit(fill_pool) == []
