"""Many node daemons in one process: `bench_farm.py DIRECTORY MASTER-ROOT ADDRESS...`.

Each has a root directory of its own below DIRECTORY and the cluster's certificates; it prints
`ready` when all listen. A line on its input is a list of addresses whose nodes die: every other one
accepts connections and never says a word, the rest let every packet drop. Then it prints `dead`.
It ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import sys
from pathlib import Path

from ganeti.constants import NODED_PORT
from ganeti.http.listener import loop_factory
from ganeti.node.context import NodeSettings
from ganeti.node.daemon import NodeDaemon, make_directories
from ganeti.paths import Paths

WORKERS = 2  # of each daemon
MEMORY_MIB, VCPUS = 1024, 2  # of each instance that is said to run


def root_of(directory: Path, address: str) -> Path:
    return directory / address


def make_root(directory: Path, address: str, name: str, master: Paths) -> Paths:
    """What a node needs to let the master in."""
    paths = Paths(root_of(directory, address))
    make_directories(NodeSettings(paths=paths, hostname=name))
    shutil.copy(master.server_pem, paths.server_pem)
    for file in master.data.glob("ssconf_*"):
        shutil.copy(file, paths.data / file.name)
    return paths


def start_instance(paths: Paths, name: str) -> None:
    """The fake hypervisor says that it runs."""
    file = paths.run / "fake-hypervisor" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"0\n{MEMORY_MIB}\n{VCPUS}\n")


def silence(address: str, drops: bool) -> list[socket.socket]:
    """Sockets that make the address dead; with `drops` no connection is ever made."""
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    silent.bind((address, NODED_PORT))
    silent.listen(0 if drops else 128)
    held = [silent]
    while drops and len(held) < 4:  # a full queue: the kernel drops what else comes
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((address, NODED_PORT))
        held.append(one)
    return held


async def serve(directory: Path, addresses: list[str]) -> None:
    """Until the input ends."""
    daemons: dict[str, NodeDaemon] = {}
    for address in addresses:
        settings = NodeSettings(
            paths=Paths(root_of(directory, address)),
            hostname=f"node-{address}",
            bind=address,
            workers=WORKERS,
        )
        daemons[address] = NodeDaemon(settings)
        await daemons[address].start()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    held = []
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        dying = line.split()
        for address in dying:
            await daemons.pop(address).stop()
        for number, address in enumerate(dying):
            held += silence(address, drops=number % 2 == 0)
        print("dead", flush=True)
    for daemon in daemons.values():
        await daemon.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(Path(sys.argv[1]), sys.argv[2:]))
