"""The store: commits, group commit, faults, checkpoints, distribution; on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from fakes.candidates import FakeNetwork, unreliable
from fakes.configs import (
    NOW,
    PATHS,
    a_disk,
    a_snapshot,
    a_store,
    add_tag,
    an_instance,
    example,
    example_two_nodes,
    master_of,
    with_candidates,
)
from fakes.faulty_disk import FaultyDisk
from fakes.virtual_time import run
from ganeti.config.check import check_document
from ganeti.config.checkpoint import CheckpointSettings, DocumentWriter, Schedule
from ganeti.config.distribute import MISSED_PAUSE_S
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore, StoreSettings
from ganeti.config.transaction import Draft
from ganeti.errors import ConfigurationError, GenericError
from ganeti.model.instance import Instance
from ganeti.serializer import encode
from ganeti.utils.journal import read


def adding(number: int, **more: Any) -> Any:
    def transaction(draft: Draft) -> Instance:
        return draft.add(an_instance(number, master_of(draft.snapshot), **more))

    return transaction


def numbers(config: Snapshot) -> set[int]:
    """Of the instances that `adding` made."""
    names = (instance.name for instance in config.instances.values())
    return {int(name.split(".")[0].removeprefix("web")) for name in names}


def as_json(config: Snapshot) -> Any:
    return encode(config.document())


async def reopened(disk: FaultyDisk) -> Snapshot:
    """What a new master daemon finds."""
    store = a_store(disk)
    await store.start()
    return store.snapshot


def test_a_change_is_visible_when_commit_returns_and_after_a_crash() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        instance = await store.commit(adding(1))
        assert store.snapshot.instances[instance.uuid] is instance
        again = await reopened(disk.crash())
        assert as_json(again) == as_json(store.snapshot)

    run(main())


def test_a_refused_change_leaves_everything_as_it_was() -> None:
    async def main() -> None:
        store = a_store(a_disk(example()))
        await store.start()
        before = store.snapshot
        with pytest.raises(ConfigurationError, match="primary node nowhere does not exist"):
            await store.commit(lambda draft: draft.add(an_instance(1, "nowhere")))
        with pytest.raises(KeyError):
            await store.commit(lambda draft: {}["x"])  # type: ignore[index]
        assert store.snapshot is store.newest is before
        await store.commit(adding(1))
        assert store.snapshot.serial_no == before.serial_no + 1

    run(main())


def test_changes_that_arrive_together_build_on_each_other_and_share_a_write() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        before, serial = disk.operations, store.snapshot.serial_no
        seen: list[int] = []

        def transaction(number: int) -> Any:
            def change(draft: Draft) -> None:
                seen.append(len(draft.snapshot.instances))
                adding(number)(draft)

            return change

        await asyncio.gather(*(store.commit(transaction(number)) for number in range(20)))
        assert seen == list(range(20))
        assert disk.log[before:][:2] == ["write config.journal", "sync config.journal"]
        assert "write config.journal" not in disk.log[before + 2 :]
        assert store.snapshot.serial_no == serial + 20

    run(main())


def test_a_change_without_effect_waits_for_what_it_saw() -> None:
    async def main() -> None:
        store = a_store(a_disk(example()))
        await store.start()
        change = asyncio.ensure_future(store.commit(adding(1)))
        await asyncio.sleep(0)
        count = await store.commit(lambda draft: len(draft.snapshot.instances))
        assert (count, len(store.snapshot.instances)) == (1, 1)
        await change

    run(main())


def test_a_failed_write_takes_all_changes_behind_it_along() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        await store.commit(adding(1))
        await asyncio.sleep(10)
        disk.fail_at = disk.operations + 2  # the sync
        results = await asyncio.gather(
            store.commit(adding(2)), store.commit(adding(3)), return_exceptions=True
        )
        assert [type(one) for one in results] == [OSError, OSError]
        assert "config.journal" in str(results[0])
        assert store.newest is store.snapshot
        assert numbers(store.snapshot) == {1}
        await store.commit(adding(2))
        assert numbers(await reopened(disk.crash())) == {1, 2}

    run(main())


def test_a_closed_store_takes_no_changes() -> None:
    async def main() -> None:
        store = a_store(a_disk(example()))
        with pytest.raises(ConfigurationError, match="not open"):
            await store.commit(adding(1))
        await store.start()
        await store.stop()
        with pytest.raises(ConfigurationError, match="not open"):
            await store.commit(adding(1))

    run(main())


def small_then_large() -> list[StoreSettings]:
    large = CheckpointSettings(small_bytes=1, journal_share=0.1)
    return [StoreSettings(), StoreSettings(checkpoint=large)]


@pytest.mark.parametrize("settings", small_then_large(), ids=["small", "large"])
@pytest.mark.parametrize("lasting", [False, True], ids=["one fault", "crash"])
def test_what_was_committed_survives_any_fault_and_what_failed_is_not_half_there(
    settings: StoreSettings, lasting: bool
) -> None:
    async def main(nth: int) -> bool:
        disk = a_disk(example(), seed=nth)
        disk.fail_at, disk.lasting = nth, lasting
        done: set[int] = set()
        tried: set[int] = set()
        store = a_store(disk, settings=settings)
        try:
            await store.start()
            for number in range(8):
                tried.add(number)
                try:
                    await store.commit(adding(number, tags=("x" * 50,)))
                    done.add(number)
                except (OSError, GenericError):
                    pass
                if number % 3 == 2:
                    await asyncio.sleep(20.0)
            if nth % 2:
                await store.stop()
        except (OSError, GenericError):
            pass
        found = await reopened(disk.crash())
        assert done <= numbers(found) <= tried, (nth, done, numbers(found))
        if not lasting:
            assert numbers(found) == done, nth
        assert check_document(found) == []
        return disk.failed

    quiet = 0
    for nth in itertools.count(1):
        quiet = 0 if run(main(nth)) else quiet + 1
        if quiet == 2:  # the shorter and the longer variant are through
            break


def test_a_small_file_follows_at_once_and_writes_are_shared() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        await asyncio.sleep(10)
        before = disk.log.count("rename config.data")
        for number in range(100):
            await store.commit(adding(number))
            await asyncio.sleep(0.01)
        assert 1 <= disk.log.count("rename config.data") - before <= 2
        await asyncio.sleep(1.5)
        written = json.loads(disk.read(PATHS.config_data))
        assert written == json.loads(json.dumps(as_json(store.snapshot)))

    run(main())


def test_a_large_file_is_written_after_a_rest() -> None:
    async def main() -> None:
        disk = a_disk(example())
        settings = StoreSettings(checkpoint=CheckpointSettings(small_bytes=1, journal_share=100))
        store = a_store(disk, settings=settings)
        await store.start()
        for number in range(20):
            await store.commit(adding(number))
            await asyncio.sleep(1.0)
        serial = json.loads(disk.read(PATHS.config_data))["serial_no"]
        assert serial < store.snapshot.serial_no - 15
        await asyncio.sleep(5.0)
        serial = json.loads(disk.read(PATHS.config_data))["serial_no"]
        assert serial == store.snapshot.serial_no

    run(main())


def test_a_journal_that_grew_begins_anew_with_what_the_file_lacks() -> None:
    async def main() -> None:
        disk, network = a_disk(with_candidates(example(), ["node2"])), FakeNetwork(["node2"])
        settings = StoreSettings(checkpoint=CheckpointSettings(small_bytes=1, journal_share=0.25))
        store = a_store(disk, network, settings=settings)
        await store.start()
        tasks = [asyncio.ensure_future(store.commit(adding(n))) for n in range(5)]
        for number in range(5, 60):
            tasks.append(asyncio.ensure_future(store.commit(adding(number))))
            await asyncio.sleep(0.003)
        await asyncio.gather(*tasks)
        generation = store.journal.generation
        assert generation is not None and generation.number > 1
        assert numbers(await reopened(disk.crash())) == set(range(60))

    run(main())


def test_a_stopped_store_leaves_a_whole_file_and_an_empty_journal() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        await store.commit(adding(1))
        await store.stop()
        contents = read(disk.read(PATHS.config_journal), "journal")
        assert contents.records == ()
        assert contents.header.base["serial_no"] == store.snapshot.serial_no
        assert json.loads(disk.read(PATHS.config_data))["serial_no"] == store.snapshot.serial_no
        assert disk.mode(PATHS.config_data) == 0o640

    run(main())


def test_an_administrator_may_edit_the_file_of_a_stopped_master() -> None:
    async def main() -> None:
        disk = a_disk(example())
        store = a_store(disk)
        await store.start()
        await store.commit(adding(1))
        await store.stop()
        raw = json.loads(disk.read(PATHS.config_data))
        raw["cluster"]["candidate_pool_size"] = 5
        disk.put(PATHS.config_data, json.dumps(raw, indent=2).encode())
        assert (await reopened(disk)).cluster.candidate_pool_size == 5

    run(main())


def test_damaged_files_are_refused_by_name_and_kept() -> None:
    async def main() -> None:
        for path in (PATHS.config_data, PATHS.config_journal):
            disk = a_disk(example())
            store = a_store(disk)
            await store.start()
            await store.commit(adding(1))
            await store.commit(adding(2))
            after = disk.crash()
            data = bytearray(after.read(path))
            data[len(data) // 2] ^= 1
            if path == PATHS.config_data:
                del data[len(data) // 2 :]
            after.put(path, bytes(data))
            with pytest.raises(ConfigurationError, match=path.name):
                await a_store(after).start()
            assert after.read(path) == bytes(data)

    run(main())


def test_a_missing_file_is_named() -> None:
    async def main() -> None:
        disk = FaultyDisk()
        disk.mkdir(PATHS.data)
        with pytest.raises(ConfigurationError, match="config.data does not exist"):
            await a_store(disk).start()

    run(main())


def test_problems_of_the_loaded_file_are_told_and_not_fatal() -> None:
    async def main() -> None:
        raw = example_two_nodes()
        raw["cluster"]["highest_used_port"] = 10999
        store = a_store(a_disk(raw))
        await store.start()
        assert any("above the highest used port" in problem for problem in store.problems)

    run(main())


# With candidates.


async def started(names: list[str], **network: Any) -> tuple[FaultyDisk, FakeNetwork, ConfigStore]:
    disk = a_disk(with_candidates(example(), names))
    net = FakeNetwork(names, **network)
    store = a_store(disk, net)
    await store.start()
    return disk, net, store


def test_candidates_get_the_same_bytes_and_all_nodes_the_ssconf_files() -> None:
    async def main() -> None:
        disk, network, store = await started(["node2", "node3"])
        for number in range(5):
            await store.commit(adding(number))
        await store.flush()
        for node in network.candidates.values():
            assert node.file(node.paths.config_data) == disk.read(PATHS.config_data)
            assert node.file(node.paths.config_journal) == disk.read(PATHS.config_journal)
            assert "web4.example.com" in node.ssconf["instance_list"]

    run(main())


def test_ssconf_files_are_only_sent_when_the_set_has_changed() -> None:
    async def main() -> None:
        _, network, store = await started(["node2"])
        instance = await store.commit(adding(1))
        await store.flush()
        network.calls.clear()
        await store.commit(lambda draft: add_tag(draft, instance.uuid, "x"))
        await store.commit(lambda draft: draft.update_cluster(draft.snapshot.cluster))
        await store.flush()
        assert ("node2", "write_ssconf_files") not in network.calls
        await store.commit(adding(2))
        await store.flush()
        assert network.calls.count(("node2", "write_ssconf_files")) == 1

    run(main())


def test_ssconf_files_of_changes_that_follow_each_other_are_sent_together() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2"])
        store = a_store(a_disk(with_candidates(example(), ["node2"])), network)
        await store.start()
        await store.flush()
        network.calls.clear()
        for number in range(20):
            await store.commit(adding(number))
        await asyncio.sleep(0.1)
        assert network.calls.count(("node2", "write_ssconf_files")) == 1
        await store.flush()  # does not wait for a pause
        assert network.calls.count(("node2", "write_ssconf_files")) == 2
        assert "web19.example.com" in network["node2"].ssconf["instance_list"]

    run(main())


def test_a_node_that_missed_the_ssconf_files_gets_them_when_it_answers() -> None:
    async def main() -> None:
        _, network, store = await started(["node2", "node3"])
        node3 = network["node3"]
        node3.up = False
        await store.commit(adding(1))
        await store.flush()
        assert "web1.example.com" not in node3.ssconf.get("instance_list", "")
        node3.up = True
        network.calls.clear()
        await asyncio.sleep(MISSED_PAUSE_S)
        for _ in range(3):  # answers, as the RPC client tells of them
            store.distributor.node_answers(node3.target.uuid)
            await asyncio.sleep(1.0)
        assert "web1.example.com" in node3.ssconf["instance_list"]
        assert network.calls.count(("node3", "write_ssconf_files")) == 1

    run(main())


def test_too_many_instance_names_do_not_keep_the_other_ssconf_files_back() -> None:
    async def main() -> None:
        _, network, store = await started(["node2"])
        await store.flush()
        name = ".".join(["x" * 60] * 4)

        def many(draft: Draft) -> None:
            for number in range(600):
                adding(number, name=f"web{number}.{name}")(draft)
            draft.update_cluster(replace(draft.snapshot.cluster, tags=("large",)))

        await store.commit(many)
        await store.flush()
        values = network["node2"].ssconf
        assert values["cluster_tags"] == "large"
        assert "instance_list" not in values

    run(main())


def test_a_demoted_candidate_gets_no_more_and_a_promoted_one_gets_all() -> None:
    async def main() -> None:
        disk, network, store = await started(["node2", "node3"])
        node3 = store.snapshot.find_node("node3")
        assert node3 is not None

        def set_flag(flag: bool) -> Any:
            def change(draft: Draft) -> None:
                node = draft.snapshot.nodes[node3.uuid]
                draft.update(replace(node, master_candidate=flag))

            return change

        await store.commit(set_flag(False))
        await store.flush()
        journal = network["node3"].file(network["node3"].paths.config_journal)
        await store.commit(adding(1))
        await store.flush()
        assert network["node3"].file(network["node3"].paths.config_journal) == journal
        await store.commit(set_flag(True))
        assert await store.journal.caught_up(5.0)
        await store.flush()
        for name in ("node2", "node3"):
            node = network[name]
            assert node.file(node.paths.config_journal) == disk.read(PATHS.config_journal)
            assert node.file(node.paths.config_data) == disk.read(PATHS.config_data)

    run(main())


def test_without_majority_changes_stand_and_the_store_says_degraded() -> None:
    async def main() -> None:
        disk, network, store = await started(["node2", "node3"])
        for node in network.candidates.values():
            node.up = False
        await store.commit(adding(1))
        assert store.degraded
        assert numbers(store.snapshot) == {1}
        for node in network.candidates.values():
            node.up = True
        assert await store.journal.caught_up(60.0)
        await asyncio.sleep(1.0)
        assert not store.degraded

    run(main())


@pytest.mark.parametrize("seed", range(12))
def test_a_new_master_has_every_change_that_was_not_made_degraded(seed: int) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        delay, loses = unreliable(seed, 0.05)
        names = ["node2", "node3", "node4", "node5"]
        raw = with_candidates(example(), names)
        disk, network = a_disk(raw, seed=seed), FakeNetwork(names, delay=delay, loses=loses)
        settings = StoreSettings(checkpoint=CheckpointSettings(small_bytes=1, journal_share=0.3))
        store = a_store(disk, network, settings=settings)
        await store.start()
        await asyncio.sleep(1.0)
        promised: set[int] = set()
        for number in range(40):
            if chance.random() < 0.3:
                down = [node for node in network.candidates.values() if not node.up]
                if len(down) == 2:  # with three of five there is a majority
                    chance.choice(down).up = True
                    await asyncio.sleep(15.0)
                else:
                    network[chance.choice(names)].crash()
            await store.commit(adding(number))
            if not store.degraded:
                promised.add(number)
        if store.degraded:
            return  # no promise in that state
        network.loses = lambda: False
        for node in network.candidates.values():
            node.up = True
        successor = network["node2"]
        network[chance.choice(names[1:])].up = False
        after = ConfigStore(
            successor.paths,
            disk=successor.disk,
            rpc=network,
            now=lambda: NOW,
            random=random.Random(seed),
            offload=store._offload,
            hostname="node2",
        )
        if not successor.disk.exists(successor.paths.config_data):
            return
        await after.recover(majority=True)
        await after.take_over(majority=True)
        await after.start()
        assert promised <= numbers(after.snapshot), seed
        await after.stop()

    run(main())


def test_a_new_master_has_what_came_after_it_read_its_files() -> None:
    async def main() -> None:
        names = ["node2", "node3"]
        network = FakeNetwork(names)
        store = a_store(a_disk(with_candidates(example(), names)), network)
        await store.start()
        await store.commit(adding(1))
        await asyncio.sleep(1.0)
        successor = network["node2"]
        after = ConfigStore(
            successor.paths,
            disk=successor.disk,
            rpc=network,
            now=lambda: NOW,
            random=random.Random(1),
            offload=store._offload,
            hostname="node2",
        )
        await after.load()
        await store.commit(adding(2))
        await asyncio.sleep(1.0)
        await after.take_over()
        assert numbers(after.snapshot) == {1, 2}

    run(main())


# Rules of writing the file.


def test_the_schedule_follows_the_rules() -> None:
    schedule = Schedule(CheckpointSettings())
    schedule.last_change = 100.0
    small, large = 1000, 8 << 20
    assert schedule.due_at(small, 0) <= 100.0
    schedule.wrote(99.0, 99.9)
    assert schedule.due_at(small, 0) == pytest.approx(99.9 + 0.9 / 0.05)
    assert schedule.due_at(large, 1000) == 105.0
    assert schedule.due_at(large, 3 << 20) <= 100.0
    assert schedule.journal_limit(small) == 1 << 20
    assert schedule.journal_limit(large) == 2 << 20
    schedule.wrote(100.0, 100.0, failed=True)
    assert schedule.due_at(large, 3 << 20) == 110.0


def test_only_changed_objects_are_encoded_again() -> None:
    disk = a_disk(example())
    writer = DocumentWriter(disk, PATHS.config_data)
    one = a_snapshot()
    saved = writer.write(one)
    data = disk.read(PATHS.config_data)
    assert (saved.serial_no, saved.size) == (one.serial_no, len(data))
    assert json.loads(data) == json.loads(json.dumps(as_json(one)))
    texts = dict(writer._texts)
    draft = Draft(one, NOW)
    add_tag(draft, next(iter(one.instances)), "x")
    two, _ = draft.finish()
    writer.write(two)
    changed = [key for key, entry in writer._texts.items() if texts.get(key) is not entry]
    assert changed == list(one.instances)
    assert json.loads(disk.read(PATHS.config_data)) == json.loads(json.dumps(as_json(two)))
