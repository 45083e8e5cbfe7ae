"""ganeti-noded: answers calls of the master on one node.

`NodeDaemon` is the daemon as an object: built from settings, started and stopped on a loop, many
of them in one process if need be. `main` is the program around one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import pkgutil
import signal
import ssl
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import ganeti.node as node_room
from ganeti.constants import EXIT_SUCCESS, NODED_PORT
from ganeti.http.listener import Limits, loop_factory
from ganeti.http.server import TEXT, Answer, HttpServer, Request
from ganeti.http.tls import CandidateRule, authorities, server_context
from ganeti.node import impexp_dir, x509_cert
from ganeti.node.background import Background
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.metrics import MetricsServer, node_figures, read_place
from ganeti.paths import Paths
from ganeti.rpc import calls  # noqa: F401  declares the calls
from ganeti.rpc.base import CALLS, SERVED
from ganeti.rpc.dispatch import Dispatcher
from ganeti.utils import daemonize, hosts, log, net

logger = logging.getLogger(__name__)

NOT_SERVING = {
    *("background", "certificates", "context", "daemon", "impexp_daemon", "metrics", "setup"),
    "task",
}


def load_served() -> None:
    """Every serving function is in the registry: any other module of this room may hold some."""
    for module in pkgutil.iter_modules(node_room.__path__):
        if module.name not in NOT_SERVING:
            import_module(f"{node_room.__name__}.{module.name}")


PROGRAM = "ganeti-noded"
SWITCH_S = 0.0005  # a worker delays the loop by no more than that
RENEW_S = 10.0  # to read certificates; takes milliseconds
LIMITS = Limits(client_connections=200)  # a master keeps some 32; a stranger can't take them all
SPARE_FILES = 600  # logs, files of calls, pipes of what they start
LAST_ANSWER_S = 1.0  # node_leave_cluster is answered before the daemon ends


class NodeDaemon:
    """One node daemon. `tls=False` serves without encryption, for tests on loopback only."""

    def __init__(
        self,
        settings: NodeSettings,
        *,
        context: NodeContext | None = None,
        limits: Limits | None = None,
        tls: bool = True,
    ) -> None:
        load_served()
        self.settings = settings
        self.node = context or NodeContext(settings=settings)
        self.dispatcher = Dispatcher(self.node, CALLS, SERVED)
        self._limits = limits or LIMITS
        self._with_tls = tls
        self._rule = CandidateRule(settings.paths)
        self._server: HttpServer | None = None
        self._metrics: MetricsServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.port

    async def start(self) -> None:
        """It answers calls. X509CertError without a usable server.pem, OSError when the address
        is taken."""
        make_directories(self.settings)
        impexp_dir.remove_old(self.node)
        x509_cert.remove_old(self.node)
        self._server = HttpServer(
            self._handle,
            tls=self._context(),
            gate=self._gate,
            limits=self._limits,
            workers=self.settings.workers,
            express=[f"/{name}" for name, call in CALLS.items() if call.express],
            name=f"noded-{self.settings.hostname}",
        )
        await self._server.start(self.settings.bind, self.settings.port)
        logger.info("node %s: listening on port %s", self.settings.hostname, self.port)
        if self.settings.metrics is not None:
            await self._serve_metrics(*self.settings.metrics)

    async def _serve_metrics(self, address: str | None, port: int) -> None:
        self._metrics = MetricsServer(lambda: node_figures(self.node))
        await self._metrics.start(address or self.settings.bind, port)
        logger.info("node %s: metrics on port %s", self.settings.hostname, self._metrics.port)

    async def stop(self) -> None:
        if self._metrics is not None:
            await self._metrics.stop()
        if self._server is not None:
            await self._server.stop()
        await asyncio.sleep(0)

    async def renew_tls(self) -> None:
        """New connections are made with the certificates that are now in the files.

        X509CertError, and nothing has changed, when they are not usable.
        """
        if self._server is not None:
            self._server.renew_tls(self._context())
            logger.info("node %s: certificates read again", self.settings.hostname)

    def _context(self) -> ssl.SSLContext | None:
        if not self._with_tls:
            return None
        paths = self.settings.paths
        return server_context(
            self.settings.certificate or paths.server_pem,
            key=self.settings.key,
            clients_signed_by=authorities(paths),
        )

    def _gate(self, method: str, path: str, certificate: bytes | None) -> Answer | None:
        if self._with_tls:
            refusal = self._rule.refusal(certificate)
            if refusal is not None:
                logger.warning("call %s refused: %s", path, refusal)
                return _page(403, refusal)
        if method != "POST":
            return _page(400, f"method {method} is not known here; calls are made with POST")
        if not self.dispatcher.knows(path.removeprefix("/")):
            return _page(404, f"there is no call {path.removeprefix('/')!r}")
        return None

    def _handle(self, request: Request) -> Answer:
        return Answer(self.dispatcher.answer(request.path.removeprefix("/"), request.body))


def _page(status: int, text: str) -> Answer:
    return Answer(text.encode() + b"\n", status, TEXT, close=True)


def make_directories(settings: NodeSettings) -> None:
    """The directories that calls write to exist."""
    for directory, mode in settings.paths.directories.items():
        if not directory.is_dir():
            directory.mkdir(parents=True)
            directory.chmod(mode)  # whatever the umask


def settings_from(options: argparse.Namespace, paths: Paths) -> NodeSettings:
    """The settings that the command line, ssconf and the services database make."""
    bind = options.bind_address
    if options.bind_interface:
        bind = net.interface_address(options.bind_interface)
    if bind is None:
        bind = own_bind_address(paths)
    return NodeSettings(
        paths=paths,
        hostname=net.own_name(),
        bind=bind,
        port=options.port or net.service_port(PROGRAM, NODED_PORT),
        certificate=Path(options.ssl_cert) if options.ssl_cert else None,
        key=Path(options.ssl_key) if options.ssl_key else None,
        workers=options.max_clients,
        metrics=options.metrics,
        restricted_commands=options.restricted_commands,
    )


def own_bind_address(paths: Paths) -> str:
    """Every address of a real node; the one address of a virtual node, which shares its machine."""
    if paths.is_virtual:
        return hosts.look_up(paths, net.own_name()).ip
    return net.any_address(read_family(paths))


def read_family(paths: Paths) -> str:
    try:
        return paths.ssconf("primary_ip_family").read_text()
    except FileNotFoundError:
        return ""


def make_parser() -> argparse.ArgumentParser:
    """The program's options; the manual page is made from them."""
    parser = daemonize.daemon_parser(PROGRAM, "Ganeti node daemon", network=True)
    parser.add_argument("--no-mlock", action="store_false", dest="mlock", help="may be swapped out")
    parser.add_argument("--max-clients", type=int, default=20, help="calls served at a time")
    parser.add_argument(
        "--restricted-commands",
        action="store_true",
        help="run what is in restricted-commands (default: refuse)",
    )
    parser.add_argument(
        "--metrics",
        type=read_place,
        metavar="[ADDRESS:]PORT",
        help="show figures of the node at /metrics here, over plain HTTP (default: nowhere)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program ganeti-noded; its exit code."""
    options = make_parser().parse_args(argv)
    paths = Paths.from_environment()

    def work(ready: daemonize.Ready, lines: log.Log) -> int:
        settings = settings_from(options, paths)
        daemonize.allow_open_files(LIMITS.connections + SPARE_FILES)
        make_directories(settings)
        with daemonize.PidFile(paths.pid_file(PROGRAM)):
            if options.mlock and not paths.is_virtual:
                daemonize.lock_memory()
            run(settings, ready, lines, tls=options.ssl)
        return EXIT_SUCCESS

    return daemonize.run_program(PROGRAM, "node", options, paths, work)


def run(settings: NodeSettings, ready: daemonize.Ready, lines: log.Log, *, tls: bool) -> None:
    """One node daemon until TERM or INT comes, on a loop of its own."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_live(settings, ready, lines, tls=tls))


async def _live(
    settings: NodeSettings, ready: daemonize.Ready, lines: log.Log, *, tls: bool
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end_after_answer() -> None:
        loop.call_soon_threadsafe(loop.call_later, LAST_ANSWER_S, ended.set)

    def renew_tls() -> None:
        asyncio.run_coroutine_threadsafe(daemon.renew_tls(), loop).result(RENEW_S)

    context = NodeContext(
        settings=settings,
        stop_daemon=end_after_answer,
        renew_tls=renew_tls,
        in_background=Background(loop).start,
    )
    daemon = NodeDaemon(settings, context=context, tls=tls)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lines.reopen)
    await daemon.start()
    gc.enable()
    gc.collect()
    gc.freeze()
    ready.done()
    await ended.wait()
    logger.info("node %s: ending", settings.hostname)
    await daemon.stop()
