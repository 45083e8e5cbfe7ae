"""gnt-debug: for finding faults, and for trying the job queue."""

from __future__ import annotations

from ganeti.cli import options
from ganeti.cli.app import Program, many, one
from ganeti.cli.debug_allocator import ASKING
from ganeti.cli.failure import Refused
from ganeti.cli.lists import LOCKS
from ganeti.cli.run import Run
from ganeti.cli.values import read_number
from ganeti.constants import EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.serializer import Json, loads

PROGRAM = Program("gnt-debug", aliases={"allocator": "iallocator"})

ON_MASTER = options.switch(
    "--no-master", dest="on_master", default=True, help="do not sleep on the master"
)
ON_NODES = options.value(
    "-n", dest="on_nodes", default=[], many=True, help="sleep on this node; may be given again"
)
REPEAT = options.value(
    "-r", "--repeat", dest="repeat", kind="int", default=0, help="how often to repeat"
)
INTERRUPTIBLE = options.switch(
    "-i", "--interruptible", dest="interruptible", help="let a connection to a socket end the sleep"
)
NO_LOCKS = options.switch("-l", "--no-locks", dest="no_locks", help="take no locks")
INTERVAL = options.value(
    "--interval", dest="interval", kind="int", help="list again every so many seconds"
)
REPEAT_OPCODES = options.value(
    "--op-repeat", dest="rep_op", kind="int", default=1, help="repeat the opcodes inside the job"
)
REPEAT_JOBS = options.value(
    "--job-repeat", dest="rep_job", kind="int", default=1, help="submit each file so often"
)
TIMING = options.switch("--timing-stats", dest="timing_stats", help="print counts and durations")
EACH = options.switch("--each", dest="each", help="submit each job with a call of its own")


@PROGRAM.command(
    "delay",
    args=one("free"),
    options=[
        ON_MASTER,
        ON_NODES,
        REPEAT,
        INTERRUPTIBLE,
        NO_LOCKS,
        options.DRY_RUN,
        options.PRIORITY,
        *options.SUBMITTING,
    ],
    usage="<seconds>",
)
def delay(run: Run) -> None:
    """Run a job that sleeps."""
    from ganeti.opcodes.test import OpTestDelay

    wanted = run.options
    run.submit(
        OpTestDelay(
            duration=read_number(run.names[0]),
            on_master=wanted.on_master,
            on_nodes=wanted.on_nodes,
            repeat=wanted.repeat,
            interruptible=wanted.interruptible,
            no_locks=wanted.no_locks,
        )
    )


@PROGRAM.command(
    "submit-job",
    args=many("file", 1),
    options=[
        options.VERBOSE,
        REPEAT_OPCODES,
        REPEAT_JOBS,
        TIMING,
        EACH,
        options.DRY_RUN,
        options.PRIORITY,
    ],
)
def submit_job(run: Run) -> int:
    """Submit jobs whose opcodes stand in files: a JSON list of objects with OP_ID.

    A job that fails is reported and does not change the exit status.
    """
    wanted = run.options
    if wanted.rep_op < 1 or wanted.rep_job < 1:
        raise OpPrereqError("repetitions are counted from 1", Code.INVAL)
    started = run.world.now()
    jobs = run.job_set()
    for path in run.names:
        opcodes = _read_opcodes(run, path) * wanted.rep_op
        for index in range(wanted.rep_job):
            jobs.add_json(f"file {path}/{index}", opcodes)
        if wanted.verbose:
            run.out(f"{path}: {len(opcodes)} opcodes, {wanted.rep_job} times")
    loaded = run.world.now()
    jobs.submit(each=wanted.each)
    submitted = run.world.now()
    outcomes = jobs.wait()
    if wanted.timing_stats:
        ended = run.world.now()
        run.out(
            f"jobs:     {len(outcomes)}, of them failed {sum(not good for good, _ in outcomes)}"
        )
        run.out(f"loading:  {loaded - started:.3f}s")
        run.out(f"submit:   {submitted - loaded:.3f}s")
        run.out(f"running:  {ended - submitted:.3f}s")
        run.out(f"together: {ended - started:.3f}s")
    return EXIT_SUCCESS


def _read_opcodes(run: Run, path: str) -> list[Json]:
    from ganeti import opcodes

    try:
        with open(path, encoding="utf-8") as file:
            values = loads(file.read(), path)
    except OSError as error:
        raise OpPrereqError(f"{path}: {error.strerror}", Code.INVAL) from error
    if not isinstance(values, list):
        raise OpPrereqError(f"{path}: a JSON list of opcodes is wanted", Code.INVAL)
    return [run.dressed(opcodes.load(value)) for value in values]


@PROGRAM.command(
    "locks",
    options=[
        options.NO_HEADERS,
        options.SEPARATOR,
        options.OUTPUT,
        INTERVAL,
        options.VERBOSE,
        options.FORMAT,
    ],
)
def locks(run: Run) -> int:
    """List the locks of the cluster, who has them and who waits."""
    interval = run.options.interval
    if interval is not None and interval < 1:
        raise OpPrereqError(f"an interval of {interval} seconds is too short", Code.INVAL)
    while True:
        status = LOCKS.show(run)
        if interval is None:
            return status
        run.out()
        run.world.stdout.flush()
        run.world.sleep(interval)


@PROGRAM.command("iallocator", args=many("free", 1), options=ASKING, usage="<instance>...")
def iallocator(run: Run) -> None:
    """Show what an instance allocator would be asked, or ask it."""
    from ganeti.cli.debug_allocator import ask_allocator

    ask_allocator(run)


@PROGRAM.command("test-jobqueue", options=[options.PRIORITY])
def test_jobqueue(run: Run) -> None:
    """Try whether the job queue works."""
    from ganeti.cli.debug_jobqueue import test_job_queue

    test_job_queue(run)


@PROGRAM.command("test-osparams", options=[options.OS_PARAMETERS_SECRET, *options.SUBMITTING])
def test_osparams(run: Run) -> None:
    """Send secret OS parameters, which must not be seen anywhere."""
    from ganeti.opcodes.test import OpTestOsParams

    run.submit(OpTestOsParams(osparams_secret=run.options.osparams_secret))


@PROGRAM.command("wconfd", args=many("free", 1), usage="<function> [<argument>...]")
def wconfd(run: Run) -> None:
    """Call a function of the configuration daemon of older releases."""
    raise Refused(
        "There is no ganeti-wconfd in this release: ganeti-masterd holds the configuration and the"
        " locks; see gnt-debug locks"
    )


@PROGRAM.command("metad", args=many("free", 1), usage="<function> [<argument>...]")
def metad(run: Run) -> None:
    """Call a function of the metadata daemon."""
    raise Refused("There is no ganeti-metad in this release, so it can't be asked anything")
