"""Finding providers of external storage."""

from __future__ import annotations

from pathlib import Path

from ganeti.storage.ext_find import OPTIONAL, REQUIRED, diagnose, parse_parameters


def a_provider(directory: Path, *but: str) -> Path:
    directory.mkdir(parents=True)
    for name in REQUIRED:
        if name not in but:
            (directory / name).write_text("#!/bin/sh\n")
            (directory / name).chmod(0o755)
    (directory / "parameters.list").write_text("# names\npool where volumes lie\nfast\n")
    return directory


def test_a_complete_provider_is_found_with_its_parameters(tmp_path: Path) -> None:
    a_provider(tmp_path / "san")
    (report,) = diagnose([tmp_path / "absent", tmp_path])
    assert (report.name, report.ok, report.diagnose) == ("san", True, "")
    assert report.parameters == (("pool", "where volumes lie"), ("fast", ""))


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for name in REQUIRED:
        a_provider(tmp_path / name, name)
    for report in diagnose([tmp_path]):
        assert (report.ok, report.diagnose) == (False, f"script {report.name} is missing")


def test_scripts_must_be_executable_files(tmp_path: Path) -> None:
    directory = a_provider(tmp_path / "san")
    (directory / "grow").chmod(0o644)
    assert diagnose([tmp_path])[0].diagnose == "script grow is not executable"
    (directory / "grow").chmod(0o755)
    (directory / OPTIONAL[0]).mkdir()
    assert diagnose([tmp_path])[0].diagnose == f"script {OPTIONAL[0]} is no file"
    (directory / OPTIONAL[0]).rmdir()
    (directory / "parameters.list").unlink()
    assert "parameters.list is missing" in diagnose([tmp_path])[0].diagnose


def test_the_first_place_comes_first(tmp_path: Path) -> None:
    a_provider(tmp_path / "one/san")
    a_provider(tmp_path / "two/san", "create")
    assert [report.ok for report in diagnose([tmp_path / "one", tmp_path / "two"])] == [True, False]


def test_comments_and_empty_lines_are_no_parameters() -> None:
    assert parse_parameters("\n # x\n a  b c \n") == (("a", "b c"),)
