"""The HTTPS client of the daemons: kept connections, a deadline and a sentence per request."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from dataclasses import dataclass

import aiohttp

CONNECT_S = 5.0  # facts/node-rpc.json, transport.timeouts.connect_s
KEPT_S = 45.0  # less than the 60 s of the server, so that it never closes under a new request
# A kept connection to a machine that lost its power looks alive until something is sent: what it
# does not acknowledge for so long ends the connection, and so do questions whether it is there.
SILENT_S = 8
ASK_AFTER_S, ASK_AGAIN_S = 4, 2
SILENCE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
PER_HOST = 32  # connections to one host; more than a noded serves at a time, so none waits for us
ANSWER_LIMIT_BYTES = 256 * 1024 * 1024


class Unreachable(Exception):
    """No answer came. The text is a sentence; `sent` tells whether the node may have acted.

    `closed`: the node hung up, so it is there, and its daemon is being restarted.
    """

    def __init__(self, text: str, *, sent: bool, closed: bool = False) -> None:
        super().__init__(text)
        self.sent = sent
        self.closed = closed


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes


class HttpClient:
    """Posts to many hosts over kept connections. Made and closed on the loop."""

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        *,
        connect_s: float = CONNECT_S,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> None:
        self._tls = tls
        self._connect_s = connect_s
        self._limit_bytes = limit_bytes
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, host: str, port: int, path: str, body: bytes, timeout_s: float
    ) -> HttpAnswer:
        """The answer, whatever its status; Unreachable when there was none in time."""
        scheme = "https" if self._tls is not None else "http"
        place = f"[{host}]" if ":" in host else host
        try:
            async with self._open().post(
                f"{scheme}://{place}:{port}/{path}",
                data=body,
                timeout=aiohttp.ClientTimeout(
                    total=timeout_s, sock_connect=min(self._connect_s, timeout_s)
                ),
            ) as answer:
                return HttpAnswer(answer.status, await self._read(answer))
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as error:
            raise Unreachable(
                f"can't connect to {place}:{port} within {self._connect_s:g} s", sent=False
            ) from error
        except TimeoutError as error:
            raise Unreachable(f"no answer within {timeout_s:g} s", sent=True) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unreachable(_tls_text(error.certificate_error), sent=False) from error
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(_connect_text(place, port, error.os_error), sent=False) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if getattr(error, "errno", None) in SILENCE:
                raise Unreachable(f"no sign of life for {SILENT_S} s", sent=True) from error
            raise Unreachable(_lost_text(error), sent=True, closed=True) from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"not a usable answer: {error}", sent=True) from error
        except UnicodeError as error:  # the resolver's word for a label that is empty or too long
            raise Unreachable(f"{place!r} is not the name of a host", sent=False) from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The body; a peer need not say beforehand how long it is."""
        self._check_size(answer.content_length or 0)
        pieces = []
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            self._check_size(size)
            pieces.append(piece)
        return b"".join(pieces)

    def _check_size(self, size: int) -> None:
        if size > self._limit_bytes:
            raise aiohttp.ClientPayloadError(f"more than {self._limit_bytes} bytes")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls if self._tls is not None else False,
                limit=0,  # rpc/client.py bounds its fan-outs
                limit_per_host=PER_HOST,
                keepalive_timeout=KEPT_S,
                ttl_dns_cache=60,
                socket_factory=make_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Content-Type": "application/json"},
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # lets the transports close


def make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose connection ends when the other machine is silent; see tcp(7)."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, ASK_AFTER_S),
        (socket.TCP_KEEPINTVL, ASK_AGAIN_S),
        (socket.TCP_USER_TIMEOUT, SILENT_S * 1000),
    ):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _connect_text(place: str, port: int, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return _tls_text(error)
    number = error.errno or 0
    reason = error.strerror or str(error)
    if number > 0:  # getaddrinfo has negative numbers of its own
        reason = os.strerror(number)
    return f"can't connect to {place}:{port}: {reason}"


def _lost_text(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _tls_text(cause)
        cause = cause.__cause__ or cause.__context__
    return "the node closed the connection before it answered"


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None)
    return f"TLS: {str(reason).replace('_', ' ').lower() if reason else error}"
