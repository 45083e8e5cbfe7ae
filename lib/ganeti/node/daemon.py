"""ganeti-noded: answers calls of the master on one node.

`NodeDaemon` is the daemon as an object: built from settings, started and stopped on a loop, many
of them in one process if need be. `main` is the program around one of them.
"""

from __future__ import annotations

import asyncio
import logging
import pkgutil
import ssl
from importlib import import_module

import ganeti.node as node_room
from ganeti.http.server import TEXT, Answer, HttpServer, Limits, Request
from ganeti.http.tls import CandidateRule, server_context
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.rpc import calls  # noqa: F401  declares the calls
from ganeti.rpc.base import CALLS, SERVED
from ganeti.rpc.dispatch import Dispatcher

logger = logging.getLogger(__name__)

RUN_DIRECTORIES = {"instance-disks": 0o755, "crypto": 0o700, "socket": 0o770, "tasks": 0o700}


def load_served() -> None:
    """Every serving function is in the registry: any module of this room may hold some."""
    for module in pkgutil.iter_modules(node_room.__path__):
        import_module(f"{node_room.__name__}.{module.name}")


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
        self._limits = limits
        self._with_tls = tls
        self._rule = CandidateRule(settings.paths)
        self._server: HttpServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.port

    async def start(self) -> None:
        """It answers calls. X509CertError without a usable server.pem, OSError when the address
        is taken."""
        make_directories(self.settings)
        context: ssl.SSLContext | None = None
        if self._with_tls:
            server_pem = self.settings.certificate or self.settings.paths.server_pem
            context = server_context(
                server_pem,
                key=self.settings.key,
                clients_signed_by=self.settings.paths.server_pem,
            )
        self._server = HttpServer(
            self._handle,
            tls=context,
            gate=self._gate,
            limits=self._limits,
            workers=self.settings.workers,
            name=f"noded-{self.settings.hostname}",
        )
        await self._server.start(self.settings.bind, self.settings.port)
        logger.info("node %s: listening on port %s", self.settings.hostname, self.port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        await asyncio.sleep(0)

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
    paths = settings.paths
    for directory, mode in ((paths.data, 0o755), (paths.run, 0o775), (paths.log, 0o770)):
        directory.mkdir(mode, parents=True, exist_ok=True)
    paths.lock.mkdir(0o1777, parents=True, exist_ok=True)
    for name, mode in RUN_DIRECTORIES.items():
        (paths.run / name).mkdir(mode, parents=True, exist_ok=True)
    paths.os_log.mkdir(0o750, parents=True, exist_ok=True)
