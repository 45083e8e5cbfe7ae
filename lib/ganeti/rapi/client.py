"""Client of the remote API: one method for each thing that the API can do.

    client = GanetiRapiClient("cluster.example.com", username="admin", password="…")
    job = client.StartupInstance("web1.example.com")
    if not client.WaitForJobCompletion(job):
        print(client.GetJobStatus(job)["opresult"])

This file needs nothing but Python's standard library and may be copied to other machines. Class,
methods and arguments are those of the classic client, which scripts have used for long; source:
facts/rapi_client.json. The classic was built on libcurl, and two of its arguments have the name of
it. They are kept, with the same use:

- `curl_config_fn` gets the `Transport` of the new client and its logger, and sets attributes:
  certificates to trust, timeouts, a proxy. `GenericCurlConfig` makes such a function.
- `curl_factory` makes the `Transport`, for those who want another one.

As in the classic, the server's certificate is only checked when one of them asks for it:

    config = GenericCurlConfig(cafile="/etc/ssl/cluster.pem", verify_hostname=True)
    client = GanetiRapiClient("cluster.example.com", curl_config_fn=config)

Methods that change something answer with the number of a job. Errors are `GanetiApiError`, whose
`code` is the HTTP status, or curl's number of what kept the request from being answered.
"""

from __future__ import annotations

import functools
import json
import logging
import select
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPException, HTTPSConnection, RemoteDisconnected
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

GANETI_RAPI_PORT: Final = 5080
GANETI_RAPI_VERSION: Final = 2

HTTP_DELETE: Final = "DELETE"
HTTP_GET: Final = "GET"
HTTP_PUT: Final = "PUT"
HTTP_POST: Final = "POST"
HTTP_OK: Final = 200
HTTP_NOT_FOUND: Final = 404
HTTP_APP_JSON: Final = "application/json"

REPLACE_DISK_PRI: Final = "replace_on_primary"
REPLACE_DISK_SECONDARY: Final = "replace_on_secondary"
REPLACE_DISK_CHG: Final = "replace_new_secondary"
REPLACE_DISK_AUTO: Final = "replace_auto"

NODE_EVAC_PRI: Final = "primary-only"
NODE_EVAC_SEC: Final = "secondary-only"
NODE_EVAC_ALL: Final = "all"

NODE_ROLE_DRAINED: Final = "drained"
NODE_ROLE_MASTER_CANDIDATE: Final = "master-candidate"
NODE_ROLE_MASTER: Final = "master"
NODE_ROLE_OFFLINE: Final = "offline"
NODE_ROLE_REGULAR: Final = "regular"

JOB_STATUS_QUEUED: Final = "queued"
JOB_STATUS_WAITING: Final = "waiting"
JOB_STATUS_WAITLOCK: Final = JOB_STATUS_WAITING  # its older name
JOB_STATUS_CANCELING: Final = "canceling"
JOB_STATUS_RUNNING: Final = "running"
JOB_STATUS_CANCELED: Final = "canceled"
JOB_STATUS_SUCCESS: Final = "success"
JOB_STATUS_ERROR: Final = "error"
JOB_STATUS_PENDING: Final = frozenset([JOB_STATUS_QUEUED, JOB_STATUS_WAITING, JOB_STATUS_CANCELING])
JOB_STATUS_FINALIZED: Final = frozenset([JOB_STATUS_CANCELED, JOB_STATUS_SUCCESS, JOB_STATUS_ERROR])
JOB_STATUS_ALL: Final = JOB_STATUS_PENDING | JOB_STATUS_FINALIZED | {JOB_STATUS_RUNNING}

INST_CREATE_REQV1: Final = "instance-create-reqv1"
INST_REINSTALL_REQV1: Final = "instance-reinstall-reqv1"
NODE_MIGRATE_REQV1: Final = "node-migrate-reqv1"
NODE_EVAC_RES1: Final = "node-evac-res1"

ECODE_RESOLVER: Final = "resolver_error"
ECODE_NORES: Final = "insufficient_resources"
ECODE_TEMP_NORES: Final = "temp_insufficient_resources"
ECODE_INVAL: Final = "wrong_input"
ECODE_STATE: Final = "wrong_state"
ECODE_NOENT: Final = "unknown_entity"
ECODE_EXISTS: Final = "already_exists"
ECODE_NOTUNIQUE: Final = "resource_not_unique"
ECODE_FAULT: Final = "internal_error"
ECODE_ENVIRON: Final = "environment_error"
ECODE_ALL: Final = frozenset(
    [
        ECODE_RESOLVER, ECODE_NORES, ECODE_TEMP_NORES, ECODE_INVAL, ECODE_STATE, ECODE_NOENT,
        ECODE_EXISTS, ECODE_NOTUNIQUE, ECODE_FAULT, ECODE_ENVIRON,
    ]
)  # fmt: skip

CONNECT_TIMEOUT_S: Final = 300.0  # curl's own
ANSWER_TIMEOUT_S: Final = 600.0  # silence of the server; jobs are waited for in steps of 10 s
IDLE_CONNECTIONS: Final = 4  # kept for the next requests; more threads open their own
USER_AGENT: Final = "Ganeti RAPI Client"

# Numbers of libcurl-errors(3), which scripts know.
CURL_RESOLVE_PROXY: Final = 5
CURL_RESOLVE_HOST: Final = 6
CURL_CONNECT: Final = 7
CURL_TIMEOUT: Final = 28
CURL_TLS: Final = 35
CURL_NO_ANSWER: Final = 52
CURL_RECEIVE: Final = 56
CURL_CERTIFICATE: Final = 60
CURL_CA_FILE: Final = 77

Json: TypeAlias = Any
Object: TypeAlias = dict[str, Any]
QueryArguments: TypeAlias = list[tuple[str, Any]]
JobId: TypeAlias = int

P = ParamSpec("P")
R = TypeVar("R")


class Error(Exception):
    """Base of this module's errors."""


class GanetiApiError(Error):
    """A request was refused or not answered; `code` is an HTTP status or a number of curl."""

    def __init__(self, msg: str, code: int | None = None) -> None:
        super().__init__(msg)
        self.code = code


class CertificateError(GanetiApiError):
    """The server's certificate is not trusted, or the file of trusted ones can't be read."""


class Log(Protocol):
    """What is needed of a logger; the module `logging` is one."""

    def debug(self, msg: str, *args: object) -> None: ...


# The connection.


class Transport:
    """Connections to one server and how they are made; set the attributes before the first use.

    Without `cafile`, `capath` or `use_system_ca` the server's certificate is not checked.
    `timeout` is for silence in the middle of an exchange. `proxy` is the URL of an HTTP proxy;
    none is taken from the environment. Threads may share it.
    """

    def __init__(self) -> None:
        self.cafile: str | None = None
        self.capath: str | None = None
        self.use_system_ca = False
        self.verify_hostname = False
        self.proxy: str | None = None
        self.connect_timeout = CONNECT_TIMEOUT_S
        self.timeout: float | None = ANSWER_TIMEOUT_S
        self.verbose = False
        self._idle: list[HTTPSConnection] = []

    def close(self) -> None:
        """Closes the connections that are kept; the next request opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def perform(
        self,
        host: str,
        port: int,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, str, bytes]:
        """Status, reason and body of the answer; GanetiApiError when there is none."""
        connection = self._kept() or self._open(host, port)
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise _no_answer(f"{method} {_base_url(host, port)}{target}", error) from error
        except BaseException:
            connection.close()  # half an answer is in it
            raise
        if response.will_close or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, response.reason, content

    def _kept(self) -> HTTPSConnection | None:
        """A kept connection that the server has not closed meanwhile."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and not _is_readable(connection.sock):
                return connection
            connection.close()

    def _open(self, host: str, port: int) -> HTTPSConnection:
        context = self.tls()
        try:
            if self.proxy:
                proxy = urlsplit(self.proxy if "://" in self.proxy else f"http://{self.proxy}")
                connection = HTTPSConnection(
                    proxy.hostname or "",
                    proxy.port or 1080,  # curl's own
                    timeout=self.connect_timeout,
                    context=context,
                )
                connection.set_tunnel(host, port)
            else:
                connection = HTTPSConnection(
                    host, port, timeout=self.connect_timeout, context=context
                )
            connection.connect()
        except (OSError, ValueError, HTTPException) as error:
            raise _not_connected(_base_url(host, port), error, bool(self.proxy)) from error
        connection.sock.settimeout(self.timeout)
        return connection

    def tls(self) -> ssl.SSLContext:
        """What certificates are trusted; CertificateError when the file can't be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        if not (self.cafile or self.capath or self.use_system_ca):
            if self.verify_hostname:
                raise Error("verify_hostname needs cafile, capath or use_curl_cabundle")
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            if self.use_system_ca:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.cafile, self.capath)
        except OSError as error:
            place = self.cafile or self.capath
            raise CertificateError(f"trusted certificates {place}: {error}", CURL_CA_FILE) from None
        context.check_hostname = self.verify_hostname
        return context


def _base_url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _is_readable(sock: socket.socket) -> bool:
    """Something came that nobody asked for: the end of the connection."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _not_connected(where: str, error: Exception, has_proxy: bool) -> GanetiApiError:
    match error:
        case ssl.SSLCertVerificationError():
            return CertificateError(f"{where}: {error.verify_message}", CURL_CERTIFICATE)
        case ssl.SSLError():
            return GanetiApiError(f"{where}: TLS: {error.reason or error}", CURL_TLS)
        case socket.gaierror():
            code = CURL_RESOLVE_PROXY if has_proxy else CURL_RESOLVE_HOST
            return GanetiApiError(f"{where}: can't resolve the name: {error.strerror}", code)
        case TimeoutError():
            return GanetiApiError(f"{where}: no connection in time", CURL_TIMEOUT)
    return GanetiApiError(f"{where}: can't connect: {error}", CURL_CONNECT)


def _no_answer(where: str, error: Exception) -> GanetiApiError:
    match error:
        case TimeoutError():
            return GanetiApiError(f"{where}: no answer in time", CURL_TIMEOUT)
        case RemoteDisconnected():
            return GanetiApiError(f"{where}: the server closed the connection", CURL_NO_ANSWER)
    text = str(error) or type(error).__name__
    return GanetiApiError(f"{where}: the connection broke: {text}", CURL_RECEIVE)


CurlConfig: TypeAlias = Callable[[Transport, Log], None]


def GenericCurlConfig(
    verbose: bool = False,
    use_signal: bool = False,
    use_curl_cabundle: bool = False,
    cafile: str | None = None,
    capath: str | None = None,
    proxy: str | None = None,
    verify_hostname: bool = False,
    connect_timeout: float | None = None,
    timeout: float | None = None,
    _pycurl_version_fn: object = None,
) -> CurlConfig:
    """A function for `curl_config_fn` of the client.

    `use_curl_cabundle` trusts what the system trusts. `verbose` logs each request. Timeouts are in
    seconds. `use_signal` and `_pycurl_version_fn` only mattered to curl.
    """
    if use_curl_cabundle and (cafile or capath):
        raise Error("use_curl_cabundle can't be combined with cafile or capath")

    def configure(transport: Transport, logger: Log) -> None:
        transport.verbose = verbose
        transport.use_system_ca = use_curl_cabundle
        transport.cafile = cafile
        transport.capath = capath
        transport.proxy = proxy
        transport.verify_hostname = verify_hostname
        if connect_timeout is not None:
            transport.connect_timeout = connect_timeout
        if timeout is not None:
            transport.timeout = timeout

    return configure


def UsesRapiClient(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorator of programs that use the client; it only mattered to curl."""

    @functools.wraps(fn)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)

    return wrapped


def EpochNano() -> int:
    """Now, in nanoseconds since 1970; for reason trails."""
    return time.time_ns()


# Building requests.


def _flag(name: str, value: object) -> QueryArguments:
    return [(name, 1)] if value else []


def _value(name: str, value: object) -> QueryArguments:
    return [] if value is None or value == "" else [(name, value)]


def _options(dry_run: object, reason: str | None) -> QueryArguments:
    return _flag("dry-run", dry_run) + _value("reason", reason)


def _given(**values: Json) -> Object:
    return {name: value for name, value in values.items() if value is not None}


def _part(name: object) -> str:
    """A name as a part of a path."""
    return quote(str(name), safe="")


def _encode_query(arguments: Iterable[tuple[str, Any]]) -> str:
    return urlencode([(name, _query_text(name, value)) for name, value in arguments])


def _query_text(name: str, value: Json) -> str:
    """None is empty, a truth value 0 or 1; ValueError for lists and objects."""
    if isinstance(value, (list, tuple, dict)):
        raise ValueError(f"query argument {name!r}: a {type(value).__name__} can't be sent")
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _error_text(status: int, reason: str, content: bytes) -> str:
    """`<code> <message>: <explain>`, or what else the server said."""
    try:
        told = json.loads(content)
        return f"{told['code']} {told['message']}: {told['explain']}"
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace").strip()
        return f"{status} {reason}: {text[:1000]}"


class GanetiRapiClient:
    """Speaks to the remote API of one cluster."""

    USER_AGENT = USER_AGENT

    def __init__(
        self,
        host: str,
        port: int = GANETI_RAPI_PORT,
        username: str | None = None,
        password: str | None = None,
        logger: Log = logging,
        curl_config_fn: CurlConfig | None = None,
        curl_factory: Callable[[], Transport] | None = None,
    ) -> None:
        """Nothing is sent yet. An IPv6 address may stand with or without brackets."""
        if (username is None) != (password is None):
            raise Error("give both username and password, or none")
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = port
        self._base_url = _base_url(self._host, port)
        self._logger = logger
        self._transport = (curl_factory or Transport)()
        if curl_config_fn is not None:
            curl_config_fn(self._transport, logger)
        self._headers = {
            "Accept": HTTP_APP_JSON,
            "Content-type": HTTP_APP_JSON,
            "User-Agent": self.USER_AGENT,
        }
        if username is not None:
            login = b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def Close(self) -> None:
        """Close kept connections; the client may be used again."""
        self._transport.close()

    def _send(
        self, method: str, path: str, query: QueryArguments | None = None, body: Json = None
    ) -> Json:
        """What the server answers. `body` None is an empty one."""
        target = f"{path}?{_encode_query(query)}" if query else path
        content = b"" if body is None else json.dumps(body, sort_keys=True).encode()
        if self._transport.verbose:
            self._logger.debug("%s %s%s", method, self._base_url, target)
        status, reason, answer = self._transport.perform(
            self._host, self._port, method, target, self._headers, content
        )
        if status != HTTP_OK:
            raise GanetiApiError(_error_text(status, reason, answer), code=status)
        if not answer:
            return None
        try:
            return json.loads(answer)
        except ValueError as error:
            raise GanetiApiError(f"{method} {target}: the answer is no JSON: {error}") from error

    def _list(self, path: str, key: str, bulk: bool, reason: str | None = None) -> list[Any]:
        """Names (or numbers) of objects, or whole ones."""
        found = self._send(HTTP_GET, path, _flag("bulk", bulk) + _value("reason", reason))
        return list(found) if bulk else [one[key] for one in found]

    def _read(self, path: str, reason: str | None) -> Json:
        return self._send(HTTP_GET, path, _value("reason", reason))

    def _change_tags(
        self,
        method: str,
        path: str,
        tags: Iterable[str],
        dry_run: bool,
        reason: str | None,
        body: Json = None,
    ) -> JobId:
        query = [("tag", tag) for tag in tags] + _options(dry_run, reason)
        job: JobId = self._send(method, path, query, body)
        return job

    # The interface and the cluster.

    def GetVersion(self) -> int:
        """Version of the interface."""
        version: int = self._send(HTTP_GET, "/version")
        return version

    def GetFeatures(self) -> list[str]:
        """What the server can do beyond the interface's first version; none if it is very old."""
        try:
            return list(self._send(HTTP_GET, f"/{GANETI_RAPI_VERSION}/features"))
        except GanetiApiError as error:
            if error.code == HTTP_NOT_FOUND:
                return []
            raise

    def GetOperatingSystems(self, reason: str | None = None) -> list[str]:
        """OS definitions that can be installed, with their variants."""
        return list(self._read("/2/os", reason))

    def GetInfo(self, reason: str | None = None) -> Object:
        """Parameters of the cluster."""
        return dict(self._read("/2/info", reason))

    def RedistributeConfig(self, reason: str | None = None) -> JobId:
        """Send the configuration to all nodes again."""
        job: JobId = self._send(HTTP_PUT, "/2/redistribute-config", _value("reason", reason))
        return job

    def ModifyCluster(self, reason: str | None = None, **kwargs: Json) -> JobId:
        """Change parameters of the cluster; keywords are those of OpClusterSetParams."""
        job: JobId = self._send(HTTP_PUT, "/2/modify", _value("reason", reason), kwargs)
        return job

    def GetClusterTags(self, reason: str | None = None) -> list[str]:
        return list(self._read("/2/tags", reason))

    def AddClusterTags(
        self, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        return self._change_tags(HTTP_PUT, "/2/tags", tags, dry_run, reason)

    def DeleteClusterTags(
        self, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        return self._change_tags(HTTP_DELETE, "/2/tags", tags, dry_run, reason)

    # Instances.

    def GetInstances(self, bulk: bool = False, reason: str | None = None) -> list[Any]:
        """Names of all instances, or with `bulk` all that is known of each."""
        return self._list("/2/instances", "id", bulk, reason)

    def GetInstance(self, instance: str, reason: str | None = None) -> Object:
        return dict(self._read(f"/2/instances/{_part(instance)}", reason))

    def GetInstanceInfo(
        self, instance: str, static: bool | None = None, reason: str | None = None
    ) -> JobId:
        """Job whose result has all details; `static`: without asking the nodes."""
        query = _value("static", static) + _value("reason", reason)
        job: JobId = self._send(HTTP_GET, f"/2/instances/{_part(instance)}/info", query)
        return job

    @staticmethod
    def InstanceAllocation(
        mode: str,
        name: str,
        disk_template: str,
        disks: Sequence[Object],
        nics: Sequence[Object],
        **kwargs: Json,
    ) -> Object:
        """One instance for InstancesMultiAlloc; keywords are those of OpInstanceCreate."""
        kwargs.pop("dry_run", None)
        return kwargs | {
            "mode": mode,
            "name": name,
            "disk_template": disk_template,
            "disks": disks,
            "nics": nics,
        }

    def InstancesMultiAlloc(
        self, instances: Sequence[Object], reason: str | None = None, **kwargs: Json
    ) -> JobId:
        """Create several instances, placed together; see InstanceAllocation."""
        query = _options(kwargs.pop("dry_run", False), reason)
        body = kwargs | {"instances": instances}
        job: JobId = self._send(HTTP_POST, "/2/instances-multi-alloc", query, body)
        return job

    def CreateInstance(
        self,
        mode: str,
        name: str,
        disk_template: str,
        disks: Sequence[Object],
        nics: Sequence[Object],
        reason: str | None = None,
        **kwargs: Json,
    ) -> JobId:
        """Create an instance; `mode` is create, import or remote-import.

        Further keywords are those of OpInstanceCreate, `os` and `dry_run` among them.
        """
        if INST_CREATE_REQV1 not in self.GetFeatures():
            raise GanetiApiError("the server can't create instances in the way of this client")
        query = _options(kwargs.pop("dry_run", False), reason)
        body = self.InstanceAllocation(mode, name, disk_template, disks, nics, **kwargs)
        body["__version__"] = 1
        job: JobId = self._send(HTTP_POST, "/2/instances", query, body)
        return job

    def DeleteInstance(
        self, instance: str, dry_run: bool = False, reason: str | None = None, **kwargs: Json
    ) -> JobId:
        """Stop and remove an instance; keywords are those of OpInstanceRemove."""
        query = _options(dry_run, reason)
        job: JobId = self._send(HTTP_DELETE, f"/2/instances/{_part(instance)}", query, kwargs)
        return job

    def ModifyInstance(self, instance: str, reason: str | None = None, **kwargs: Json) -> JobId:
        """Change an instance; keywords are those of OpInstanceSetParams."""
        path = f"/2/instances/{_part(instance)}/modify"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), kwargs)
        return job

    def ActivateInstanceDisks(
        self, instance: str, ignore_size: bool | None = None, reason: str | None = None
    ) -> JobId:
        """Make the disks available on the primary node; `ignore_size`: whatever is recorded."""
        query = _flag("ignore_size", ignore_size) + _value("reason", reason)
        job: JobId = self._send(HTTP_PUT, f"/2/instances/{_part(instance)}/activate-disks", query)
        return job

    def DeactivateInstanceDisks(
        self, instance: str, reason: str | None = None, force: bool = False
    ) -> JobId:
        """Undo ActivateInstanceDisks; `force`: without a look whether the instance runs."""
        query = _flag("force", force) + _value("reason", reason)
        job: JobId = self._send(HTTP_PUT, f"/2/instances/{_part(instance)}/deactivate-disks", query)
        return job

    def RecreateInstanceDisks(
        self,
        instance: str,
        disks: Sequence[Json] | None = None,
        nodes: Sequence[str] | None = None,
        reason: str | None = None,
        iallocator: str | None = None,
    ) -> JobId:
        """Make lost disks anew, empty; all of them, or those with these indexes."""
        path = f"/2/instances/{_part(instance)}/recreate-disks"
        body = _given(disks=disks, nodes=nodes, iallocator=iallocator)
        job: JobId = self._send(HTTP_POST, path, _value("reason", reason), body)
        return job

    def GrowInstanceDisk(
        self,
        instance: str,
        disk: int,
        amount: int | str,
        wait_for_sync: bool | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Make a disk larger by `amount` MiB."""
        path = f"/2/instances/{_part(instance)}/disk/{_part(disk)}/grow"
        body = {"amount": amount} | _given(wait_for_sync=wait_for_sync)
        job: JobId = self._send(HTTP_POST, path, _value("reason", reason), body)
        return job

    def GetInstanceTags(self, instance: str, reason: str | None = None) -> list[str]:
        return list(self._read(f"/2/instances/{_part(instance)}/tags", reason))

    def AddInstanceTags(
        self, instance: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/instances/{_part(instance)}/tags"
        return self._change_tags(HTTP_PUT, path, tags, dry_run, reason)

    def DeleteInstanceTags(
        self, instance: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/instances/{_part(instance)}/tags"
        return self._change_tags(HTTP_DELETE, path, tags, dry_run, reason)

    def RebootInstance(
        self,
        instance: str,
        reboot_type: str | None = None,
        ignore_secondaries: bool | None = None,
        dry_run: bool = False,
        reason: str | None = None,
        **kwargs: Json,
    ) -> JobId:
        """Reboot an instance; `reboot_type` is soft, hard or full."""
        query = (
            _flag("dry-run", dry_run)
            + _value("type", reboot_type)
            + _value("ignore_secondaries", ignore_secondaries)
            + _value("reason", reason)
        )
        job: JobId = self._send(HTTP_POST, f"/2/instances/{_part(instance)}/reboot", query, kwargs)
        return job

    def ShutdownInstance(
        self,
        instance: str,
        dry_run: bool = False,
        no_remember: bool = False,
        reason: str | None = None,
        **kwargs: Json,
    ) -> JobId:
        """Stop an instance; `no_remember`: it is still wanted to run."""
        query = (
            _flag("dry-run", dry_run) + _flag("no_remember", no_remember) + _value("reason", reason)
        )
        job: JobId = self._send(HTTP_PUT, f"/2/instances/{_part(instance)}/shutdown", query, kwargs)
        return job

    def StartupInstance(
        self,
        instance: str,
        dry_run: bool = False,
        no_remember: bool = False,
        reason: str | None = None,
    ) -> JobId:
        """Start an instance; `no_remember`: it is still not wanted to run."""
        query = (
            _flag("dry-run", dry_run) + _flag("no_remember", no_remember) + _value("reason", reason)
        )
        job: JobId = self._send(HTTP_PUT, f"/2/instances/{_part(instance)}/startup", query)
        return job

    def ReinstallInstance(
        self,
        instance: str,
        os: str | None = None,
        no_startup: bool = False,
        osparams: Object | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Stop an instance, install its guest OS, or another, and start it again.

        Servers refuse a `reason` here: it goes in the query, which they take with no body only.
        """
        path = f"/2/instances/{_part(instance)}/reinstall"
        query = _value("reason", reason)
        if INST_REINSTALL_REQV1 in self.GetFeatures():
            body = {"start": not no_startup} | _given(os=os, osparams=osparams)
            job: JobId = self._send(HTTP_POST, path, query, body)
            return job
        if osparams:
            raise GanetiApiError("the server does not take OS parameters for a reinstallation")
        query = _value("os", os) + _flag("nostartup", no_startup) + query
        job = self._send(HTTP_POST, path, query)
        return job

    def ReplaceInstanceDisks(
        self,
        instance: str,
        disks: Sequence[int] | None = None,
        mode: str = REPLACE_DISK_AUTO,
        remote_node: str | None = None,
        iallocator: str | None = None,
        reason: str | None = None,
        early_release: bool | None = None,
    ) -> JobId:
        """Replace the mirrored disks on a node; `mode` is one of REPLACE_DISK_*."""
        query = (
            [("mode", mode)]
            + _value("disks", None if disks is None else ",".join(map(str, disks)))
            + _value("remote_node", remote_node)
            + _value("iallocator", iallocator)
            + _value("reason", reason)
            + _value("early_release", early_release)
        )
        job: JobId = self._send(HTTP_POST, f"/2/instances/{_part(instance)}/replace-disks", query)
        return job

    def PrepareExport(self, instance: str, mode: str, reason: str | None = None) -> JobId:
        """Job whose result another cluster needs for a `remote` export; local needs none."""
        query = [("mode", mode), *_value("reason", reason)]
        job: JobId = self._send(HTTP_PUT, f"/2/instances/{_part(instance)}/prepare-export", query)
        return job

    def ExportInstance(
        self,
        instance: str,
        mode: str,
        destination: Json,
        shutdown: bool | None = None,
        remove_instance: bool | None = None,
        x509_key_name: Sequence[str] | None = None,
        destination_x509_ca: str | None = None,
        compress: str | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Export an instance to a node of this cluster (`local`) or to another (`remote`)."""
        body = {"destination": destination, "mode": mode} | _given(
            shutdown=shutdown,
            remove_instance=remove_instance,
            x509_key_name=x509_key_name,
            destination_x509_ca=destination_x509_ca,
            compress=compress,
        )
        path = f"/2/instances/{_part(instance)}/export"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), body)
        return job

    def MigrateInstance(
        self,
        instance: str,
        mode: str | None = None,
        cleanup: bool | None = None,
        target_node: str | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Move a running instance; `mode` is live or non-live, `cleanup` mends a failed one."""
        body = _given(mode=mode, cleanup=cleanup, target_node=target_node)
        path = f"/2/instances/{_part(instance)}/migrate"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), body)
        return job

    def FailoverInstance(
        self,
        instance: str,
        iallocator: str | None = None,
        ignore_consistency: bool | None = None,
        target_node: str | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Stop an instance and start it on another node."""
        body = _given(
            iallocator=iallocator, ignore_consistency=ignore_consistency, target_node=target_node
        )
        path = f"/2/instances/{_part(instance)}/failover"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), body)
        return job

    def RenameInstance(
        self,
        instance: str,
        new_name: str,
        ip_check: bool | None = None,
        name_check: bool | None = None,
        reason: str | None = None,
    ) -> JobId:
        body = {"new_name": new_name} | _given(ip_check=ip_check, name_check=name_check)
        path = f"/2/instances/{_part(instance)}/rename"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), body)
        return job

    def GetInstanceConsole(self, instance: str, reason: str | None = None) -> Object:
        """How to reach the console of a running instance."""
        return dict(self._read(f"/2/instances/{_part(instance)}/console", reason))

    # Jobs.

    def GetJobs(self, bulk: bool = False) -> list[Any]:
        """Numbers of all jobs, or with `bulk` what is known of each."""
        found = self._list("/2/jobs", "id", bulk)
        return found if bulk else [int(number) for number in found]

    def GetJobStatus(self, job_id: int | str) -> Object:
        """All that is known of a job; a job that does not exist has the status None."""
        return dict(self._send(HTTP_GET, f"/2/jobs/{_part(job_id)}"))

    def WaitForJobCompletion(self, job_id: int | str, period: float = 5, retries: int = -1) -> bool:
        """Whether the job ended well; asks every `period` seconds.

        False, too, when there is no such job and after `retries` questions (below 0: no limit).
        """
        while retries != 0:
            job = self.GetJobStatus(job_id)
            status = job.get("status") if job else None
            if status == JOB_STATUS_SUCCESS:
                return True
            if status is None or status in JOB_STATUS_FINALIZED:
                return False
            time.sleep(period)
            retries -= retries > 0
        return False

    def WaitForJobChange(
        self,
        job_id: int | str,
        fields: Sequence[str],
        prev_job_info: Json,
        prev_log_serial: int | None,
    ) -> Object | None:
        """`job_info` and `log_entries` when they differ from what is known, None after 10 s."""
        body = {
            "fields": fields,
            "previous_job_info": prev_job_info,
            "previous_log_serial": prev_log_serial,
        }
        changed: Object | None = self._send(HTTP_GET, f"/2/jobs/{_part(job_id)}/wait", None, body)
        return changed

    def WaitForJob(self, job_id: int | str, timeout: float = 3600.0) -> Object:
        """The job as GetJobStatus has it, as soon as it has ended; GanetiApiError if it does not.

        Unlike WaitForJobCompletion this needs a user who may write, and does not poll.
        """
        end = time.monotonic() + timeout
        known: Json = None
        while time.monotonic() < end:
            changed = self.WaitForJobChange(job_id, ["status"], known, None)
            if changed:
                known = changed["job_info"]
                if known[0] in JOB_STATUS_FINALIZED:
                    return self.GetJobStatus(job_id)
            elif known is None and self.GetJobStatus(job_id).get("status") is None:
                raise GanetiApiError(f"there is no job {job_id}", HTTP_NOT_FOUND)
        raise GanetiApiError(f"job {job_id} has not ended within {timeout:g} s", CURL_TIMEOUT)

    def CancelJob(self, job_id: int | str, dry_run: bool = False) -> list[Any]:
        """Whether a job that had not begun was canceled, and a text."""
        query = _flag("dry-run", dry_run)
        return list(self._send(HTTP_DELETE, f"/2/jobs/{_part(job_id)}", query))

    # Nodes.

    def GetNodes(self, bulk: bool = False, reason: str | None = None) -> list[Any]:
        """Names of all nodes, or with `bulk` all that is known of each."""
        return self._list("/2/nodes", "id", bulk, reason)

    def GetNode(self, node: str, reason: str | None = None) -> Object:
        return dict(self._read(f"/2/nodes/{_part(node)}", reason))

    def EvacuateNode(
        self,
        node: str,
        iallocator: str | None = None,
        remote_node: str | None = None,
        dry_run: bool = False,
        early_release: bool | None = None,
        mode: str | None = None,
        accept_old: bool = False,
        reason: str | None = None,
    ) -> Json:
        """Move instances away from a node; `mode` is one of NODE_EVAC_*.

        Answers with a job, whose result has the jobs that move. Servers of before 2.5 answer with
        a list of jobs instead: only if `accept_old`, and neither `mode` nor `early_release`.
        """
        path = f"/2/nodes/{_part(node)}/evacuate"
        if NODE_EVAC_RES1 in self.GetFeatures():
            body = _given(
                iallocator=iallocator,
                remote_node=remote_node,
                early_release=early_release,
                mode=mode,
            )
            return self._send(HTTP_POST, path, _options(dry_run, reason), body)
        if not accept_old:
            raise GanetiApiError("the server is of before 2.5 and answers in an older form")
        if mode is not None or early_release is not None:
            raise GanetiApiError("the server is of before 2.5: no mode, no early release")
        query = _value("iallocator", iallocator) + _value("remote_node", remote_node)
        return self._send(HTTP_POST, path, query + _options(dry_run, reason))

    def MigrateNode(
        self,
        node: str,
        mode: str | None = None,
        dry_run: bool = False,
        iallocator: str | None = None,
        target_node: str | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Migrate all instances away from a node.

        Servers ignore `mode`, `iallocator` and `target_node` when `dry_run` or `reason` is given.
        """
        path = f"/2/nodes/{_part(node)}/migrate"
        query = _options(dry_run, reason)
        if NODE_MIGRATE_REQV1 in self.GetFeatures():
            if len(query) > 1:
                raise AssertionError("give at most one of dry_run and reason")
            body = _given(mode=mode, iallocator=iallocator, target_node=target_node)
            job: JobId = self._send(HTTP_POST, path, query, body)
            return job
        if target_node is not None:
            raise GanetiApiError("the server does not take a target node for a migration")
        job = self._send(HTTP_POST, path, query + _value("mode", mode))
        return job

    def GetNodeRole(self, node: str, reason: str | None = None) -> str:
        """One of NODE_ROLE_*."""
        return str(self._read(f"/2/nodes/{_part(node)}/role", reason))

    def SetNodeRole(
        self,
        node: str,
        role: str,
        force: bool = False,
        auto_promote: bool | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Give a node another role, one of NODE_ROLE_* but the master's."""
        query = (
            _flag("force", force) + _value("auto-promote", auto_promote) + _value("reason", reason)
        )
        job: JobId = self._send(HTTP_PUT, f"/2/nodes/{_part(node)}/role", query, role)
        return job

    def PowercycleNode(self, node: str, force: bool = False, reason: str | None = None) -> JobId:
        query = _flag("force", force) + _value("reason", reason)
        job: JobId = self._send(HTTP_POST, f"/2/nodes/{_part(node)}/powercycle", query)
        return job

    def ModifyNode(self, node: str, reason: str | None = None, **kwargs: Json) -> JobId:
        """Change a node; keywords are those of OpNodeSetParams."""
        path = f"/2/nodes/{_part(node)}/modify"
        job: JobId = self._send(HTTP_POST, path, _value("reason", reason), kwargs)
        return job

    def GetNodeStorageUnits(
        self,
        node: str,
        storage_type: str,
        output_fields: Sequence[str],
        reason: str | None = None,
    ) -> JobId:
        """Job whose result has the storage units; the type is file, lvm-pv, lvm-vg, …"""
        query = [
            ("storage_type", storage_type),
            ("output_fields", ",".join(output_fields)),
            *_value("reason", reason),
        ]
        job: JobId = self._send(HTTP_GET, f"/2/nodes/{_part(node)}/storage", query)
        return job

    def ModifyNodeStorageUnits(
        self,
        node: str,
        storage_type: str,
        name: str,
        allocatable: bool | None = None,
        reason: str | None = None,
    ) -> JobId:
        """Change a storage unit; `allocatable`: new disks may go there."""
        query = [
            ("storage_type", storage_type),
            ("name", name),
            *_value("allocatable", allocatable),
            *_value("reason", reason),
        ]
        job: JobId = self._send(HTTP_PUT, f"/2/nodes/{_part(node)}/storage/modify", query)
        return job

    def RepairNodeStorageUnits(
        self, node: str, storage_type: str, name: str, reason: str | None = None
    ) -> JobId:
        query = [("storage_type", storage_type), ("name", name), *_value("reason", reason)]
        job: JobId = self._send(HTTP_PUT, f"/2/nodes/{_part(node)}/storage/repair", query)
        return job

    def GetNodeTags(self, node: str, reason: str | None = None) -> list[str]:
        return list(self._read(f"/2/nodes/{_part(node)}/tags", reason))

    def AddNodeTags(
        self, node: str, tags: Sequence[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/nodes/{_part(node)}/tags"
        return self._change_tags(HTTP_PUT, path, tags, dry_run, reason, body=tags)

    def DeleteNodeTags(
        self, node: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/nodes/{_part(node)}/tags"
        return self._change_tags(HTTP_DELETE, path, tags, dry_run, reason)

    # Networks.

    def GetNetworks(self, bulk: bool = False, reason: str | None = None) -> list[Any]:
        """Names of all networks, or with `bulk` all that is known of each."""
        return self._list("/2/networks", "name", bulk, reason)

    def GetNetwork(self, network: str, reason: str | None = None) -> Object:
        return dict(self._read(f"/2/networks/{_part(network)}", reason))

    def CreateNetwork(
        self,
        network_name: str,
        network: str,
        gateway: str | None = None,
        network6: str | None = None,
        gateway6: str | None = None,
        mac_prefix: str | None = None,
        add_reserved_ips: str | None = None,
        tags: str | None = None,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> JobId:
        """Create a network; `add_reserved_ips` and `tags` are texts with commas."""
        body = {
            "network_name": network_name,
            "gateway": gateway,
            "network": network,
            "gateway6": gateway6,
            "network6": network6,
            "mac_prefix": mac_prefix,
            "add_reserved_ips": add_reserved_ips.split(",") if add_reserved_ips else [],
            "tags": tags.split(",") if tags else [],
        }
        job: JobId = self._send(HTTP_POST, "/2/networks", _options(dry_run, reason), body)
        return job

    def ConnectNetwork(
        self,
        network_name: str,
        group_name: str,
        mode: str,
        link: str,
        vlan: str = "",
        dry_run: bool = False,
        reason: str | None = None,
    ) -> JobId:
        """Make a network available in a node group, by this mode and link."""
        body = {
            "group_name": group_name,
            "network_mode": mode,
            "network_link": link,
            "network_vlan": vlan,
        }
        path = f"/2/networks/{_part(network_name)}/connect"
        job: JobId = self._send(HTTP_PUT, path, _options(dry_run, reason), body)
        return job

    def DisconnectNetwork(
        self,
        network_name: str,
        group_name: str,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> JobId:
        path = f"/2/networks/{_part(network_name)}/disconnect"
        body = {"group_name": group_name}
        job: JobId = self._send(HTTP_PUT, path, _options(dry_run, reason), body)
        return job

    def ModifyNetwork(self, network: str, reason: str | None = None, **kwargs: Json) -> JobId:
        """Change a network; keywords are those of OpNetworkSetParams. `reason` is not sent."""
        job: JobId = self._send(HTTP_PUT, f"/2/networks/{_part(network)}/modify", None, kwargs)
        return job

    def RenameNetwork(self, network: str, new_name: str, reason: str | None = None) -> JobId:
        path = f"/2/networks/{_part(network)}/rename"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), {"new_name": new_name})
        return job

    def DeleteNetwork(
        self, network: str, dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/networks/{_part(network)}"
        job: JobId = self._send(HTTP_DELETE, path, _options(dry_run, reason))
        return job

    def GetNetworkTags(self, network: str, reason: str | None = None) -> list[str]:
        return list(self._read(f"/2/networks/{_part(network)}/tags", reason))

    def AddNetworkTags(
        self, network: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/networks/{_part(network)}/tags"
        return self._change_tags(HTTP_PUT, path, tags, dry_run, reason)

    def DeleteNetworkTags(
        self, network: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/networks/{_part(network)}/tags"
        return self._change_tags(HTTP_DELETE, path, tags, dry_run, reason)

    # Node groups.

    def GetGroups(self, bulk: bool = False, reason: str | None = None) -> list[Any]:
        """Names of all node groups, or with `bulk` all that is known of each."""
        return self._list("/2/groups", "name", bulk, reason)

    def GetGroup(self, group: str, reason: str | None = None) -> Object:
        return dict(self._read(f"/2/groups/{_part(group)}", reason))

    def CreateGroup(
        self,
        name: str,
        alloc_policy: str | None = None,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> JobId:
        """Create a node group; the policy is preferred, last_resort or unallocable."""
        body = {"name": name, "alloc_policy": alloc_policy}
        job: JobId = self._send(HTTP_POST, "/2/groups", _options(dry_run, reason), body)
        return job

    def ModifyGroup(self, group: str, reason: str | None = None, **kwargs: Json) -> JobId:
        """Change a node group; keywords are those of OpGroupSetParams."""
        path = f"/2/groups/{_part(group)}/modify"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), kwargs)
        return job

    def DeleteGroup(self, group: str, dry_run: bool = False, reason: str | None = None) -> JobId:
        path = f"/2/groups/{_part(group)}"
        job: JobId = self._send(HTTP_DELETE, path, _options(dry_run, reason))
        return job

    def RenameGroup(self, group: str, new_name: str, reason: str | None = None) -> JobId:
        path = f"/2/groups/{_part(group)}/rename"
        job: JobId = self._send(HTTP_PUT, path, _value("reason", reason), {"new_name": new_name})
        return job

    def AssignGroupNodes(
        self,
        group: str,
        nodes: Sequence[str],
        force: bool = False,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> JobId:
        """Put nodes into a group; `force`: even if instances end up in two."""
        path = f"/2/groups/{_part(group)}/assign-nodes"
        query = _flag("force", force) + _options(dry_run, reason)
        job: JobId = self._send(HTTP_PUT, path, query, {"nodes": nodes})
        return job

    def GetGroupTags(self, group: str, reason: str | None = None) -> list[str]:
        return list(self._read(f"/2/groups/{_part(group)}/tags", reason))

    def AddGroupTags(
        self, group: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/groups/{_part(group)}/tags"
        return self._change_tags(HTTP_PUT, path, tags, dry_run, reason)

    def DeleteGroupTags(
        self, group: str, tags: Iterable[str], dry_run: bool = False, reason: str | None = None
    ) -> JobId:
        path = f"/2/groups/{_part(group)}/tags"
        return self._change_tags(HTTP_DELETE, path, tags, dry_run, reason)

    # Queries.

    def Query(
        self,
        what: str,
        fields: Sequence[str],
        qfilter: Json = None,
        reason: str | None = None,
    ) -> Object:
        """`fields` (what they are) and `data` (rows of [status, value]) of all objects of a kind.

        `qfilter` lets some through: `["=", "name", "web1.example.com"]`.
        """
        body: Object = {"fields": fields}
        if qfilter is not None:
            body["qfilter"] = body["filter"] = qfilter
        return dict(self._send(HTTP_PUT, f"/2/query/{_part(what)}", _value("reason", reason), body))

    def QueryFields(
        self, what: str, fields: Sequence[str] | None = None, reason: str | None = None
    ) -> Object:
        """What fields the objects of a kind have; all of them, or these."""
        query = _value("reason", reason)
        if fields is not None:
            query.append(("fields", ",".join(fields)))
        return dict(self._send(HTTP_GET, f"/2/query/{_part(what)}/fields", query))

    # Job filters.

    def GetFilters(self, bulk: bool = False) -> list[Any]:
        """uuids of all job filter rules, or with `bulk` the rules."""
        return self._list("/2/filters", "uuid", bulk)

    def GetFilter(self, filter_uuid: str) -> Object:
        return dict(self._send(HTTP_GET, f"/2/filters/{_part(filter_uuid)}"))

    def AddFilter(
        self,
        priority: int,
        predicates: Sequence[Json],
        action: Json,
        reason_trail: Sequence[Json] | None = None,
    ) -> str:
        """The uuid of a new rule: jobs for which all predicates hold get the action."""
        body = _rule(priority, predicates, action, reason_trail)
        return str(self._send(HTTP_POST, "/2/filters", None, body))

    def ReplaceFilter(
        self,
        uuid: str,
        priority: int,
        predicates: Sequence[Json],
        action: Json,
        reason_trail: Sequence[Json] | None = None,
    ) -> str:
        """The uuid of the rule, which is replaced or, if there is none, made."""
        body = _rule(priority, predicates, action, reason_trail)
        return str(self._send(HTTP_PUT, f"/2/filters/{_part(uuid)}", None, body))

    def DeleteFilter(self, uuid: str) -> None:
        self._send(HTTP_DELETE, f"/2/filters/{_part(uuid)}", None, {})


def _rule(
    priority: int, predicates: Sequence[Json], action: Json, trail: Sequence[Json] | None
) -> Object:
    return {
        "priority": priority,
        "predicates": predicates,
        "action": action,
        "reason": [*(trail or ()), ["gnt:client", "", EpochNano()]],
    }
