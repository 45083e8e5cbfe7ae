"""gnt-cluster upgrade between two versions that `make install` has put beside each other.

The second one differs in its numbers only: release, and form of the configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from build_tree import configured, step
from cluster_bed import ClusterBed, until, virtual_cluster
from fakes.short_root import short_root
from ganeti.hypervisor import kvm_process
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.paths import Paths
from ganeti.utils.daemons import MASTERD, NODED, RAPI
from ganeti.utils.versions import OWN, Version

QEMU = "/usr/bin/qemu-system-x86_64"
NAME = "vm1.example.com"
NEW = Version(OWN.major, OWN.minor + 1)
FORMS = {OWN: "3000000", NEW: "3010000"}

pytestmark = [
    pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}"),
    pytest.mark.timeout(300),  # it installs the software twice
]


@pytest.fixture(scope="module")
def prefix() -> Iterator[Path]:
    """Where both versions are installed."""
    with short_root() as place:
        prefix = place / "p"
        where = [f"--prefix={prefix}", "--localstatedir=/var", f"--sysconfdir={prefix}/etc"]
        build = configured(place, *where)
        numbers = place / "source/lib/ganeti/version.py"
        install = ["make", "-j2", "install-exec", "install-library"]
        step(install, build)
        text = numbers.read_text().replace(f'RELEASE = "{OWN}', f'RELEASE = "{NEW}')
        numbers.write_text(re.sub(r"(?m)^(CONFIG_VERSION = ).*", rf"\g<1>{FORMS[NEW]}", text))
        step(install, build)
        yield prefix
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def cluster(prefix: Path) -> Iterator[ClusterBed]:
    """Three nodes of the older version, the last one offline; a guest on node2."""
    with virtual_cluster(3) as bed:
        for name in bed.cluster.names:
            use_installed(bed.cluster.paths(name), prefix)
            bed.ok(f"{prefix}/lib/ganeti/{OWN}/use-version", node=name)
        bed.add_empty_os("noop")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=kvm --enabled-disk-templates=diskless"
            f" -H kvm:kvm_path={QEMU},kvm_flag=disabled,kernel_path= cluster.example.com"
        )
        for name in bed.cluster.names[1:]:
            bed.ok(f"gnt-node add {name}")
        bed.ok("gnt-node modify --offline=yes node3.example.com")
        bed.stop(NODED, 3)
        bed.ok(
            "gnt-instance add -t diskless -o noop+default --no-install --no-name-check"
            f" --no-ip-check -B memory=128M -n node2 {NAME}"
        )
        bed.ok(f"gnt-instance startup {NAME}")
        yield bed


def use_installed(paths: Paths, prefix: Path) -> None:
    """The node's commands are those of the active version; it has one configuration directory."""
    place = paths.root / str(prefix / "etc").lstrip("/")
    place.parent.mkdir(parents=True)
    place.symlink_to(paths.conf.parent)
    program = paths.root / "cmd"
    text = re.sub(r'PATH="[^"]*', f'PATH="{paths.active_lib}/sbin:$PATH', program.read_text())
    program.write_text(text)


def qemu_of(bed: ClusterBed) -> int:
    """Process id of the guest's living QEMU."""
    files = KvmDirectories.of(bed.cluster.paths(2)).files(NAME)
    found = kvm_process.find(Path("/proc"), files.pid, NAME)
    assert found is not None, f"{NAME} has no QEMU"
    return found[0]


def check(bed: ClusterBed, prefix: Path, version: Version) -> None:
    """That version, and no other, is in use on the two nodes that are not offline."""
    shown = bed.ok("gnt-cluster version")
    assert f"Software version: {version}.0\n" in shown
    assert f"Configuration format: {FORMS[version]}\n" in shown
    place = f"{prefix}/lib/ganeti/{version}"
    for daemon, node in ((NODED, 1), (MASTERD, 1), (RAPI, 1), (NODED, 2)):
        pid = bed.pid(daemon, node)
        assert pid is not None and place in Path(f"/proc/{pid}/cmdline").read_text(), daemon
    for node in (1, 2):
        assert os.readlink(bed.cluster.paths(node).active_lib) == place
    assert f'"version":{FORMS[version]},' in bed.cluster.paths(1).config_data.read_text()
    assert "unset" in bed.ok("gnt-cluster queue info")
    assert "not paused" in bed.ok("gnt-cluster watcher info")
    assert not bed.cluster.paths(1).intent_to_upgrade.exists()


def test_a_killed_upgrade_is_resumed_while_a_guest_runs(cluster: ClusterBed, prefix: Path) -> None:
    guest, intent = qemu_of(cluster), cluster.cluster.paths(1).intent_to_upgrade
    check(cluster, prefix, OWN)
    argv = cluster.cluster.argv(1, "gnt-cluster", "upgrade", "--to", str(NEW))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as command:
        until(lambda: intent.exists() and "step stop" in intent.read_text(), "daemons are stopped")
        os.kill(command.pid, signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
    said = cluster("gnt-cluster list-tags")
    assert said.rc == 1 or "stop" in intent.read_text()
    done = cluster.ok("gnt-cluster upgrade --resume")
    assert "was broken off at step 'stop'" in done and "Verifying cluster config" in done
    check(cluster, prefix, NEW)
    assert os.readlink(cluster.cluster.paths(3).active_lib).endswith(str(OWN))
    assert qemu_of(cluster) == guest
    cluster.ok("gnt-cluster add-tags upgraded")


def test_a_failure_rolls_back_and_the_older_version_returns(
    cluster: ClusterBed, prefix: Path
) -> None:
    guest = qemu_of(cluster)
    tool = prefix / f"lib/ganeti/{OWN}/tools/cfgupgrade"
    good = tool.read_text()
    tool.write_text("#!/bin/sh\necho no conversion today >&2\nexit 1\n")
    failed = cluster(f"gnt-cluster upgrade --to {OWN}")
    assert failed.rc == 1 and "no conversion today" in failed.err
    assert "Everything was rolled back" in failed.err
    check(cluster, prefix, NEW)
    tool.write_text(good)
    done = cluster(f"gnt-cluster upgrade --to {OWN}")
    assert done.rc == 0 and "skipping offline node(s): node3.example.com" in done.err
    check(cluster, prefix, OWN)
    assert cluster.ok("gnt-cluster list-tags").split() == ["upgraded"]
    assert qemu_of(cluster) == guest
