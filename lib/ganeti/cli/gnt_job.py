"""gnt-job: the job queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ganeti.cli import options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.failure import Refused, describe
from ganeti.cli.lists import JOBS, job_number, print_page
from ganeti.cli.run import PRIORITIES, Run
from ganeti.cli.values import read_duration
from ganeti.constants import EXIT_CONFIRMATION, EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.serializer import Json

PROGRAM = Program("gnt-job", aliases={"show": "info"})

ARCHIVE_TIMEOUT_S = 89  # half of what the client waits for an answer
ALL_AGES_S = -1

RUNNING = options.mode("--running", dest="status_filter", const=["running"], help="running jobs")
ERROR = options.mode("--error", dest="status_filter", const=["error"], help="failed jobs")
FINISHED = options.mode(
    "--finished",
    dest="status_filter",
    const=["canceled", "error", "success"],
    help="jobs that have ended",
)
ARCHIVED = options.switch("--archived", dest="archived", help="archived jobs as well")
KILL = options.switch("--kill", dest="kill", help="kill the process of a running job")

SELECTING = (options.PENDING, options.QUEUED, options.WAITING)
SELECTED = "{[--force] {--pending | --queued | --waiting} | <job-id>...}"


@PROGRAM.command(
    "list",
    args=many("jobid"),
    options=[
        options.NO_HEADERS,
        options.SEPARATOR,
        options.OUTPUT,
        options.VERBOSE,
        options.FILTER,
        options.PENDING,
        RUNNING,
        ERROR,
        FINISHED,
        ARCHIVED,
        options.FORMAT,
    ],
)
def list_jobs(run: Run) -> int:
    """List jobs; all that are not archived, or those with the numbers, states or a filter."""
    extra = ["archived"] if run.options.archived else []
    return JOBS.show(run, also=_status_filter(run.options.status_filter), extra_fields=extra)


def _status_filter(states: Sequence[str] | None) -> Json:
    return ["|", *(["==", "status", status] for status in states)] if states else None


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that jobs have."""
    return JOBS.show_fields(run)


@PROGRAM.command("info", args=many("jobid", 1), options=[options.FORMAT])
def show_info(run: Run) -> None:
    """Show jobs with their opcodes, results and logs."""
    from ganeti.cli.job_info import pages

    print_page(run, pages(run.master, [job_number(word) for word in run.names]))


@PROGRAM.command("watch", args=one("jobid"))
def watch(run: Run) -> int:
    """Follow a job and print its log."""
    number = job_number(run.names[0])
    head = f"Output from job {number} follows"
    run.out(head)
    run.out("-" * len(head))
    return _follow(run, number, quiet=False)


@PROGRAM.command("wait", args=one("jobid"))
def wait(run: Run) -> int:
    """Wait for the end of a job, printing nothing."""
    return _follow(run, job_number(run.names[0]), quiet=True)


def _follow(run: Run, number: int, *, quiet: bool) -> int:
    """0 if the job succeeds, else the code of its error, which is printed."""
    try:
        run.follower.follow(number, quiet=quiet)
    except GenericError as error:
        status, text = describe(error)
        run.err(f"Job {number} failed: {text}")
        return status
    return EXIT_SUCCESS


@PROGRAM.command("archive", args=many("jobid", 1))
def archive(run: Run) -> int:
    """Archive jobs that have ended."""
    status = EXIT_SUCCESS
    for number in [job_number(word) for word in run.names]:
        if not run.master.call("ArchiveJob", number):
            run.err(
                f"Job {number} can't be archived: it is not known, has not ended, or is in the"
                " archive already"
            )
            status = EXIT_FAILURE
    return status


@PROGRAM.command("autoarchive", args=[Argument("suggest", choices=("1d", "1w", "4w", "all"))])
def autoarchive(run: Run) -> None:
    """Archive the jobs that ended longer ago than the age; all: every one that has ended."""
    word = run.names[0]
    age_s = ALL_AGES_S if word == "all" else read_duration(word)
    archived, left = run.master.call("AutoArchiveJobs", age_s, ARCHIVE_TIMEOUT_S)
    run.out(f"Archived {archived} jobs, {left} unchecked left")


@PROGRAM.command(
    "cancel",
    args=many("jobid"),
    options=[options.FORCE, KILL, *SELECTING, options.YES_DO_IT],
    usage=f"[--kill --yes-do-it] {SELECTED}",
)
def cancel(run: Run) -> int:
    """Cancel jobs that have not begun; with --kill also running ones."""
    kill = run.options.kill
    if kill and not run.options.yes_do_it:
        raise OpPrereqError("--kill must be confirmed with --yes-do-it", Code.INVAL)
    action = "Kill" if kill else "Cancel"
    return _for_each_job(run, action, lambda number: run.master.call("CancelJob", number, kill))


@PROGRAM.command(
    "change-priority",
    args=many("jobid"),
    options=[options.PRIORITY, options.FORCE, *SELECTING],
    usage=f"--priority <priority> {SELECTED}",
)
def change_priority(run: Run) -> int:
    """Change the priority of jobs that have not ended."""
    if run.options.priority is None:
        raise Refused("--priority is needed")
    level = PRIORITIES[run.options.priority]
    return _for_each_job(
        run,
        f"Change the priority to {run.options.priority} of",
        lambda number: run.master.call("ChangeJobPriority", number, level),
    )


def _for_each_job(run: Run, action: str, act: Callable[[int], Json]) -> int:
    """Act on the jobs that are named or selected; prints what the master says to each.

    Exit status 1 if it refused one, 13 when the person at the terminal refuses.
    """
    states = run.options.status_filter
    if bool(run.names) == bool(states):
        raise OpPrereqError("give either numbers of jobs or one of the states", Code.INVAL)
    if states:
        numbers = _select(run, action, states)
    else:
        numbers = [job_number(word) for word in run.names]
    answers = [act(number) for number in numbers]
    for _, text in answers:
        run.out(text)
    return EXIT_SUCCESS if all(good for good, _ in answers) else EXIT_FAILURE


def _select(run: Run, action: str, states: Sequence[str]) -> list[int]:
    """The jobs in these states, shown and confirmed unless --force."""
    from ganeti.cli import table, text

    answer = run.master.call("Query", "job", JOBS.fields, _status_filter(states))
    rows = answer["data"]
    if not rows:
        raise OpPrereqError("there is no job in such a state", Code.STATE)
    if not run.options.force:
        columns = [
            table.column_of(field, "h", {"summary": text.joined}) for field in answer["fields"]
        ]
        for line in table.lines(columns, table.cells(rows, columns, False)):
            run.out(line)
        run.require(False, f"{action} these {len(rows)} jobs?", EXIT_CONFIRMATION)
    return [row[0][1] for row in rows]
