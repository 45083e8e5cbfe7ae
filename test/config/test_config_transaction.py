"""Transactions: serial numbers, indexes, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.configs import (
    NOW,
    a_drbd_disk,
    a_network,
    a_nic,
    a_node,
    a_plain_disk,
    a_snapshot,
    an_instance,
    example,
    example_two_nodes,
    master_of,
)
from ganeti.config import index
from ganeti.config.journal import from_record, replay, serial_of, to_record
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import ConfigurationError
from ganeti.model.filter import JobFilter
from ganeti.serializer import encode
from ganeti.types import AdminState
from hypothesis import given, settings
from hypothesis import strategies as st


def a_draft(base: Snapshot | None = None) -> Draft:
    return Draft(base or a_snapshot(example()), NOW)


def same_indexes(one: Snapshot, other: Snapshot) -> bool:
    return all(
        getattr(one.index, name) == getattr(other.index, name)
        for name in index.Indexes.__dataclass_fields__
    )


def test_an_added_object_has_serial_one_and_the_time_of_the_change() -> None:
    draft = a_draft()
    added = draft.add(replace(an_instance(1, master_of(draft.snapshot)), serial_no=9))
    assert (added.serial_no, added.ctime, added.mtime) == (1, NOW, NOW)


def test_adding_an_instance_counts_for_the_cluster_and_the_file() -> None:
    base = a_snapshot(example())
    draft = a_draft(base)
    draft.add(an_instance(1, master_of(base)))
    made, delta = draft.finish()
    assert delta is not None
    assert (made.serial_no, made.mtime) == (base.serial_no + 1, NOW)
    assert made.cluster.serial_no == base.cluster.serial_no + 1
    assert made.find_instance("web1") is made.find_instance("web1.example.com")


def test_an_update_counts_once_and_an_equal_object_not_at_all() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    draft = a_draft(base)
    assert draft.update(replace(instance, mtime=1.0)) is instance
    updated = draft.update(replace(instance, tags=("new",)))
    assert (updated.serial_no, updated.mtime) == (instance.serial_no + 1, NOW)
    made, delta = draft.finish()
    assert made.cluster is base.cluster
    assert delta is not None and delta.put == {"instances": (updated,)}


def test_nothing_changed_is_no_change() -> None:
    base = a_snapshot()
    draft = a_draft(base)
    draft.update(next(iter(base.instances.values())))
    assert draft.finish() == (base, None)


def test_a_stale_object_is_refused_with_both_serial_numbers() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    draft = a_draft(base)
    draft.update(replace(instance, tags=("one",)))
    with pytest.raises(
        ConfigurationError,
        match=f"serial number {instance.serial_no} was read, {instance.serial_no + 1} is stored",
    ):
        draft.update(replace(instance, tags=("two",)))


def test_a_switch_of_the_primary_node_does_not_count() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    (secondary,) = base.secondaries_of(instance)
    draft = a_draft(base)
    updated = draft.update(replace(instance, primary_node=secondary))
    assert updated.serial_no == instance.serial_no
    made, _ = draft.finish()
    assert made.secondaries_of(updated) == (instance.primary_node,)
    assert made.primary_instances(secondary) == [updated]
    assert made.secondary_instances(instance.primary_node) == [updated]


def test_a_changed_node_counts_for_the_cluster() -> None:
    base = a_snapshot()
    draft = a_draft(base)
    draft.update(replace(base.master(), powered=False))
    made, _ = draft.finish()
    assert made.cluster.serial_no == base.cluster.serial_no + 1


def test_a_changed_cluster_counts_once_even_with_added_objects() -> None:
    base = a_snapshot(example())
    draft = a_draft(base)
    draft.update_cluster(replace(base.cluster, candidate_pool_size=3))
    draft.add(a_network())
    made, delta = draft.finish()
    assert made.cluster.serial_no == base.cluster.serial_no + 1
    assert made.cluster.candidate_pool_size == 3
    assert delta is not None and delta.cluster is made.cluster


def test_unknown_and_doubled_uuids_are_refused() -> None:
    draft = a_draft()
    instance = an_instance(1, master_of(draft.snapshot))
    with pytest.raises(ConfigurationError, match="web1.example.com.*not in the configuration"):
        draft.update(instance)
    with pytest.raises(ConfigurationError, match="not in the configuration"):
        draft.remove(instance)
    draft.add(instance)
    with pytest.raises(ConfigurationError, match="is taken"):
        draft.add(instance)


def test_a_filter_has_no_serial_number() -> None:
    draft = a_draft()
    rule = JobFilter(
        uuid="f", watermark=1, priority=0, predicates=(), action="PAUSE", reason_trail=()
    )
    draft.add(rule)
    changed = draft.update(replace(rule, action="REJECT"))
    made, _ = draft.finish()
    assert made.filters["f"] is changed


def refused(draft: Draft) -> str:
    with pytest.raises(ConfigurationError) as caught:
        draft.finish()
    return str(caught.value)


def test_a_mac_can_not_be_used_twice() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    draft.add(an_instance(1, master))
    draft.add(an_instance(2, master, nics=(a_nic(2, mac=a_nic(1).mac.upper()),)))
    assert refused(draft) == (
        "MAC address aa:00:01:00:00:01 is used twice: by instance web1.example.com nic 0 and"
        " instance web2.example.com nic 0"
    )


def test_a_mac_may_move_within_a_transaction() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    one, two = draft.add(an_instance(1, master)), draft.add(an_instance(2, master))
    base, _ = draft.finish()
    draft = a_draft(base)
    draft.update(replace(one, nics=two.nics))
    draft.update(replace(two, nics=one.nics))
    made, _ = draft.finish()
    assert same_indexes(made, Snapshot.of(made.document()))


def test_a_name_can_not_be_used_twice() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    draft.add(an_instance(1, master))
    draft.add(an_instance(2, master, name="web1.example.com"))
    assert "instance name web1.example.com is used twice" in refused(draft)


def test_names_with_the_same_first_label_are_no_clash() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    draft.add(an_instance(1, master))
    draft.add(an_instance(2, master, name="web1.example.org"))
    made, _ = draft.finish()
    assert made.find_instance("web1") is None
    found = made.find_instance("web1.example.org")
    assert found is not None and found.name == "web1.example.org"
    assert made.find_instance("WEB1.Example.org") is found


def test_an_address_can_not_be_used_twice_on_one_link() -> None:
    draft = a_draft()
    master = draft.snapshot.master()
    draft.add(an_instance(1, master.uuid, nics=(a_nic(1, ip="10.0.0.1"),)))
    draft.add(an_instance(2, master.uuid, nics=(a_nic(2, ip="10.0.0.1"),)))
    assert "IP address 10.0.0.1 (link ) is used twice" in refused(draft)
    draft = a_draft()
    group = master.group
    draft.add(a_node(9, group, primary_ip=master.primary_ip))
    assert f"IP address {master.primary_ip} is used twice" in refused(draft)


def test_the_same_address_is_free_in_another_network() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    for number in (1, 2):
        network = draft.add(a_network(number))
        nic = a_nic(number, ip="10.0.0.1", network=network.uuid)
        draft.add(an_instance(number, master, nics=(nic,)))
    draft.finish()


def test_minors_and_ports_are_used_once() -> None:
    base = a_snapshot()
    (disk,) = base.disks.values()
    drbd = disk.drbd
    draft = a_draft(base)
    other = a_drbd_disk(5, drbd.node_a, drbd.node_b, drbd.port, (drbd.minor_a, 7))
    draft.add(other)
    text = refused(draft)
    assert f"DRBD minor {drbd.minor_a} on node " in text
    assert f"port {drbd.port} is used twice" in text


def test_references_must_exist() -> None:
    draft = a_draft()
    draft.add(an_instance(1, "no-node", disks=("no-disk",), nics=(a_nic(1, network="no-net"),)))
    text = refused(draft)
    assert "primary node no-node does not exist" in text
    assert "disk no-disk does not exist" in text
    assert "network no-net of nic 0 does not exist" in text


def test_what_is_needed_can_not_be_removed() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    for removed, why in (
        (base.nodes[instance.primary_node], "is the primary node of"),
        (base.nodes[base.secondaries_of(instance)[0]], "is the secondary node of"),
        (base.disks_of(instance)[0], "is attached to|does not exist"),
        (next(iter(base.groups.values())), "still has node"),
    ):
        draft = a_draft(base)
        draft.remove(removed)
        with pytest.raises(ConfigurationError, match=why):
            draft.finish()


def test_an_instance_goes_with_its_disks() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    draft = a_draft(base)
    for disk in base.disks_of(instance):
        draft.remove(disk)
    draft.remove(instance)
    made, delta = draft.finish()
    assert not made.instances and not made.disks
    assert not made.index.minors and not made.index.macs and not made.index.secondaries
    assert delta is not None and set(delta.drop) == {"disks", "instances"}


def test_an_old_problem_does_not_block_other_changes() -> None:
    raw = example_two_nodes()
    instance = next(iter(raw["instances"].values()))
    instance["primary_node"] = "gone"
    base = a_snapshot(raw)
    (stored,) = base.instances.values()
    draft = a_draft(base)
    draft.update(replace(stored, tags=("x",)))
    made, _ = draft.finish()
    draft = a_draft(made)
    draft.update(replace(made.instances[stored.uuid], primary_node="gone too"))
    assert "primary node gone too does not exist" in refused(draft)


def test_the_draft_shows_its_own_changes() -> None:
    draft = a_draft()
    master = master_of(draft.snapshot)
    disk = draft.add(a_plain_disk(1, master))
    instance = draft.add(an_instance(1, master, disks=(disk.uuid,)))
    assert draft.snapshot.disks_of(instance) == (disk,)
    assert draft.snapshot.owner_of(disk.uuid) is instance
    assert draft.snapshot.primary_instances(master) == [instance]
    draft.remove(instance)
    assert draft.snapshot.owner_of(disk.uuid) is None


def test_a_change_touches_only_the_indexes_it_must() -> None:
    base = a_snapshot()
    instance = next(iter(base.instances.values()))
    draft = a_draft(base)
    draft.update(replace(instance, tags=("x",), admin_state=AdminState.DOWN))
    made, _ = draft.finish()
    assert made.index is base.index


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "tag", "remove", "disk", "detach", "move", "node", "network"]),
        st.integers(1, 6),
    ),
    max_size=30,
)


def perform(draft: Draft, what: str, number: int) -> None:
    """Some valid change that depends on what is there."""
    config = draft.snapshot
    nodes = sorted(config.nodes)
    node = nodes[number % len(nodes)]
    instance = config.find_instance(f"web{number}")
    if what == "add" and instance is None:
        draft.add(an_instance(number, node))
    elif what == "node" and config.find_node(f"node{number + 30}") is None:
        draft.add(a_node(number + 30, next(iter(config.groups))))
    elif what == "network" and config.find_network(f"lan{number}") is None:
        draft.add(a_network(number))
    elif instance is None:
        return
    elif what == "tag":
        draft.update(replace(instance, tags=(*instance.tags, "t")))
    elif what == "remove":
        for disk in config.disks_of(instance):
            draft.remove(disk)
        draft.remove(instance)
    elif what == "disk" and not instance.disks:
        peer = nodes[(number + 1) % len(nodes)]
        disk = draft.add(
            a_plain_disk(number, node)
            if peer == node
            else a_drbd_disk(number, node, peer, 10_000 + number, (number, number))
        )
        draft.update(replace(instance, disks=(disk.uuid,)))
    elif what == "detach" and instance.disks:
        (disk,) = config.disks_of(instance)
        draft.update(replace(instance, disks=()))
        draft.remove(disk)
    elif what == "move" and not instance.disks:
        draft.update(replace(instance, primary_node=node))


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, min_size=1, max_size=4))
def test_indexes_and_records_give_what_a_fresh_start_gives(
    transactions: list[list[tuple[str, int]]],
) -> None:
    base = now = a_snapshot(example())
    records = []
    for operations in transactions:
        draft = Draft(now, NOW)
        for what, number in operations:
            perform(draft, what, number)
        now, delta = draft.finish()
        if delta is not None:
            record = to_record(delta)
            assert serial_of(record) == delta.serial_no == now.serial_no
            assert to_record(from_record(record, "record")) == record
            records.append(record)
    assert same_indexes(now, Snapshot.of(now.document()))
    replayed = Snapshot.of(replay(base.document(), records, "journal"))
    assert encode(replayed.document()) == encode(now.document())
    if records:
        half = replay(base.document(), records[:1], "journal")
        assert encode(replay(half, records, "journal")) == encode(now.document())


def test_a_missing_record_is_an_error() -> None:
    base = a_snapshot(example())
    draft = a_draft(base)
    draft.add(a_network())
    made, _ = draft.finish()
    draft = a_draft(made)
    draft.add(a_network(2))
    _, delta = draft.finish()
    assert delta is not None
    with pytest.raises(ConfigurationError, match="record 1 has serial number .* does not follow"):
        replay(base.document(), [to_record(delta)], "config.journal")


def test_a_record_of_another_kind_is_an_error() -> None:
    for record in (b"[]", b'{"x":1}', b'{"serial_no":8,"mtime":1,"put":{"hosts":[]}}'):
        with pytest.raises(ConfigurationError, match="place"):
            from_record(record, "place")
