"""What a node shows for monitoring."""

from __future__ import annotations

import asyncio
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest
from ganeti.http.listener import Limits
from ganeti.node import metrics
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.metrics import MetricsServer, node_figures, read_place
from ganeti.paths import Paths
from ganeti.utils.openmetrics import CONTENT_TYPE, render
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def a_node(root: Path, **ssconf: str) -> NodeContext:
    paths = Paths(root)
    paths.ssconf("node_list").parent.mkdir(parents=True)
    for key, value in {"hypervisor_list": "fake", **ssconf}.items():
        paths.ssconf(key).write_text(value + "\n")
    return NodeContext(settings=NodeSettings(paths=paths, hostname="node1.example.com"))


def shown(figures: list[Any]) -> dict[str, Any]:
    text = render(figures).decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


def value(families: dict[str, Any], name: str, **labels: str) -> float:
    samples = [one for family in families.values() for one in family.samples if one.name == name]
    return float(sum(one.value for one in samples if labels.items() <= one.labels.items()))


def test_guests_and_space_are_told(tmp_path: Path) -> None:
    node = a_node(tmp_path, file_storage_dir="/srv/disks")
    node.paths.below("/srv/disks").mkdir(parents=True)
    guests = node.paths.run / "fake-hypervisor"
    guests.mkdir(parents=True)
    (guests / "web1.example.com").write_text("0\n96\n2\n")
    found = shown(node_figures(node))
    assert set(found) == {one.name for one in metrics.FAMILIES}
    guest = {"instance": "web1.example.com", "hypervisor": "fake"}
    assert value(found, "ganeti_noded_guest_memory_bytes", **guest) == 96 * 1024 * 1024
    assert value(found, "ganeti_noded_guest_vcpus", **guest) == 2
    assert value(found, "ganeti_noded_guests", hypervisor="fake") == 1
    assert value(found, "ganeti_noded_storage_bytes", type="file", kind="total") > 0
    assert value(found, "ganeti_noded_memory_bytes", kind="total") > 0


def test_a_hypervisor_that_does_not_tell_is_a_fault_and_no_error(tmp_path: Path) -> None:
    found = shown(node_figures(a_node(tmp_path, hypervisor_list="fake\nxen-pvm")))
    assert value(found, "ganeti_noded_faults", hypervisor="xen-pvm") == 1
    assert value(found, "ganeti_noded_faults", hypervisor="fake") == 0


def test_a_node_of_no_cluster_tells_its_version_only(tmp_path: Path) -> None:
    node = NodeContext(settings=NodeSettings(paths=Paths(tmp_path), hostname="node1"))
    found = shown(node_figures(node))
    assert found["ganeti_noded"].samples[0].labels["node"] == "node1"


PROC_DRBD = """\
version: 8.4.11-1 (api:1/proto:86-101)
srcversion: 1234567890ABCDEF1234567

 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:1048576 nr:0 dw:524288 dr:2048 al:12 bm:3 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
 1: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----
    ns:0 nr:4096 dw:4096 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:1024
\t[>....................] sync'ed:  5.0% (1024/2048)K
\tfinish: 0:00:10 speed: 100 (100) K/sec
 2: cs:Unconfigured

12: cs:WFConnection st:Primary/Unknown ds:UpToDate/DUnknown C r-----
    ns:0 nr:0 dw:8 dr:16 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:4
"""


def test_minors_of_drbd_are_told(tmp_path: Path) -> None:
    (tmp_path / "drbd").write_text(PROC_DRBD)
    found = shown(node_figures(a_node(tmp_path / "node"), proc=tmp_path))
    states = {
        one.labels["minor"]: tuple(one.labels[key] for key in ("connection", "role", "disk"))
        for one in found["ganeti_noded_drbd_state"].samples
    }
    assert states == {
        "0": ("Connected", "Primary", "UpToDate"),
        "1": ("SyncTarget", "Secondary", "Inconsistent"),
        "12": ("WFConnection", "Primary", "UpToDate"),
    }
    behind = {
        one.labels["minor"]: one.value
        for one in found["ganeti_noded_drbd_out_of_sync_bytes"].samples
    }
    assert behind == {"0": 0, "1": 1024 * 1024, "12": 4096}
    network, disk = "ganeti_noded_drbd_network_bytes_total", "ganeti_noded_drbd_disk_bytes_total"
    assert value(found, network, minor="0", direction="sent") == 1048576 * 1024
    assert value(found, network, minor="1", direction="received") == 4096 * 1024
    assert value(found, disk, minor="0", direction="written") == 524288 * 1024
    assert value(found, disk, minor="12", direction="read") == 16 * 1024


@pytest.mark.parametrize("text", ["", "version: 9.1.0 (api:2/proto:86-121)\n", "\0 garbage: 7\n"])
def test_a_drbd_without_minors_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "drbd").write_text(text)
    found = shown(node_figures(a_node(tmp_path / "node"), proc=tmp_path))
    assert not found["ganeti_noded_drbd_state"].samples


async def ask(port: int, line: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


def test_one_page_is_served_and_nothing_else() -> None:
    looks = 0

    def figures() -> list[Any]:
        nonlocal looks
        looks += 1
        return [metrics.CPUS.shown([("", {}, 4)])]

    async def act() -> None:
        server = MetricsServer(figures, limits=Limits(body_bytes=0))
        await server.start("127.0.0.1", 0)
        try:
            for _ in range(2):
                answer = await ask(server.port, "GET /metrics")
                assert answer.startswith(b"HTTP/1.1 200"), answer
                assert CONTENT_TYPE.encode() in answer and b"ganeti_noded_cpus 4.0\n" in answer
            assert (await ask(server.port, "GET /node_info")).startswith(b"HTTP/1.1 404")
            assert (await ask(server.port, "POST /metrics")).startswith(b"HTTP/1.1 405")
        finally:
            await server.stop(0.1)

    asyncio.run(act())
    assert looks == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1815", (None, 1815)),
        ("192.0.2.1:9", ("192.0.2.1", 9)),
        ("[2001:db8::1]:1815", ("2001:db8::1", 1815)),
    ],
)
def test_the_option_names_a_place(text: str, place: tuple[str | None, int]) -> None:
    assert read_place(text) == place


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4", "1.2.3.4:", "0", "70000"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=re.escape(f"'{text}' is not")):
        read_place(text)
