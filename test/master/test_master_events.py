"""The ring of events, and what changes of the configuration tell."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fakes.configs import a_node, a_snapshot, an_instance, master_of
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.master.events import Part, Ring, config_events
from ganeti.types import AdminState
from ganeti.types import EventKind as Kind
from hypothesis import given
from hypothesis import strategies as st

KINDS = list(Kind)


# The ring.


@given(
    st.lists(st.sampled_from([*KINDS, None]), max_size=60),
    st.integers(1, 20),
    st.integers(1, 7),
    st.lists(st.integers(0, 59), max_size=5).map(set),
    st.sampled_from([None, frozenset({Kind.JOB}), frozenset({Kind.NODE, Kind.CONFIG})]),
)
def test_a_reader_gets_every_event_once_or_is_told_of_the_gap(
    happenings: list[Kind | None],
    size: int,
    most: int,
    reads: set[int],
    wanted: frozenset[Kind] | None,
) -> None:
    """None: the ring forgets. `reads`: at which happenings the reader asks."""
    ring = Ring("run", size)
    last = ring.after(None, None, 1).last
    lacking: list[int] = []  # what the reader has to get
    gap, number, oldest = False, 0, 1
    for step, kind in enumerate([*happenings, None]):
        if step in reads or step == len(happenings):
            got, reset = read_all(ring, last, wanted, most)
            assert reset == gap
            assert [event.data["n"] for event in got.events] == ([] if gap else lacking)
            last, lacking, gap, oldest = got.last, [], False, number + 1
        if kind is None:
            ring.forget()
            number, gap = number + 1, True
            continue
        number += 1
        ring.add(kind, {"n": number})
        if wanted is None or kind in wanted:
            lacking.append(number)
        gap = gap or number - oldest + 1 > size


def read_all(ring: Ring, last: str, wanted: Any, most: int) -> tuple[Part, bool]:
    events: list[Any] = []
    while True:
        part = ring.after(last, wanted, most)
        assert len(part.events) <= most
        events += part.events
        last = part.last
        if part.reset or len(part.events) < most:
            return replace(part, events=tuple(events)), part.reset


@given(st.text(max_size=20))
def test_an_id_of_another_run_or_none_at_all_is_a_gap(text: str) -> None:
    ring = Ring("run")
    ring.add(Kind.JOB, {})
    known = {ring.identify(0), ring.identify(1)}
    assert ring.after(text, None, 9).reset == (text not in known)
    assert ring.after(f"other-{text}", None, 9).reset
    assert ring.after(f"run-{text}", None, 9).reset == (f"run-{text}" not in known)


def test_a_new_reader_begins_at_the_newest_event() -> None:
    ring = Ring("run")
    ring.add(Kind.JOB, {})
    assert ring.after(None, None, 9) == Part("run-1")


# Changes of the configuration.


def events_of(before: Snapshot, change: Any) -> list[tuple[str, dict[str, Any]]]:
    """What one transaction makes."""
    draft = Draft(before, 1.0)
    change(draft)
    after, delta = draft.finish()
    assert delta is not None
    return [(kind.value, data) for kind, data in config_events(before, after, delta)]


def changed(events: Iterable[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    return next(data for _, data in events if data.get("name") == name)


def test_what_is_added_changed_and_removed_is_told() -> None:
    config = a_snapshot()
    group, master = next(iter(config.groups)), master_of(config)
    made = an_instance(7, master, nics=())

    added = events_of(config, lambda draft: draft.add(made))
    assert changed(added, made.name) == {
        "name": made.name,
        "uuid": made.uuid,
        "admin_state": "up",
        "primary_node": config.nodes[master].name,
        "secondary_nodes": [],
        "change": "added",
    }
    assert added[-1] == (
        "config",
        {"serial_no": config.serial_no + 1, "cluster": config.cluster.uuid},
    )
    node = a_node(9, group, master_candidate=False)
    told = changed(events_of(config, lambda draft: draft.add(node)), node.name)
    assert told["change"] == "added" and told["role"] == "R"

    instance = next(iter(config.instances.values()))
    started = replace(instance, admin_state=AdminState.UP)
    told = changed(events_of(config, lambda draft: draft.update(started)), instance.name)
    assert (told["change"], told["fields"], told["admin_state"]) == (
        *("changed", ["admin_state"]),
        "up",
    )
    gone = events_of(config, lambda draft: remove_with_disks(draft, instance.uuid))
    assert changed(gone, instance.name)["change"] == "removed"


def remove_with_disks(draft: Draft, uuid: str) -> None:
    instance = draft.snapshot.instances[uuid]
    disks = draft.snapshot.disks_of(instance)
    draft.remove(instance)
    for disk in disks:
        draft.remove(disk)


def test_a_node_that_goes_offline_has_another_role() -> None:
    config = a_snapshot()
    node = next(one for one in config.nodes.values() if one.uuid != master_of(config))
    away = replace(node, offline=True, master_candidate=False)
    told = changed(events_of(config, lambda draft: draft.update(away)), node.name)
    assert told["offline"] is True and told["role"] == "O"
    assert {"offline", "role"} <= set(told["fields"])


def test_secret_values_are_never_told() -> None:
    config = a_snapshot()
    instance = next(iter(config.instances.values()))
    secret = replace(instance, osparams_private={"password": "hunter2"})
    told = events_of(config, lambda draft: draft.update(secret))
    assert changed(told, instance.name)["fields"] == ["osparams_private"]
    assert "hunter2" not in repr(told)


def test_a_disk_that_grows_is_a_change_of_its_instance() -> None:
    config = a_snapshot()
    instance = next(one for one in config.instances.values() if one.disks)
    disk = config.disks_of(instance)[0]
    told = events_of(config, lambda draft: draft.update(replace(disk, size=disk.size + 1)))
    assert changed(told, instance.name)["fields"] == ["disks"]


def test_other_changes_only_tell_of_the_serial_number() -> None:
    config = a_snapshot()
    tagged = replace(config.cluster, tags=(*config.cluster.tags, "x"))
    told = events_of(config, lambda draft: draft.update_cluster(tagged))
    assert [kind for kind, _ in told] == ["config"]


def test_a_change_costs_the_same_in_a_large_cluster() -> None:
    """Counted, not timed: only what the transaction touched is looked at."""
    small = a_snapshot()
    draft = Draft(small, 1.0)
    for number in range(100, 1100):
        draft.add(an_instance(number, master_of(small), nics=()))
    large, _ = draft.finish()
    instance = next(iter(small.instances.values()))
    started = replace(instance, admin_state=AdminState.UP)
    steps = [calls_of(config, started) for config in (small, large)]
    assert steps[0] == steps[1]


def calls_of(config: Snapshot, instance: Any) -> int:
    """Python and C calls that telling of one change makes."""
    draft = Draft(config, 1.0)
    draft.update(instance)
    after, delta = draft.finish()
    assert delta is not None
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for _ in config_events(config, after, delta):
            pass
    finally:
        sys.setprofile(None)
    return count
