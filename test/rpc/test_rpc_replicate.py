"""A replicated journal with candidates in memory, on virtual time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.candidates import Candidate, FakeNetwork, unreliable
from fakes.faulty_disk import FaultyDisk
from fakes.virtual_time import in_place, run
from ganeti.errors import ConfigurationError
from ganeti.paths import Paths
from ganeti.rpc.base import Target
from ganeti.rpc.recover import Recovery
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.utils.journal import Generation, Header, new_journal, read

PATHS = Paths("/master")
PATH = PATHS.queue_journal
NOBODY = Target("nobody", "node1", "192.0.2.1")


def a_disk(**faults: int) -> FaultyDisk:
    disk = FaultyDisk(**faults)
    disk.put(PATHS.queue / "here", b"")
    return disk


class Master:
    """A journal of the queue on a disk and a network, with what it said."""

    def __init__(self, disk: FaultyDisk, network: FakeNetwork, identity: str = "aa") -> None:
        self.degraded: list[bool] = []
        self.failures: list[Exception] = []
        self.deposed: list[str] = []
        self.journal = ReplicatedJournal(
            "queue",
            PATH,
            disk=disk,
            rpc=network,
            identity=identity,
            offload=in_place,
            on_degraded=lambda degraded, reason: self.degraded.append(degraded),
            on_failure=self.failures.append,
            on_deposed=self.deposed.append,
        )
        self.network = network

    async def begin(self) -> list[bytes]:
        contents = await self.journal.load()
        records = list(contents.records) if contents is not None else []
        self.journal.set_followers(self.network.targets)
        await self.journal.begin({}, lambda count: records)
        return records


def records_on(candidate: Candidate) -> list[bytes]:
    data = candidate.file(candidate.paths.queue_journal)
    return list(read(data, candidate.target.name).records) if data else []


async def recover(
    network: FakeNetwork, disk: FaultyDisk, path: Path, others: Sequence[Target]
) -> str | None:
    """What a new master does."""
    recovery = Recovery(
        name="queue", path=path, rpc=network, disk=disk, offload=in_place, others=others
    )
    return await recovery.run(majority=True, longer=True)


def test_a_record_is_on_every_candidate_byte_for_byte() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        assert await asyncio.gather(*(master.journal.append(b"%d" % n) for n in range(5)))
        assert await master.journal.caught_up(1.0)
        for name in ("node2", "node3"):
            candidate = network[name]
            assert candidate.file(candidate.paths.queue_journal) == disk.read(PATH)
        assert records_on(network["node2"]) == [b"0", b"1", b"2", b"3", b"4"]

    run(main())


def test_records_that_arrive_together_share_one_write_and_one_call() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        await master.journal.caught_up(1.0)
        before, network.calls = disk.operations, []
        await asyncio.gather(*(master.journal.append(b"x") for _ in range(50)))
        await master.journal.caught_up(1.0)
        assert disk.operations - before == 2  # one write, one sync
        assert sorted(network.calls) == [("node2", "journal_append"), ("node3", "journal_append")]

    run(main())


def test_one_of_three_may_be_dead() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        network["node3"].up = False
        master = Master(a_disk(), network)
        await master.begin()
        began = asyncio.get_running_loop().time()
        assert await master.journal.append(b"one") is True
        assert asyncio.get_running_loop().time() - began < 0.1
        assert not master.journal.degraded
        network["node3"].up = True
        assert await master.journal.caught_up(30.0)
        assert records_on(network["node3"]) == [b"one"]

    run(main())


def test_without_majority_it_is_degraded_until_candidates_have_caught_up() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2"])
        master = Master(a_disk(), network)
        await master.begin()
        await master.journal.append(b"one")
        network["node2"].up = False
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await master.journal.append(b"two") is False
        assert 4.9 < loop.time() - began < 5.2
        began = loop.time()
        assert await master.journal.append(b"three") is False
        assert loop.time() - began < 0.1
        network["node2"].up = True
        assert await master.journal.caught_up(30.0)
        assert await master.journal.append(b"four") is True
        assert master.degraded == [True, False]
        assert records_on(network["node2"]) == [b"one", b"two", b"three", b"four"]

    run(main())


def test_a_master_alone_is_its_own_majority() -> None:
    async def main() -> None:
        master = Master(a_disk(), FakeNetwork([]))
        await master.begin()
        assert await master.journal.append(b"one") is True
        await master.journal.stop()

    run(main())


def test_a_candidate_that_lost_its_tail_gets_only_what_is_missing() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        master = Master(a_disk(), network)
        await master.begin()
        await master.journal.append(b"one")
        await master.journal.caught_up(1.0)
        node = network["node3"]
        node.up = False
        await master.journal.append(b"two")
        await asyncio.sleep(0.5)
        node.up, network.calls = True, []
        assert await master.journal.caught_up(30.0)
        assert ("node3", "journal_replace") not in network.calls
        assert records_on(node) == [b"one", b"two"]

    run(main())


@pytest.mark.parametrize("away_s", [1.0, 12.0, 60.0])
def test_a_candidate_that_was_away_catches_up_soon(away_s: float) -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        master = Master(a_disk(), network)
        await master.begin()
        network["node3"].up = False
        await master.journal.append(b"meanwhile")
        await asyncio.sleep(away_s)
        network["node3"].up = True
        assert await master.journal.caught_up(2.5)
        assert records_on(network["node3"]) == [b"meanwhile"]

    run(main())


def test_a_candidate_with_other_bytes_gets_the_whole() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        disk = a_disk()
        master = Master(disk, network)
        await master.begin()
        await master.journal.append(b"one")
        await master.journal.caught_up(1.0)
        node = network["node3"]
        data = node.file(node.paths.queue_journal)
        node.disk.put(node.paths.queue_journal, data[:-3] + b"???")
        node.disk.append_file(node.paths.queue_journal).append(b"more")
        await master.journal.append(b"two")
        assert await master.journal.caught_up(30.0)
        assert node.file(node.paths.queue_journal) == disk.read(PATH)

    run(main())


def test_a_large_batch_travels_in_pieces() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2"])
        master = Master(disk, network)
        await master.begin()
        await master.journal.caught_up(1.0)
        await master.journal.append(b"x" * 1_000_000)
        assert network.calls.count(("node2", "journal_append")) == 8
        node = network["node2"]
        assert node.file(node.paths.queue_journal) == disk.read(PATH)

    run(main())


def test_a_new_generation_begins_with_what_is_carried() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        for number in range(3):
            await master.journal.append(b"old %d" % number)
        counts: list[int] = []

        def carry(count: int) -> list[bytes]:
            counts.append(count)
            return [b"summary"]

        waiting = [master.journal.append(b"new %d" % n) for n in range(2)]
        await master.journal.begin({"kept": 3}, carry)
        assert await asyncio.gather(*waiting) == [True, True]
        assert await master.journal.append(b"last") is True
        await master.journal.caught_up(1.0)
        contents = read(disk.read(PATH), "here")
        assert contents.header.base == {"kept": 3}
        assert contents.header.generation == Generation(1, 2, "aa")
        carried = {3: [b"summary", b"new 0", b"new 1", b"last"], 5: [b"summary", b"last"]}
        assert list(contents.records) == carried[counts[0]]
        for node in network.candidates.values():
            assert node.file(node.paths.queue_journal) == disk.read(PATH)

    run(main())


def test_an_old_master_can_write_no_more() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        old = Master(a_disk(), network, "aa")
        await old.begin()
        await old.journal.append(b"one")
        await old.journal.caught_up(1.0)
        new = Master(a_disk(), network, "bb")
        await new.begin()
        assert new.journal.generation == Generation(2, 1, "bb")
        assert await new.journal.append(b"of the new one") is True
        await new.journal.caught_up(1.0)
        with pytest.raises(ConfigurationError, match="another master has taken over"):
            await old.journal.append(b"too late")
        with pytest.raises(ConfigurationError, match="another master has taken over"):
            await old.journal.append(b"again")
        assert old.failures
        assert records_on(network["node2"]) == [b"of the new one"]

    run(main())


def test_without_majority_one_refusal_ends_an_old_master() -> None:
    """Of three, one is dead and one belongs to the new master: nothing is stored by the old one."""

    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        old = Master(a_disk(), network, "aa")
        await old.begin()
        await old.journal.append(b"one")
        network["node3"].up = False
        await Master(a_disk(), network, "bb").begin()
        await asyncio.sleep(1.0)
        with pytest.raises(ConfigurationError, match="another master has taken over: node2"):
            await old.journal.append(b"too late")
        assert old.deposed and not old.journal.degraded

    run(main())


def test_a_degraded_master_ends_when_a_candidate_follows_another_one() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        old = Master(a_disk(), network, "aa")
        await old.begin()
        for node in network.candidates.values():
            node.up = False
        assert await old.journal.append(b"degraded") is False
        network["node2"].up = True
        old.journal.set_followers([])  # cut off meanwhile
        new = Master(a_disk(), network, "bb")
        await new.begin()
        await new.journal.caught_up(1.0)
        old.journal.set_followers(network.targets)
        await asyncio.sleep(30.0)
        with pytest.raises(ConfigurationError, match="another master has taken over"):
            await old.journal.append(b"too late")

    run(main())


def test_what_another_beginning_master_wrote_here_is_not_overwritten_in_its_own_term() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network, "aa")
        assert await master.journal.load() is None
        other = Header("queue", Generation(1, 1, "bb"), {}, "node9")
        disk.put(PATH, new_journal(other, [b"of the other one"]))
        master.journal.set_followers(network.targets)
        await master.journal.begin({})
        assert master.journal.generation == Generation(2, 1, "aa")

    run(main())


def test_an_idle_old_master_notices_that_another_one_rules() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        old = Master(a_disk(), network, "aa")
        await old.begin()
        await old.journal.caught_up(1.0)
        new = Master(a_disk(), network, "bb")
        await new.begin()
        await new.journal.caught_up(1.0)
        await asyncio.sleep(40.0)
        assert old.deposed and not new.deposed

    run(main())


def test_an_idle_candidate_that_lost_its_file_gets_it_again() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        assert await master.journal.append(b"one")
        await master.journal.caught_up(1.0)
        node2 = network["node2"]
        node2.disk.unlink(node2.paths.queue_journal)
        await asyncio.sleep(40.0)
        assert records_on(node2) == [b"one"]

    run(main())


def test_a_full_disk_fails_the_batch_and_nothing_else() -> None:
    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        await master.journal.append(b"one")
        disk.fail_at = disk.operations + 1
        results = await asyncio.gather(
            master.journal.append(b"two"), master.journal.append(b"three"), return_exceptions=True
        )
        assert all(isinstance(one, OSError) and one.errno == errno.EIO for one in results)
        assert all(str(PATH) in str(one) for one in results)
        assert len(master.failures) == 1
        assert await master.journal.append(b"four") is True
        assert await master.journal.caught_up(30.0)
        assert list(read(disk.read(PATH), "here").records) == [b"one", b"four"]
        for node in network.candidates.values():
            assert node.file(node.paths.queue_journal) == disk.read(PATH)

    run(main())


def test_what_a_failed_write_left_on_a_candidate_never_wins_over_what_came_later() -> None:
    """node2 got a batch that failed here, and slept while node3 got what followed."""

    async def main() -> None:
        disk, network = a_disk(), FakeNetwork(["node2", "node3"])
        master = Master(disk, network)
        await master.begin()
        assert await master.journal.append(b"one") and await master.journal.caught_up(1.0)
        asleep, awake = network["node2"], network["node3"]
        awake.up = False
        disk.fail_at = disk.operations + 2  # the sync; the batch is under way to node2
        with pytest.raises(OSError):
            await master.journal.append(b"refused, and longer than what comes now")
        await asyncio.sleep(0.0015)  # it has arrived there
        asleep.up, awake.up = False, True
        assert records_on(asleep)[1:] == [b"refused, and longer than what comes now"]
        assert await master.journal.append(b"two") is True
        asleep.up = True
        await recover(network, awake.disk, awake.paths.queue_journal, [asleep.target, NOBODY])
        assert records_on(awake) == [b"one", b"two"]

    run(main())


def test_a_journal_that_cannot_be_repaired_says_so() -> None:
    async def main() -> None:
        disk = a_disk()
        master = Master(disk, FakeNetwork([]))
        await master.begin()
        disk.fail_at, disk.lasting = disk.operations + 1, True
        with pytest.raises(OSError, match="queue/journal"):
            await master.journal.append(b"one")
        with pytest.raises(ConfigurationError, match="restart the daemon when the disk is repai"):
            await master.journal.append(b"two")

    run(main())


def test_a_torn_tail_is_left_out_when_loading(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        disk = a_disk()
        first = Master(disk, FakeNetwork([]))
        await first.begin()
        await first.journal.append(b"one")
        disk.append_file(PATH).append(b"12345678 5")
        after = Master(disk, FakeNetwork([]))
        assert await after.begin() == [b"one"]
        assert "10 bytes after byte" in caplog.text

    run(main())


def test_a_journal_of_another_name_is_refused() -> None:
    async def main() -> None:
        disk = a_disk()
        await Master(disk, FakeNetwork([])).begin()
        other = ReplicatedJournal(
            "config", PATH, disk=disk, rpc=FakeNetwork([]), identity="x", offload=in_place
        )
        with pytest.raises(ConfigurationError, match="journal of 'queue', not of 'config'"):
            await other.load()

    run(main())


def test_what_was_answered_survives_any_fault_and_crash_of_the_master() -> None:
    async def main(nth: int, lasting: bool) -> bool:
        disk, network = a_disk(seed=nth), FakeNetwork(["node2", "node3"])
        disk.fail_at, disk.lasting = nth, lasting
        answered: list[bytes] = []
        failed: list[bytes] = []
        try:
            master = Master(disk, network)
            await master.begin()
            for number in range(6):
                record = b"%d" % number
                try:
                    await master.journal.append(record)
                    answered.append(record)
                except (OSError, ConfigurationError):
                    failed.append(record)
                if number == 3:
                    await master.journal.begin({}, lambda count: list(answered))
        except (OSError, ConfigurationError):
            pass
        found = await Master(disk.crash(), FakeNetwork([])).begin()
        assert [one for one in found if one in answered] == answered, (nth, lasting)
        if not lasting:
            assert not set(found) & set(failed), (nth, found, failed)
        return disk.failed

    for lasting in (False, True):
        for nth in itertools.count(1):
            if not run(main(nth, lasting)):
                break


@pytest.mark.parametrize("seed", range(25))
def test_on_a_bad_network_with_crashes_everything_answered_is_kept(seed: int) -> None:
    """Candidates crash and come back, messages get lost; in the end all have the same bytes."""

    async def main() -> None:
        chance = random.Random(seed)
        delay, loses = unreliable(seed, chance.choice([0.0, 0.05, 0.2]))
        names = [f"node{n}" for n in range(2, chance.choice([3, 4, 6]))]
        network = FakeNetwork(names, delay=delay, loses=loses)
        disk = a_disk(seed=seed)
        master = Master(disk, network)
        await master.begin()
        answers: dict[bytes, bool] = {}

        async def write(number: int) -> None:
            await asyncio.sleep(chance.uniform(0, 20))
            record = b"record %d" % number
            answers[record] = await master.journal.append(record)

        async def disturb() -> None:
            for _ in range(8):
                await asyncio.sleep(chance.uniform(0, 3))
                node = network[chance.choice(names)]
                if node.up:
                    node.crash()
                else:
                    node.up = True

        async def rotate() -> None:
            await asyncio.sleep(chance.uniform(0, 20))
            await master.journal.begin({}, lambda count: list(read(disk.read(PATH), "").records))

        await asyncio.gather(disturb(), rotate(), *(write(number) for number in range(60)))
        durable = {record for record, majority in answers.items() if majority}
        having = [set(read(disk.read(PATH), "master").records)]
        having += [set(records_on(node)) for node in network.candidates.values()]
        for record in durable:
            assert sum(record in one for one in having) * 2 > len(having), record
        network.loses = lambda: False
        for node in network.candidates.values():
            node.up = True
        assert await master.journal.caught_up(200.0)
        await asyncio.sleep(60.0)
        assert not master.journal.degraded
        for node in network.candidates.values():
            assert node.file(node.paths.queue_journal) == disk.read(PATH), seed
        await master.journal.stop()

    run(main())


@pytest.mark.parametrize("seed", range(15))
def test_a_new_master_finds_everything_that_was_durable(seed: int) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        delay, loses = unreliable(seed, 0.05)
        network = FakeNetwork(["node2", "node3", "node4", "node5"], delay=delay, loses=loses)
        master = Master(a_disk(seed=seed), network)
        await master.begin()
        durable: list[bytes] = []
        for number in range(30):
            if chance.random() < 0.2:
                node = network[f"node{chance.randint(2, 5)}"]
                node.up = not node.up
            record = b"%d" % number
            if await master.journal.append(record):
                durable.append(record)
        successor = network["node2"]
        others = [one for one in network.candidates.values() if one is not successor]
        network.loses = lambda: False
        for one in others:
            one.up = True
        chance.choice(others).up = False  # with the old master two of five are gone
        path = successor.paths.queue_journal
        await recover(network, successor.disk, path, [NOBODY, *(one.target for one in others)])
        found = read(successor.disk.read(path), "here").records
        assert set(durable) <= set(found)

    run(main())


def test_a_new_master_without_majority_does_not_begin() -> None:
    async def main() -> None:
        network = FakeNetwork(["node2", "node3"])
        for node in network.candidates.values():
            node.up = False
        with pytest.raises(ConfigurationError, match="only 1 of 3 .* missing: node2, node3"):
            await recover(network, a_disk(), Path("/master/x"), network.targets)

    run(main())


def test_the_loop_goes_on_when_a_write_was_cancelled() -> None:
    async def main() -> None:
        master = Master(a_disk(), FakeNetwork([]))
        await master.begin()
        master.journal.append(b"first")
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        master.journal.append(b"second")
        async with asyncio.timeout(1):
            for _ in range(10):
                await asyncio.sleep(0)

    run(main())
