"""Virtual nodes: several nodes of a cluster on one machine, without root.

A virtual node is a directory with its own `etc/hosts`, keys, configuration and logs, and a node
daemon on its own loopback address. `VirtualCluster.create` makes the directories, in a free network
127.x.y.0/24; what follows (`gnt-cluster init`, `gnt-node add`) are the ordinary commands, run by
`run` or by the program `cmd` of a node's directory.

    DIR/cluster.json               network and names
    DIR/bashrc                     for the bash that a node's `cmd` starts: TAB completes
    DIR/node1.example.com/cmd      runs a command as on that node
    DIR/node1.example.com/…        the node's files, as below / of a real node

Needs the standard library and the package `ganeti`.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster_nodes import (
    CLUSTER_HOST,
    OS_DIRECTORY,
    TOP,
    ClusterNodes,
    Done,
    NodesError,
    names_of,
    run_command,
)
from ganeti.constants import NODED_PORT
from ganeti.hypervisor import kvm_process
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.utils import daemons

GUARD_HOST = 254  # bound while a cluster is being made, so that no other takes the network
FILE_STORAGE = "/srv/ganeti/file-storage"
# Of the directory's path: with node, socket directory and "INSTANCE.monitor" it stays below 100.
LONGEST_DIRECTORY = 20
ALIASES = Path("/var/tmp")
FIRST_NETWORK = 100  # networks are 127.100.0 to 127.254.255
NETWORKS = (255 - FIRST_NETWORK) * 256
COMMAND_TIMEOUT_S = 120.0
END_S = 10.0  # from giving up the pid file to the end of the process
MARK = "cluster.json"
BASHRC = "bashrc"
PROC = Path("/proc")

Say = Callable[[str], None]


def networks_from(seed: bytes) -> Iterator[str]:
    """Every network once, as `127.x.y`; where it begins depends on the seed."""
    first = int.from_bytes(hashlib.sha256(seed).digest()[:4]) % NETWORKS
    for step in range(NETWORKS):
        high, low = divmod((first + step) % NETWORKS, 256)
        yield f"127.{FIRST_NETWORK + high}.{low}"


def bound(address: str) -> socket.socket | None:
    """A socket that holds the node daemon's port of this address; None when it is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.bind((address, NODED_PORT))
    except OSError:
        made.close()
        return None
    return made


def take_network(seed: bytes, nodes: int) -> tuple[str, socket.socket]:
    """A network without node daemons, and the socket that keeps others from it."""
    for network in networks_from(seed):
        guard = bound(f"{network}.{GUARD_HOST}")
        if guard is None:
            continue
        if all(_is_free(f"{network}.{host}") for host in (*range(1, nodes + 1), CLUSTER_HOST)):
            return network, guard
        guard.close()
    raise NodesError(
        f"port {NODED_PORT} is taken in every network 127.{FIRST_NETWORK}.0.0/24 and up; a node"
        " daemon that listens on all addresses of this machine must be stopped first"
    )


def _is_free(address: str) -> bool:
    probe = bound(address)
    if probe is not None:
        probe.close()
    return probe is not None


class VirtualCluster(ClusterNodes):
    """The directories of a cluster and the processes that run in them."""

    def __init__(
        self,
        directory: Path,
        network: str,
        names: Sequence[str],
        guard: socket.socket | None = None,
    ) -> None:
        super().__init__(network, names)
        self.directory = directory
        self.base = short_path(directory)
        self._guard = guard

    @classmethod
    def create(cls, directory: Path, nodes: int = 3) -> VirtualCluster:
        """New directories, nothing running. NodesError when that can't be."""
        directory = directory.absolute()
        names = names_of(nodes)
        try:
            if directory.is_dir() and any(directory.iterdir()):
                raise NodesError(f"{directory} is not empty and holds no virtual cluster")
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise NodesError(
                f"directory {directory} can't be made: {error.strerror}; choose another --dir"
            ) from error
        _check_own(directory)
        network, guard = take_network(str(directory).encode(), nodes)
        cluster = cls(directory, network, names, guard)
        cluster._make_alias()
        for name in names:
            cluster._make_node(name)
        cluster._make_bashrc()
        document = {"network": network, "nodes": names}
        (directory / MARK).write_text(json.dumps(document, indent=1) + "\n")
        return cluster

    @staticmethod
    def is_at(directory: Path) -> bool:
        """Whether a virtual cluster was made there."""
        return (directory / MARK).exists()

    @classmethod
    def open(cls, directory: Path) -> VirtualCluster:
        """The cluster that was made there; NodesError when there is none."""
        directory = directory.absolute()
        try:
            document = json.loads((directory / MARK).read_text())
            cluster = cls(directory, document["network"], document["nodes"])
        except FileNotFoundError:
            raise NodesError(f"there is no virtual cluster in {directory}") from None
        except (OSError, ValueError, KeyError) as error:
            raise NodesError(f"{directory / MARK} can't be read: {error}") from error
        _check_own(directory)
        cluster._make_alias()
        return cluster

    def remove(self) -> None:
        """Stop it and delete its directory."""
        self.stop()
        shutil.rmtree(self.directory)
        if self.base != self.directory:
            self.base.unlink(missing_ok=True)

    # Files.

    def paths(self, node: str | int) -> Paths:
        return Paths(self.base / self.full_name(node))

    def _make_alias(self) -> None:
        """Where the directory's path is too long for sockets, a short link stands for it."""
        if self.base == self.directory:
            return
        try:
            self.base.symlink_to(self.directory)
        except FileExistsError:
            if not self.base.is_symlink() or Path(os.readlink(self.base)) != self.directory:
                raise NodesError(
                    f"{self.base} is in the way; choose a directory with a path of at most"
                    f" {LONGEST_DIRECTORY} characters"
                ) from None

    def _make_node(self, name: str) -> None:
        paths = self.paths(name)
        for place in (paths.conf, paths.data, paths.below(FILE_STORAGE), paths.below(OS_DIRECTORY)):
            place.mkdir(parents=True)
        paths.etc_hosts.write_text(self.hosts())
        paths.file_storage_paths.write_text(f"{FILE_STORAGE}\n")
        for definition in sorted((TOP / "os").glob("*/create")):
            source = definition.parent
            (paths.below(OS_DIRECTORY) / source.name).symlink_to(source)
        program = paths.root / "cmd"
        program.write_text(self._command_program(name))
        program.chmod(0o755)

    def _command_program(self, name: str) -> str:
        root = self.paths(name).root
        return f"""#!/bin/sh
# Run a command as on {name}; without one, a shell.
export {ROOT_VARIABLE}="{root}" {HOSTNAME_VARIABLE}="{name}"
export PATH="{TOP}/scripts:{TOP}/daemons:{Path(sys.executable).parent}:$PATH"
[ $# -gt 0 ] && exec "$@"
case "${{SHELL:-/bin/sh}}" in
  */bash) exec "$SHELL" --rcfile "{self.base / BASHRC}" ;;
esac
exec "${{SHELL:-/bin/sh}}"
"""

    def _make_bashrc(self) -> None:
        """What an interactive bash reads: the user's own file, and how to complete our programs."""
        try:
            from argcomplete import shell_integration
        except ImportError:
            code = ""
        else:
            programs = sorted(path.name for path in (TOP / "scripts").iterdir())
            code = shell_integration.shellcode(programs)
        own = "[ ! -f ~/.bashrc ] || . ~/.bashrc"
        (self.directory / BASHRC).write_text(f"{own}\n{code}\n")

    # Processes.

    def run(
        self,
        node: str | int,
        *argv: str,
        input: str = "",
        timeout_s: float = COMMAND_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """The command as on that node; NodesError when it does not end in time."""
        return run_command(
            self.argv(node, *argv),
            argv,
            environment={**os.environ, **(environment or {})},
            input=input,
            timeout_s=timeout_s,
        )

    def argv(self, node: str | int, *argv: str) -> list[str]:
        """The command line that runs a command as on that node."""
        return [str(self.paths(node).root / "cmd"), *argv]

    def master(self) -> str | None:
        """The node that says of itself that it is the master; None before `gnt-cluster init`."""
        for name in self.names:
            try:
                if self.paths(name).ssconf("master_node").read_text().strip() == name:
                    return name
            except FileNotFoundError:
                continue
        return None

    def running(self) -> dict[str, dict[str, int]]:
        """Node → daemon → process id."""
        return {name: dict(self._daemons(self.paths(name))) for name in self.names}

    @staticmethod
    def _daemons(paths: Paths) -> Iterator[tuple[str, int]]:
        for file in sorted(paths.run.glob("*.pid")):
            pid = daemons.running_pid(paths, file.stem)
            if pid is not None:
                yield file.stem, pid

    def guests(self) -> dict[str, dict[str, int]]:
        """Node → instance → process id of its QEMU."""
        return {name: dict(self._guests(self.paths(name))) for name in self.names}

    @staticmethod
    def _guests(paths: Paths) -> Iterator[tuple[str, int]]:
        for file in sorted(KvmDirectories.of(paths).pids.glob("*")):
            found = kvm_process.find(PROC, file, file.name)
            if found and any(str(paths.root) in word for word in found[1]):
                yield file.name, found[0]

    def runs(self) -> bool:
        """Whether every daemon does that the cluster should have."""
        running = self.running()
        wanted = {name: {daemons.NODED} for name in self.names if self._has_joined(name)}
        master = self.master()
        if master is not None:
            wanted[master] = {daemons.NODED, daemons.MASTERD, daemons.RAPI}
        return bool(wanted) and all(names <= set(running[name]) for name, names in wanted.items())

    def _has_joined(self, name: str) -> bool:
        return self.paths(name).server_pem.exists()

    def start(self) -> None:
        """Daemons of every node that belongs to the cluster; OpExecError when one fails."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._start_noded, self.names))
        master = self.master()
        if master is not None:
            rapi = daemons.begin(self.paths(master), master, daemons.RAPI)
            try:
                daemons.start(self.paths(master), master, daemons.MASTERD)
            finally:
                rapi.wait()

    def _start_noded(self, name: str) -> None:
        if self._has_joined(name):
            daemons.start(self.paths(name), name, daemons.NODED)

    def stop(self) -> None:
        """No daemon, guest or other work of this cluster runs any more."""
        for name in self.names:
            for daemon in (daemons.RAPI, daemons.MASTERD):
                _stop_daemon(self.paths(name), daemon)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._stop_node, self.names))
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _stop_node(self, name: str) -> None:
        paths = self.paths(name)
        for daemon, _ in self._daemons(paths):
            _stop_daemon(paths, daemon)
        for record in sorted(paths.tasks.glob("*.json")):
            _end_task(record)
        for guest, _ in self._guests(paths):
            kvm_process.end(PROC, KvmDirectories.of(paths).files(guest).pid, guest)

    def leftovers(self) -> dict[int, str]:
        """Processes that were started as on one of the nodes: number → command line."""
        found = {}
        for entry in PROC.glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            prefix = f"{ROOT_VARIABLE}={self.base}/".encode()
            if any(line.startswith(prefix) for line in environment):
                found[int(entry.name)] = b" ".join(words).decode("utf-8", "replace").strip()
        return found


def _stop_daemon(paths: Paths, daemon: str) -> None:
    """It has ended, not only given up its pid file."""
    pid = daemons.running_pid(paths, daemon)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        daemons.stop(paths, daemon)
        select.select([handle], [], [], END_S)
    finally:
        os.close(handle)


def _end_task(record: Path) -> None:
    """Kill the process group of a task, if its number still is the task's."""
    from ganeti.node.task import start_ticks

    try:
        task = json.loads(record.read_text())
        pid, started = int(task["pid"]), int(task["started"])
    except (OSError, ValueError, KeyError):
        return
    if start_ticks(pid) == started:
        os.killpg(pid, signal.SIGKILL)


def short_path(directory: Path) -> Path:
    """The directory itself, or the short link that stands for it."""
    if len(str(directory)) <= LONGEST_DIRECTORY:
        return directory
    return ALIASES / f"gnt-{hashlib.sha256(str(directory).encode()).hexdigest()[:7]}"


def _check_own(directory: Path) -> None:
    """Daemons of this user run from there: nobody else may write there."""
    if directory.stat().st_uid != os.geteuid():
        raise NodesError(f"{directory} belongs to another user; choose another --dir")
