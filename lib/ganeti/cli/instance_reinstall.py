"""gnt-instance reinstall: which instances, which OS, and the questions before."""

from __future__ import annotations

from ganeti.cli.ask import ask
from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.cli.selected import EVERYTHING, NAMED, chosen
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.opcodes.instance import OpInstanceReinstall


def reinstall_selected(run: Run) -> int:
    """One job for each instance; the exit status."""
    wanted = run.options
    mode = wanted.multi_mode or NAMED
    names = chosen(run, mode)
    if not names:
        if mode != EVERYTHING:
            raise OpPrereqError("the selection does not match any instance", Code.INVAL)
        run.out("There is no instance in the cluster.")
        return EXIT_SUCCESS
    os_type = _select_os(run) if wanted.select_os else wanted.os
    if not _agreed(run, names, several=mode != NAMED or len(names) > 1):
        return EXIT_FAILURE
    return run.each(
        names,
        lambda name: OpInstanceReinstall(
            instance_name=name,
            os_type=os_type,
            force_variant=wanted.force_variant,
            osparams=wanted.osparams or None,
            osparams_private=wanted.osparams_private or None,
            osparams_secret=wanted.osparams_secret or None,
        ),
    )


def _agreed(run: Run, names: list[str], *, several: bool) -> bool:
    """For one instance --force is enough, for several --force-multiple has to be said."""
    if run.options.force_multi:
        return True
    if several:
        return run.confirm_many(names, "instances", "reinstall", "--force-multiple")
    return run.options.force or run.confirm(
        f"Instance {names[0]} will be installed again, all its data will be lost. Continue?"
    )


def _select_os(run: Run) -> str:
    """The OS that is chosen at the terminal; Refused when none is."""
    from ganeti.opcodes.query import OpOsDiagnose

    rows = run.follower.follow(
        run.send(OpOsDiagnose(output_fields=["name", "variants"], names=[]))
    )[0]
    names = [
        f"{name}+{variant}" if variant else name
        for name, variants in rows
        for variant in variants or [""]
    ]
    run.out("Available OS templates:")
    for number, name in enumerate(names):
        run.out(f"{number:3}: {name}")
    run.world.stdout.flush()
    rows_of_choices = [(str(number), name, name) for number, name in enumerate(names)]
    picked = ask(
        run.world.terminal,
        "Which OS is to be installed?",
        [*rows_of_choices, ("x", "", "None, leave all as it is")],
    )
    if not picked:
        raise Refused("User aborted reinstall, exiting")
    return picked
