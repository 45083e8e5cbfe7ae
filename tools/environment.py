"""What the tools of a source checkout need around them: Debian packages and `.venv`.

Standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VENV = TOP / ".venv"
STAMP = VENV / "ganeti-dependencies"
APT_TIMEOUT_S = 900
PIP_TIMEOUT_S = 900
LAST_WORDS = 500

Say = Callable[[str], None]


class EnvironmentProblem(Exception):
    """One sentence: what can't be had, and why."""


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package. `mark` shows that it is there: a program, or a path pattern."""

    mark: str
    purpose: str
    tests_only: bool = False


PACKAGES: dict[str, Package] = {
    "python3-venv": Package("/usr/lib/python3*/ensurepip/__init__.py", "the Python environment"),
    "qemu-system-x86": Package("qemu-system-x86_64", "instances with KVM or emulation"),
    "qemu-utils": Package("qemu-img", "disk images"),
    "busybox-static": Package("busybox", "the guest's programs"),
    "linux-image-cloud-amd64": Package("/boot/vmlinuz-*-cloud-amd64", "the guest's kernel"),
    "kmod": Package("modinfo", "finding the guest's drivers"),
    "e2fsprogs": Package("mkfs.ext4", "the guest's root file system"),
    "iproute2": Package("ip", "network set-up of nodes"),
    "socat": Package("socat", "serial consoles"),
    "openssl": Package("openssl", "certificates of strangers", tests_only=True),
    "openssh-client": Package("ssh", "joining nodes", tests_only=True),
    "openssh-server": Package("sshd", "joining nodes", tests_only=True),
    "iputils-arping": Package("arping", "announcing the master's address", tests_only=True),
    "iputils-ping": Package("ping", "asking guests", tests_only=True),
    "nftables": Package("nft", "cutting nodes off", tests_only=True),
    "ganeti-htools": Package("hinfo", "other programs on the master's socket", tests_only=True),
    "make": Package("make", "building the package", tests_only=True),
    "autoconf": Package("autoconf", "building the package", tests_only=True),
    "automake": Package("automake", "building the package", tests_only=True),
}

SYSTEM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)


def is_there(mark: str) -> bool:
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
        say(f"as root: apt-get install --no-install-recommends {' '.join(missing)}")
    return missing


def _apt_get(say: Say, packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        try:
            _run(argv, APT_TIMEOUT_S, environment)
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
    if not python.exists():
        say("making the Python environment .venv")
        _run([sys.executable, "-m", "venv", str(VENV)], PIP_TIMEOUT_S)
    packages = dependencies(("dev",) if tests else ())
    say(f"installing {len(packages)} Python packages into .venv")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, *packages], PIP_TIMEOUT_S)
    for place in VENV.glob("lib/python3*/site-packages"):
        (place / "ganeti-source.pth").write_text(f"{TOP / 'lib'}\n")
    STAMP.write_text("\n".join([wanted, *less]) + "\n")
    return python


def _stamps(tests: bool) -> Iterator[str]:
    """What an installation satisfies: first what is wanted, then the smaller ones in it."""
    for extras in (("dev",), ()) if tests else ((),):
        text = "\n".join([sys.version, *dependencies(extras)])
        yield hashlib.sha256(text.encode()).hexdigest()


def _run(argv: list[str], timeout_s: float, environment: dict[str, str] | None = None) -> None:
    """EnvironmentProblem with the command's last words when it fails."""
    what = " ".join(argv[:4])
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"{what}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-LAST_WORDS:]
        raise EnvironmentProblem(f"{what} … exited with exit code {done.returncode}: {said}")
