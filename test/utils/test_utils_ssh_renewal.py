"""A new key pair of root's waits beside the old one, and then takes its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from ganeti.errors import Code, OpPrereqError
from ganeti.paths import Paths
from ganeti.types import SshKeyType
from ganeti.utils import ssh, ssh_keys
from ganeti.utils.ssh_keys import check_kind


def names(paths: Paths) -> list[str]:
    return sorted(place.name for place in ssh.root_directory(paths).iterdir())


def test_a_new_key_waits_and_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    old = ssh.make_root_key(paths, "ecdsa", 256)
    made = ssh_keys.generate(paths, "ecdsa", 256, ".new")
    assert ssh.make_root_key(paths, "ecdsa", 256) == old
    assert names(paths) == ["id_ecdsa", "id_ecdsa.new", "id_ecdsa.new.pub", "id_ecdsa.pub"]
    for _ in range(2):  # it may be repeated
        ssh_keys.activate(paths, "ecdsa", ".new", "ecdsa")
        assert names(paths) == ["id_ecdsa", "id_ecdsa.pub"]
        assert str(ssh.make_root_key(paths, "ecdsa", 256)) == made


def test_a_key_of_another_type_is_gone(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ssh.make_root_key(paths, "rsa", 2048)
    ssh_keys.generate(paths, "ecdsa", 256, ".new")
    ssh_keys.activate(paths, "ecdsa", ".new", "rsa")
    assert names(paths) == ["id_ecdsa", "id_ecdsa.pub"]


def test_a_key_type_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(OpPrereqError):
        ssh_keys.generate(Paths(tmp_path), "../x", 256, ".new")


@pytest.mark.parametrize(
    ("kind", "bits", "fine"),
    [
        (None, None, True), (None, 2048, True), (None, 512, False), ("dsa", 1024, True),
        ("dsa", 2048, False), ("ecdsa", 384, True), ("ecdsa", 2048, False), ("rsa", 4096, True),
    ],
)  # fmt: skip
def test_lengths_that_ssh_keygen_makes(kind: str | None, bits: int | None, fine: bool) -> None:
    try:
        check_kind(SshKeyType(kind) if kind else None, bits)
        assert fine
    except OpPrereqError as error:
        assert not fine and error.code == Code.INVAL


def test_a_key_that_is_given_twice_is_written_once(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    key = ssh.make_root_key(paths, "ecdsa", 256)
    ssh.authorize(paths, [key, key])
    ssh.authorize(paths, [key])
    text = (ssh.root_directory(paths) / "authorized_keys").read_text()
    assert text == f"{key}\n"
