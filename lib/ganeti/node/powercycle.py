"""Rebooting the node at once: no service is stopped, no file system is unmounted.

The call answers first; a process of its own waits and then asks the kernel (reboot(2)).
"""

from __future__ import annotations

import os
import sys
from typing import Final

from ganeti.errors import HypervisorError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves

DELAY_S: Final = 5  # so that the answer still gets out
START_S: Final = 10.0  # for starting the process that waits

# 0x01234567 is LINUX_REBOOT_CMD_RESTART of reboot(2). What is cached is written out first.
REBOOT: Final = (
    "import ctypes, os, sys, time; time.sleep(float(sys.argv[1])); os.sync();"
    " ctypes.CDLL(None).reboot(0x01234567)"
)


def waiting_argv(python: str, delay_s: float) -> list[str]:
    """The process that reboots; in a session of its own, so that it outlives the daemon."""
    return ["setsid", "--fork", python, "-c", REBOOT, str(delay_s)]


@serves(calls.node_powercycle)
def node_powercycle(node: NodeContext, hypervisor: str, hvparams: calls.Params) -> str:
    """All hypervisors but Xen reboot through the kernel; a virtual node has no power."""
    if node.is_virtual:
        raise HypervisorError(f"{node.hostname} is a virtual node: there is nothing to reboot")
    if hypervisor.startswith("xen"):
        argv = [str(hvparams.get("xen_cmd") or "xl"), "debug-keys", "R"]
        node.run(argv, timeout_s=START_S).check("reboot by the Xen hypervisor")
        return "Reboot by the hypervisor"
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        argv = waiting_argv(sys.executable, DELAY_S)
        result = node.run(argv, stdout=nowhere, stderr=nowhere, timeout_s=START_S)
    finally:
        os.close(nowhere)
    result.check("reboot")
    return f"Reboot scheduled in {DELAY_S} seconds"
