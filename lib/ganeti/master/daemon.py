"""ganeti-masterd: owns the configuration and the job queue, answers LUXI.

`Master` is the daemon as an object, built from settings and run on one loop; `main` is the program
around one of them. Order of the start: am I the master by ssconf → configuration → vote → newest
copy of configuration and queue → queue (what the last master left is undone) → sockets → master
address.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore, StoreSettings, followers_of
from ganeti.http.listener import loop_factory
from ganeti.http.tls import client_context
from ganeti.jobs.queue import JobQueue
from ganeti.jobs.recover import recover_queue
from ganeti.jobs.replicate import JobFileReplicator
from ganeti.jobs.store import JobStore, job_file_name
from ganeti.logic.consoles import console_of
from ganeti.luxi.server import LuxiServer
from ganeti.master import ballot, voting
from ganeti.master.bridge import Bridge
from ganeti.master.certificates import CertificateLearner
from ganeti.master.event_feed import EventFeed
from ganeti.master.locks import JobLocks
from ganeti.master.metrics import MasterMetrics, RpcFigures, Sources
from ganeti.master.processor import Processor
from ganeti.master.queries import JobsOf, MasterQueries
from ganeti.master.service import LuxiService
from ganeti.master.state import MasterState
from ganeti.master.worker import LoopSide
from ganeti.model.master_params import master_params
from ganeti.opcodes.base import Opcode
from ganeti.paths import Paths
from ganeti.query.engine import QueryEngine
from ganeti.query.live import RpcLive
from ganeti.rpc import calls
from ganeti.rpc.base import Target, target_of
from ganeti.rpc.client import HttpTransport, RpcClient, Transport
from ganeti.rpc.promise import lock_of
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.serializer import Json
from ganeti.utils import daemonize, log, net
from ganeti.utils.files import Disk, LocalDisk

logger = logging.getLogger(__name__)

PROGRAM = "ganeti-masterd"
MOST_WORKERS = 1000  # threads come when needed; the scheduler lets max_running_jobs run
SWITCH_S = 0.0005  # a worker delays the loop by no more than that
LAST_ANSWER_S = 1.0  # the job that ends the cluster is answered before the daemon ends


class NotMaster(Exception):
    """This node is not the master; the program ends with exit code 11."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSettings:
    """How one master daemon is set up; the defaults are those of ganeti-masterd.

    `transport` makes the way to the nodes. `now`: Unix seconds. `limits` are those of the
    configuration; the queue's journal has the same.
    """

    paths: Paths
    hostname: str
    no_voting: bool = False
    disk: Disk = field(default_factory=LocalDisk)
    transport: Callable[[Paths], Transport] = lambda paths: HttpTransport(client_context(paths))
    now: Callable[[], float] = time.time
    random: random.Random = field(default_factory=random.SystemRandom)
    limits: StoreSettings = field(default_factory=StoreSettings)
    vote_pause_s: float = voting.PAUSE_S


class Master:
    """One master daemon on the running loop."""

    def __init__(self, settings: MasterSettings) -> None:
        self.settings = settings
        self.ended = asyncio.Event()
        self.deposed = ""  # why this node is the master no more
        paths = settings.paths
        self._disk: Disk = settings.disk
        self.rpc = RpcClient(settings.transport(paths))
        self.rpc_figures = RpcFigures()
        self.rpc.observers.append(self.rpc_figures)
        run = f"{settings.random.getrandbits(64):016x}"
        self.events = EventFeed(run, lambda: self.queue.jobs, time.monotonic)
        self.store = ConfigStore(
            paths,
            disk=self._disk,
            rpc=self.rpc,
            now=settings.now,
            random=settings.random,
            hostname=settings.hostname,
            settings=settings.limits,
            on_change=self._config_changed,
            on_delta=self.events.config_changed,
            on_deposed=self._end_deposed,
        )
        self.certificates = CertificateLearner(self.rpc, self.store.commit)
        self.rpc.health.listeners += (
            self.store.distributor.node_answers,
            self.certificates.node_answers,
        )
        self._queue_rules: object = None
        self._followers: list[Target] | None = None
        self.locks = JobLocks()
        self.server: LuxiServer | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """It answers on both sockets; raises what `open` raises, LockError for a used socket."""
        await self.open()
        paths = self.settings.paths
        self.server = LuxiServer([paths.master_socket, paths.query_socket], self.service.handle)
        await self.server.start()
        if not paths.is_virtual:
            self._in_background(self._activate_master_ip())

    async def open(self) -> None:
        """`service` answers and jobs run.

        NotMaster when ssconf or the configuration name another node or the vote is lost: then no
        node was told anything. ConfigurationError, ParseError and JobQueueError when a file is
        damaged (it is left as it is), or no majority tells who has the newest copy.
        """
        me, voting = self.settings.hostname, not self.settings.no_voting
        check_is_master(self.settings.paths, me)
        config = await self.store.load()
        check_names_me(config, me)
        if voting:
            await self._vote(config)
        check_names_me(await self.store.recover(majority=voting), me)
        check_names_me(await self.store.take_over(majority=voting), me)
        await self.store.start()
        await self._start_queue()

    async def _start_queue(self) -> None:
        paths = self.settings.paths
        self.bridge = Bridge(asyncio.get_running_loop(), MOST_WORKERS)
        self.state = MasterState(
            paths,
            self._disk,
            self.rpc,
            self._config,
            lambda: self.queue.drained,
            self.settings.now,
        )
        self.engine = QueryEngine(
            config=self._config,
            nodes=RpcLive(self.rpc, console_of(paths)),
            jobs=JobsOf(lambda: self.queue),
            locks=self.locks,
            state=self.state,
        )
        side = LoopSide(
            bridge=self.bridge,
            rpc=self.rpc,
            store=self.store,
            locks=self.locks,
            queries=MasterQueries(self.engine),
            paths=paths,
            transport=self.settings.transport,
            stop_master=self._end_soon,
            now=self.settings.now,
        )
        self.processor = Processor(side, self._submit_generated)
        self.queue = self._make_queue(self.processor)
        self.rpc.health.listeners.append(self.queue.node_answers)
        self._watch()
        self.service = LuxiService(
            self.queue,
            self.engine,
            self.store,
            self.state,
            {"WaitForEvents": self.events.wait, "QueryMetrics": self.metrics.collect},
        )
        self._config_changed(self._config())
        await self.queue_journal.claim()
        await recover_queue(
            self.queue_store,
            self.rpc,
            self._other_candidates(),
            self.settings.hostname,
            majority=not self.settings.no_voting,
            claimed=self.queue_journal.claimed,
            answer_s=self.settings.limits.replication.deadline_s,
        )
        await self.queue.start()

    def _watch(self) -> None:
        """What happens is told to who wants to know, and counted."""
        self.queue.watch(self.events.jobs_changed, self.events.jobs_archived)
        sources = Sources(
            store=self.store,
            queue=self.queue,
            queue_journal=self.queue_journal,
            engine=self.engine,
            locks=self.locks,
            rpc=self.rpc_figures,
            now=self.settings.now,
        )
        self.metrics = MasterMetrics(sources)

    async def _submit_generated(self, jobs: Sequence[Sequence[Opcode]]) -> list[Json]:
        """Jobs that a job makes come into the queue even when it is drained."""
        numbers = await self.queue.submit_many(jobs, to_drained=True)
        return [[True, number] for number in numbers]

    def _config_changed(self, config: Snapshot) -> None:
        """Called with every durable snapshot; costs nothing unless something here depends on it."""
        parts = (config.cluster.max_running_jobs, config.filters)
        if parts != self._queue_rules:
            self._queue_rules = parts
            self.queue.configure(config.cluster.max_running_jobs, config.filters.values())
        targets = self._other_candidates()
        if targets != self._followers:
            self._followers = targets
            self.queue_journal.set_followers(targets)
        self.certificates.config_changed(config)

    def _other_candidates(self) -> list[Target]:
        return followers_of(self._config(), hostname=self.settings.hostname)

    def _queue_files(self) -> list[str]:
        """Names of the files that a new candidate needs."""
        return ["version", "serial", *(job_file_name(number) for number in self.queue.jobs)]

    def _make_queue(self, processor: Processor) -> JobQueue:
        """The queue, its journal and what brings its files to the candidates."""
        paths = self.settings.paths
        self.queue_store = store = JobStore(paths, self._disk)
        replicator = JobFileReplicator(
            self.rpc,
            self._other_candidates,
            store.content,
            self._queue_files,
            paths.virtual(paths.queue),
        )
        self.queue_journal = ReplicatedJournal(
            "queue",
            paths.queue_journal,
            disk=self._disk,
            rpc=self.rpc,
            identity=f"{self.settings.random.getrandbits(64):016x}",
            master=self.settings.hostname,
            lock=lock_of(paths, "queue"),
            settings=self.settings.limits.replication,
            on_deposed=self._end_deposed,
            before_replace=replicator.bring,
        )
        return JobQueue(store, self.queue_journal, processor, self.settings.now, replicator)

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_later(LAST_ANSWER_S, self.ended.set)

    def _end_deposed(self, reason: str) -> None:
        self.deposed = self.deposed or reason
        self.ended.set()

    def _config(self) -> Snapshot:
        return self.store.snapshot

    async def _vote(self, config: Snapshot) -> None:
        """Enough nodes must know this one as master (voting.py says how many); NotMaster if not."""
        me = self.settings.hostname
        targets = [target_of(node) for node in config.nodes.values()]
        for attempt in range(voting.ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.settings.vote_pause_s)
            held = await ballot.hold(self.rpc, targets)
            verdict = voting.count(me, held.votes, held.offline)
            if verdict is voting.Verdict.WON:
                return
            said = voting.describe(me, held.votes, held.offline)
            logger.warning("vote %s: %s", verdict.value, said)
            for name, error in held.errors.items():
                logger.warning("vote of node %s: %s", name, error)
            if verdict is voting.Verdict.LOST:
                break
        raise NotMaster(
            f"this node is not accepted as master: {said}; when the other"
            " nodes are really down, start it with --no-voting --yes-do-it"
        )

    async def _activate_master_ip(self) -> None:
        config = self._config()
        outcome = await self.rpc.ask(
            target_of(config.master()),
            calls.node_activate_master_ip,
            master_params(config.cluster),
            config.cluster.use_external_mip_script,
        )
        if not outcome.ok:
            logger.error("the master address is not up: %s", outcome.error)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """Sockets are gone, running jobs end in error at the next start, all is on disk."""
        for task in self._background:
            task.cancel()
        self.metrics.stop()
        if self.server is not None:
            await self.server.stop()
        self.processor.end_all()
        await self.queue.stop()
        await self.certificates.stop()
        await self.store.stop()
        await self.rpc.close()
        self.bridge.close()


def check_is_master(paths: Paths, hostname: str) -> None:
    """NotMaster when ssconf names another node, or there is no cluster here."""
    try:
        master = paths.ssconf("master_node").read_text().strip()
    except FileNotFoundError as error:
        raise NotMaster(
            f"this node is not part of a cluster: {error.filename} is missing"
        ) from error
    if master != hostname:
        raise NotMaster(f"the master of this cluster is {master}, this is {hostname}")


def check_names_me(config: Snapshot, hostname: str) -> None:
    """NotMaster when the configuration has another node as its master."""
    master = config.master().name
    if master != hostname:
        raise NotMaster(
            f"the configuration on this node names {master} as the master, this is {hostname};"
            " gnt-cluster master-failover makes this node the master"
        )


def make_parser() -> argparse.ArgumentParser:
    """The program's options; the manual page is made from them."""
    parser = daemonize.daemon_parser(PROGRAM, "Ganeti master daemon", network=False)
    parser.add_argument("--no-voting", action="store_true", help="be master without asking nodes")
    parser.add_argument("--yes-do-it", action="store_true", help="needed with --no-voting")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program ganeti-masterd; its exit code."""
    options = make_parser().parse_args(argv)
    if options.no_voting and not options.yes_do_it:
        sys.stderr.write(
            "--no-voting can lead to two masters; if no other node can be the master, add"
            " --yes-do-it\n"
        )
        return constants.EXIT_FAILURE
    paths = Paths.from_environment()

    def work(ready: daemonize.Ready, lines: log.Log) -> int:
        name = net.own_name()
        settings = MasterSettings(paths=paths, hostname=name, no_voting=options.no_voting)
        try:
            check_is_master(paths, name)
            with daemonize.PidFile(paths.pid_file(PROGRAM)):
                return run(settings, ready, lines)
        except NotMaster as error:
            logger.error("%s", error)
            ready.failed(constants.EXIT_NOT_MASTER, f"{PROGRAM}: {error}")
            return constants.EXIT_NOT_MASTER

    return daemonize.run_program(PROGRAM, "master", options, paths, work)


def run(settings: MasterSettings, ready: daemonize.Ready, lines: log.Log) -> int:
    """One master daemon until TERM or INT comes, on a loop of its own."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_live(settings, ready, lines))
    return constants.EXIT_SUCCESS


async def _live(settings: MasterSettings, ready: daemonize.Ready, lines: log.Log) -> None:
    began = time.monotonic()
    master = Master(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, master.ended.set)
    loop.add_signal_handler(signal.SIGHUP, lines.reopen)
    gc.disable()  # what is loaded stays: looking through it again and again takes half of the time
    await master.start()
    gc.enable()
    gc.collect()
    gc.freeze()
    logger.info("master %s is ready after %.1f s", settings.hostname, time.monotonic() - began)
    ready.done()
    await master.ended.wait()
    logger.info("master %s: ending", settings.hostname)
    await master.stop()
    if master.deposed:
        raise NotMaster(master.deposed)
