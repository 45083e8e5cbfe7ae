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

import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from cluster_nodes import OS_DIRECTORY, TOP, ClusterNodes, Done, NodesError, names_of, run_command
from terminal import on_terminal

NODE_NETWORK = "192.0.2"
INSTANCE_NETWORK = "198.51.100"
SHARED = "/srv/ganeti/shared"
SIZE = "4g"  # of the memory that all files of the nodes may take; it is not taken beforehand
LIBRARY = "/usr/lib/ganeti"  # ganeti.build.LIBDIR
HELPERS = {
    "node-daemon-setup": LIBRARY,
    "prepare-node-join": LIBRARY,
    "ssh-update": LIBRARY,
    "kvm-console-wrapper": f"{LIBRARY}/tools",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = (
    *("ip", "unshare", "nsenter", "mount", "pivot_root", "setsid"),
    *("arping", "ping", "nft", "sshd", "ssh", "ssh-keygen", "kvm", "busybox", "modinfo", "socat"),
)
START_S = 120.0  # 0.6 s for three nodes on an idle machine
COMMAND_TIMEOUT_S = 300.0
END_S = 30.0
ABOVE = Path("/var/tmp")
MARK = "gnt-net-"

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

# What tests do in a node, beside running the software.
PROBE = """
ip tuntap add probe0 mode tap && ip link set probe0 master br0 && ip link del probe0 &&
nft add table inet probe && nft delete table inet probe
"""


def why_not() -> str | None:
    """Why there can't be namespace nodes on this machine; None when there can: one was made."""
    if os.geteuid() != 0:
        return "namespace nodes need root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"namespace nodes need the programs {', '.join(missing)}"
    try:
        with NamespaceNodes(1) as nodes:
            done = nodes.run(1, "sh", "-c", PROBE)
    except (NodesError, OSError) as error:
        return f"this machine lets nobody make namespace nodes: {error}"
    if done.rc != 0:
        return f"in a namespace node there is too little: {done.err.strip()[-300:]}"
    return None


def _make_base() -> tuple[Path, int]:
    """A new directory, and what shows others that it is in use, as long as this process lives."""
    while True:
        base = Path(tempfile.mkdtemp(prefix=MARK, dir=ABOVE))
        with suppress(FileNotFoundError):  # swept away before it was locked
            handle = os.open(base, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if base.exists():
                return base, handle
            os.close(handle)


def _sweep() -> None:
    """Directories of those that were killed are gone; their contents went with them."""
    for left in ABOVE.glob(f"{MARK}*"):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.rmdir()
            finally:
                os.close(handle)


class NamespaceNodes(ClusterNodes):
    """The nodes, and what is done to them."""

    def __init__(self, count: int = 3) -> None:
        """All run; NodesError when one can't be made, with nothing left."""
        super().__init__(NODE_NETWORK, names_of(count))
        _sweep()
        self._lock: int | None
        self.base, self._lock = _make_base()
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
            self.base.rmdir()  # its contents were never on this disk
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Making.

    def _hold(self) -> None:
        self._compile()
        settings = {"BASE": str(self.base), "SIZE": SIZE}
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
        return Path(f"/proc/{self._pids[0]}/root{self.base}")

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
            "etc/hosts": self.hosts(),
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

    def start(self, node: str | int) -> None:
        """Power on: the node runs, its SSH server answers. Its files are those it had."""
        number = self.number(node)
        if number in self._pids:
            raise NodesError(f"{self.full_name(number)} runs already")
        settings = {
            "BASE": str(self.base),
            "PLACE": str(self.base / f"node{number}"),
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
        pid = int(self._expect(process, self.full_name(number)))
        self._pids[number] = pid
        for bridge, port, peer in (("br0", "p", "eth0"), ("br1", "q", "eth1")):
            own = f"{port}{number}"
            address = f"02:00:00:00:{number:02x}:{peer[-1].zfill(2)}"  # the same after a reboot
            self._ip(f"link add {own} type veth peer address {address} name {peer} netns {pid}")
            self._ip(f"link set {own} master {bridge} up")
        assert process.stdin is not None
        process.stdin.write("plugged\n")
        process.stdin.flush()
        self._expect(process, self.full_name(number))

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
            raise NodesError(f"{what}: {process.stderr.read().strip()[-500:]}")
        raise NodesError(f"{what} is not ready after {START_S:g} s")

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
            raise NodesError(f"ip {line}: {done.stderr.strip()}")

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
        """The command in that node; NodesError when it does not end in time."""
        return run_command(
            self.argv(node, *argv),
            argv,
            environment=self.environment(environment),
            input=input,
            timeout_s=timeout_s,
            apart=True,
        )

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
        return on_terminal(
            self.argv(node, *argv),
            argv,
            environment=self.environment(),
            answers=answers,
            timeout_s=timeout_s,
        )

    def read(self, node: str | int, path: str) -> str:
        """A file of the node. FileNotFoundError when there is none."""
        done = self.run(node, "cat", path)
        if done.rc != 0:
            raise FileNotFoundError(f"{self.full_name(node)}:{path}: {done.err.strip()}")
        return done.out

    def write(self, node: str | int, path: str, text: str, mode: str = "644") -> None:
        """A file of the node has this text; its directory exists afterwards."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        done = self.run(node, "sh", "-c", script, "sh", path, mode, input=text)
        if done.rc != 0:
            raise NodesError(f"{self.full_name(node)}:{path}: {done.err.strip()}")

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
