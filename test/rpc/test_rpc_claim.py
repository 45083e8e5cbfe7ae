"""Masters that begin at the same time, or while an older one still lives: promises of terms."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from fakes.candidates import Candidate, FakeNetwork, unreliable
from fakes.virtual_time import in_place, run
from ganeti.errors import ConfigurationError
from ganeti.node.journal import JournalStore
from ganeti.rpc.base import Target
from ganeti.rpc.promise import Promise, lock_of
from ganeti.rpc.recover import Recovery
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.utils.journal import Generation, Header, new_journal, read


class Ruler:
    """A master on one of the candidates: its journal is the file that its node daemon serves."""

    def __init__(self, network: FakeNetwork, node: str, identity: str) -> None:
        self.here: Candidate = network[node]
        self.others: list[Target] = [one for one in network.targets if one.name != node]
        self.network = network
        self.identity = identity
        self.journal = ReplicatedJournal(
            "queue",
            self.here.paths.queue_journal,
            disk=self.here.disk,
            rpc=network,
            identity=identity,
            master=node,
            lock=lock_of(self.here.paths, "queue"),
            offload=in_place,
        )
        self.journal.set_followers(self.others)

    async def begin(self) -> None:
        """As masterd does: promises, the newest copy, the new term."""
        await self.journal.claim()
        recovery = Recovery(
            name="queue",
            path=self.here.paths.queue_journal,
            rpc=self.network,
            disk=self.here.disk,
            offload=in_place,
            others=self.others,
            claimed=self.journal.claimed,
        )
        takeover = await recovery.written_by() != self.here.target.name
        await recovery.run(majority=True, longer=takeover)
        contents = await self.journal.load()
        records = contents.records if contents is not None else ()
        await self.journal.begin({}, lambda count: records)

    async def end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def nodes(count: int, **options: Any) -> FakeNetwork:
    return FakeNetwork([f"node{n}" for n in range(1, count + 1)], **options)


@pytest.mark.parametrize("seed", range(60))
def test_nothing_that_any_master_stored_is_lost_however_masters_follow_each_other(
    seed: int,
) -> None:
    """Masters begin at any time on any node, nobody tells the older ones; messages get lost."""

    async def main() -> None:
        chance = random.Random(seed)
        delay, loses = unreliable(seed, chance.choice([0.0, 0.02, 0.1]))
        count = chance.choice([3, 3, 5])
        network = nodes(count, delay=delay, loses=loses)
        stored: list[bytes] = []
        terms: dict[int, str] = {}

        async def rule(number: int) -> None:
            await asyncio.sleep(chance.choice([0.0, chance.uniform(0, 0.1), chance.uniform(0, 9)]))
            ruler = Ruler(network, f"node{chance.randint(1, count)}", f"id{number}")
            try:
                await ruler.begin()
                for index in range(40):
                    record = b"%d-%d" % (number, index)
                    if await ruler.journal.append(record):
                        assert ruler.journal.generation is not None
                        term = ruler.journal.generation.term
                        assert terms.setdefault(term, ruler.identity) == ruler.identity
                        stored.append(record)
                    await asyncio.sleep(chance.choice([0.0, chance.uniform(0, 0.3)]))
            except ConfigurationError:
                pass  # deposed, or no majority

        async def cut_off() -> None:
            """One node at a time is not heard of for a moment; masters on it go on."""
            for _ in range(30):
                one = network[f"node{chance.randint(1, count)}"]
                one.up = False
                await asyncio.sleep(chance.uniform(0, 0.4))
                one.up = True

        await asyncio.gather(cut_off(), *(rule(number) for number in range(6)))
        network.loses = lambda: False
        last = Ruler(network, "node3", "last")
        await last.begin()
        found = read(last.here.file(last.here.paths.queue_journal), "node3").records
        assert set(stored) <= set(found), (seed, sorted(set(stored) - set(found)))
        await last.end()

    run(main())


def test_of_two_masters_that_begin_at_the_same_moment_one_stores_and_the_other_ends() -> None:
    async def main() -> None:
        network = nodes(5)
        rulers = [Ruler(network, "node1", "aa"), Ruler(network, "node2", "bb")]
        await asyncio.gather(*(one.begin() for one in rulers), return_exceptions=True)
        fates = await asyncio.gather(
            *(one.journal.append(b"mine") for one in rulers), return_exceptions=True
        )
        assert sorted(fate is True for fate in fates) == [False, True]
        assert sum(isinstance(fate, ConfigurationError) for fate in fates) == 1
        await rulers[0].end()

    run(main())


def test_an_old_master_stores_nothing_after_the_promises_even_with_its_own_vote() -> None:
    """Its own node and node4 and node5 would be a majority, but its node has promised."""

    async def main() -> None:
        network = nodes(5)
        old, new = Ruler(network, "node1", "aa"), Ruler(network, "node2", "bb")
        await old.begin()
        assert await old.journal.append(b"one")
        network["node4"].up = network["node5"].up = False
        await new.journal.claim()
        network["node4"].up = network["node5"].up = True
        with pytest.raises(ConfigurationError, match="another master has taken over"):
            await old.journal.append(b"two")
        await new.end()

    run(main())


def test_what_a_promising_candidate_has_is_found_though_others_have_got_it_later() -> None:
    """node3 has a record and promises; who answers the search has it only afterwards."""

    async def main() -> None:
        network = nodes(5)
        old, new = Ruler(network, "node1", "aa"), Ruler(network, "node4", "bb")
        await old.begin()
        assert await old.journal.caught_up(1.0)
        network["node2"].up = network["node5"].up = False
        waiting = old.journal.append(b"half way")  # on node1, node3 and node4 only
        await asyncio.sleep(0.0015)
        await new.begin()
        found = read(new.here.file(new.here.paths.queue_journal), "node4").records
        assert list(found) == [b"half way"] and not (waiting.done() and waiting.exception())
        await new.end()

    run(main())


def test_without_a_majority_a_master_begins_degraded_as_before() -> None:
    async def main() -> None:
        network = FakeNetwork(["node1", "node2", "node3"])
        network["node2"].up = network["node3"].up = False
        ruler = Ruler(network, "node1", "aa")
        await ruler.journal.begin({})
        assert await ruler.journal.append(b"one") is False
        await ruler.end()

    run(main())


def a_promise(candidate: Candidate) -> Promise:
    lock = lock_of(candidate.paths, "queue")
    return Promise(candidate.paths.queue_journal, lock, candidate.disk)


def test_a_promise_survives_a_crash_and_binds_writes_of_older_masters() -> None:
    node = FakeNetwork(["node1"])["node1"]
    old, new = Generation(3, 1, "aa"), Generation(4, 0, "bb")
    store = JournalStore(node.paths, node.disk)
    data = new_journal(Header("queue", old, {}, "node9"))
    node.disk.put(node.paths.queue_journal, data)
    assert store.promise("queue", str(new)).refused == ""
    node.crash()
    store = JournalStore(node.paths, node.disk)
    for state in (
        store.append("queue", str(old), len(data), b"late\n"),
        store.replace("queue", str(old), 0, data, len(data), 0),
        store.promise("queue", "4.0.cc"),
        store.promise("queue", "3.0.dd"),
    ):
        assert state.deposed and "obeys the master that began term 4.0.bb" in state.refused
        assert state.promised == "4.0.bb"
    assert store.promise("queue", str(new)).refused == ""


def test_the_header_of_a_journal_is_a_promise_too() -> None:
    node = FakeNetwork(["node1"])["node1"]
    header = Header("queue", Generation(7, 2, "aa"), {}, "node9")
    node.disk.put(node.paths.queue_journal, new_journal(header))
    store = JournalStore(node.paths, node.disk)
    assert store.promise("queue", "7.0.bb").deposed
    assert not store.promise("queue", "7.0.aa").refused
    assert not store.promise("queue", "8.0.bb").refused


def test_a_damaged_promise_names_its_file() -> None:
    node = FakeNetwork(["node1"])["node1"]
    promise = a_promise(node)
    node.disk.put(promise.path, b"what?\n")
    with pytest.raises(ConfigurationError, match="journal.promise: 'what\\?' is not the gener"):
        promise.give(Generation(1, 0, "aa"))
