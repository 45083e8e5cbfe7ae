"""A server that notes requests and answers what it was told to: a real one, with TLS."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ganeti.rapi.client import CurlConfig, GanetiRapiClient
from ganeti.utils import x509


@dataclass(frozen=True)
class Request:
    """One request; `connection` is the client's port."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Recorder:
    """`answers` by path are JSON values, (status, bytes), or None to close without a word."""

    port: int
    certificate: Path
    answers: dict[str, Any] = field(default_factory=dict)
    other: Any = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    closes: bool = False  # after each answer, without saying so
    closed: SimpleQueue[None] = field(default_factory=SimpleQueue)  # one item per connection

    def client(
        self,
        username: str | None = None,
        password: str | None = None,
        curl_config_fn: CurlConfig | None = None,
    ) -> GanetiRapiClient:
        return GanetiRapiClient(
            "127.0.0.1", self.port, username, password, curl_config_fn=curl_config_fn
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    recorder: Recorder

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = self.recorder
        seen.requests.append(
            Request(self.command, self.path, dict(self.headers), body, self.client_address[1])
        )
        given = seen.answers.get(self.path.partition("?")[0], seen.other)
        self.close_connection = seen.closes or given is None
        if given is None:
            return
        status, content = given if isinstance(given, tuple) else (200, json.dumps(given).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()  # without Connection: close, even if it is closed afterwards
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    recorder: Recorder

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.recorder.closed.put(None)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or refuses the certificate, is no news."""


@contextmanager
def recorder() -> Iterator[Recorder]:
    """A server on a port of its own, with a certificate for 127.0.0.1's name `recorder`."""
    with tempfile.TemporaryDirectory() as directory:
        pair = x509.make_self_signed("recorder", time.time(), seconds=3600)
        certificate = Path(directory) / "certificate.pem"
        certificate.write_bytes(pair.certificate_pem())
        both = Path(directory) / "both.pem"
        both.write_bytes(pair.pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        handler = type("RecordingHandler", (Handler,), {})
        server = Server(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        made = Recorder(server.server_address[1], certificate)
        handler.recorder = server.recorder = made  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
