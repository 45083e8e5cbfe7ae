"""Pressing TAB in the bash that a virtual node's `cmd` starts."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, virtual_cluster
from ganeti.utils.daemons import MASTERD

WAIT_S = 30.0
TAB = "\t"
INSERT_ALL = "\x1b*"  # readline's insert-completions
TO_BEGIN, TO_END = "\x01", "\x05"


class Terminal:
    """An interactive bash; keys are typed, what it shows is read."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._shown = ""

    def line_after(self, line: str, keys: str = TAB) -> str:
        """The command line that stands there once the keys have been pressed behind `line`."""
        self._shown = ""
        quoted = f"{line}{keys}{TO_BEGIN}echo '<{TO_END}>'\n"
        os.write(self._master, quoted.encode())
        return self.await_text(r"(?m)^<(.*)>\r?$")

    def await_text(self, pattern: str) -> str:
        end = time.monotonic() + WAIT_S
        while not (found := re.search(pattern, self._shown)):
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._master], [], [], left)[0]
            assert ready, f"{pattern} was not shown, but {self._shown!r}"
            self._shown += os.read(self._master, 65536).decode(errors="replace")
        return found[1]


@contextmanager
def terminal(bed: ClusterBed, home: Path) -> Iterator[Terminal]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (home / ".bashrc").write_text("PS1='> '\nbind 'set enable-bracketed-paste off'\n")
    (home / ".inputrc").write_text("set bell-style none\n")
    master, slave = os.openpty()
    environment = {**os.environ, "HOME": str(home), "SHELL": bash, "TERM": "dumb", "COLUMNS": "500"}
    environment.pop("INPUTRC", None)
    program = bed.cluster.paths(1).root / "cmd"
    with subprocess.Popen(
        [program],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        cwd=home,
    ) as shell:
        os.close(slave)
        try:
            made = Terminal(master)
            made.await_text(r"(> )")
            yield made
        finally:
            os.close(master)
            shell.terminate()
            shell.kill()


@pytest.fixture(scope="module")
def bed() -> Iterator[ClusterBed]:
    with virtual_cluster(2) as made:
        made.add_empty_os("noop")
        made.init_all()
        made.ok("gnt-group add spare")
        made.ok("gnt-network add --network=192.0.2.0/28 lan")
        unchecked = "--no-name-check --no-ip-check"
        made.ok(f"gnt-instance add -t diskless -o noop+default -n node1 {unchecked} web1")
        made.ok("gnt-debug delay --no-locks --submit 300")
        yield made


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("gnt-instance sta", "gnt-instance start"),  # startup, or its alias
        ("gnt-instance mig", "gnt-instance migrate "),
        ("gnt-instance startup --force-m", "gnt-instance startup --force-multiple "),
        ("gnt-instance startup we", "gnt-instance startup web1 "),
        ("gnt-instance migrate -n node2", "gnt-instance migrate -n node2.example.com "),
        ("gnt-instance change-group --to sp", "gnt-instance change-group --to spare "),
        ("gnt-instance add -t disk", "gnt-instance add -t diskless "),
        ("gnt-instance add -o noo", "gnt-instance add -o noop+default "),
        ("gnt-instance list -o name,oper_r", "gnt-instance list -o name,oper_ram "),
        ("gnt-instance list -o +admin_state_s", "gnt-instance list -o +admin_state_source "),
        ("gnt-node list-fields mast", "gnt-node list-fields master"),
        ("gnt-node power st", "gnt-node power status "),
        ("gnt-node power status node2", "gnt-node power status node2.example.com "),
        ("gnt-group assign-nodes spare node2", "gnt-group assign-nodes spare node2.example.com "),
        ("gnt-network info la", "gnt-network info lan "),
        ("gnt-os info noo", "gnt-os info noop"),
        ("gnt-cluster queue dr", "gnt-cluster queue drain "),
        ("gnt-job list --fin", "gnt-job list --finished "),
    ],
)
def test_tab_completes_what_the_master_knows(
    bed: ClusterBed, tmp_path: Path, typed: str, becomes: str
) -> None:
    with terminal(bed, tmp_path) as shell:
        assert shell.line_after(typed).strip() == becomes.strip()


def test_all_possibilities_are_offered(bed: ClusterBed, tmp_path: Path) -> None:
    numbers = bed.ok("gnt-job list --no-headers -o id").split()
    with terminal(bed, tmp_path) as shell:
        assert shell.line_after("gnt-node info ", INSERT_ALL).split()[2:] == [
            "node1.example.com",
            "node2.example.com",
        ]
        assert sorted(shell.line_after("gnt-job info ", INSERT_ALL).split()[2:]) == sorted(numbers)
        two = shell.line_after("gnt-instance add -n node1.example.com:", INSERT_ALL)
        assert "node2.example.com" in two and "node1.example.com node1" not in two


def test_without_a_master_tab_is_silent_and_knows_what_lies_on_the_node(
    bed: ClusterBed, tmp_path: Path
) -> None:
    bed.stop(MASTERD)
    try:
        with terminal(bed, tmp_path) as shell:
            assert shell.line_after("gnt-node info node2") == "gnt-node info node2.example.com "
            assert shell.line_after("gnt-network info la") == "gnt-network info la"
    finally:
        bed.start(MASTERD)


def test_a_master_that_does_not_answer_is_not_waited_for(bed: ClusterBed, tmp_path: Path) -> None:
    with bed.paused(MASTERD), terminal(bed, tmp_path) as shell:
        assert shell.line_after("gnt-group info def") == "gnt-group info default "
