"""The program daemon-util: start, stop and look for the daemons of this node.

Actions: facts/cli.json; doc/install.rst says what each does. Where systemd knows ganeti.target
its units do the work, and what was started without it is stopped as well. Master daemons are
started only on the node that ssconf names; they would end by themselves elsewhere (exit code 11).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ganeti.constants import EXIT_FAILURE, EXIT_NOT_MASTER, EXIT_SUCCESS
from ganeti.errors import GenericError
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.paths import Paths
from ganeti.utils import daemons, net, ssh
from ganeti.utils.files import LocalDisk
from ganeti.utils.process import run

KVMD: Final = "ganeti-kvmd"
MASTER_DAEMONS: Final = (daemons.MASTERD, daemons.RAPI)
DAEMONS: Final = (daemons.NODED, KVMD, *MASTER_DAEMONS)  # in the order of starting
TARGET: Final = "ganeti.target"
BOOTED: Final = Path("/run/systemd/system")  # see sd_booted(3)
SYSTEMCTL_S: Final = 180.0
LOCK_S: Final = 180.0  # another daemon-util of this node may still be starting or stopping
LOCK_MODE: Final = 0o1777


class DaemonUtil:
    """The daemons of one node."""

    def __init__(self, paths: Paths, hostname: str, environ: Mapping[str, str]) -> None:
        self.paths = paths
        self.hostname = hostname
        self.environ = environ

    # What there is.

    def check(self, name: str) -> bool:
        return daemons.running_pid(self.paths, name) is not None

    def uses_systemd(self) -> bool:
        if self.paths.is_virtual or not BOOTED.is_dir():
            return False
        asked = run(["systemctl", "show", "--property=LoadState", TARGET], timeout_s=SYSTEMCTL_S)
        return asked.ok and "LoadState=loaded" in asked.stdout

    def is_configured(self) -> bool:
        """Whether this node is in a cluster: without its certificate no daemon starts."""
        return self.paths.server_pem.exists()

    def is_master(self) -> bool:
        try:
            return self.paths.ssconf("master_node").read_text().strip() == self.hostname
        except FileNotFoundError:
            return False

    def wanted(self) -> list[str]:
        """What should run here."""
        made = [daemons.NODED] if self.is_configured() else []
        if made and any(KvmDirectories.of(self.paths).control.glob("*.kvmd")):
            made.append(KVMD)  # there are guests that want to be watched
        return [*made, *(MASTER_DAEMONS if made and self.is_master() else ())]

    def arguments(self, name: str) -> list[str]:
        """NAME_ARGS of the defaults file, then EXTRA_NAME_ARGS of the environment."""
        variable = name.removeprefix("ganeti-").upper() + "_ARGS"
        given = _read_defaults(self.paths.daemon_defaults).get(variable, "")
        return shlex.split(given) + shlex.split(self.environ.get(f"EXTRA_{variable}", ""))

    # Changes; GenericError or OSError when they fail.

    def start(self, *names: str, more: Sequence[str] = ()) -> None:
        """Each in turn is ready, or was running."""
        units = self.uses_systemd() and not more
        for name in names:
            if self.check(name):
                continue
            if units and name != KVMD:
                run(["systemctl", "start", f"{name}.service"], timeout_s=SYSTEMCTL_S).check()
            else:
                daemons.start(self.paths, self.hostname, name, [*self.arguments(name), *more])

    def stop(self, *names: str) -> None:
        """Each in turn is gone."""
        units = self.uses_systemd()
        for name in names:
            if units and name != KVMD:
                run(["systemctl", "stop", f"{name}.service"], timeout_s=SYSTEMCTL_S).check()
            daemons.stop(self.paths, name)

    def rotate_logs(self, *names: str) -> None:
        """Those that run open their log files anew; the old ones were moved away before."""
        for name in names:
            daemons.hang_up(self.paths, name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other daemon-util changes something on this node meanwhile."""
        if not self.paths.lock.is_dir():
            self.paths.lock.mkdir(parents=True)
            self.paths.lock.chmod(LOCK_MODE)
        with LocalDisk().lock(self.paths.daemon_util_lock, timeout_s=LOCK_S):
            yield


def _read_defaults(path: Path) -> dict[str, str]:
    """VARIABLE=VALUE lines of a file for the shell."""
    found = {}
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().isidentifier():
            found[name.strip()] = " ".join(shlex.split(value, comments=True))
    return found


def _start_all(util: DaemonUtil) -> None:
    util.start(*util.wanted())


def _stop_all(util: DaemonUtil) -> None:
    util.stop(*reversed(DAEMONS))


CHANGING: Final[Mapping[str, Callable[[DaemonUtil], None]]] = {
    "start-all": _start_all,
    "stop-all": _stop_all,
    "start-master": lambda util: util.start(*MASTER_DAEMONS),
    "stop-master": lambda util: util.stop(*reversed(MASTER_DAEMONS)),
}
SIGNALLING: Final[Mapping[str, Callable[[DaemonUtil], None]]] = {  # these need not be alone
    "rotate-all-logs": lambda util: util.rotate_logs(*DAEMONS),
    "reload-ssh-keys": lambda util: ssh.reload_server(util.paths),
}
WITHOUT_NAME: Final[Mapping[str, Callable[[DaemonUtil], None]]] = {**CHANGING, **SIGNALLING}
TELLING: Final = ("list-start-daemons", "list-stop-daemons", "use-systemctl", "check-config")
WITH_NAME: Final = (
    *("start", "stop", "check", "check-and-start", "rotate-logs"),
    *("is-daemon-name", "daemon-pidfile", "daemon-executable"),
)
CHECK_EXITCODE: Final = "check-exitcode"  # its argument is a number, not a daemon


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(
        prog="daemon-util", description="Start, stop and look for the daemons of this node."
    )
    actions = (*WITHOUT_NAME, *TELLING, *WITH_NAME, CHECK_EXITCODE)
    parser.add_argument("action", choices=actions, metavar="action", help=", ".join(actions))
    parser.add_argument("daemon", nargs="?", help=f"or the number, for {CHECK_EXITCODE}")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="more for a daemon that starts")
    given = parser.parse_args(argv)
    if given.action == CHECK_EXITCODE:
        if not (given.daemon or "").isdecimal():
            parser.error(f"{CHECK_EXITCODE} takes the number that a daemon has ended with")
        return check_exitcode(int(given.daemon))
    if (given.action in WITH_NAME) != (given.daemon is not None):
        parser.error(f"{given.action} takes {'a' if given.action in WITH_NAME else 'no'} daemon")
    util = DaemonUtil(Paths.from_environment(), net.own_name(), os.environ)
    try:
        return _act(util, given.action, given.daemon, given.arguments)
    except (GenericError, OSError) as error:
        sys.stderr.write(f"daemon-util: {error}\n")
        return EXIT_FAILURE


def check_exitcode(code: int) -> int:
    """Success also for a master daemon that has ended because this node is not the master."""
    return EXIT_SUCCESS if code in (EXIT_SUCCESS, EXIT_NOT_MASTER) else EXIT_FAILURE


def _act(util: DaemonUtil, action: str, name: str | None, arguments: Sequence[str]) -> int:
    if action in CHANGING:
        with util.alone():
            CHANGING[action](util)
        return EXIT_SUCCESS
    if action in SIGNALLING:
        SIGNALLING[action](util)
        return EXIT_SUCCESS
    if name is None:
        return _tell(util, action)
    if name not in DAEMONS:
        if action != "is-daemon-name":
            sys.stderr.write(f"daemon-util: {name!r} is none of {', '.join(DAEMONS)}\n")
        return EXIT_FAILURE
    match action:
        case "check":
            return EXIT_SUCCESS if util.check(name) else EXIT_FAILURE
        case "daemon-pidfile":
            sys.stdout.write(f"{util.paths.pid_file(name)}\n")
        case "daemon-executable":
            sys.stdout.write(f"{daemons.program(name)}\n")
        case "start" | "check-and-start":
            with util.alone():
                util.start(name, more=arguments)
        case "stop":
            with util.alone():
                util.stop(name)
        case "rotate-logs":
            util.rotate_logs(name)
    return EXIT_SUCCESS


def _tell(util: DaemonUtil, action: str) -> int:
    if action == "use-systemctl":
        return EXIT_SUCCESS if util.uses_systemd() else EXIT_FAILURE
    if action == "check-config":
        if util.is_configured():
            return EXIT_SUCCESS
        missing = util.paths.server_pem
        sys.stderr.write(f"daemon-util: this node is in no cluster: {missing} is missing\n")
        return EXIT_FAILURE
    names = DAEMONS if action == "list-start-daemons" else reversed(DAEMONS)
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return EXIT_SUCCESS
