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
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VENV = TOP / ".venv"
STAMP = VENV / "ganeti-dependencies"
APT_TIMEOUT_S = 900
PIP_TIMEOUT_S = 900

# Debian package → what shows that it is there (a program, or a path pattern), and what it is for.
DEBIAN_PACKAGES: dict[str, tuple[str, str]] = {
    "python3-venv": ("/usr/lib/python3*/ensurepip/__init__.py", "the Python environment"),
    "qemu-system-x86": ("qemu-system-x86_64", "running instances with KVM or emulation"),
    "qemu-utils": ("qemu-img", "disk images"),
    "busybox-static": ("/bin/busybox", "the guest's programs"),
    "linux-image-cloud-amd64": ("/boot/vmlinuz-*-cloud-amd64", "the guest's kernel"),
    "cpio": ("cpio", "the guest's initrd"),
    "kmod": ("modinfo", "finding the guest's drivers"),
    "e2fsprogs": ("mkfs.ext4", "the guest's root file system"),
    "iproute2": ("ip", "network set-up of nodes"),
    "socat": ("socat", "serial consoles"),
    "openssh-client": ("ssh", "joining nodes"),
    "openssh-server": ("sshd", "joining nodes"),
    "ganeti-htools": ("hinfo", "trying other programs on the master's socket"),
    "make": ("make", "building the package"),
    "autoconf": ("autoconf", "building the package"),
    "automake": ("automake", "building the package"),
}

SYSTEM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)

Say = Callable[[str], None]


def is_there(mark: str) -> bool:
    if mark.startswith("/"):
        return any(Path("/").glob(mark.lstrip("/")))
    return shutil.which(mark, path=SYSTEM_PATH) is not None


def missing_debian_packages() -> list[str]:
    return [package for package, (mark, _) in DEBIAN_PACKAGES.items() if not is_there(mark)]


def install_debian_packages(say: Say) -> list[str]:
    """Install what is missing, on Debian as root. Returns what is missing still."""
    missing = missing_debian_packages()
    if not missing:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        for package in missing:
            say(f"missing: {package}, for {DEBIAN_PACKAGES[package][1]}")
        say(
            "to install them, run as root: apt-get install --no-install-recommends "
            + " ".join(missing)
        )
        return missing
    say("installing Debian packages: " + " ".join(missing))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=APT_TIMEOUT_S
        )
        if done.returncode != 0:
            say(f"{' '.join(argv[:2])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return missing_debian_packages()


def dependencies(extras: tuple[str, ...]) -> list[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


def make_virtual_environment(say: Say, extras: tuple[str, ...] = ("dev",)) -> Path:
    """`.venv` with the project's dependencies; returns its interpreter. Quick when it is there."""
    wanted = dependencies(extras)
    stamp = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()
    python = VENV / "bin" / "python"
    if python.exists() and STAMP.exists() and STAMP.read_text() == stamp:
        return python
    if not python.exists():
        say("making the Python environment .venv")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, timeout=PIP_TIMEOUT_S)
    say("installing Python packages into .venv")
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted],
        check=True,
        timeout=PIP_TIMEOUT_S,
    )
    for packages in VENV.glob("lib/python3*/site-packages"):
        (packages / "ganeti-source.pth").write_text(f"{TOP / 'lib'}\n")
    STAMP.write_text(stamp)
    return python
