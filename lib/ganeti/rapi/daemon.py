"""ganeti-rapi: the remote API on the master node.

`RapiDaemon` is the daemon as an object, built from settings and run on one loop; `main` is the
program around one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganeti.constants import EXIT_NOT_MASTER, EXIT_SUCCESS, RAPI_PORT
from ganeti.errors import X509CertError
from ganeti.http.listener import Limits, loop_factory
from ganeti.http.tls import server_context
from ganeti.luxi.pool import LuxiPool
from ganeti.paths import Paths
from ganeti.rapi.access import Users
from ganeti.rapi.audit import AuditLog
from ganeti.rapi.console import ConsoleSettings
from ganeti.rapi.gate import REQUESTS_PER_S, GateSettings
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.service import LIMITS, RapiServer, ServiceSettings
from ganeti.utils import daemonize, hosts, log, net
from ganeti.utils.watch import FileWatch

logger = logging.getLogger(__name__)

PROGRAM = "ganeti-rapi"
SPARE_FILES = 600  # connections to the master daemon, logs
SWITCH_S = 0.0005  # a thread that parses a long body delays the loop by no more than that


@dataclass(frozen=True, slots=True, kw_only=True)
class RapiSettings:
    """How one daemon is set up. Without `certificate` there is no encryption."""

    paths: Paths
    hostname: str
    bind: str
    port: int
    certificate: Path | None
    key: Path | None = None
    chain: Path | None = None
    gate: GateSettings = GateSettings()
    limits: Limits = LIMITS
    audit_reads: bool = False
    consoles: ConsoleSettings = ConsoleSettings()

    @property
    def tls_files(self) -> list[Path]:
        given = (self.certificate, self.key, self.chain) if self.certificate else ()
        return [path for path in given if path is not None]


class RapiDaemon:
    """One remote API daemon on the running loop."""

    def __init__(self, settings: RapiSettings) -> None:
        self.settings = settings
        self.ended = asyncio.Event()
        self.master = LuxiPool(settings.paths.query_socket)
        self.users = Users(settings.paths.rapi_users)
        self._watch = FileWatch(
            [*self.users.files, settings.paths.ssconf("master_node"), *settings.tls_files],
            self._changed,
        )
        self.audit = AuditLog(settings.paths.rapi_audit_log, reads=settings.audit_reads)
        self._server = RapiServer(
            RESOURCES,
            self.master,
            self.users,
            ServiceSettings(gate=settings.gate, limits=settings.limits, consoles=settings.consoles),
            tls=self._context(),
            audit=self.audit,
        )

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        """It answers. X509CertError without a usable certificate, OSError when the address is
        taken."""
        self.settings.paths.rapi_users.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._watch.start()
        await self._server.start(self.settings.bind, self.settings.port)
        logger.info("listening on %s, port %s", self.settings.bind, self.port)

    async def stop(self) -> None:
        """Running requests have ended, or have had a moment to."""
        self._watch.stop()
        await self._server.stop()
        await self.master.close()

    def reload(self) -> None:
        """The users file and the certificate are read again, the audit log is opened anew."""
        self.audit.reopen()
        self._load_users()
        self._renew()

    def _load_users(self) -> None:
        self.users.load()
        self._server.consoles.check_again()

    def _changed(self, path: Path) -> None:
        paths = self.settings.paths
        if path in self.users.files:
            self._load_users()
        elif path == paths.ssconf("master_node"):
            refusal = refusal_of(paths, self.settings.hostname)
            if refusal:
                logger.warning("%s; ending", refusal)
                self.ended.set()
        else:
            self._renew()

    def _renew(self) -> None:
        """New connections see the certificate that is now in its file, if it is a good one."""
        try:
            context = self._context()
        except X509CertError as error:
            logger.error("%s; the certificate that was read before stays", error)
            return
        if context is not None:
            self._server.renew_tls(context)
            logger.info("%s: the certificate was read", self.settings.certificate)

    def _context(self) -> ssl.SSLContext | None:
        settings = self.settings
        if settings.certificate is None:
            return None
        return server_context(settings.certificate, key=settings.key, chain=settings.chain)


def make_parser() -> argparse.ArgumentParser:
    """The program's options; the manual page is made from them."""
    parser = daemonize.daemon_parser(PROGRAM, "Ganeti remote API daemon", network=True)
    parser.add_argument(
        "--require-authentication", action="store_true", help="reading needs a login, too"
    )
    parser.add_argument(
        "--max-clients",
        type=at_least_one,
        default=LIMITS.connections,
        help="most connections at a time (%(default)s)",
    )
    parser.add_argument(
        "--max-client-connections",
        type=at_least_one,
        default=LIMITS.client_connections,
        metavar="NUMBER",
        help="most connections at a time from one address (%(default)s)",
    )
    parser.add_argument(
        "--max-requests",
        type=at_least_one,
        default=int(REQUESTS_PER_S),
        metavar="PER_SECOND",
        help="most requests a second of one user from one address (%(default)s)",
    )
    parser.add_argument(
        "--ssl-chain", help="file with the certificates of those who have signed the server's"
    )
    parser.add_argument(
        "--audit-reads", action="store_true", help="requests that only read are audited, too"
    )
    parser.add_argument(
        "--console-proxy",
        action="store_true",
        help="carry consoles of instances over websockets",
    )
    parser.add_argument("--no-user-checks", action="store_true", help="run as any user")
    return parser


def at_least_one(text: str) -> int:
    """ArgumentTypeError if it is no such number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 1 or more")
    return int(text)


def settings_from(options: argparse.Namespace, paths: Paths) -> RapiSettings:
    """The settings that the command line and the node's files make."""
    bind = options.bind_address
    if options.bind_interface:
        bind = net.interface_address(options.bind_interface)
    if bind is None and paths.is_virtual:
        bind = hosts.look_up(paths, net.own_name()).ip
    if bind is None:
        family = paths.ssconf("primary_ip_family")
        bind = net.any_address(family.read_text() if family.exists() else "")
    certificate = Path(options.ssl_cert) if options.ssl_cert else paths.rapi_pem
    return RapiSettings(
        paths=paths,
        hostname=net.own_name(),
        bind=bind,
        port=options.port or net.service_port(PROGRAM, RAPI_PORT),
        certificate=certificate if options.ssl else None,
        key=Path(options.ssl_key) if options.ssl_key else None,
        chain=Path(options.ssl_chain) if options.ssl_chain else None,
        gate=GateSettings(
            require_authentication=options.require_authentication,
            requests_per_s=options.max_requests,
        ),
        limits=replace(
            LIMITS,
            connections=options.max_clients,
            client_connections=options.max_client_connections,
        ),
        audit_reads=options.audit_reads,
        consoles=ConsoleSettings(paths=paths if options.console_proxy else None),
    )


def refusal_of(paths: Paths, name: str) -> str:
    """Why this daemon should not run here; empty on the master."""
    try:
        master = paths.ssconf("master_node").read_text().strip()
    except FileNotFoundError:
        return "this node belongs to no cluster; gnt-cluster init makes one"
    return "" if master == name else f"this node is not the master; that is {master}"


def main(argv: Sequence[str] | None = None) -> int:
    """The program ganeti-rapi; its exit code."""
    options = make_parser().parse_args(argv)
    paths = Paths.from_environment()

    def work(ready: daemonize.Ready, lines: log.Log) -> int:
        refusal = refusal_of(paths, net.own_name())
        if refusal:
            logger.error("%s", refusal)
            ready.failed(EXIT_NOT_MASTER, f"{PROGRAM}: {refusal}")
            return EXIT_NOT_MASTER
        settings = settings_from(options, paths)
        daemonize.allow_open_files(settings.limits.connections + SPARE_FILES)
        with daemonize.PidFile(paths.pid_file(PROGRAM)):
            run(settings, ready, lines)
        return EXIT_SUCCESS

    return daemonize.run_program(PROGRAM, "rapi", options, paths, work)


def run(settings: RapiSettings, ready: daemonize.Ready, lines: log.Log) -> None:
    """One daemon until TERM or INT comes, on a loop of its own."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_live(settings, ready, lines))


async def _live(settings: RapiSettings, ready: daemonize.Ready, lines: log.Log) -> None:
    loop = asyncio.get_running_loop()
    daemon = RapiDaemon(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.ended.set)
    await daemon.start()

    def hang_up() -> None:
        lines.reopen()
        daemon.reload()

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    gc.enable()
    gc.collect()
    gc.freeze()
    ready.done()
    await daemon.ended.wait()
    logger.info("ending")
    await daemon.stop()
