"""The program ganeti-kvmd: tells guests that their users shut down from those that failed.

It is started with the first guest that wants to be watched, outlives noded as the guests do, and
ends by itself a minute after the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence

from ganeti.constants import EXIT_SUCCESS
from ganeti.errors import GenericError, OpExecError
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.hypervisor.kvm_watch import ShutdownWatch
from ganeti.model.filled import FilledInstance
from ganeti.node.context import NodeContext
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.utils import daemonize, daemons, log

PROGRAM = "ganeti-kvmd"

logger = logging.getLogger(__name__)


@serves(calls.node_ensure_daemon)
def node_ensure_daemon(node: NodeContext, daemon: str, run: bool) -> bool:
    """It runs, or does not."""
    if daemon != PROGRAM:
        raise OpExecError(f"daemon {daemon!r} can't be started or stopped this way, only {PROGRAM}")
    if run:
        daemons.start(node.paths, node.hostname, PROGRAM)
    else:
        daemons.stop(node.paths, PROGRAM)
    return True


def watch_guest(node: NodeContext, instance: FilledInstance) -> None:
    """Whoever watches guests is there, if this one wants it and the cluster allows it. The guest
    starts in any case."""
    if instance.hvparams.get("user_shutdown") and _is_allowed(node.paths):
        try:
            node_ensure_daemon(node, PROGRAM, True)
        except (GenericError, OSError) as error:
            logger.warning(
                "instance %s: a shutdown by its user won't be noticed: %s", instance.name, error
            )


def _is_allowed(paths: Paths) -> bool:
    """The cluster's `enabled_user_shutdown`."""
    try:
        return paths.ssconf("enabled_user_shutdown").read_text().strip() == "True"
    except FileNotFoundError:
        return False


def make_parser() -> argparse.ArgumentParser:
    """The program's options; the manual page is made from them."""
    return daemonize.daemon_parser(PROGRAM, "Ganeti KVM daemon", network=False)


def main(argv: Sequence[str] | None = None) -> int:
    """The program ganeti-kvmd; its exit code."""
    options = make_parser().parse_args(argv)
    paths = Paths.from_environment()

    def work(ready: daemonize.Ready, lines: log.Log) -> int:
        with daemonize.PidFile(paths.pid_file(PROGRAM)):
            asyncio.run(_live(paths, ready, lines))
        return EXIT_SUCCESS

    return daemonize.run_program(PROGRAM, "kvm", options, paths, work)


async def _live(paths: Paths, ready: daemonize.Ready, lines: log.Log) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lines.reopen)
    directories = KvmDirectories.of(paths)
    directories.make()
    ready.done()
    await ShutdownWatch(directories).run(ended.is_set)
    logger.info("ending")
