"""A guest in 3 MB: what the scripts of this OS definition share.

The root file system is one busybox and a few text files, on the whole of the first disk. It is
made without mounting anything, so it needs no root. It boots with a Linux kernel given by hvparam
kernel_path and the small initrd of `make-initrd`.

Standard library only: the scripts run with a clean environment and the system's Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LABEL = "busybox-root"
SMALLEST_MIB = 8  # busybox has 2 MB, the file system itself takes about as much
MOST_TEXT = 200
HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
STUBBORN = "stubborn"
CHUNK = 1 << 20

HERE = Path(__file__).resolve().parent


class GuestError(Exception):
    """Why the guest can't be made; the text is for the administrator."""


def fail(error: Exception) -> int:
    sys.stderr.write(f"{error}\n")
    return 1


def program(name: str) -> str:
    """Absolute path; /sbin is also looked at, a user's PATH often lacks it."""
    places = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=places)
    if not found:
        raise GuestError(f"the program {name} is missing on this node")
    return found


def run(*argv: str, ok: tuple[int, ...] = (0,)) -> str:
    """Its output; GuestError with its last words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).strip()
        raise GuestError(f"{' '.join(argv[:2])} exited with exit code {done.returncode}: {said}")
    return done.stdout


def static_busybox() -> Path:
    """A busybox that needs no libraries; it becomes the guest's only program."""
    found = Path(program("busybox")).resolve()
    if b"/ld-linux" in found.read_bytes():
        raise GuestError(f"{found} is not static; the package busybox-static has one that is")
    return found


def root_disk(environment: Mapping[str, str]) -> Path:
    """The first disk; GuestError when there is none with a path, or it is too small."""
    path = environment.get("DISK_0_PATH")
    if not path:
        raise GuestError("the instance needs a disk that has a path on the node (DISK_0_PATH)")
    if int(environment.get("DISK_0_SIZE", SMALLEST_MIB)) < SMALLEST_MIB:
        raise GuestError(f"disk 0 has {environment['DISK_0_SIZE']} MiB, {SMALLEST_MIB} are needed")
    return Path(path)


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The OS parameters, with their defaults filled in; GuestError for one that can't be used."""
    check_parameters(environment)
    made = {
        "token": environment.get("OSP_TOKEN") or environment.get("INSTANCE_UUID", ""),
        "hostname": environment.get("OSP_HOSTNAME") or environment.get("INSTANCE_NAME", "guest"),
        "message": environment.get("OSP_MESSAGE", ""),
        "address": environment.get("NIC_0_IP", ""),
    }
    if environment.get("OS_VARIANT") == STUBBORN:
        made["stubborn"] = "yes"
    return made


def check_parameters(environment: Mapping[str, str]) -> None:
    for name in ("token", "message"):
        text = environment.get(f"OSP_{name.upper()}", "")
        if len(text) > MOST_TEXT or not text.isprintable():
            raise GuestError(f"parameter {name}: one line of at most {MOST_TEXT} characters")
    hostname = environment.get("OSP_HOSTNAME", "")
    if hostname and (len(hostname) > 253 or not HOSTNAME.fullmatch(hostname)):
        raise GuestError(f"parameter hostname: {hostname!r} is no host name")


def write_tree(root: Path, values: Mapping[str, str]) -> None:
    """The files of the guest's root file system."""
    for name in ("bin", "sbin", "etc/acpi/PWRF", "dev", "proc", "sys", "tmp", "root", "var/lib"):
        (root / name).mkdir(parents=True)
    shutil.copy(static_busybox(), root / "bin/busybox")
    for name, target in (("bin/sh", "busybox"), ("bin/mount", "busybox")):
        (root / name).symlink_to(target)
    for source, target in (
        ("guest-init", "sbin/init"),
        ("guest-shell", "etc/shell"),
        ("guest-power-button", "etc/acpi/PWRF/00000080"),
    ):
        shutil.copy(HERE / source, root / target)
        (root / target).chmod(0o755)
    for name, text in values.items():
        (root / "etc" / name).write_text(f"{text}\n" if text else "")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")


def make_root(disk: Path, values: Mapping[str, str]) -> None:
    """The disk holds a fresh root file system."""
    with tempfile.TemporaryDirectory(prefix="guest-") as directory:
        root = Path(directory) / "root"
        root.mkdir()
        root.chmod(0o755)
        write_tree(root, values)
        owner = ["-E", "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"]
        mkfs = program("mkfs.ext4")
        run(mkfs, "-q", "-F", "-L", LABEL, *owner, "-d", str(root), str(disk))


def write_file(disk: Path, name: str, text: str) -> None:
    """A file of the (inactive) root file system has a new text; nothing is mounted."""
    with tempfile.NamedTemporaryFile("w", prefix="guest-") as file:
        file.write(text)
        file.flush()
        for request in (f"rm {name}", f"write {file.name} {name}"):
            run(program("debugfs"), "-w", "-R", request, str(disk))
    if read_file(disk, name) != text:
        raise GuestError(f"{name} on {disk} could not be written")


def read_file(disk: Path, name: str) -> str:
    return run(program("debugfs"), "-R", f"cat {name}", str(disk))


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def size_of(descriptor: int) -> int:
    """Bytes of a file or block device."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size


def dump(disk: Path, out: int, size_fd: int | None) -> None:
    """The whole disk goes to `out`; its size, for whoever shows progress, to `size_fd`."""
    with opened(disk, os.O_RDONLY) as source:
        if size_fd is not None:
            os.write(size_fd, str(size_of(source)).encode())
            os.close(size_fd)
        while piece := os.read(source, CHUNK):
            _write_all(out, piece)


def restore(disk: Path, source: int) -> None:
    """What comes from `source` is on the disk; GuestError when it is more than the disk holds."""
    with opened(disk, os.O_WRONLY) as target:
        room = size_of(target)
        while piece := os.read(source, CHUNK):
            room -= len(piece)
            if room < 0:
                raise GuestError(f"the dump is larger than {disk}")
            _write_all(target, piece)
        os.fsync(target)


def fit(disk: Path) -> None:
    """The file system fills the disk, which may be larger than the one it comes from."""
    run(program("e2fsck"), "-f", "-y", str(disk), ok=(0, 1))
    run(program("resize2fs"), str(disk))


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
