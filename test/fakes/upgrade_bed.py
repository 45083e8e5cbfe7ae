"""A cluster whose nodes have several versions: links, daemons, configuration and a master.

Commands are understood as the real programs do them. Each command on a node, and each request to
the master, is an event; the nth can fail or end the calling process.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fakes.command_line import NOW, Ended, Shell
from fakes.luxi_replay import LuxiReplay
from ganeti.cli import cluster_upgrade
from ganeti.cli.app import Program
from ganeti.cli.gnt_cluster import PROGRAM
from ganeti.cli.run import Run
from ganeti.cli.upgrade_nodes import STEP_S, Answer
from ganeti.cli.world import World
from ganeti.errors import GenericError, NoMasterError
from ganeti.utils.versions import Version

MASTER, OTHERS = "node1", ("node2", "node3")
OLD, NEW = Version(4, 0), Version(4, 1)
FORMS = {OLD: 3_000_000, NEW: 3_010_000}
COMMAND = re.compile(r"\S*/ganeti/(\d+\.\d+)/(\S+) ?(.*)")


class Killed(BaseException):
    """The command's process ends here, without a word."""


class HandedOver(BaseException):
    """Another program runs in its place."""


class Node:
    """One machine. `running`: version of the daemons that run."""

    def __init__(self, name: str, active: Version) -> None:
        self.name = name
        self.active = active
        self.running: Version | None = active
        self.installed = {version: f"{version}.0" for version in FORMS}


class UpgradeBed:
    """Machines, the master and the command that is run there. `events`: what happened, in order."""

    def __init__(self, root: Path, start: Version = OLD, offline: Sequence[str] = ()) -> None:
        self.nodes = {name: Node(name, start) for name in (MASTER, *OTHERS)}
        self.events: list[str] = []
        self.fail_at = self.kill_at = 0
        self.unfinished = True  # an event that fails has been done by halves: on the first node
        self.drained = False
        self.paused: float | None = None
        self.jobs: list[int] = []
        self.asleep: Callable[[float], None] = lambda seconds: None
        self.replay = LuxiReplay(
            answers={
                "SetDrainFlag": self._set_drained,
                "SetWatcherPause": self._set_pause,
                "QueryConfigValues": lambda names: [
                    self.drained if name == "drain_flag" else self.paused for name in names
                ],
                "Query": lambda *_: {"fields": [], "data": [[[0, one]] for one in self.jobs]},
                "SubmitJobToDrainedQueue": lambda opcodes: self.replay._SubmitJob(opcodes),
            }
        )
        self.shell = Shell(root, self, hostname=MASTER)
        self.shell.ssconf("master_node", MASTER)
        self.shell.ssconf("node_list", "\n".join(self.nodes))
        self.shell.ssconf("offline_nodes", "\n".join(offline))
        self.config = self.shell.paths.config_data
        self.config.write_text(json.dumps({"version": FORMS[start]}))
        self.talking: Version = start

    # The command.

    def run(self, *words: str, own: Version | None = None) -> Ended:
        """By the program that the links choose; Killed when it was."""
        version = own or self.nodes[MASTER].active
        program = Program("gnt-cluster")
        options = [
            option
            for option in PROGRAM.commands["upgrade"].options
            if option.dest not in ("debug", "reason")
        ]

        @program.command("upgrade", options=options)
        def command(run: Run) -> int:
            """With these machines."""
            return cluster_upgrade.upgrade(run, self, self._replace, version)

        out, err = io.StringIO(), io.StringIO()
        world = World(
            self.shell.paths,
            environ=self.shell.environ,
            stdin=io.StringIO(),
            stdout=out,
            stderr=err,
            terminal=self.shell.terminal,
            now=lambda: NOW,
            sleep=self.asleep,
            connect=lambda paths: self,
        )
        while True:
            self.talking = version
            try:
                status = program.run(["upgrade", *words], world)
                return Ended(status, out.getvalue(), err.getvalue())
            except HandedOver as error:
                version, words = Version.parse(str(error)), ("--resume",)

    def _replace(self, program: str, argv: Sequence[str]) -> None:
        found = COMMAND.match(" ".join(argv))
        assert (
            found and found[2] == "sbin/gnt-cluster" and list(argv[1:]) == ["upgrade", "--resume"]
        )
        raise HandedOver(found[1])

    # Machines.

    def on(
        self, names: Sequence[str], command: str, *, timeout_s: float = STEP_S
    ) -> Mapping[str, Answer]:
        if command.startswith("[ ! -x"):
            return dict.fromkeys(names, Answer("", 0))
        found = COMMAND.fullmatch(command)
        assert found, command
        return {
            name: self._happens(
                f"{name}: {command}", lambda name=name: self._do(self.nodes[name], *found.groups())
            )
            for name in names
        }

    def _do(self, node: Node, version: str, program: str, words: str) -> Answer:
        wanted = Version.parse(version)
        if wanted not in node.installed:
            return Answer(f"sh: 1: {program}: not found\n", 127)
        match program, words:
            case "use-version", "--check":
                return Answer(node.installed[wanted] + "\n", 0)
            case "use-version", "":
                node.active = wanted
            case "daemon-util", "stop-all":
                node.running = None
            case "daemon-util", "start-all":
                return self._start(node, wanted)
            case "ensure-dirs", "":
                assert node.running is None and node.active == wanted
            case "tools/cfgupgrade", _:
                return self._convert(wanted, "--downgrade" in words)
            case "sbin/gnt-cluster", "verify":
                pass
            case _:
                raise AssertionError(f"no program {program} {words}")
        return Answer("", 0)

    def _start(self, node: Node, version: Version) -> Answer:
        if node.name == MASTER and self.form() > FORMS[version]:
            return Answer("config.data is too new\n", 1)
        node.running = node.running or version
        return Answer("", 0)

    def _convert(self, version: Version, back: bool) -> Answer:
        assert all(
            node.running is None for node in self.nodes.values() if not self.is_offline(node)
        )
        wanted = FORMS[OLD] if back else FORMS[version]
        if self.form() > FORMS[version]:
            return Answer("can't be converted\n", 1)
        self.config.write_text(json.dumps({"version": wanted}))
        return Answer("", 0)

    def form(self) -> int:
        return int(json.loads(self.config.read_text())["version"])

    def restart_machines(self) -> None:
        """Their daemons start, as far as they can, in the versions that the links choose."""
        for node in self.nodes.values():
            self._start(node, node.active)

    def is_offline(self, node: Node) -> bool:
        return node.name in self.shell.paths.ssconf("offline_nodes").read_text().split()

    # The master.

    def call(self, method: str, *args: Any) -> Any:
        running = self.nodes[MASTER].running
        if running is None:
            raise NoMasterError("/socket")
        assert running == self.talking, f"{method} of {self.talking} for the master of {running}"
        if method in ("WaitForJobChange", "QueryJobs"):
            return self.replay.call(method, *args)
        return self._happens(method, lambda: self.replay.call(method, *args))

    def _set_drained(self, flag: bool) -> None:
        self.drained = flag

    def _set_pause(self, until: float | None) -> float | None:
        self.paused = until
        return until

    # Faults.

    def _happens(self, name: str, act: Callable[[], Any]) -> Any:
        """Failing, it was done or not, as `unfinished` says; killed, it was done."""
        self.events.append(name)
        number = len(self.events)
        if number == self.kill_at:
            act()
            raise Killed
        if number == self.fail_at:
            if self.unfinished:
                act()
            if ": " in name:
                return Answer("it is broken\n", 1)
            raise GenericError("it is broken")
        return act()

    def state(self) -> dict[str, Any]:
        """What an administrator would look at, without nodes that are offline."""
        alive = [node for node in self.nodes.values() if not self.is_offline(node)]
        return {
            "active": {node.active for node in alive},
            "running": {node.running for node in alive},
            "form": self.form(),
            "drained": self.drained,
            "paused": self.paused is not None,
            "intent": self.shell.paths.intent_to_upgrade.exists(),
        }

    @staticmethod
    def good(version: Version) -> dict[str, Any]:
        """That state when the version is in use and nothing is left to do."""
        return {
            "active": {version},
            "running": {version},
            "form": FORMS[version],
            "drained": False,
            "paused": False,
            "intent": False,
        }
