"""The steps of `tools/quickstart`: each looks whether it is done already, so that a run which was
interrupted is finished by the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import environment
from cluster_nodes import CLUSTER_HOST, CLUSTER_NAME, TOP, Done, NodesError
from ganeti.constants import RAPI_PORT
from ganeti.errors import GenericError
from ganeti.hypervisor.kvm_files import KvmDirectories
from virtual_cluster import FILE_STORAGE, PROC, VirtualCluster

INSTANCE = "web1.example.com"
OS_NAME = "busybox+default"
CREATION = ("-t", "file", "-s", "1G", "-o", OS_NAME, "--no-name-check", "--no-ip-check")
NO_INSTALL = "--no-install"
MESSAGE = "message=Welcome to your first instance"
QEMU = "qemu-system-x86_64"
KVM_PATH = Path("/usr/bin/kvm")  # what hvparam kvm_path is when nobody sets it
GUEST_READY = "guest ready"
BOOT_TIMEOUT_S = 60.0
POLL_S = 0.02
PROMPT_S = 3.0
USUAL_NODES = 3
BOOT_FILES = "boot"  # below the cluster's directory: initrds

Say = Callable[[str], None]


class StepFailed(Exception):
    """A command failed; the text is what it said."""


def main(chosen: argparse.Namespace, say: Say, began: float, missing: Sequence[str]) -> int:
    """What the options ask for; the exit status."""
    try:
        if chosen.stop:
            return stop(chosen, say)
        if chosen.status:
            return status(chosen, say)
        return start(chosen, say, began, missing)
    except (NodesError, GenericError, StepFailed) as error:
        say(f"failed: {error}")
        if chosen.json:
            print(json.dumps({"running": False, "error": str(error)}))
        return 1


def stop(chosen: argparse.Namespace, say: Say) -> int:
    cluster = VirtualCluster.open(chosen.dir)
    cluster.stop()
    left = cluster.leftovers()
    for pid, line in left.items():
        say(f"still runs: process {pid}: {line}")
    say(f"stopped; to forget the cluster: rm -r {cluster.directory}")
    if chosen.json:
        print(json.dumps({"running": False, "directory": str(cluster.directory)}))
    return 1 if left else 0


def status(chosen: argparse.Namespace, say: Say) -> int:
    cluster = VirtualCluster.open(chosen.dir)
    found = describe(cluster)
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        for node in found["nodes"]:
            running = [*node["daemons"], *node["guests"]]
            say(f"{node['name']} {node['address']}: {', '.join(running) or 'nothing runs'}")
    return 0 if found["running"] else 1


def start(chosen: argparse.Namespace, say: Say, began: float, missing: Sequence[str]) -> int:
    first = FirstCluster(chosen.dir, chosen.nodes, chosen.hypervisor, say)
    console = first.make()
    first.show(console)
    took_s = time.time() - began
    if chosen.json:
        found = describe(first.cluster) | {
            "seconds": round(took_s, 1),
            "steps": first.steps,
            "new": first.is_new,
            "hypervisor": first.hypervisor,
            "accelerator": first.accelerator,
            "instance": INSTANCE,
            "console": console,
            "missing_packages": list(missing),
        }
        print(json.dumps(found, indent=1))
    else:
        print(advice(first.cluster, first.hypervisor), flush=True)
    say("done")
    return 0


def describe(cluster: VirtualCluster) -> dict[str, Any]:
    """The cluster for programs."""
    daemons, guests = cluster.running(), cluster.guests()
    master = cluster.master()
    return {
        "running": master is not None and "ganeti-masterd" in daemons[master],
        "directory": str(cluster.directory),
        "network": f"{cluster.network}.0/24",
        "master": master,
        "rapi": rapi_address(cluster),
        "nodes": [
            {
                "name": name,
                "address": cluster.address(name),
                "command": cluster.argv(name)[0],
                "daemons": daemons[name],
                "guests": guests[name],
            }
            for name in cluster.names
        ],
    }


class FirstCluster:
    """A cluster with one instance, made or found below a directory."""

    def __init__(self, directory: Path, nodes: int | None, hypervisor: str, say: Say) -> None:
        """`nodes` and `hypervisor` are those of a new cluster; None and `auto`: no wish."""
        self._wanted = hypervisor
        self._wanted_nodes = nodes
        self._say = say
        self.steps: list[dict[str, Any]] = []
        self.cluster, self.is_new = self._directories(directory, nodes or USUAL_NODES)
        self.hypervisor = "fake"
        self.accelerator: str | None = None

    def _directories(self, directory: Path, nodes: int) -> tuple[VirtualCluster, bool]:
        if not VirtualCluster.is_at(directory):
            self._say(f"making {nodes} virtual nodes in {directory}")
            return VirtualCluster.create(directory, nodes), True
        cluster = VirtualCluster.open(directory)
        if cluster.master() is None:
            self._say(f"making {nodes} virtual nodes in {directory} again: they became no cluster")
            cluster.remove()
            return VirtualCluster.create(directory, nodes), True
        self._say(f"there is a cluster of {len(cluster.names)} nodes in {directory}")
        return cluster, False

    def make(self) -> str:
        """Everything runs; what the guest has said on its console."""
        if self.is_new:
            self._init()
        else:
            self._start()
        self._join()
        with Console(self.cluster, INSTANCE) as console:
            booted = self._instance()
            return self._guest(console, booted)

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        self._say(text)
        began = time.monotonic()
        yield
        self.steps.append({"step": text, "seconds": round(time.monotonic() - began, 2)})

    def _run(self, *argv: str) -> str:
        """Its output; StepFailed when it fails."""
        done = self._try(*argv)
        if done.rc != 0:
            said = (done.err.strip() or done.out.strip())[-2000:]
            raise StepFailed(f"{shlex.join(argv)} exited with exit code {done.rc}: {said}")
        return done.out

    def _try(self, *argv: str) -> Done:
        return self.cluster.run(self.cluster.master() or 1, *argv)

    def _init(self) -> None:
        guest = self._guest_parameters()
        hypervisors = ["--enabled-hypervisors=fake"]
        if guest is not None:
            hypervisors = ["--enabled-hypervisors=kvm,fake", "-H", f"kvm:{guest}"]
        argv = [
            *("gnt-cluster", "init", *hypervisors, "--enabled-disk-templates=file,diskless"),
            *(f"--file-storage-dir={FILE_STORAGE}", CLUSTER_NAME),
        ]
        with self._step(f"creating the cluster: {shlex.join(argv)}"):
            self._run(*argv)

    def _guest_parameters(self) -> str | None:
        """Hypervisor parameters with which the guest boots; None for the fake hypervisor."""
        if self._wanted == "fake":
            return None
        with self._step("preparing the guest's initrd"):
            try:
                return make_initrd(self.cluster)
            except StepFailed as error:
                if self._wanted == "kvm":
                    raise
                self._say(f"no virtual machines here, so the fake hypervisor is used: {error}")
                return None

    def _start(self) -> None:
        if not self.cluster.runs():
            with self._step("starting the daemons"):
                self.cluster.start()
        pending = self._run("gnt-job", "list", "--no-headers", "-o", "id,status").splitlines()
        unfinished = [line.split()[0] for line in pending if line.split()[1] in UNFINISHED]
        for number in unfinished:
            with self._step(f"waiting for job {number}"):
                self._try("gnt-job", "wait", number)

    def _join(self) -> None:
        known = self._run("gnt-node", "list", "--no-headers", "-o", "name").split()
        for name in self.cluster.names:
            if name not in known:
                with self._step(f"adding a node: gnt-node add {name}"):
                    self._run("gnt-node", "add", name)

    def _instance(self) -> bool:
        """The instance runs; whether it was started just now."""
        enabled = self._run("gnt-cluster", "info")
        self.hypervisor = field(enabled, "Default hypervisor")
        if not self.is_new:
            ignored = without_effect(
                (self._wanted_nodes, self._wanted),
                (len(self.cluster.names), self.hypervisor),
                self.cluster.directory,
            )
            if ignored:
                self._say(ignored)
        rows = self._run("gnt-instance", "list", "--no-headers", "--separator=:", "-o", FIELDS)
        states = dict(row.split(":") for row in rows.splitlines())
        if INSTANCE not in states:
            self._create()
            return True
        if states[INSTANCE] == "running":
            return False
        self._startup()
        return True

    def _create(self) -> None:
        install = creation(self.hypervisor)
        argv = ["gnt-instance", "add", *install, "-O", MESSAGE, INSTANCE]
        if NO_INSTALL in install:
            self._say(
                f"the guest OS can't be installed here, so it is left out: {guest_obstacle()}"
            )
        with self._step(f"creating an instance: {shlex.join(argv)}"):
            self._run(*argv)
        if NO_INSTALL in install:
            self._startup()

    def _startup(self) -> None:
        with self._step(f"starting the instance: gnt-instance startup {INSTANCE}"):
            self._run("gnt-instance", "startup", INSTANCE)

    def _guest(self, console: Console, booted: bool) -> str:
        """What the guest says; empty for a fake one."""
        if self.hypervisor != "kvm":
            return ""
        self.accelerator = accelerator_of(self.cluster, INSTANCE)
        how = (
            "KVM" if self.accelerator == "kvm" else "emulation (TCG), since KVM does not work here"
        )
        if not booted:
            self._say(f"the guest runs with {how}")
            said = console.ask("cat /etc/message /etc/token")
            if not said:
                self._say(f"its shell has not answered for {PROMPT_S:g} s; it may be booting still")
            return said
        with self._step(f"waiting for the guest, which runs with {how}"):
            return console.until(GUEST_READY, BOOT_TIMEOUT_S)

    def show(self, console: str) -> None:
        for argv in (
            ["gnt-node", "list"],
            ["gnt-instance", "list"],
            ["gnt-job", "list"],
        ):
            self._say(shlex.join(argv))
            for line in self._run(*argv).splitlines():
                self._say(f"    {line}".rstrip())
        if console:
            self._say(f"console of {INSTANCE}")
            for line in console.splitlines():
                self._say(f"    {line}".rstrip())


def without_effect(wanted: tuple[int | None, str], found: tuple[int, str], directory: Path) -> str:
    """What to say of options for a new cluster that the one that exists does not fulfil.

    `wanted` and `found`: number of nodes, hypervisor.
    """
    ignored = []
    if wanted[0] not in (None, found[0]):
        ignored.append(f"--nodes {wanted[0]}")
    if wanted[1] not in ("auto", found[1]):
        ignored.append(f"--hypervisor {wanted[1]}")
    if not ignored:
        return ""
    return (
        f"the cluster that exists has {found[0]} nodes and hypervisor {found[1]}, and does not"
        f" heed {' and '.join(ignored)}: another --dir makes a new cluster"
        f" (tools/quickstart --dir {directory} --stop ends this one)"
    )


UNFINISHED = ("queued", "waiting", "running", "canceling")
FIELDS = "name,status"


def field(page: str, name: str) -> str:
    """The value on the line `name: value` of an information page."""
    for line in page.splitlines():
        if line.startswith(f"{name}: "):
            return line.partition(": ")[2]
    raise StepFailed(f"there is no {name!r} in the information about the cluster")


def creation(hypervisor: str) -> tuple[str, ...]:
    """The options of `gnt-instance add`. A pretended guest does without an OS where the parts of
    one are missing."""
    if hypervisor == "fake" and guest_obstacle():
        return (*CREATION, NO_INSTALL)
    return CREATION


def guest_obstacle() -> str | None:
    """Why the scripts of `os/busybox` can't make a root file system on this machine."""
    guest = runpy.run_path(str(TOP / "os/busybox/guest.py"))
    try:
        guest["static_busybox"]()
        guest["program"]("mkfs.ext4")
    except guest["GuestError"] as error:
        return str(error)
    return None


def make_initrd(cluster: VirtualCluster) -> str:
    """Hypervisor parameters with which the guest of `os/busybox` boots; StepFailed says why not."""
    qemu = shutil.which(QEMU, path=environment.SYSTEM_PATH)
    if qemu is None:
        raise StepFailed(f"the program {QEMU} is missing")
    argv = [
        sys.executable,
        str(TOP / "os/busybox/make-initrd"),
        str(cluster.directory / BOOT_FILES),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise StepFailed(done.stderr.strip())
    # An address of this cluster alone: another one has guests with the same VNC ports.
    own = f"vnc_bind_address={cluster.network}.{CLUSTER_HOST}"
    if not KVM_PATH.exists():
        own += f",kvm_path={qemu}"
    return f"{done.stdout.strip()},{own}"


def accelerator_of(cluster: VirtualCluster, instance: str) -> str | None:
    """`kvm` or `tcg`, from the command line of the instance's QEMU."""
    for guests in cluster.guests().values():
        if instance in guests:
            text = (PROC / str(guests[instance]) / "cmdline").read_bytes().decode()
            words = text.split("\0")
            if "-enable-kvm" in words or any("accel=kvm" in word for word in words):
                return "kvm"
            if "-accel" in words:
                return words[words.index("-accel") + 1].partition(",")[0]
            return "tcg"
    return None


class Console:
    """The serial console of an instance, from the moment its QEMU opens it."""

    def __init__(self, cluster: VirtualCluster, instance: str) -> None:
        self._places = [
            KvmDirectories.of(cluster.paths(name)).files(instance).serial for name in cluster.names
        ]
        self._said = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Console:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._socket is not None:
            with suppress(OSError):  # the guest may have gone
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)

    def _listen(self) -> None:
        while not self._ended and not self._connect():
            time.sleep(POLL_S)
        if self._socket is None:
            return
        with self._socket as line, suppress(OSError):
            while piece := line.recv(4096):
                with self._changed:
                    self._said += piece
                    self._changed.notify_all()

    def _connect(self) -> bool:
        """A socket file may be one that a stopped guest has left."""
        for place in self._places:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(place))
            except OSError:
                line.close()
                continue
            with self._changed:
                self._socket = line
                self._changed.notify_all()
            return True
        return False

    def until(self, mark: str, timeout_s: float) -> str:
        """All that was said up to the mark, which is waited for; StepFailed if it does not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: mark.encode() in self._said, timeout_s):
                raise StepFailed(f"the guest did not say {mark!r} within {timeout_s:g} s")
            return self._text()

    def ask(self, line: str) -> str:
        """What the guest's shell answers; empty when it has not done so within 3 s."""
        asked = f"\n{line}; echo {GUEST_READY}\n".encode()
        with self._changed:
            if not self._changed.wait_for(lambda: self._socket is not None, PROMPT_S):
                return ""
            assert self._socket is not None
            self._socket.sendall(asked)
            end = f"\n{GUEST_READY}".encode()
            if not self._changed.wait_for(lambda: end in self._said, PROMPT_S):
                return ""  # what there is may be the echo of the question
            return self._text()

    def _text(self) -> str:
        lines = self._said.decode("utf-8", "replace").replace("\r", "").splitlines()
        return "\n".join(line for line in lines if line.strip())


def rapi_address(cluster: VirtualCluster) -> str:
    """Where the remote API answers."""
    return f"https://{cluster.address(cluster.master() or 1)}:{RAPI_PORT}"


def advice(cluster: VirtualCluster, hypervisor: str) -> str:
    """What to try next."""
    command = cluster.argv(1)[0]
    tool = f"tools/quickstart --dir {cluster.directory}"
    lines = [
        f"alias on='{command}'      # runs a command as on node1; without one: a shell there",
        "on gnt-cluster info",
        "on gnt-instance info web1",
    ]
    if hypervisor == "kvm":
        lines.append("on gnt-instance console web1      # end with Ctrl-]")
    lines += [
        f"on gnt-instance add {shlex.join(creation(hypervisor))} web2",
        "on gnt-instance reboot web1",
        "on gnt-cluster verify",
        f"curl -k {rapi_address(cluster)}/2/info      # the remote API",
        f"{tool} --status",
        f"{tool} --stop",
    ]
    return "\nTry next:\n" + "".join(f"    {line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(f"this is a part of {os.path.dirname(__file__)}/quickstart; run that")
