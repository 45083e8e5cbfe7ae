"""tools/cfgupgrade: what it needs, what it writes, and that a problem leaves the file alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import NOW, example
from ganeti.errors import ConfigurationError, GenericError, OpPrereqError
from ganeti.master.cfgupgrade import Settings, convert_configuration
from ganeti.paths import Paths
from ganeti.utils.journal import Generation, Header, new_journal
from ganeti.version import CONFIG_VERSION

OLD = 2_160_000


def a_master(root: Path, **change: Any) -> tuple[Settings, list[str]]:
    """A stopped master with a configuration of 2.16."""
    paths, said = Paths(root), []
    paths.conf.mkdir(parents=True)
    paths.data.mkdir(parents=True)
    (paths.data / "ssconf_master_node").write_text("node1\n")
    raw = example() | {"version": OLD} | change
    paths.config_data.write_text(json.dumps(raw))
    settings = Settings(
        paths=paths,
        data=paths.data,
        conf=paths.conf,
        hostname="node1",
        say=said.append,
        agreed=lambda question: True,
        now=NOW,
    )
    from ganeti.master.crypto import make_missing

    make_missing(paths, "node1", NOW, settings.disk)
    return settings, said


def version_in(settings: Settings) -> int:
    return int(json.loads(settings.config.read_text())["version"])


def test_the_file_is_converted_and_a_copy_is_kept(tmp_path: Path) -> None:
    settings, said = a_master(tmp_path)
    before = settings.config.read_bytes()
    settings.paths.hmac_key.unlink()
    assert convert_configuration(settings)
    assert version_in(settings) == CONFIG_VERSION
    (copy,) = settings.data.glob("config.data.backup-*")
    assert copy.read_bytes() == before and copy.stat().st_mode & 0o777 == 0o600
    assert settings.config.stat().st_mode & 0o777 == 0o640
    assert settings.paths.hmac_key.exists()
    assert "2.16 becomes 3.0" in said[-1]
    assert not convert_configuration(settings)


def test_files_of_old_versions_move(tmp_path: Path) -> None:
    settings, _ = a_master(tmp_path)
    (settings.data / "rapi_users").write_text("jack secret\n")
    (settings.data / "watcher.data").write_text("")
    raw = json.loads(settings.config.read_text())
    raw["cluster"]["file_storage_dir"] = "/srv/files"
    settings.config.write_text(json.dumps(raw))
    assert convert_configuration(settings)
    assert settings.paths.rapi_users.read_text() == "jack secret\n"
    assert (settings.data / "rapi_users").is_symlink()
    assert not (settings.data / "watcher.data").exists()
    assert "/srv/files" in settings.paths.file_storage_paths.read_text().split()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hostname": "node2"}, "the master is node1"),
        ({"agreed": lambda question: False}, "not confirmed"),
    ],
)
def test_it_refuses(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    settings, _ = a_master(tmp_path)
    with pytest.raises(OpPrereqError, match=said):
        convert_configuration(replace(settings, **change))
    assert version_in(settings) == OLD


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    settings, said = a_master(tmp_path)
    assert convert_configuration(replace(settings, dry_run=True))
    assert version_in(settings) == OLD and "not written" in said[-1]
    assert not list(settings.data.glob("*backup*"))


def test_a_result_that_can_not_be_read_is_not_written(tmp_path: Path) -> None:
    settings, _ = a_master(tmp_path, networks={"n1": {"uuid": "n1", "name": 5}})
    with pytest.raises(ConfigurationError, match="converted"):
        convert_configuration(settings)
    assert version_in(settings) == OLD
    settings.paths.server_pem.unlink()
    with pytest.raises(GenericError, match=r"server\.pem missing"):
        convert_configuration(settings)


def test_changes_that_only_the_journal_has_are_not_lost(tmp_path: Path) -> None:
    settings, _ = a_master(tmp_path, serial_no=5)
    header = Header("config", Generation(1, 1, "a"), {})
    for serial, refused in ((5, False), (6, True)):
        record = b'{"serial_no":%d,"mtime":1.0}' % serial
        settings.paths.config_journal.write_bytes(new_journal(header, [record]))
        if refused:
            settings.config.write_text(json.dumps(example() | {"version": OLD, "serial_no": 5}))
            with pytest.raises(OpPrereqError, match="start and stop the master daemon"):
                convert_configuration(settings)
        else:
            assert convert_configuration(settings)
