"""Disks really copied between two virtual nodes: import-export, socat, TLS with certificates."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.guests import an_instance
from fakes.nodes import server_pair
from fakes.transfers import SIZE_MIB, TransferBed, transfer_bed, until
from ganeti.errors import GenericError, OpExecError
from ganeti.node import disk as node_disk
from ganeti.node import impexp, impexp_dir, x509_cert
from ganeti.node.context import NodeContext
from ganeti.serializer import Json, encode
from ganeti.storage import guest_state
from ganeti.utils import x509

pytestmark = pytest.mark.skipif(shutil.which("socat") is None, reason="needs socat")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[TransferBed]:
    with transfer_bed(tmp_path, f"127.98.{os.getpid() % 250}") as bed:
        yield bed


def options(bed: TransferBed, **more: Json) -> tuple[dict[str, Json], dict[str, Json]]:
    """Of receiver and sender that trust each other's new certificates."""
    (one, one_pem), (other, other_pem) = bed.keys()
    return {"key_name": one, "ca_pem": other_pem, **more}, {
        "key_name": other,
        "ca_pem": one_pem,
        **more,
    }


@pytest.mark.parametrize("tool", ["none", "gzip"])
def test_a_disk_arrives_byte_by_byte(pair: TransferBed, tool: str) -> None:
    receiver, sender = pair.copy(*options(pair, compress=tool))
    assert (receiver.exit_status, sender.exit_status) == (0, 0), (receiver, sender)
    assert pair.file(pair.target).read_bytes() == pair.file(pair.source).read_bytes()
    assert receiver.progress_mbytes == sender.progress_mbytes == SIZE_MIB
    assert (sender.progress_percent, sender.connected, receiver.connected) == (100, True, True)


def test_the_certificate_of_the_cluster_serves_when_no_other_is_named(pair: TransferBed) -> None:
    receiver, sender = pair.copy({}, {})
    assert (receiver.exit_status, sender.exit_status) == (0, 0), (receiver, sender)
    assert pair.file(pair.target).read_bytes() == pair.file(pair.source).read_bytes()


def test_a_file_without_data_stays_sparse(pair: TransferBed) -> None:
    os.truncate(pair.file(pair.source), 0)
    os.truncate(pair.file(pair.source), SIZE_MIB << 20)
    receiver, _ = pair.copy({}, {})
    assert receiver.exit_status == 0
    status = pair.file(pair.target).stat()
    assert (status.st_size, status.st_blocks) == (SIZE_MIB << 20, 0)


def test_a_sender_with_another_certificate_is_not_listened_to(pair: TransferBed) -> None:
    good, bad = options(pair)
    other, _ = x509_cert.x509_cert_create(pair.source, 3600)
    receiver, _ = pair.copy(
        {**good, "connect_timeout": 3}, {**bad, "key_name": other, "connect_timeout": 3}
    )
    assert receiver.exit_status != 0
    assert not receiver.connected
    assert receiver.error_message == "no connection within 3 s"
    assert pair.file(pair.target).stat().st_blocks == 0


def test_a_sender_does_not_talk_to_a_receiver_with_another_certificate(pair: TransferBed) -> None:
    good, bad = options(pair)
    _, pem = x509_cert.x509_cert_create(pair.target, 3600)
    name = pair.receive(**good)
    other = pair.send(pair.port(name), **{**bad, "ca_pem": pem, "connect_timeout": 2})
    sender = pair.ended(pair.source, other)
    assert sender.exit_status != 0
    assert not sender.connected
    assert sender.error_message == "no connection within 2 s"


def test_a_transfer_with_another_magic_is_refused(pair: TransferBed) -> None:
    receiver, sender = pair.copy({"magic": "first"}, {"magic": "other"})
    assert "another magic" in " ".join(receiver.recent_output)
    assert receiver.exit_status == 1
    assert pair.file(pair.target).stat().st_blocks == 0


def test_nobody_comes(pair: TransferBed) -> None:
    name = pair.receive(connect_timeout=1)
    status = pair.ended(pair.target, name)
    assert status.error_message == "no connection within 1 s"
    place = impexp_dir.find(pair.target, name)
    until(lambda: impexp_dir.running(place) is None, "the program has ended")


def endless(bed: TransferBed) -> None:
    """The source's disk is a pipe, which gives data only while somebody writes."""
    bed.file(bed.source).unlink()
    os.mkfifo(bed.file(bed.source))


def a_stuck_transfer(bed: TransferBed) -> tuple[str, str]:
    """Both ends are connected, and the source gives nothing: (receiver, sender)."""
    endless(bed)
    name = bed.receive()
    other = bed.send(bed.port(name))
    until(lambda: bed.status(bed.target, name).connected, "the receiver is connected")
    return name, other


def test_a_transfer_is_ended_by_request_and_leaves_nothing(pair: TransferBed) -> None:
    name, other = a_stuck_transfer(pair)
    session = impexp_dir.running(impexp_dir.find(pair.target, name))
    assert session is not None
    impexp.impexp_abort(pair.target, name)
    status = pair.ended(pair.target, name)
    assert (status.error_message, status.exit_status) != ("", 0)
    assert status.error_message == "was ended by request"
    for node, one in ((pair.target, name), (pair.source, other)):
        impexp.impexp_cleanup(node, one)
        impexp.impexp_cleanup(node, one)
        assert impexp.impexp_status(node, [one]) == [None]
        assert list(node.paths.transfers.iterdir()) == []
    assert impexp_dir.session_members(session) == []


@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_a_cut_connection_is_an_error_on_both_sides(pair: TransferBed, side: str) -> None:
    name, other = a_stuck_transfer(pair)
    (pid,) = pair.processes(name if side == "receiver" else other, "socat")
    feeder = os.open(pair.file(pair.source), os.O_WRONLY)
    os.kill(pid, signal.SIGKILL)
    try:
        os.write(feeder, bytes(65536))
    except BrokenPipeError:
        pass
    finally:
        os.close(feeder)
    ends = [pair.ended(pair.target, name), pair.ended(pair.source, other)]
    assert any(end.exit_status != 0 for end in ends), ends


def test_one_that_was_killed_is_told_as_failed(pair: TransferBed) -> None:
    name, _ = a_stuck_transfer(pair)
    session = impexp_dir.running(impexp_dir.find(pair.target, name))
    assert session is not None
    os.kill(session, signal.SIGKILL)
    status = pair.ended(pair.target, name)
    assert status.exit_status == 1
    assert "import-export has vanished" in str(status.error_message)
    impexp.impexp_cleanup(pair.target, name)


def test_no_room_on_the_target(pair: TransferBed) -> None:
    """/dev/full takes no byte, as a full disk."""
    pair.file(pair.target).unlink()
    pair.file(pair.target).symlink_to("/dev/full")
    receiver, sender = pair.copy({}, {})
    assert receiver.exit_status == 1
    assert "No space left on device" in " ".join(receiver.recent_output)


def test_removing_the_disk_ends_its_transfer(pair: TransferBed) -> None:
    name, _ = a_stuck_transfer(pair)
    node_disk.blockdev_remove(pair.target, pair.disk)
    assert impexp_dir.running(impexp_dir.find(pair.target, name)) is None
    assert not pair.file(pair.target).exists()


def test_what_belongs_to_the_guest_goes_with_it(pair: TransferBed) -> None:
    mine = guest_state.beside(pair.file(pair.source))
    theirs = guest_state.beside(pair.file(pair.target))
    io: tuple[str, list[Json]] = ("guest", [encode(pair.disk)])
    name = pair.receive(io)
    other = pair.send(pair.port(name), io)
    assert (
        pair.ended(pair.target, name).exit_status,
        pair.ended(pair.source, other).exit_status,
    ) == (0, 0)
    assert not theirs.exists()
    (mine / "tpm").mkdir(parents=True)
    (mine / "uefi-variables").write_bytes(b"\0boot order")
    (mine / "tpm/state").write_bytes(b"key")
    name = pair.receive(io)
    pair.ended(pair.source, pair.send(pair.port(name), io))
    assert pair.ended(pair.target, name).exit_status == 0
    assert (theirs / "uefi-variables").read_bytes() == b"\0boot order"
    assert (theirs / "tpm/state").read_bytes() == b"key"


def an_os(node: NodeContext) -> None:
    place = node.paths.os_search[0] / "busybox"
    place.mkdir(parents=True)
    (place / "ganeti_api_version").write_text("20\n")
    (place / "parameters.list").write_text("")
    scripts = {
        "export": 'echo 9 >&$EXP_SIZE_FD\necho "$EXPORT_INDEX" "$INSTANCE_NAME"',
        "import": 'cat > "$IMPORT_DEVICE"',
    }
    for name in ("create", "import", "export", "rename", "verify"):
        (place / name).write_text(f"#!/bin/bash\n{scripts.get(name, '')}\n")
        (place / name).chmod(0o755)


def test_scripts_of_the_guest_os_make_and_read_dumps(pair: TransferBed) -> None:
    for node in (pair.source, pair.target):
        an_os(node)
    io: tuple[str, list[Json]] = ("script", [encode(pair.disk), 0])
    path = pair.target.paths.virtual(pair.target.paths.export / "web1.new/disk0")
    name = pair.receive(("file", [path]))
    other = pair.send(pair.port(name), io)
    assert pair.ended(pair.source, other).exit_status == 0, pair.status(pair.source, other)
    assert pair.ended(pair.target, name).exit_status == 0, pair.status(pair.target, name)
    assert pair.target.paths.below(path).read_text() == "0 web1\n"
    assert pair.status(pair.source, other).progress_percent is not None
    pair.source, pair.target = pair.target, pair.source
    name = pair.receive(io)
    other = pair.send(pair.port(name), ("file", [path]))
    assert pair.ended(pair.target, name).exit_status == 0, pair.status(pair.target, name)
    assert pair.file(pair.target).read_text() == "0 web1\n"


def test_what_can_not_be_started_leaves_nothing(pair: TransferBed) -> None:
    raw = pair.raw
    instance = an_instance("web1")
    for opts, io, component in (
        ({"compress": "no-such-tool"}, raw, "disk0"),
        ({"key_name": "x509-none"}, raw, "disk0"),
        ({"key_name": "../x"}, raw, "disk0"),
        ({}, ("file", ["/etc/passwd"]), "disk0"),
        ({}, ("file", ["/var/lib/ganeti/export/../x"]), "disk0"),
        ({}, ("nosuch", []), "disk0"),
        ({}, raw, "../disk0"),
    ):
        with pytest.raises(GenericError):
            impexp.import_start(pair.target, opts, instance, component, io)  # type: ignore[arg-type]
    assert not pair.target.paths.transfers.exists() or not list(
        pair.target.paths.transfers.iterdir()
    )


def test_names_are_no_paths(pair: TransferBed) -> None:
    for name in ("../x", "import-", "export-a/b", ""):
        with pytest.raises(GenericError):
            impexp.impexp_cleanup(pair.target, name)
    with pytest.raises(GenericError):
        x509_cert.x509_cert_remove(pair.target, "../crypto")
    assert impexp.impexp_status(pair.target, ["import-disk0-none"]) == [None]


def test_a_certificate_is_of_the_node_and_for_a_while(pair: TransferBed) -> None:
    name, pem = x509_cert.x509_cert_create(pair.target, 10**9)
    made = x509.parse_certificate(pem.encode(), "certificate")
    assert x509.common_name(made) == "node2.example.com"
    left = made.not_valid_after_utc.timestamp() - pair.target.clock.now()
    assert 7 * 86400 - 60 < left <= 7 * 86400
    place = pair.target.paths.crypto_keys / name
    assert {one.name: one.stat().st_mode & 0o777 for one in place.iterdir()} == {
        "key": 0o400,
        "cert": 0o400,
    }
    x509_cert.x509_cert_remove(pair.target, name)
    x509_cert.x509_cert_remove(pair.target, name)
    assert not place.exists()
    with pytest.raises(GenericError):
        x509_cert.x509_cert_create(pair.target, 0)
    with pytest.raises(OpExecError):
        x509_cert.find(pair.target, name)
    assert server_pair().certificate_pem() not in pem.encode()


def made_older(place: Path, seconds: float) -> None:
    for one in [*place.iterdir(), place]:
        then = one.stat().st_mtime - seconds
        os.utime(one, (then, then))


def test_what_a_crash_has_left_goes_when_it_is_old(pair: TransferBed) -> None:
    place, name = a_stuck_transfer(pair)[0], "import-disk0-left-by-a-crash"
    transfers = pair.target.paths.transfers
    left, fresh, ours = transfers / name, transfers / f"{name}-now", transfers / "README-first"
    for one in (left, fresh, ours):
        one.mkdir()
        (one / "status").write_text("{}")
    made_older(left, impexp_dir.OLD_S + 1)
    made_older(ours, impexp_dir.OLD_S + 1)
    made_older(transfers / place, 10 * impexp_dir.OLD_S)  # it runs
    impexp_dir.remove_old(pair.target)
    assert sorted(one.name for one in transfers.iterdir()) == sorted([place, fresh.name, ours.name])
    made_older(fresh, impexp_dir.OLD_S + 1)
    other = impexp_dir.make(pair.target, "export", "disk1", impexp_dir.About(instance="web1"))
    assert not fresh.exists() and other.exists()


def test_certificates_that_can_not_be_valid_any_more_go(pair: TransferBed) -> None:
    old, _ = x509_cert.x509_cert_create(pair.target, 60)
    made_older(x509_cert.find(pair.target, old), x509_cert.MOST_S + 1)
    new, _ = x509_cert.x509_cert_create(pair.target, 60)
    assert [one.name for one in pair.target.paths.crypto_keys.iterdir()] == [new]
