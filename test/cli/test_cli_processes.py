"""The programs as processes: they import little and end as they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.command_line import PROGRAMS
from fakes.luxi_replay import LuxiReplay, served
from ganeti.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
HEAVY = {
    "dataclasses", "inspect", "asyncio", "logging.config", "logging", "aiohttp", "paramiko",
    "OpenSSL", "ssl", "argparse", "subprocess", "concurrent.futures", "threading",
}  # fmt: skip


def environment(root: Path) -> dict[str, str]:
    return {
        **os.environ,
        "GANETI_ROOTDIR": str(root),
        "GANETI_HOSTNAME": "node1.example.com",
        "PYTHONDONTWRITEBYTECODE": "",
    }


def call(root: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / argv[0]), *argv[1:]],
        env=environment(root),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


FIELDS = ["name", "hypervisor", "os", "pnode", "status", "oper_ram"]


@pytest.fixture
def fifty(tmp_path: Path) -> LuxiReplay:
    """A master with fifty instances."""
    kinds = dict.fromkeys(FIELDS, "text") | {"oper_ram": "unit"}
    fields = [{"name": n, "title": n, "kind": kinds[n], "doc": n} for n in FIELDS]
    rows = [
        [[0, f"web{i}.example.com"], [0, "kvm"], [0, "debian"], [0, "n1"], [0, "running"], [0, 512]]
        for i in range(50)
    ]
    return LuxiReplay({"Query": lambda *_: {"fields": fields, "data": rows}})


def test_a_list_imports_nothing_heavy(tmp_path: Path, fifty: LuxiReplay) -> None:
    source = (
        "import sys; sys.argv[:] = ['gnt-instance', 'list']\n"
        "from ganeti.cli.gnt_instance import PROGRAM\n"
        "status = PROGRAM.main()\n"
        "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)\n"
        "sys.exit(status)"
    )
    with served(fifty, Paths(tmp_path).query_socket):
        ended = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{source}"],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    imported = set(ended.stderr.split())
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 51
    assert not imported & HEAVY
    ours = {name for name in imported if name.startswith("ganeti.opcodes.")}
    assert ours <= {"ganeti.opcodes.base", "ganeti.opcodes.checks", "ganeti.opcodes.types",
                    "ganeti.opcodes.registry"}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_script_can_be_executed(name: str) -> None:
    script = SCRIPTS / name
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert len(script.read_text().splitlines()) < 12


def test_a_script_runs_from_any_directory_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "gnt-cluster"
    link.symlink_to(SCRIPTS / "gnt-cluster")
    ended = subprocess.run(
        [sys.executable, str(link), "--version"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.startswith("gnt-cluster (ganeti ")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_interruption_while_the_program_is_loading_leaves_no_trace(
    name: str, tmp_path: Path
) -> None:
    script = tmp_path / "scripts" / name
    module = tmp_path / "lib/ganeti/cli" / f"{name.replace('-', '_')}.py"
    script.parent.mkdir()
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parent.parent):
        (package / "__init__.py").touch()
    script.write_text((SCRIPTS / name).read_text())
    module.write_text("raise KeyboardInterrupt\n")
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


def test_errors_go_to_the_error_stream(tmp_path: Path) -> None:
    ended = call(tmp_path, "gnt-node", "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Failure: prerequisites not met for this operation:\n")
    assert call(tmp_path, "gnt-cluster", "getmaster").returncode == 2


def test_a_reader_that_goes_away_ends_the_program_quietly(
    tmp_path: Path, fifty: LuxiReplay
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with served(fifty, Paths(tmp_path).query_socket):
        ended = subprocess.run(
            [sys.executable, str(SCRIPTS / "gnt-instance"), "list"],
            env=environment(tmp_path),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_half_a_virtual_cluster_is_told_without_a_trace(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPTS / "gnt-node"), "list"],
        env={"GANETI_ROOTDIR": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr and "GANETI_HOSTNAME" in ended.stderr


def test_a_job_is_followed_over_the_socket(tmp_path: Path) -> None:
    master = LuxiReplay(logs={"OP_TEST_DELAY": ["sleeping"]})
    with served(master, Paths(tmp_path).query_socket):
        ended = call(tmp_path, "gnt-debug", "delay", "--print-jobid", "0.1")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("1\n") and ended.stdout.endswith(" sleeping\n")


def test_the_shell_completes_commands_options_and_names(tmp_path: Path) -> None:
    from ganeti.cli.complete import names, parser_of
    from ganeti.cli.gnt_instance import PROGRAM

    paths = Paths(tmp_path)
    paths.data.mkdir(parents=True)
    paths.ssconf("node_list").write_text("node1.example.com\nnode2.example.com\n")
    paths.ssconf("nodegroups").write_text("u-u-i-d default\n")
    assert names("node", paths) == ["node1.example.com", "node2.example.com"]
    assert names("group", paths) == ["default"]
    assert names("instance", paths) == []
    assert parser_of(PROGRAM, paths).prog == "gnt-instance"
    answer = tmp_path / "answer"
    line = "gnt-instance sta"
    with answer.open("w") as file:
        subprocess.run(
            ["bash", "-c", f"exec {sys.executable} {SCRIPTS / 'gnt-instance'} 8>&1 9>/dev/null"],
            env={
                **os.environ,
                "_ARGCOMPLETE": "1",
                "_ARGCOMPLETE_IFS": "\n",
                "COMP_LINE": line,
                "COMP_POINT": str(len(line)),
            },
            stdout=file,
            check=False,
        )
    assert set(answer.read_text().split()) == {"start", "startup"}
