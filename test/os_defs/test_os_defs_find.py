"""Finding OS definitions, good ones and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from ganeti.errors import OpPrereqError
from ganeti.os_defs import find
from ganeti.paths import Paths

SHIPPED = Path(__file__).resolve().parents[2] / "os" / "busybox"


def an_os(paths: Paths, name: str = "debian", *, api: str = "20\n", place: int = 0) -> Path:
    """A complete definition of API 20 with two variants and one parameter."""
    directory = paths.os_search[place] / name
    directory.mkdir(parents=True)
    (directory / "ganeti_api_version").write_text(api)
    for script in ("create", "import", "export", "rename", "verify"):
        (directory / script).write_text("#!/bin/sh\n")
        (directory / script).chmod(0o755)
    (directory / "variants.list").write_text("# sizes\nsmall\n\nlarge\n")
    (directory / "parameters.list").write_text("mode How it behaves\nroot-size\n")
    return directory


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


def test_a_good_definition_is_reported_with_what_it_has(paths: Paths) -> None:
    an_os(paths)
    (report,) = find.diagnose(paths)
    assert list(report) == [
        "debian", "/srv/ganeti/os/debian", True, "", ("small", "large"),
        (("mode", "How it behaves"), ("root-size", "")), (20,), True,
    ]  # fmt: skip


@pytest.mark.parametrize("script", ["create", "import", "export", "rename", "verify"])
def test_a_missing_script_is_named(paths: Paths, script: str) -> None:
    (an_os(paths) / script).unlink()
    (report,) = find.diagnose(paths)
    expected = f"File '{script}' under path '/srv/ganeti/os/debian' is missing (ENOENT)"
    assert (report.ok, report.diagnose) == (False, expected)
    with pytest.raises(OpPrereqError, match=script):
        find.require(paths, "debian")


def test_a_script_must_be_executable_and_a_file(paths: Paths) -> None:
    directory = an_os(paths)
    (directory / "create").chmod(0o644)
    assert "not executable" in find.diagnose(paths)[0].diagnose
    (directory / "create").unlink()
    (directory / "create").mkdir()
    assert "not a regular file" in find.diagnose(paths)[0].diagnose


@pytest.mark.parametrize(
    ("text", "used"), [("20\n15\n10\n", 20), ("10\n", 10), ("5\n10\n", 10), ("15\n99\n", 15)]
)
def test_the_highest_common_version_is_used(paths: Paths, text: str, used: int) -> None:
    an_os(paths, api=text)
    assert find.require(paths, "debian").api_version == used


@pytest.mark.parametrize("text", ["", "x\n", "5\n", "20 15\n"])
def test_a_version_file_that_does_not_fit_is_told(paths: Paths, text: str) -> None:
    an_os(paths, api=text)
    assert not find.diagnose(paths)[0].ok


def test_older_versions_need_neither_verify_nor_lists(paths: Paths) -> None:
    directory = an_os(paths, api="10\n")
    for name in ("verify", "variants.list", "parameters.list"):
        (directory / name).unlink()
    found = find.require(paths, "debian")
    assert (found.variants, found.parameters) == ((), ())


def test_an_untrusted_definition_needs_no_create_script(paths: Paths) -> None:
    directory = an_os(paths)
    (directory / "create").rename(directory / "create_untrusted")
    (report,) = find.diagnose(paths)
    assert (report.ok, report.trusted) == (True, False)


def test_the_first_place_of_the_search_path_wins_and_all_are_reported(paths: Paths) -> None:
    an_os(paths, place=3)
    first = an_os(paths, place=0)
    (paths.os_search[0] / ".hidden").mkdir()
    assert find.require(paths, "debian+small").path == first
    assert [report.name for report in find.diagnose(paths)] == ["debian", "debian"]


def test_an_absent_definition_is_none_or_an_error(paths: Paths) -> None:
    assert find.find(paths, "nosuch") is None
    with pytest.raises(OpPrereqError, match="OS nosuch not found in search path"):
        find.require(paths, "nosuch")
    with pytest.raises(OpPrereqError, match="not valid"):
        find.find(paths, "../etc")


def test_a_variant_must_be_given_and_known(paths: Paths) -> None:
    an_os(paths)
    definition = find.require(paths, "debian")
    assert find.check_variant(definition, "debian+large") == "large"
    assert find.check_variant(definition, "debian+other", force=True) == "other"
    for name in ("debian", "debian+", "debian+other"):
        with pytest.raises(OpPrereqError, match="variant"):
            find.check_variant(definition, name)


def test_unknown_parameters_are_named(paths: Paths) -> None:
    an_os(paths)
    definition = find.require(paths, "debian")
    find.check_parameter_names(definition, ["mode"])
    with pytest.raises(OpPrereqError, match="no parameters nosuch"):
        find.check_parameter_names(definition, ["mode", "nosuch"])


def test_the_shipped_definition_is_complete() -> None:
    found = find.read_definition("busybox", SHIPPED)
    assert found.api_version == 20 and found.trusted
    assert found.variants == ("default", "stubborn")
    assert [name for name, _ in found.parameters] == ["token", "hostname", "message"]
