"""A cluster of 300 nodes, some of which die: how long a list with live fields takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_cluster import Bed, BenchError, new_cluster
from bench_farm import make_root, start_instance
from bench_measure import Extent, Found, attempt
from bench_synthesise import instance_name
from ganeti.serializer import dump_bytes, loads
from virtual_cluster import take_network

Json = Any
FIRST, KNOWN = "list_300_nodes_first_s", "list_300_nodes_s"
KEYS = (FIRST, KNOWN)
NODES, DEAD, PER_NODE = 300, 10, 2
PER_NETWORK = 200
LISTS, BETWEEN_S = 6, 1.5  # spread over some of the pauses between two tries of a dead node
LIST = ("gnt-instance", "list", "-o", "name,pnode,status,oper_state,oper_ram,oper_vcpus")


def many_nodes(extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found) -> None:
    """Everything that is measured on many living nodes."""
    if wanted & set(KEYS):
        say(f"{NODES} nodes")
        attempt(f"{NODES} nodes", lambda: _measure(found), found)


def _measure(found: Found) -> None:
    with (
        new_cluster(1) as bed,
        _networks() as addresses,
        tempfile.TemporaryDirectory(prefix="gnt-farm-") as directory,
        _farm(bed, addresses, Path(directory)) as farm,
    ):
        bed.command_s(*LIST)
        _tell(farm, " ".join(addresses[:: NODES // DEAD][:DEAD]), "dead")
        found.figures[FIRST] = bed.command_s(*LIST)
        times = []
        for _ in range(LISTS):
            times.append(bed.command_s(*LIST))
            time.sleep(BETWEEN_S)
        found.figures[KNOWN] = max(times)


@contextmanager
def _networks() -> Iterator[list[str]]:
    """Addresses that nobody else uses, one for each node but the master."""
    made: list[str] = []
    guards = []
    try:
        while len(made) < NODES - 1:
            network, guard = take_network(uuid.uuid4().bytes, PER_NETWORK)
            guards.append(guard)
            made += [f"{network}.{host}" for host in range(1, PER_NETWORK + 1)]
        yield made[: NODES - 1]
    finally:
        for guard in guards:
            guard.close()


@contextmanager
def _farm(bed: Bed, addresses: list[str], directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The nodes live and are in the configuration, the master has begun with them."""
    bed.init()
    bed.stop_master()
    path = bed.paths.config_data
    document = loads(path.read_bytes(), str(path))
    for number, address in enumerate(addresses, 1):
        paths = make_root(directory, address, _name(number), bed.paths)
        for name in _fill(document, number, address):
            start_instance(paths, name)
    path.write_bytes(dump_bytes(document))
    bed.paths.config_journal.unlink()
    program = Path(__file__).with_name("bench_farm.py")
    environment = {"PYTHONPATH": ":".join(place for place in sys.path if place)}
    with (directory / "log").open("w") as log:
        farm = subprocess.Popen(
            [sys.executable, str(program), str(directory), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    try:
        _tell(farm, None, "ready")
        bed.start_master()
        yield farm
    finally:
        farm.kill()
        farm.communicate()


def _tell(farm: subprocess.Popen[str], line: str | None, answer: str) -> None:
    assert farm.stdin is not None and farm.stdout is not None
    if line is not None:
        farm.stdin.write(f"{line}\n")
        farm.stdin.flush()
    if farm.stdout.readline().strip() != answer:
        raise BenchError("the node daemons have ended")


def _name(number: int) -> str:
    return f"many{number}.example.com"


def _fill(document: Json, number: int, address: str) -> list[str]:
    """A node and its instances are in the document; the instances' names."""
    model = document["nodes"][document["cluster"]["master_node"]]
    own = {"serial_no": 1, "ctime": 1.7e9, "mtime": 1.7e9, "tags": []}
    node = {
        **model,
        **own,
        "uuid": str(uuid.uuid4()),
        "name": _name(number),
        "primary_ip": address,
        "secondary_ip": address,
        "master_candidate": False,
    }
    document["nodes"][node["uuid"]] = node
    names = [instance_name(PER_NODE * number + index) for index in range(PER_NODE)]
    for name in names:
        one = {
            **own,
            "uuid": str(uuid.uuid4()),
            "name": name,
            "primary_node": node["uuid"],
            "os": "noop",
            "hypervisor": "fake",
            "hvparams": {},
            "beparams": {"maxmem": 1024, "minmem": 512, "vcpus": 2},
            "osparams": {},
            "osparams_private": {},
            "admin_state": "up",
            "admin_state_source": "admin",
            "nics": [],
            "disks": [],
            "disks_active": True,
        }
        document["instances"][one["uuid"]] = one
    return names
