"""What the tools of a source checkout need around them: Debian packages and `.venv`.

Standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VENV = TOP / ".venv"
STAMP = VENV / "ganeti-dependencies"
HALF_MADE = VENV / "ganeti-half-made"
APT_TIMEOUT_S = 900
PIP_TIMEOUT_S = 900
LAST_WORDS = 500
LINE_WIDTH = 80
TELL_S = 5.0  # how often a long command's newest line is told

Say = Callable[[str], None]


class EnvironmentProblem(Exception):
    """One sentence: what can't be had, and why."""


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package. `mark` shows that it is there: a program, a path pattern, or one of some
    Python modules (`import NAME NAME`)."""

    mark: str
    purpose: str
    tests_only: bool = False


PACKAGES: dict[str, Package] = {
    "python3-venv": Package("import ensurepip pip", "the Python environment"),
    "qemu-system-x86": Package("qemu-system-x86_64", "instances with KVM or emulation"),
    "ovmf": Package("/usr/share/OVMF/OVMF_CODE_4M.fd", "instances with UEFI"),
    "swtpm": Package("swtpm", "instances with a TPM"),
    "qemu-utils": Package("qemu-img", "disk images"),
    "busybox-static": Package("busybox", "the guest's programs"),
    "linux-image-cloud-amd64": Package("/boot/vmlinuz-*-cloud-amd64", "the guest's kernel"),
    "kmod": Package("modinfo", "finding the guest's drivers"),
    "e2fsprogs": Package("mkfs.ext4", "the guest's root file system"),
    "iproute2": Package("ip", "network set-up of nodes"),
    "socat": Package("socat", "serial consoles, copying disks between nodes"),
    "openssl": Package("openssl", "certificates of strangers", tests_only=True),
    "openssh-client": Package("ssh", "joining nodes", tests_only=True),
    "openssh-server": Package("sshd", "joining nodes", tests_only=True),
    "iputils-arping": Package("arping", "announcing the master's address", tests_only=True),
    "iputils-ping": Package("ping", "asking guests", tests_only=True),
    "nftables": Package("nft", "cutting nodes off", tests_only=True),
    "openvswitch-switch": Package("ovs-vswitchd", "guests in a switch", tests_only=True),
    "ganeti-htools": Package("hinfo", "other programs on the master's socket", tests_only=True),
    "python3-ganeti-rapi": Package(
        "/var/lib/dpkg/info/python3-ganeti-rapi.list", "another client", tests_only=True
    ),
    "make": Package("make", "building the package", tests_only=True),
    "autoconf": Package("autoconf", "building the package", tests_only=True),
    "automake": Package("automake", "building the package", tests_only=True),
}

SYSTEM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)


def is_there(mark: str) -> bool:
    if mark.startswith("import "):
        return any(find_spec(module) for module in mark.split()[1:])
    if mark.startswith("/"):
        return any(Path("/").glob(mark.lstrip("/")))
    return shutil.which(mark, path=SYSTEM_PATH) is not None


def missing_debian_packages(*, tests: bool) -> list[str]:
    return [
        name
        for name, package in PACKAGES.items()
        if (tests or not package.tests_only) and not is_there(package.mark)
    ]


def install_debian_packages(say: Say, *, tests: bool) -> list[str]:
    """Install what is missing, on Debian as root. Returns what is missing still, which it says."""
    missing = missing_debian_packages(tests=tests)
    if missing and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        say(f"installing Debian packages: {' '.join(missing)}")
        _apt_get(say, missing)
        missing = missing_debian_packages(tests=tests)
    for name in missing:
        say(f"missing: {name}, for {PACKAGES[name].purpose}")
    if missing:
        names = " ".join(missing)
        say(f"as root: apt-get update && apt-get install --no-install-recommends {names}")
    return missing


def _apt_get(say: Say, packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        try:
            _run(argv, APT_TIMEOUT_S, say, environment)
        except EnvironmentProblem as problem:
            say(str(problem))


def dependencies(extras: tuple[str, ...]) -> list[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


def make_virtual_environment(say: Say, *, tests: bool) -> Path:
    """`.venv` with the project's dependencies; returns its interpreter. Quick when it is there.

    EnvironmentProblem when it can't be made.
    """
    python = VENV / "bin" / "python"
    wanted, *less = _stamps(tests)
    if python.exists() and STAMP.exists() and wanted in STAMP.read_text().split():
        return python
    _make_bare_environment(say, python)
    packages = dependencies(("dev",) if tests else ())
    say(f"installing {len(packages)} Python packages into .venv")
    install = ["install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    _run([*_pip(say, python), *install, *packages], PIP_TIMEOUT_S, say)
    for place in VENV.glob("lib/python3*/site-packages"):
        (place / "ganeti-source.pth").write_text(f"{TOP / 'lib'}\n")
    STAMP.write_text("\n".join([wanted, *less]) + "\n")
    return python


def _make_bare_environment(say: Say, python: Path) -> None:
    """Nothing but an interpreter and, where Debian has its parts, pip. One that was interrupted
    is made anew."""
    if HALF_MADE.exists():
        shutil.rmtree(VENV)
    if python.exists():
        return
    say("making the Python environment .venv")
    VENV.mkdir(exist_ok=True)
    HALF_MADE.touch()
    without = [] if find_spec("ensurepip") else ["--without-pip"]
    _run([sys.executable, "-m", "venv", *without, str(VENV)], PIP_TIMEOUT_S, say)
    HALF_MADE.unlink()


def _pip(say: Say, python: Path) -> list[str]:
    """The command line of a pip that installs into `.venv`; EnvironmentProblem without any."""
    if any(VENV.glob("lib/python3*/site-packages/pip/__main__.py")):
        return [str(python), "-m", "pip"]
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", str(python)]
    if find_spec("ensurepip"):
        _run([str(python), "-m", "ensurepip"], PIP_TIMEOUT_S, say)
        return [str(python), "-m", "pip"]
    raise EnvironmentProblem(
        f"{sys.executable} has neither pip nor ensurepip, so Python packages can't be installed;"
        " on Debian, as root: apt-get install python3-venv"
    )


def _stamps(tests: bool) -> Iterator[str]:
    """What an installation satisfies: first what is wanted, then the smaller ones in it."""
    for extras in (("dev",), ()) if tests else ((),):
        text = "\n".join([sys.version, *dependencies(extras)])
        yield hashlib.sha256(text.encode()).hexdigest()


def _run(
    argv: list[str], timeout_s: float, say: Say, environment: dict[str, str] | None = None
) -> None:
    """Tells its newest line now and then; EnvironmentProblem with its last words when it fails."""
    what = " ".join(argv[:4])
    try:
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as child,
        ):
            code = _wait(child, timeout_s, lambda: _newest_line(say, output.fileno()))
            said = _end_of(output.fileno())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"{what}: {error}") from error
    if code != 0:
        raise EnvironmentProblem(f"{what} … exited with exit code {code}: {said}")


def _wait(child: subprocess.Popen[bytes], timeout_s: float, tell: Callable[[], None]) -> int:
    """Its exit code; TimeoutExpired when it has been killed."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return child.wait(TELL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                child.kill()
                raise subprocess.TimeoutExpired(child.args, timeout_s) from None
            tell()


def _newest_line(say: Say, output: int) -> None:
    lines = _end_of(output).splitlines()
    if lines:
        say(f"    {lines[-1].strip()[:LINE_WIDTH]}")


def _end_of(output: int) -> str:
    size = os.fstat(output).st_size
    data = os.pread(output, LAST_WORDS, max(0, size - LAST_WORDS))
    return data.decode("utf-8", "replace").strip()
