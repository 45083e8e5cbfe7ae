"""Taps that go: what connecting them has left outside of them is taken back.

A bridge forgets a port that ends, and the kernel its routes. A rule stays, and so does a port of
Open vSwitch; an administrator's own script may have made anything. Each connected tap has a file
that says how it was connected: its guest may end by itself, and its name is given again.

CONF/kvm-ifdown, when it is executable, runs instead of our commands, in the environment in which
the interface was connected.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import CommandError
from ganeti.types import NicMode

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost

log = logging.getLogger(__name__)

SCRIPT: Final = "kvm-ifdown"
TIMEOUT_S: Final = 30.0
MOST_RULES: Final = 100  # left by earlier guests; more than one is strange already


def place(host: HvHost) -> Path:
    """Where there is a file for each connected tap."""
    return host.paths.run / "kvm-hypervisor" / "connected"


def note(host: HvHost, interface: str, environment: Mapping[str, str], *, by_script: bool) -> None:
    """It is on record how the tap will be connected; an earlier one of that name is taken back."""
    disconnect(host, interface)
    directory = place(host)
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    record = {"environment": dict(environment), "by_script": by_script}
    (directory / interface).write_text(json.dumps(record))


def disconnect_all(host: HvHost, instance_name: str) -> None:
    """The taps of an instance that does not run are taken back."""
    try:
        names = sorted(os.listdir(place(host)))
    except FileNotFoundError:
        return
    for interface in names:
        found = _read(place(host) / interface)
        if found is not None and found[0].get("INSTANCE") == instance_name:
            disconnect(host, interface)


def disconnect(host: HvHost, interface: str) -> None:
    """Nothing is left of the connection, and no record. What fails is only logged: the interface
    is gone, and its next user begins by the same commands."""
    record = place(host) / interface
    found = _read(record)
    if found is None:
        return
    environment, by_script = found
    script = host.paths.conf / SCRIPT
    if os.access(script, os.X_OK):
        _run(host, [str(script)], environment)
    elif not by_script:
        _take_back(host, interface, environment)
    record.unlink(missing_ok=True)


def _take_back(host: HvHost, interface: str, environment: Mapping[str, str]) -> None:
    mode = environment.get("MODE")
    if mode == NicMode.OPENVSWITCH:
        _run(host, ["ovs-vsctl", "--if-exists", "del-port", interface], environment)
    elif mode == NicMode.ROUTED and environment.get("LINK"):
        drop_rules(host, interface, environment.get("IP"))


def drop_rules(host: HvHost, interface: str, ip: str | None) -> None:
    """No routing rule names the interface."""
    family = ["-6"] if ip is not None and ":" in ip else []
    for _ in range(MOST_RULES):
        if not host.run(["ip", *family, "rule", "del", "dev", interface], timeout_s=TIMEOUT_S).ok:
            return


def _run(host: HvHost, command: list[str], environment: Mapping[str, str]) -> None:
    name = environment.get("INSTANCE")
    try:
        host.run(command, env=environment, timeout_s=TIMEOUT_S).check(f"instance {name}")
    except CommandError as error:
        log.warning("%s", error)


def _read(record: Path) -> tuple[dict[str, str], bool] | None:
    """(environment, by_script); None when there is no record that can be read."""
    try:
        found = json.loads(record.read_text())
        return dict(found["environment"]), bool(found["by_script"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s", record, error)
        record.unlink(missing_ok=True)
        return None
