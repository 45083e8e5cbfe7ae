"""What the programs print: test/transcripts, line by line, on one cluster of three virtual nodes.

`tools/check update-transcripts` writes anew what the commands print; the diff is reviewed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import transcript_files as transcripts
from cluster_bed import ClusterBed, virtual_cluster
from ganeti.paths import Paths
from ganeti.utils.daemons import NODED
from transcript_files import Entry
from virtual_cluster import OS_DIRECTORY

SHARED = "/srv/ganeti/shared-file-storage"
pytestmark = pytest.mark.timeout(300)  # a transcript is a hundred commands
OOB = """#!/bin/sh
case "$1" in
  power-status) echo '{"powered": true}' ;;
  health) echo '[["fan", "OK"], ["psu", "WARNING"]]' ;;
esac
"""
PROVIDER = ("create", "attach", "detach", "remove", "grow", "setinfo", "verify")


def put_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def furnish(paths: Paths, shared: Path, other_address: str) -> None:
    """A node with what an administrator puts there: shared files, scripts, a provider."""
    with paths.etc_hosts.open("a") as hosts:
        hosts.write(f"{other_address}\tother.example.com\n")
    (paths.below(OS_DIRECTORY) / "busybox").unlink()
    paths.below(SHARED).parent.mkdir(parents=True, exist_ok=True)
    paths.below(SHARED).symlink_to(shared)
    with paths.file_storage_paths.open("a") as file:
        file.write(f"{SHARED}\n")
    put_program(paths.below("/usr/local/bin/oob"), OOB)
    put_program(paths.conf / "restricted-commands" / "greet", "#!/bin/sh\necho hello\n")
    provider = paths.below("/usr/share/ganeti/extstorage/shelf")
    for name in PROVIDER:
        put_program(provider / name, "#!/bin/sh\nexit 0\n")
    (provider / "parameters.list").write_text("colour of the shelf\n")


@pytest.fixture(scope="module")
def bed() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as made:
        shared = made.cluster.base / "shared"
        shared.mkdir()
        for name in made.cluster.names:
            furnish(made.cluster.paths(name), shared, f"{made.cluster.network}.251")
        made.add_empty_os("noop")
        made.init_all()
        made.stop(NODED, 2)
        made.start(NODED, 2, "--restricted-commands")
        yield made


def run(bed: ClusterBed, entry: Entry, program: str) -> Entry:
    """The entry with what the command shows now."""
    given = "".join(f"{line}\n" for line in entry.given)
    done = bed(entry.line, node=entry.node, input=given)
    numbers, base = program == transcripts.FIRST, str(bed.cluster.base)
    out, err = (
        transcripts.normal(text, directory=base, rough=entry.rough, job_numbers=numbers)
        for text in (done.out, done.err)
    )
    return replace(entry, shown=transcripts.shown(done.rc, out, err))


@pytest.mark.parametrize("program", transcripts.programs())
def test_the_commands_of_a_transcript_show_what_it_says(bed: ClusterBed, program: str) -> None:
    before = transcripts.read(program)
    now = [run(bed, one, program) if isinstance(one, Entry) else one for one in before]
    if os.environ.get(transcripts.UPDATE_VARIABLE):
        transcripts.write(program, now)
        return
    wrong = [
        f"recorded:\n{old.text()}now:\n{new.text()}"
        for old, new in zip(before, now)
        if isinstance(old, Entry) and isinstance(new, Entry) and old != new
    ]
    assert not wrong, "\n".join(
        [f"{program}: {len(wrong)} differ; tools/check update-transcripts rewrites them", *wrong]
    )
