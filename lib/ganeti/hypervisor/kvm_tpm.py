"""A TPM 2.0 for a guest: one swtpm(8) beside its QEMU, which ends when QEMU does."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import CommandError, HypervisorError
from ganeti.hypervisor import kvm_process
from ganeti.storage import guest_state

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost
    from ganeti.hypervisor.kvm_files import KvmFiles

PROGRAM: Final = "swtpm"
START_TIMEOUT_S: Final = 20.0
END_WAIT_S: Final = 3.0  # it ends by itself when QEMU has gone, and at once when told
LINK: Final = "tpm"


def swtpm_argv(files: KvmFiles, state: Path) -> list[str]:
    return [
        *(PROGRAM, "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600"),
        *("--ctrl", f"type=unixio,path={files.tpm},mode=0600", "--pid", f"file={files.tpm_pid}"),
        *("--log", f"file={files.tpm_log}", "--terminate", "--daemon"),
    ]


def start(host: HvHost, files: KvmFiles, place: Path, *, incoming: bool) -> None:
    """It listens. `place` is the guest's state; a TPM that is not there yet is made."""
    guest_state.make(place)
    state = new_state(place) if incoming else own_state(place)
    try:
        argv = swtpm_argv(files, state)
        host.run(argv, timeout_s=START_TIMEOUT_S).check(f"instance {files.name}")
    except CommandError as error:
        raise HypervisorError(f"TPM (hvparam tpm): {error}") from error


# Directories of state. swtpm locks its own, and a shared one is still held by the source while the
# target already needs one: so the target gets a new one, filled by QEMU's stream, and the link
# `tpm` says which is the guest's.


def new_state(place: Path) -> Path:
    """For a guest that arrives; it becomes its own by `adopt`."""
    state = place / f"tpm-{max(_numbers(place), default=0) + 1}"
    guest_state.make(state)
    return state


def own_state(place: Path) -> Path:
    """The guest's. It runs nowhere else, so what failed migrations left is dropped."""
    link = place / LINK
    if not link.is_symlink():
        _point(link, new_state(place))
    own = link.resolve()
    for number in _numbers(place):
        other = place / f"tpm-{number}"
        if other.resolve() != own:
            guest_state.remove(other)
    guest_state.make(own)
    return own


def adopt(place: Path) -> None:
    """The guest has arrived: the newest state is its own. The older one may still be held by a
    source that ends, so it is dropped at the next start."""
    _point(place / LINK, place / f"tpm-{max(_numbers(place))}")


def _numbers(place: Path) -> list[int]:
    found = (path.name.removeprefix("tpm-") for path in place.glob("tpm-*"))
    return [int(text) for text in found if text.isdigit()]


def _point(link: Path, state: Path) -> None:
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(state.name)
    new.rename(link)


def end(proc: Path, files: KvmFiles) -> None:
    """It does not run, and left no socket."""
    pid = kvm_process.read_pid(files.tpm_pid)
    if pid is not None and _is_ours(proc, pid, files):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            pass
        else:
            _end(handle, sure=_is_ours(proc, pid, files))
    files.tpm_pid.unlink(missing_ok=True)
    files.tpm.unlink(missing_ok=True)


def _is_ours(proc: Path, pid: int, files: KvmFiles) -> bool:
    argv = kvm_process.command_line(proc, pid)
    return any(f"path={files.tpm}," in word for word in argv)


def _end(handle: int, *, sure: bool) -> None:
    try:
        for number in (signal.SIGTERM, signal.SIGKILL) if sure else ():
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], END_WAIT_S)[0]:
                return
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
