"""A virtual node needs no rights: what a plain user does with a real guest.

The work is done in a child process that has become somebody else; root runs these tests most often.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import qemu.qmp  # the child may not be able to read the interpreter's own files any more
from fakes.guest_bed import READY_S, Bed, make_boot, missing, node_bed
from fakes.short_root import short_root
from ganeti.hypervisor import kvm_process
from ganeti.node import instance
from ganeti.serializer import Json

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else"),
]

LOADED = (asyncio, qemu.qmp)
NOBODY = "nobody"


def as_nobody(work: Callable[[], None]) -> int:
    """Exit status of a child that is nobody and does the work; what went wrong is on stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    code = 1
    try:
        who = pwd.getpwnam(NOBODY)
        os.setgroups([])
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def life_of_a_guest(boot: dict[str, Json]) -> None:
    """Made, started, asked, rebooted and stopped."""
    for bed in node_bed(boot):
        made = bed.installed()
        instance.instance_start(bed.node, made, False, [])
        expect_its_owner(bed)
        for boots in (1, 2):
            with bed.console(made) as console:
                console.expect(f"guest boots: {boots}\n", READY_S)
                console.expect("guest ready")
                if boots == 1:
                    instance.instance_reboot(bed.node, made, "soft", 60, [])
                else:
                    instance.instance_shutdown(bed.node, made, 60, [])
        assert instance.instance_list(bed.node, ["kvm"], {}) == []


def expect_its_owner(bed: Bed) -> None:
    found = kvm_process.find(Path("/proc"), bed.kvm().files("web1").pid, "web1")
    assert found is not None
    assert Path("/proc", str(found[0])).stat().st_uid == pwd.getpwnam(NOBODY).pw_uid


def test_a_plain_user_runs_a_guest_on_a_virtual_node() -> None:
    with short_root() as place:
        place.chmod(0o755)
        boot = make_boot(place)
        assert as_nobody(lambda: life_of_a_guest(boot)) == 0
