"""Namespace nodes: several machines of a cluster on one, for root.

A namespace node has its own network, processes, host name, mounts and SSH server. Its files are
this machine's, with a layer of its own above them that is kept in memory; /dev is shared. The
software runs from this checkout, through programs in /usr/sbin and /usr/lib/ganeti of the node.

    with NamespaceNodes(3) as nodes:
        nodes.run(1, "gnt-cluster", "init", ..., "cluster.example.com")

    eth0    192.0.2.N/24       the nodes' own network
    eth1    in the node's br0, 198.51.100.N/24: the instances' network, bridged between the nodes
    /srv/ganeti/shared         one directory, the same on all nodes

Everything ends with the process that made it, however that ends: the nodes live in namespaces that
have no name. What one that was killed leaves is an empty directory, which the next one takes away.
Needs the standard library, and the programs of `PROGRAMS`.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
DOMAIN = "example.com"
CLUSTER_NAME = f"cluster.{DOMAIN}"
NODE_NETWORK = "192.0.2"
INSTANCE_NETWORK = "198.51.100"
CLUSTER_HOST = 250  # last byte of the cluster's own address
MOST_NODES = 200
SHARED = "/srv/ganeti/shared"
SIZE = "4g"  # of the memory that all files of the nodes may take; it is not taken beforehand
LIBRARY = "/usr/lib/ganeti"  # ganeti.build.LIBDIR
HELPERS = {
    "node-daemon-setup": LIBRARY,
    "prepare-node-join": LIBRARY,
    "ssh-update": LIBRARY,
    "kvm-console-wrapper": f"{LIBRARY}/tools",
}
OS_DIRECTORY = "/srv/ganeti/os"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = (
    *("ip", "unshare", "nsenter", "mount", "pivot_root", "setsid"),
    *("arping", "ping", "nft", "sshd", "ssh", "ssh-keygen"),
)
START_S = 120.0  # 0.6 s for three nodes on an idle machine
COMMAND_TIMEOUT_S = 300.0
END_S = 30.0
ABOVE = Path("/var/tmp")
MARK = "gnt-net-"
POLL_S = 0.02

# Waits until its starter ends or lets go; children that nobody waits for leave no zombies.
WAIT = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.read(0, 1)"

# What holds all of it: the bridges' network, and the mounts that nodes are made of.
HOLDER = """
set -e
mount -t tmpfs -o size=$SIZE,mode=755 nodes "$BASE"
mkdir "$BASE/shared" "$BASE/layer"
for name in br0 br1; do
  ip link add $name type bridge forward_delay 0
  ip link set $name up
done
echo ready
exec "$PYTHON" -ISc "$WAIT"
"""

# The first process of a node. Its number on this machine stands in the /proc that it starts with.
NODE = """
set -e
read -r pid rest </proc/self/stat
echo "$pid"
cd "$PLACE"
mkdir -p work root
mount -t overlay node -o "lowerdir=$BASE/layer:/,upperdir=upper,workdir=work" root
cd root
hostname "$NAME"
[ -e etc/ssh/ssh_host_rsa_key ] || ssh-keygen -q -A -f "$PWD" >/dev/null
mkdir -p .old .$SHARED
mount --bind "$BASE/shared" .$SHARED
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sys sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
for path in "$TOP" $PREFIX; do
  mkdir -p ".$path"
  mount --bind "$path" ".$path"
  mount -o remount,bind,ro ".$path"
done
mkdir -p run/sshd run/lock
pivot_root . .old
cd /
umount -l /.old
read -r plugged
ip link set lo up
ip link set eth0 up
ip address add "$NODE_IP/24" brd + dev eth0
ip link add br0 type bridge forward_delay 0
ip link set eth1 master br0 up
ip link set br0 up
ip address add "$BRIDGE_IP/24" brd + dev br0
/usr/sbin/sshd -E /var/log/sshd.log </dev/null >/dev/null 2>&1
while [ ! -e /run/sshd.pid ]; do sleep 0.02; done
echo ready
exec "$PYTHON" -ISc "$WAIT" 2>/dev/null
"""

# Directories of this machine that are not to be seen in a node, which begins with empty ones.
HIDDEN = (
    *("root", "home", "etc/ssh", "etc/ganeti", "srv/ganeti"),
    *("var/lib/ganeti", "var/log/ganeti", "var/spool/cron"),
)
OPAQUE = ("trusted.overlay.opaque", b"y")  # Documentation/filesystems/overlayfs of Linux

SSHD_CONFIG = """\
HostKey /etc/ssh/ssh_host_rsa_key
HostKey /etc/ssh/ssh_host_ecdsa_key
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PermitRootLogin yes
UsePAM no
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""

PROBE = """
mount -t tmpfs nodes /mnt && mkdir /mnt/u /mnt/w /mnt/r &&
mount -t overlay node -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r &&
ip link add probe0 type veth peer name probe1 && ip link add br0 type bridge
"""


class NamespaceNodesError(Exception):
    """One sentence for the person who wants the nodes."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. A terminal has one output only: `err` is empty then."""

    rc: int
    out: str
    err: str


def why_not() -> str | None:
    """Why there can't be namespace nodes on this machine; None when there can."""
    if os.geteuid() != 0:
        return "namespace nodes need root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"namespace nodes need the programs {', '.join(missing)}"
    argv = ["unshare", "-m", "-n", "-u", "-p", "-i", "--fork", "sh", "-c", PROBE]
    done = subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        return f"this machine lets nobody make namespace nodes: {done.stderr.strip()[-300:]}"
    return None


def _sweep() -> None:
    """Directories of those that were killed are gone; their contents went with them."""
    for left in ABOVE.glob(f"{MARK}*"):
        pid = left.name.removeprefix(MARK).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(OSError):
                left.rmdir()


class NamespaceNodes:
    """The nodes, and what is done to them. A node is named by its number, from 1, or its name."""

    def __init__(self, count: int = 3) -> None:
        """All run; NamespaceNodesError when one can't be made, with nothing left."""
        if not 1 <= count <= MOST_NODES:
            raise NamespaceNodesError(f"{count} nodes: from 1 to {MOST_NODES} are possible")
        self.names = tuple(f"node{number}.{DOMAIN}" for number in range(1, count + 1))
        _sweep()
        self._base = Path(tempfile.mkdtemp(prefix=f"{MARK}{os.getpid()}-", dir=ABOVE))
        self._processes: dict[int, subprocess.Popen[str]] = {}  # 0: what holds the rest
        self._pids: dict[int, int] = {}
        try:
            self._hold()
            with ThreadPoolExecutor() as pool:
                list(pool.map(self.start, range(1, count + 1)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> NamespaceNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing of it runs or is left."""
        for number in sorted(self._processes, reverse=True):
            self._end(number)
        with suppress(FileNotFoundError):
            self._base.rmdir()  # its contents were never on this disk

    # Names.

    def number(self, node: str | int) -> int:
        """Of `node1`, `1` or the full name."""
        for number, name in enumerate(self.names, 1):
            if node in (number, name, name.partition(".")[0]):
                return number
        raise NamespaceNodesError(f"no node {node!r}; there are {', '.join(self.names)}")

    def name(self, node: str | int) -> str:
        return self.names[self.number(node) - 1]

    def address(self, node: str | int) -> str:
        return f"{NODE_NETWORK}.{self.number(node)}"

    @property
    def cluster_address(self) -> str:
        return f"{NODE_NETWORK}.{CLUSTER_HOST}"

    # Making.

    def _hold(self) -> None:
        self._compile()
        settings = {"BASE": str(self._base), "SIZE": SIZE}
        argv = ["unshare", "-m", "-n", "--propagation", "private", "sh", "-c", HOLDER]
        process = self._spawn(0, argv, settings)
        self._expect(process, "the network between the nodes")
        self._pids[0] = process.pid
        self._write_programs()
        for number in range(1, len(self.names) + 1):
            self._write_files(number)

    @staticmethod
    def _compile() -> None:
        """The nodes can't write into the checkout, so each command would compile it again."""
        argv = [sys.executable, "-m", "compileall", "-q", str(TOP / "lib")]
        subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True)

    @property
    def _inside(self) -> Path:
        """The files that nodes are made of, as this process can reach them."""
        return Path(f"/proc/{self._pids[0]}/root{self._base}")

    def _write_programs(self) -> None:
        layer = self._inside / "layer"
        programs = {
            f"/usr/sbin/{path.name}": path
            for folder in ("scripts", "daemons")
            for path in (TOP / folder).iterdir()
        }
        programs |= {f"{place}/{name}": TOP / "tools" / name for name, place in HELPERS.items()}
        for place, source in programs.items():
            made = layer / place.lstrip("/")
            made.parent.mkdir(parents=True, exist_ok=True)
            command = shlex.join([sys.executable, str(source)])
            made.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            made.chmod(0o755)

    def _write_files(self, number: int) -> None:
        upper = self._inside / f"node{number}" / "upper"
        for name in HIDDEN:
            (upper / name).mkdir(parents=True)
            os.setxattr(upper / name, *OPAQUE)
        for name in ("root", "root/.ssh"):
            (upper / name).mkdir(exist_ok=True)
            (upper / name).chmod(0o700)
        files = {
            "etc/hostname": f"{self.names[number - 1]}\n",
            "etc/hosts": self._hosts(),
            "etc/resolv.conf": "",
            "etc/ssh/sshd_config": SSHD_CONFIG,
            "etc/ganeti/file-storage-paths": f"/srv/ganeti/file-storage\n{SHARED}\n",
        }
        for name, text in files.items():
            (upper / name).write_text(text)
        definitions = upper / OS_DIRECTORY.lstrip("/")
        definitions.mkdir()
        for path in sorted((TOP / "os").iterdir()):
            (definitions / path.name).symlink_to(path)

    def _hosts(self) -> str:
        lines = ["127.0.0.1\tlocalhost"]
        hosts = {number: name for number, name in enumerate(self.names, 1)}
        for host, name in {**hosts, CLUSTER_HOST: CLUSTER_NAME}.items():
            lines.append(f"{NODE_NETWORK}.{host}\t{name} {name.partition('.')[0]}")
        return "".join(f"{line}\n" for line in lines)

    def start(self, node: str | int) -> None:
        """Power on: the node runs, its SSH server answers. Its files are those it had."""
        number = self.number(node)
        if number in self._pids:
            raise NamespaceNodesError(f"{self.name(number)} runs already")
        settings = {
            "BASE": str(self._base),
            "PLACE": str(self._base / f"node{number}"),
            "TOP": str(TOP),
            "PREFIX": "" if sys.base_prefix.startswith("/usr") else sys.base_prefix,
            "SHARED": SHARED,
            "NAME": self.names[number - 1],
            "NODE_IP": f"{NODE_NETWORK}.{number}",
            "BRIDGE_IP": f"{INSTANCE_NETWORK}.{number}",
        }
        argv = [
            *("nsenter", "-t", str(self._pids[0]), "-m"),
            *("unshare", "-n", "-m", "-u", "-p", "-i", "--fork", "--kill-child"),
            *("--propagation", "private", "sh", "-c", NODE),
        ]
        process = self._spawn(number, argv, settings)
        pid = int(self._expect(process, self.name(number)))
        self._pids[number] = pid
        for bridge, port, peer in (("br0", "p", "eth0"), ("br1", "q", "eth1")):
            own = f"{port}{number}"
            address = f"02:00:00:00:{number:02x}:{peer[-1].zfill(2)}"  # the same after a reboot
            self._ip(f"link add {own} type veth peer address {address} name {peer} netns {pid}")
            self._ip(f"link set {own} master {bridge} up")
        assert process.stdin is not None
        process.stdin.write("plugged\n")
        process.stdin.flush()
        self._expect(process, self.name(number))

    def _spawn(
        self, number: int, argv: Sequence[str], settings: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            argv,
            env={"PATH": PATH, "PYTHON": sys.executable, "WAIT": WAIT, **settings},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the starter, who ends what it made
        )
        self._processes[number] = process
        return process

    @staticmethod
    def _expect(process: subprocess.Popen[str], what: str) -> str:
        """The next line of its output."""
        assert process.stdout is not None
        if select.select([process.stdout], [], [], START_S)[0]:
            line = process.stdout.readline()
            if line:
                return line.strip()
            assert process.stderr is not None
            raise NamespaceNodesError(f"{what}: {process.stderr.read().strip()[-500:]}")
        raise NamespaceNodesError(f"{what} is not ready after {START_S:g} s")

    def _end(self, number: int) -> None:
        process = self._processes.pop(number)
        pid = self._pids.pop(number, None)
        if pid is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the first process takes all others along
        else:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait(END_S)

    def _ip(self, line: str) -> None:
        """ip(8) in the network of the bridges."""
        argv = ["nsenter", "-t", str(self._pids[0]), "-n", "ip", *line.split()]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NamespaceNodesError(f"ip {line}: {done.stderr.strip()}")

    # Using.

    def argv(self, node: str | int, *argv: str) -> list[str]:
        """The command line that runs a command in that node."""
        pid = str(self._pids[self.number(node)])
        return ["nsenter", "-t", pid, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", *argv]

    @staticmethod
    def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of a command in a node: as after a login, nothing of this process."""
        return {"PATH": PATH, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", **(more or {})}

    def run(
        self,
        node: str | int,
        *argv: str,
        input: str = "",
        timeout_s: float = COMMAND_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """The command in that node; NamespaceNodesError when it does not end in time."""
        with subprocess.Popen(
            self.argv(node, *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(environment),
            start_new_session=True,
        ) as child:
            try:
                out, err = child.communicate(input, timeout=timeout_s)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise NamespaceNodesError(
                        f"{shlex.join(argv)} has not ended after {timeout_s:g} s"
                    ) from None
                raise
        return Done(child.returncode, out, err)

    def spawn(self, node: str | int, *argv: str) -> subprocess.Popen[str]:
        """The command runs in that node until it ends by itself, or with the node."""
        return subprocess.Popen(
            self.argv(node, *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment(),
            start_new_session=True,
        )

    def on_terminal(
        self,
        node: str | int,
        *argv: str,
        answers: Iterable[tuple[str, str]] = (),
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> Done:
        """The command with a terminal; each answer is typed when its question was shown."""
        ours, theirs = pty.openpty()
        end = time.monotonic() + timeout_s
        child = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *self.argv(node, *argv)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=self.environment({"TERM": "vt100"}),
        )
        os.close(theirs)
        said = b""
        seen = 0
        pending = list(answers)
        try:
            while True:
                while pending and (at := said.find(pending[0][0].encode(), seen)) >= 0:
                    seen = at + len(pending[0][0].encode())
                    os.write(ours, pending.pop(0)[1].encode() + b"\n")
                if not select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
                    raise NamespaceNodesError(
                        f"{shlex.join(argv)} has not ended after {timeout_s:g} s,"
                        f" it said {said.decode(errors='replace')[-500:]!r}"
                    )
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # EIO: nobody has the terminal open any more
                    break
                if not piece:
                    break
                said += piece
            child.wait(max(END_S, end - time.monotonic()))
        finally:
            os.close(ours)
            if child.poll() is None:
                child.kill()
                child.wait()
        return Done(child.returncode, said.decode(errors="replace").replace("\r\n", "\n"), "")

    def read(self, node: str | int, path: str) -> str:
        """A file of the node. FileNotFoundError when there is none."""
        done = self.run(node, "cat", path)
        if done.rc != 0:
            raise FileNotFoundError(f"{self.name(node)}:{path}: {done.err.strip()}")
        return done.out

    def write(self, node: str | int, path: str, text: str, mode: str = "644") -> None:
        """A file of the node has this text; its directory exists afterwards."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        done = self.run(node, "sh", "-c", script, "sh", path, mode, input=text)
        if done.rc != 0:
            raise NamespaceNodesError(f"{self.name(node)}:{path}: {done.err.strip()}")

    def path(self, node: str | int, path: str) -> Path:
        """A file of the node, as this process can reach it; for sockets, too."""
        return Path(f"/proc/{self._pids[self.number(node)]}/root{path}")

    def let_in(self, source: str | int, target: str | int) -> None:
        """Root of the first node has a key of its own that may log in on the second one."""
        key = "/root/.ssh/id_ed25519"
        make = f"[ -e {key} ] || ssh-keygen -q -t ed25519 -N '' -f {key}; cat {key}.pub"
        public = self.run(source, "sh", "-c", make).out
        known = "/root/.ssh/authorized_keys"
        self.run(target, "sh", "-c", f"umask 077; cat >>{known}", input=public)

    # Faults.

    def runs(self, node: str | int) -> bool:
        return self.number(node) in self._pids

    def power_off(self, node: str | int) -> None:
        """As if the power cord were pulled: silence, and no process of it is left."""
        number = self.number(node)
        for port in ("p", "q"):
            self._ip(f"link del {port}{number}")
        self._end(number)

    def unplug(self, node: str | int) -> None:
        """The cable of eth0 is out; the node goes on alone."""
        self._ip(f"link set p{self.number(node)} down")

    def plug(self, node: str | int) -> None:
        self._ip(f"link set p{self.number(node)} up")
