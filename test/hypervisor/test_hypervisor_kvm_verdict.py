"""Whether KVM works is found out once per machine and user."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from ganeti.hypervisor import kvm_probe, kvm_verdict
from ganeti.paths import Paths
from ganeti.utils.process import Result


def test_virtual_nodes_of_one_user_share_a_directory(tmp_path: Path) -> None:
    own = tmp_path / "own"
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    shared = kvm_verdict.place(Paths(tmp_path / "n1"), environment, own)
    assert shared == kvm_verdict.place(Paths(tmp_path / "n2"), environment, own)
    assert shared == tmp_path / "ganeti" and shared.stat().st_mode & 0o777 == 0o700
    assert kvm_verdict.place(Paths(Path("/")), environment, own) == own


def test_a_directory_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    shared = tmp_path / "ganeti"
    shared.mkdir()
    shared.chmod(0o777)
    assert not kvm_verdict.is_ours(shared)
    shared.chmod(0o700)
    assert kvm_verdict.is_ours(shared)
    link = tmp_path / "link"
    link.symlink_to(shared)
    assert not kvm_verdict.is_ours(link)
    assert not kvm_verdict.is_ours(tmp_path / "nowhere" / "ganeti")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_directory_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    shared = tmp_path / "ganeti"
    shared.mkdir(mode=0o700)
    os.chown(shared, 65534, 65534)
    assert not kvm_verdict.is_ours(shared)


def test_who_asks_meanwhile_waits_for_the_first_trial(tmp_path: Path) -> None:
    asked: list[str] = []
    begun, answers = threading.Event(), []

    def find_out() -> tuple[str, bool]:
        asked.append("trial")
        begun.wait(10)
        return "kvm", True

    def ask() -> None:
        answers.append(kvm_verdict.verdict(tmp_path, "qemu 1", find_out))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["kvm"] * 3 and asked == ["trial"]


def test_what_is_not_sure_is_asked_again_and_a_broken_file_is_no_hindrance(
    tmp_path: Path,
) -> None:
    (tmp_path / kvm_verdict.FILE).write_text("{")
    assert kvm_verdict.verdict(tmp_path, "a", lambda: ("tcg", False)) == "tcg"
    assert kvm_verdict.verdict(tmp_path, "a", lambda: ("kvm", True)) == "kvm"
    assert kvm_verdict.verdict(tmp_path, "b", lambda: ("tcg", True)) == "tcg"
    assert json.loads((tmp_path / kvm_verdict.FILE).read_text()) == {"a": "kvm", "b": "tcg"}


def test_verdict_holds_for_one_boot_of_the_machine(tmp_path: Path) -> None:
    boot = tmp_path / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    device, program = tmp_path / "kvm", tmp_path / "qemu"
    device.touch()
    program.touch()
    trials = []

    def qemu(argv: object, **_: object) -> Result:
        trials.append(argv)
        return Result((), kvm_probe.TRIAL_EXIT_CODE, None, "", "")

    for root, boot_id in (("n1", "one"), ("n2", "one"), ("n1", "two")):
        boot.write_text(f"{boot_id}\n")
        probe = kvm_probe.Probe(
            tmp_path / root, qemu, device, verdicts=tmp_path / "shared", proc=tmp_path / "proc"
        )
        assert probe.accelerator(str(program)) == "kvm"
    assert len(trials) == 2


def test_a_trial_that_spins_is_ended_early_and_for_good(tmp_path: Path) -> None:
    from ganeti.utils.process import run

    if not os.access(kvm_probe.LIMITS[0], os.X_OK):
        pytest.skip(f"needs {kvm_probe.LIMITS[0]}")
    spinning = tmp_path / "qemu"
    spinning.write_text('#!/bin/sh\necho x >> "$0.asked"\nwhile :; do :; done\n')
    spinning.chmod(0o755)
    device = tmp_path / "kvm"
    device.touch()

    def patient(argv: Sequence[str], **_: object) -> Result:
        """A busy machine may not give a second of processor time within the usual timeout."""
        return run(argv, timeout_s=120)

    probe = kvm_probe.Probe(tmp_path / "run", patient, device)
    for _ in range(2):
        assert probe.accelerator(str(spinning)) == "tcg"
    assert (tmp_path / "qemu.asked").read_text() == "x\n"
