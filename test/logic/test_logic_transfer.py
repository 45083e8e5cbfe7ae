"""What follows from what the two ends of a transfer tell."""

from __future__ import annotations

from ganeti.logic.transfer import magic
from ganeti.logic.transfer_state import Ends, Verdict, problem, progress_text
from ganeti.model.report import ImportExportStatus

GOOD = ImportExportStatus(exit_status=0, progress_mbytes=8.0)
BUSY = ImportExportStatus(listen_port=4711, connected=True, progress_mbytes=3.0)
BAD = ImportExportStatus(
    exit_status=1, error_message="exited with exit code 1", recent_output=("No space left",)
)


def test_both_ends_have_to_end_well() -> None:
    assert Ends(BUSY).verdict is Verdict.RUNNING
    assert Ends(GOOD, BUSY).verdict is Verdict.RUNNING
    assert Ends(GOOD, GOOD).verdict is Verdict.DONE
    assert Ends(BUSY, BAD).verdict is Verdict.FAILED
    assert Ends(BAD).verdict is Verdict.FAILED
    assert [Ends(BAD).all_ended, Ends(BAD, BUSY).all_ended] == [True, False]


def test_as_much_has_to_arrive_as_was_sent() -> None:
    short = Ends(ImportExportStatus(exit_status=0, progress_mbytes=5.0), GOOD)
    assert short.verdict is Verdict.FAILED
    assert problem(short, "node1", "node2") == (
        "8.0 MiB were sent, 5.0 MiB have arrived: the connection was cut"
    )
    assert Ends(ImportExportStatus(exit_status=0), GOOD).verdict is Verdict.FAILED


def test_the_reason_names_node_and_last_words() -> None:
    assert problem(Ends(BAD, BUSY), "node1", "node2") == (
        "receiving on node node2: exited with exit code 1 (No space left)"
    )


def test_progress_tells_rate_share_and_time_left() -> None:
    status = ImportExportStatus(
        progress_mbytes=512.4, progress_throughput=40.04, progress_percent=25.2, progress_eta=36.4
    )
    assert progress_text("disk/0", status) == "disk/0 sent 512M, 40.0 MiB/s, 25%, 36 s left"
    assert progress_text("disk/0", ImportExportStatus()) is None


def test_each_stream_has_a_magic_of_its_own() -> None:
    made = {
        magic(base, name, disk) for base in "ab" for name in "ab" for disk in ("disk0", "disk1")
    }
    assert len(made) == 8
    assert all(len(one) == 40 for one in made)
