"""Daemons that don't start: the log and the starter are told why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ganeti.errors import ConfigurationError
from ganeti.paths import Paths
from ganeti.utils import daemons
from ganeti.utils.daemonize import Ready, work_or_tell


def told(error: Exception, caplog: pytest.LogCaptureFixture) -> str:
    """What the starter reads when the daemon's work raises this."""

    def work() -> int:
        raise error

    listen, speak = os.pipe()
    assert work_or_tell("ganeti-x", Ready(speak), work) == 1
    assert str(error) in caplog.text
    with os.fdopen(listen) as pipe:
        return pipe.read()


def test_starter_and_log_are_told_an_expected_error(caplog: pytest.LogCaptureFixture) -> None:
    said = told(ConfigurationError("config.data: is damaged"), caplog)
    assert said == "1\nganeti-x: config.data: is damaged"
    assert "Traceback" not in caplog.text


def test_starter_is_told_a_mistake_of_ours_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    said = told(KeyError("minor"), caplog)
    assert said == ("1\nganeti-x: unexpected error: KeyError: 'minor'; its log has the traceback")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "program, file, log",
    [
        (daemons.MASTERD, "master_node", "master-daemon.log"),
        (daemons.NODED, "primary_ip_family", "node-daemon.log"),
    ],
)
def test_daemon_tells_an_unexpected_error_to_its_starter_and_its_log(
    tmp_path: Path, program: str, file: str, log: str
) -> None:
    paths = Paths(tmp_path)
    paths.ssconf(file).parent.mkdir(parents=True)
    paths.ssconf(file).write_bytes(b"\xff\n")
    environment = daemons.environment(paths, "node1.example.com")
    if program == daemons.NODED:
        paths.etc_hosts.parent.mkdir(parents=True, exist_ok=True)
        paths.etc_hosts.write_bytes(b"\xff\n")
    done = subprocess.run(
        [sys.executable, str(daemons.program(program))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{program}: unexpected error: UnicodeDecodeError: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" in (paths.log / log).read_text()
