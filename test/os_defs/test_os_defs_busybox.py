"""The scripts of the shipped OS definition, run as noded runs them: with a clean environment."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "os" / "busybox"
SCRIPT_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
NEEDED = ("busybox", "mkfs.ext4", "debugfs", "e2fsck", "resize2fs", "modinfo")
MISSING = [name for name in NEEDED if not shutil.which(name, path=SCRIPT_PATH)]
MIB = 1 << 20

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")


def call(script: str, *argv: str, stdin: bytes = b"", **environment: str) -> bytes:
    """What the script writes; AssertionError with its complaint when it fails."""
    done = subprocess.run(
        [HERE / script, *argv],
        env={"PATH": SCRIPT_PATH, **environment},
        input=stdin,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def a_disk(path: Path, size_mib: int = 16) -> dict[str, str]:
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
    return {"DISK_0_PATH": str(path), "DISK_0_SIZE": str(size_mib)}


def text_on(disk: Path, name: str) -> str:
    argv = ["/sbin/debugfs", "-R", f"cat {name}", str(disk)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_the_disk_holds_what_the_parameters_say(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    variables = {"INSTANCE_NAME": "web1", "OSP_TOKEN": "a 'b' $c", "OS_VARIANT": "default"}
    call("create", **a_disk(disk), **variables)
    assert text_on(disk, "/etc/token") == "a 'b' $c\n"
    assert text_on(disk, "/etc/hostname") == "web1\n"
    assert text_on(disk, "/etc/stubborn") == ""
    assert disk.stat().st_size == 16 * MIB


def test_a_reinstalled_disk_has_nothing_of_the_old_guest(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    variables = a_disk(disk)
    call("create", **variables, OSP_TOKEN="old")
    call("create", **variables, OSP_TOKEN="new", INSTANCE_REINSTALL="1", OS_VARIANT="stubborn")
    assert text_on(disk, "/etc/token") == "new\n"
    assert text_on(disk, "/etc/stubborn") == "yes\n"


def test_a_renamed_guest_has_its_new_name_on_its_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    variables = a_disk(disk)
    call("create", **variables, INSTANCE_NAME="old")
    call("rename", **variables, INSTANCE_NAME="new", OLD_INSTANCE_NAME="old")
    assert text_on(disk, "/etc/hostname") == "new\n"
    subprocess.run(["/sbin/e2fsck", "-fn", str(disk)], check=True, capture_output=True)


def test_a_dump_makes_the_same_guest_on_a_larger_disk(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    call("create", **a_disk(source), OSP_TOKEN="moved")
    reader, writer = os.pipe()
    dump = subprocess.run(
        [HERE / "export"],
        env={"PATH": SCRIPT_PATH, "EXPORT_DEVICE": str(source), "EXP_SIZE_FD": str(writer)},
        pass_fds=[writer],
        capture_output=True,
        check=True,
    ).stdout
    os.close(writer)
    assert os.read(reader, 100) == str(16 * MIB).encode()
    os.close(reader)
    a_disk(target, 24)
    call("import", stdin=dump, IMPORT_DEVICE=str(target), IMPORT_INDEX="0")
    assert text_on(target, "/etc/token") == "moved\n"
    subprocess.run(["/sbin/e2fsck", "-fn", str(target)], check=True, capture_output=True)


def test_a_dump_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    a_disk(disk, 1)
    with pytest.raises(AssertionError, match="larger than"):
        call("import", stdin=bytes(2 * MIB), IMPORT_DEVICE=str(disk), IMPORT_INDEX="0")


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKEN", "two\nlines"), ("TOKEN", "x" * 201), ("HOSTNAME", "-bad"), ("MESSAGE", "\x07")],
)
def test_parameters_that_can_not_be_used_are_refused(name: str, value: str) -> None:
    call("verify", "parameters", OSP_TOKEN="good", OSP_HOSTNAME="web1.example.com")
    with pytest.raises(AssertionError, match=f"parameter {name.lower()}"):
        call("verify", "parameters", **{f"OSP_{name}": value})


def test_a_disk_that_is_too_small_or_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="8 are needed"):
        call("create", **a_disk(tmp_path / "disk", 4))
    with pytest.raises(AssertionError, match="DISK_0_PATH"):
        call("create")


def test_an_initrd_is_made_once(tmp_path: Path) -> None:
    if not list(Path("/boot").glob("vmlinuz-*")):
        pytest.skip("needs a kernel in /boot")
    answers = {call("make-initrd", str(tmp_path)) for _ in range(2)}
    assert len(answers) == 1
    params = dict(pair.split("=", 1) for pair in answers.pop().decode().strip().split(","))
    assert list(tmp_path.iterdir()) == [Path(params["initrd_path"])]
    assert params["root_path"] == "/dev/vda"
    assert gzip.decompress(Path(params["initrd_path"]).read_bytes())[:6] == b"070701"
