"""What gnt-cluster verify-disks does with the findings: activate disks, list what is missing.

A job's result is [{node: error}, [instance with inactive disks], {instance: [[node, volume]...]}].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.cli.failure import describe
from ganeti.cli.jobset import Outcome
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import GenericError
from ganeti.serializer import Json


def report(run: Run, outcomes: Sequence[Outcome]) -> int:
    """Act on every group's findings; 1 when something is missing or can't be reached."""
    good = True
    for done, results in outcomes:
        good &= done and _of_group(run, *results[0])
    return EXIT_SUCCESS if good else EXIT_FAILURE


def _of_group(
    run: Run,
    errors: Mapping[str, str],
    inactive: Sequence[str],
    missing: Mapping[str, Sequence[Json]],
) -> bool:
    good = not errors and not missing
    for node, error in errors.items():
        run.err(f"Node {node} gives no information: {error}")
    for name in inactive:
        if name not in missing:
            good &= _activate(run, name)
    for name, volumes in missing.items():
        run.out(f"Instance {name} has missing volumes and stays as it is:")
        for node, volume in volumes:
            run.out(f"\t{node} /dev/{volume}")
    if not (errors or inactive or missing):
        run.out("No disks need to be activated.")
    return good


def _activate(run: Run, name: str) -> bool:
    """Whether the instance's disks could be activated."""
    from ganeti.opcodes.disk import OpInstanceActivateDisks

    run.out(f"Activating the disks of instance {name}")
    try:
        run.submit(OpInstanceActivateDisks(instance_name=name))
    except GenericError as error:
        run.err(f"The disks of instance {name} can't be activated: {describe(error)[1]}")
        return False
    return True
