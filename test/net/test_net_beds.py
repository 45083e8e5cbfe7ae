"""The namespace nodes themselves: several beds at a time, and what a killed one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from namespace_nodes import ABOVE, NamespaceNodes
from net_bed import until

TOOLS = Path(__file__).resolve().parents[2] / "tools"
MAKER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from namespace_nodes import NamespaceNodes
nodes = NamespaceNodes(1)
nodes.spawn(1, "sleep", "infinity")
print(nodes.base, flush=True)
time.sleep(10**6)
"""


def processes_of(base: str) -> list[int]:
    """Whatever sees that directory as a place where something is mounted, or was told of it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "environ").read_text(errors="replace")
            mounts = (entry / "mounts").read_text(errors="replace")
        except OSError:  # it has ended
            continue
        if base in told or base in mounts:
            found.append(int(entry.name))
    return found


def test_two_beds_have_the_same_addresses_and_do_not_meet(possible: None) -> None:
    with NamespaceNodes(2) as one, NamespaceNodes(2) as other:
        one.write(1, "/etc/only-here", "one")
        assert other.run(1, "cat", "/etc/only-here").rc != 0
        one.unplug(2)
        assert one.address(2) == other.address(2)
        ping = ("ping", "-q", "-c", "1", "-W", "1", other.address(2))
        until(lambda: other.run(1, *ping).rc == 0, "the other bed's node answers")
        assert one.run(1, *ping).rc != 0


def test_nothing_runs_on_when_the_maker_is_killed_and_the_next_one_sweeps(possible: None) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(TOOLS)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert maker.stdout is not None
        base = maker.stdout.readline().strip()
        assert processes_of(base)
        with NamespaceNodes(1):
            assert Path(base).exists()  # that one is in use
    finally:
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait()
    until(lambda: not processes_of(base), "all of its processes have ended")
    with NamespaceNodes(1) as nodes:
        assert not Path(base).exists()
        assert nodes.base.parent == ABOVE
    assert not nodes.base.exists()
