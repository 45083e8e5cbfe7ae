"""tools/quickstart: make, find again, stop; two clusters beside each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import until
from cluster_nodes import TOP, NodesError
from fakes.short_root import short_root
from ganeti.utils import daemons
from virtual_cluster import VirtualCluster, networks_from, take_network

TIMEOUT_S = 110
TOKEN_LINE = "guest token: "


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_root() as made:
        yield made
        if VirtualCluster.is_at(made):
            cluster = VirtualCluster.open(made)
            cluster.stop()
            until(lambda: not cluster.leftovers(), "nothing is left running")


def quickstart(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOP / "tools/quickstart"), "--dir", str(directory), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def told(directory: Path, *options: str) -> dict[str, Any]:
    done = quickstart(directory, "--json", *options)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_cluster_is_made_found_again_and_stopped(directory: Path) -> None:
    first = told(directory, "--hypervisor", "fake", "--nodes", "2")
    assert first["new"] and first["running"] and first["hypervisor"] == "fake"
    assert len(first["nodes"]) == 2
    again = told(directory)
    assert not again["new"]
    assert again["nodes"] == first["nodes"], "the same processes run"
    daemons.stop(VirtualCluster.open(directory).paths(1), daemons.MASTERD)
    assert told(directory)["running"], "what is missing is started"
    status = quickstart(directory, "--status")
    assert status.returncode == 0
    assert "ganeti-masterd" in status.stdout

    assert quickstart(directory, "--stop").returncode == 0
    assert not VirtualCluster.open(directory).leftovers()
    assert quickstart(directory, "--status").returncode == 1
    assert quickstart(directory, "--stop").returncode == 0

    back = told(directory)
    assert not back["new"] and back["running"]
    listed = subprocess.run(
        [back["nodes"][0]["command"], "gnt-instance", "list", "--no-headers", "-o", "name,status"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert listed.stdout.split() == ["web1.example.com", "running"]


def test_a_virtual_machine_boots_from_the_disk_that_its_os_wrote(directory: Path) -> None:
    done = quickstart(directory, "--json", "--hypervisor", "kvm", "--nodes", "1")
    if done.returncode != 0 and "preparing" in done.stderr.splitlines()[-2]:
        pytest.skip(f"needs QEMU, a kernel and busybox: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["accelerator"] in ("kvm", "tcg")
    (token,) = [line for line in made["console"].splitlines() if line.startswith(TOKEN_LINE)]
    assert "guest boots: 1" in made["console"]
    again = told(directory)
    assert token.removeprefix(TOKEN_LINE) in again["console"]
    cluster = VirtualCluster.open(directory)
    assert any(cluster.guests().values())
    assert quickstart(directory, "--stop").returncode == 0
    assert not cluster.leftovers()


def test_a_directory_with_other_things_is_refused(directory: Path) -> None:
    (directory / "thesis.txt").write_text("years of work")
    done = quickstart(directory, "--hypervisor", "fake")
    assert done.returncode == 1
    assert "is not empty" in done.stdout
    assert [path.name for path in directory.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_directory_that_cannot_be_made_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = quickstart(tmp_path / place, "--hypervisor", "fake")
    assert done.returncode == 1
    assert f"{tmp_path / place} can't be made: " in done.stdout
    assert "Traceback" not in done.stderr


def test_two_clusters_take_two_networks() -> None:
    one, guard_one = take_network(b"the same seed", 3)
    two, guard_two = take_network(b"the same seed", 3)
    guard_one.close()
    guard_two.close()
    assert one != two
    assert one == next(networks_from(b"the same seed"))


def test_an_impossible_number_of_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodesError, match="from 1 to 200"):
        VirtualCluster.create(tmp_path / "c", 0)
    assert not (tmp_path / "c").exists()
