"""autogen, configure, make and make install, as a packager does it, and what they leave."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from build_tree import STEP_S, TOP, configured, step
from ganeti.utils.versions import OWN

LINKS = 5  # on the way to one file
VERSION = str(OWN)
PREFIX, STATE, CONF = "/opt/ganeti", "/opt/ganeti/var", "/opt/ganeti/etc"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build directory that is not the source directory, after `make`."""
    place = tmp_path_factory.mktemp("install")
    where = [f"--prefix={PREFIX}", f"--localstatedir={STATE}", f"--sysconfdir={CONF}"]
    build = configured(place, *where)
    step(["make", "-j2"], build)
    return build


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """What lies below DESTDIR."""
    root = built.parent / "root"
    step(["make", "install", f"DESTDIR={root}"], built)
    return root


def own(root: Path, path: str) -> Path:
    """The place below DESTDIR; the links on the way have texts without it."""
    found = root / path.lstrip("/")
    for _ in range(LINKS):
        for part in (*reversed(found.parents), found):
            if part.is_symlink() and os.readlink(part).startswith("/"):
                found = root / os.readlink(part).lstrip("/") / found.relative_to(part)
                break
    return found


def test_every_kind_of_file_is_installed(installed: Path) -> None:
    for path in (
        "sbin/gnt-instance",
        "sbin/ganeti-noded",
        "sbin/ganeti-masterd",
        "sbin/ganeti-rapi",
        "lib/ganeti/import-export",
        "lib/ganeti/node-daemon-setup",
        "lib/ganeti/prepare-node-join",
        "lib/ganeti/daemon-util",
        "lib/ganeti/ensure-dirs",
        "lib/ganeti/use-version",
        "lib/ganeti/tools/cfgupgrade",
        "lib/ganeti/tools/kvm-console-wrapper",
        f"lib/ganeti/{VERSION}/python/ganeti/cli/app.py",
        "lib/systemd/system/ganeti.target",
        "lib/systemd/system/ganeti-noded.service",
        "lib/systemd/system/ganeti-masterd.service",
        "lib/systemd/system/ganeti-rapi.service",
        "share/ganeti/os/busybox/create",
        "share/man/man7/ganeti.7",
        "share/man/man8/gnt-instance.8",
        "share/bash-completion/completions/gnt-instance",
        "etc/cron.d/ganeti",
        "etc/logrotate.d/ganeti",
        "etc/init.d/ganeti",
        "etc/default/ganeti",
    ):
        assert own(installed, f"{PREFIX}/{path}").is_file(), path
    assert [path.name for path in installed.iterdir()] == ["opt"]


def test_programs_name_their_interpreter_absolutely(installed: Path) -> None:
    programs = sorted(own(installed, f"{CONF}/ganeti/lib/sbin").iterdir())
    sources = [*(TOP / "scripts").iterdir(), *(TOP / "daemons").iterdir()]
    assert [path.name for path in programs] == sorted(path.name for path in sources)
    for program in programs:
        lines = program.read_text().splitlines()
        assert lines[0] == f"#!{sys.executable}"
        assert f'sys.path[0] = "{PREFIX}/lib/ganeti/{VERSION}/python"' in lines
        assert os.access(program, os.X_OK)


def test_the_library_knows_where_it_was_installed(installed: Path) -> None:
    text = own(installed, f"{CONF}/ganeti/lib/python/ganeti/build.py").read_text()
    assert dict(re.findall(r'^([A-Z]+) = "(.*)"$', text, re.M)) == {
        "LOCALSTATEDIR": STATE,
        "SYSCONFDIR": CONF,
        "DATADIR": f"{PREFIX}/share",
        "LIBDIR": f"{PREFIX}/lib/ganeti",
        "SBINDIR": f"{PREFIX}/sbin",
    }


def test_modules_are_compiled_under_their_final_names(installed: Path) -> None:
    library = f"{PREFIX}/lib/ganeti/{VERSION}/python/ganeti"
    package = own(installed, library)
    compiled = next((package / "cli/__pycache__").glob("app.*.pyc"))
    assert f"{library}/cli/app.py".encode() in compiled.read_bytes()
    assert str(installed).encode() not in compiled.read_bytes()


def test_no_placeholder_is_left_in_installed_files(installed: Path) -> None:
    for place in ("lib/systemd/system", "etc/cron.d", "etc/logrotate.d", "etc/init.d"):
        for path in own(installed, f"{PREFIX}/{place}").iterdir():
            assert not re.search(r"@[A-Z]+@", path.read_text()), path
    step(["sh", "-n", str(own(installed, f"{PREFIX}/etc/init.d/ganeti"))], installed)


def test_a_copied_installation_runs(installed: Path) -> None:
    package = own(installed, f"{CONF}/ganeti/lib/python")
    code = "import sys; from ganeti.cli.gnt_cluster import PROGRAM; sys.exit(PROGRAM.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gnt-cluster (ganeti ")


def test_installed_completion_knows_every_program(installed: Path) -> None:
    directory = own(installed, f"{PREFIX}/share/bash-completion/completions")
    for program in sorted((TOP / "scripts").iterdir()):
        file = directory / program.name  # bash-completion loads the file of the command's name
        done = step(["bash", "-c", f". {file} && complete -p {program.name}"], installed)
        assert done.split() == [*done.split()[:-1], program.name]
        assert "-F _python_argcomplete" in done


def test_links_lead_to_the_active_version(installed: Path) -> None:
    assert os.readlink(installed / f"{CONF}/ganeti/lib".lstrip("/")) == (
        f"{PREFIX}/lib/ganeti/{VERSION}"
    )
    for place, target in (
        ("sbin/gnt-node", "lib/sbin/gnt-node"),
        ("lib/ganeti/ssh-update", "lib/ssh-update"),
        ("share/ganeti/os", "share/os"),
        ("share/man/man8/gnt-node.8", "share/man/man8/gnt-node.8"),
    ):
        link = installed / f"{PREFIX}/{place}".lstrip("/")
        assert os.readlink(link) == f"{CONF}/ganeti/{target}"


def test_a_second_installation_keeps_the_settings_of_the_first(
    installed: Path, built: Path
) -> None:
    settings = own(installed, f"{CONF}/default/ganeti")
    settings.write_text('NODED_ARGS="-d"\n')
    step(["make", "install", f"DESTDIR={installed}"], built)
    assert settings.read_text() == 'NODED_ARGS="-d"\n'


def test_uninstall_leaves_only_what_an_administrator_set(installed: Path, built: Path) -> None:
    step(["make", "uninstall", f"DESTDIR={installed}"], built)
    left = [path for path in installed.rglob("*") if path.is_file() or path.is_symlink()]
    assert left == [own(installed, f"{CONF}/default/ganeti")]
