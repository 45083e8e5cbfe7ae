"""A cluster of namespace nodes, and what tests do with it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from cluster_nodes import CLUSTER_NAME, OS_DIRECTORY, Done
from ganeti.paths import Paths
from namespace_nodes import SHARED, NamespaceNodes

T = TypeVar("T")

# None of them is ever reached unless something is wrong, on a machine that is busy, too.
WAIT_S = 300.0
COMMAND_S = 600.0
POLL_S = 0.02
KEPT_COMMANDS = 15
LOG_LINES = 40
BRIDGE = "br0"
# A guest that gets no processor for long complains, in the middle of what is read on its console.
GUEST_IS_PATIENT = "quiet loglevel=1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
INIT = (
    *("gnt-cluster", "init", "--master-netdev=eth0"),
    *("--enabled-disk-templates=diskless,file,sharedfile",),
    *("--file-storage-dir=/srv/ganeti/file-storage",),
    *(f"--shared-file-storage-dir={SHARED}/disks", "--nic-parameters", f"link={BRIDGE}"),
)


def until(condition: Callable[[], T], what: str, timeout_s: float = WAIT_S) -> T:
    """The first true value of the condition; AssertionError when it does not become true."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)
    return value


class NetBed:
    """Namespace nodes; called like a shell: `bed("gnt-job list")`, `bed("ip addr", node=2)`."""

    def __init__(self, nodes: NamespaceNodes) -> None:
        self.nodes = nodes
        self.commands: list[str] = []

    def __call__(
        self,
        line: str,
        *more: str,
        node: str | int = 1,
        input: str = "",
        timeout_s: float = COMMAND_S,
    ) -> Done:
        """Run the command, split like a shell would, `more` as it is; on node 1 or another."""
        argv = (*shlex.split(line), *more)
        began = time.monotonic()
        done = self.nodes.run(node, *argv, input=input, timeout_s=timeout_s)
        self._note(node, argv, done, time.monotonic() - began)
        return done

    def ok(self, line: str, *more: str, node: str | int = 1, input: str = "") -> str:
        """The output of a command that must succeed."""
        done = self(line, *more, node=node, input=input)
        assert done.rc == 0, f"{line}: exit code {done.rc}: {done.err or done.out}"
        return done.out

    def asked(self, line: str, *answers: tuple[str, str], node: str | int = 1) -> Done:
        """The command on a terminal; (question, answer) each."""
        argv = shlex.split(line)
        began = time.monotonic()
        done = self.nodes.on_terminal(node, *argv, answers=answers)
        self._note(node, argv, done, time.monotonic() - began)
        return done

    def _note(self, node: str | int, argv: Sequence[str], done: Done, took_s: float) -> None:
        text = f"[{node}] {shlex.join(argv)}\n    rc {done.rc} after {took_s:.2f} s"
        for name, output in (("out", done.out), ("err", done.err)):
            text += "".join(f"\n    {name}| {part}" for part in output.splitlines()[-30:])
        self.commands = [*self.commands[1 - KEPT_COMMANDS :], text]

    # Making.

    def init(self, *options: str) -> Done:
        return self(shlex.join([*INIT, *options, CLUSTER_NAME]))

    def init_for_guests(self, *options: str) -> Done:
        """Real guests, emulated: a KVM that does not work well here would stop them."""
        made = self.ok(f"{OS_DIRECTORY}/busybox/make-initrd {SHARED}/boot").strip()
        assert "quiet" in made
        made = made.replace("quiet", GUEST_IS_PATIENT)
        parameters = f"kvm:{made},kvm_flag=disabled"
        return self.init("--enabled-hypervisors=kvm", "-H", parameters, *options)

    def join(self, *nodes: int) -> None:
        for number in nodes:
            self.nodes.let_in(1, number)
            self.ok(f"gnt-node add --no-ssh-key-check node{number}")

    # Looking.

    def addresses(self, device: str, node: str | int = 1) -> dict[str, str]:
        """Address/prefix → label, of a network device of a node."""
        shown = json.loads(self.ok(f"ip -j address show dev {device}", node=node))
        return {
            f"{one['local']}/{one['prefixlen']}": one.get("label", "")
            for one in shown[0]["addr_info"]
        }

    def ports(self, node: str | int = 1) -> set[str]:
        """The devices in the node's bridge, but for its cable."""
        shown = json.loads(self.ok(f"ip -j link show master {BRIDGE}", node=node))
        return {one["ifname"] for one in shown} - {"eth1"}

    def reaches(self, address: str, node: str | int = 1) -> bool:
        return self(f"ping -q -c 1 -W 1 {address}", node=node).rc == 0

    def answers(self, address: str, node: str | int = 1) -> None:
        """It does, sooner or later: who is busy does not hear each ping."""
        until(lambda: self.reaches(address, node), f"{address} answers to node {node}")

    def rows(self, command: str, fields: str, *names: str) -> list[list[str]]:
        """What a list shows."""
        text = self.ok(f"{command} --no-headers --separator=| -o {fields}", *names)
        return [line.split("|") for line in text.splitlines()]

    def report(self) -> Iterator[tuple[str, str]]:
        """(heading, text): the last commands and the ends of all logs."""
        yield "commands", "\n".join(self.commands)
        script = (
            f'for f in "$0"/*.log "$0"/kvm/*.log; do echo "== $f"; tail -n {LOG_LINES} "$f"; done'
        )
        for name in self.nodes.names:
            if self.nodes.runs(name):
                done = self.nodes.run(name, "sh", "-c", script, str(Paths().log))
                yield f"logs of {name}", done.out


@contextmanager
def namespace_cluster(count: int = 3) -> Iterator[NetBed]:
    with NamespaceNodes(count) as nodes:
        yield NetBed(nodes)
