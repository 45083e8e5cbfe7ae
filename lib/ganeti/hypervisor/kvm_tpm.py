"""A TPM 2.0 for a guest: one swtpm(8) beside its QEMU, which ends when QEMU does."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import CommandError, HypervisorError, ParseError
from ganeti.hypervisor import kvm_process
from ganeti.serializer import loads
from ganeti.storage import guest_state

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost
    from ganeti.hypervisor.kvm_files import KvmFiles

PROGRAM: Final = "swtpm"
START_TIMEOUT_S: Final = 20.0
END_WAIT_S: Final = 3.0  # it ends by itself when QEMU has gone, and at once when told
MIGRATION_FEATURE: Final = "cmdarg-migration"  # swtpm >= 0.8 locks its state


def swtpm_argv(files: KvmFiles, state: Path, *, locks: bool, incoming: bool) -> list[str]:
    """`locks`: this swtpm locks its state, and must hand it over in a migration."""
    words = ["release-lock-outgoing", *(["incoming"] if incoming else [])]
    return [
        *(PROGRAM, "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600"),
        *("--ctrl", f"type=unixio,path={files.tpm},mode=0600", "--pid", f"file={files.tpm_pid}"),
        *(["--migration", ",".join(words)] if locks else []),
        *("--log", f"file={files.tpm_log}", "--terminate", "--daemon"),
    ]


def start(host: HvHost, files: KvmFiles, place: Path, *, incoming: bool) -> None:
    """It listens. `place` is the guest's state; a TPM that is not there yet is made."""
    state = place / "tpm"
    guest_state.make(place)
    guest_state.make(state)
    try:
        said = host.run([PROGRAM, "socket", "--print-capabilities"], timeout_s=START_TIMEOUT_S)
        locks = MIGRATION_FEATURE in loads(said.check().stdout, PROGRAM).get("features", ())
        argv = swtpm_argv(files, state, locks=locks, incoming=incoming)
        host.run(argv, timeout_s=START_TIMEOUT_S).check(f"instance {files.name}")
    except (CommandError, ParseError) as error:
        raise HypervisorError(f"TPM (hvparam tpm): {error}") from error


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
