"""The error tree, and its form on the wire.

    GenericError
    ├── OpPrereqError         nothing was changed; has a Code
    ├── OpExecError           something may have been changed
    ├── ConfigurationError    the configuration is damaged or refuses a change
    │   ├── ConfigVersionMismatch
    │   └── ConfigVerifyError
    ├── HooksFailure
    │   └── HooksAbort        a hook script said no
    ├── LockError
    │   └── PidFileLockError
    ├── JobQueueError
    │   ├── JobQueueFull
    │   └── JobQueueDrainError
    ├── JobLost, JobFileCorrupted, JobCanceled
    ├── HypervisorError ── HotplugError
    ├── BlockDeviceError, StorageError, FileStoragePathError, DeviceCreationError
    ├── LuxiError
    │   └── ProtocolError     raised by the client library itself
    │       ├── NoMasterError, ConnectionClosedError, RequestError
    │       └── LuxiTimeoutError ("TimeoutError"), LuxiPermissionError ("PermissionError")
    ├── ParseError ── QueryFilterParseError
    ├── ProgrammerError       impossible cases only
    └── the rest of facts/errors.json

Class names and argument lists travel over LUXI and stand in job files (facts/errors.json):
`[class name, [arguments]]`.
"""

from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """Why a prerequisite is not met; the values are what scripts see."""

    ENVIRON = "environment_error"
    EXISTS = "already_exists"
    FAULT = "internal_error"
    INVAL = "wrong_input"
    NOENT = "unknown_entity"
    NORES = "insufficient_resources"
    NOTUNIQUE = "resource_not_unique"
    RESOLVER = "resolver_error"
    STATE = "wrong_state"
    TEMP_NORES = "temp_insufficient_resources"


class GenericError(Exception):
    """Base of every error of ours; `args` is exactly what goes over the wire."""

    registry: ClassVar[dict[str, type["GenericError"]]] = {}
    wire_name: ClassVar[str] = "GenericError"

    def __init_subclass__(cls, wire_name: str | None = None) -> None:
        cls.wire_name = wire_name or cls.__name__
        GenericError.registry[cls.wire_name] = cls

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


GenericError.registry["GenericError"] = GenericError


class OpPrereqError(GenericError):
    """A condition is not met; nothing was changed.

    `hint` is the way out and becomes the end of the message: "fact; hint".
    """

    def __init__(self, message: str, code: Code | str | None = None, *, hint: str = "") -> None:
        text = f"{message}; {hint}" if hint else message
        if code is None:
            super().__init__(text)
        else:
            super().__init__(text, str(code))

    @property
    def code(self) -> str | None:
        return str(self.args[1]) if len(self.args) > 1 and self.args[1] is not None else None


class OpExecError(GenericError):
    """The operation failed while it was changing things."""


class OpCodeUnknown(GenericError):
    """No opcode of this name."""


class OpResultError(GenericError):
    """A logical unit gave a result of another shape than its opcode declares."""


class OpRetryNotSupportedError(GenericError):
    """The operation can't be begun again from its middle."""


class ProgrammerError(GenericError):
    """An impossible case; never caught but at the top of a job."""


class ParameterError(GenericError):
    """A parameter of this name is missing or has a wrong value; args: [name]."""


class TypeEnforcementError(GenericError):
    """A value in a parameter table has the wrong type."""


class ConfigurationError(GenericError):
    """The configuration is damaged, or refuses a change."""


class ConfigVersionMismatch(ConfigurationError):
    """args: [expected version, found version]."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(expected, found)

    def __str__(self) -> str:
        return f"configuration version {self.args[1]}, expected {self.args[0]}"


class ConfigVerifyError(ConfigurationError):
    """args: [message, list of problems]."""


class ReservationError(GenericError):
    """The MAC, address, minor, port or name is taken."""


class AddressPoolError(GenericError):
    """A network's pool has no such address, or none left."""


class LockError(GenericError):
    """A lock file or a lock of the cluster can't be had."""


class PidFileLockError(LockError):
    """Another daemon holds the pid file."""


class HooksFailure(GenericError):
    """Hooks could not be run at all."""


class HooksAbort(HooksFailure):
    """Pre-execution hooks refused; args: [list of [node, script, output]]."""

    def __init__(self, refusals: list[tuple[str, str, str]] | list[list[str]]) -> None:
        super().__init__([list(refusal) for refusal in refusals])

    @property
    def refusals(self) -> list[list[str]]:
        return list(self.args[0])

    def __str__(self) -> str:
        return "; ".join(f"node {n}, script {s}: {o or 'no output'}" for n, s, o in self.refusals)


class JobQueueError(GenericError):
    """The job queue refuses."""


class JobQueueFull(JobQueueError):
    """Too many jobs are not archived yet."""


class JobQueueDrainError(JobQueueError):
    """The queue is drained: no new jobs."""


class JobLost(GenericError):
    """No such job, or its file can't be read."""


class JobFileCorrupted(GenericError):
    """The job's file does not hold a job."""


class JobCanceled(GenericError):
    """The job was canceled."""


class HypervisorError(GenericError):
    """The hypervisor refuses or failed."""


class HotplugError(HypervisorError):
    """A device can't be added to or removed from a running instance."""


class BlockDeviceError(GenericError):
    """A block device can't be made, found, opened or removed."""


class DeviceCreationError(GenericError):
    """args: [message, list of [node uuid, device]]: what was made before the failure."""


class StorageError(GenericError):
    """A storage unit can't be listed or changed."""


class FileStoragePathError(GenericError):
    """A path for file storage is not allowed."""


class CommandError(GenericError):
    """An external command failed."""


class ResolverError(GenericError):
    """args: [host name, error number, error text]."""

    def __init__(self, host: str, number: int, text: str) -> None:
        super().__init__(host, number, text)

    def __str__(self) -> str:
        return f"can't resolve host name {self.args[0]!r}: {self.args[2]}"


class IPAddressError(GenericError):
    """Not an address, or not usable."""


class TagError(GenericError):
    """A tag is not valid, or too many."""


class UnitParseError(GenericError):
    """Not a size."""


class ParseError(GenericError):
    """Text that can't be parsed."""


class QueryFilterParseError(ParseError):
    """A query filter that can't be parsed; args: [message, details]."""


class SignatureError(GenericError):
    """A signed message whose signature does not match."""


class X509CertError(GenericError):
    """args: [file name, cause]."""

    def __init__(self, file_name: str, cause: str) -> None:
        super().__init__(file_name, cause)

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class RemoteError(GenericError):
    """Another cluster or node answered with an error."""


class ResultValidationError(GenericError):
    """An allocator's answer has the wrong shape."""


class RapiTestResult(GenericError):
    """Answer of a test of the remote API."""


class SshUpdateError(GenericError):
    """SSH keys could not be distributed."""


class InotifyError(GenericError):
    """File notification failed."""


class UdpDataSizeError(GenericError):
    """A datagram is too large."""


class ConfdClientError(GenericError):
    """The configuration daemon's client failed."""


class ConfdMagicError(GenericError):
    """A datagram without the protocol's first bytes."""


class NoCtypesError(GenericError):
    """Kept for its name on the wire."""


class LuxiError(GenericError):
    """Client and master disagree about the protocol."""


class ProtocolError(LuxiError):
    """The socket to the master failed."""


class ConnectionClosedError(ProtocolError):
    """The master closed the connection."""


class LuxiTimeoutError(ProtocolError, wire_name="TimeoutError"):
    """The master did not answer in time."""


class RequestError(ProtocolError):
    """The master answered with an error that is none of ours; args: [result]."""


class NoMasterError(ProtocolError):
    """No master daemon listens; args: [socket path]."""


class LuxiPermissionError(ProtocolError, wire_name="PermissionError"):
    """The socket may not be opened; args: [socket path]."""


def encode_error(error: BaseException) -> list[object]:
    """`[class name, [arguments]]`; an error that is none of ours becomes OpExecError."""
    if isinstance(error, GenericError):
        return [type(error).wire_name, list(error.args)]
    return ["OpExecError", [str(error) or type(error).__name__]]


def decode_error(value: object) -> GenericError | None:
    """The error that `value` encodes, or None if it does not have that form.

    Args of any length are accepted, as other implementations leave some out.
    """
    match value:
        case [str(name), list(arguments)] if name in GenericError.registry:
            cls = GenericError.registry[name]
            error = cls.__new__(cls)
            error.args = tuple(arguments)
            return error
    return None
