"""gnt-node modify. Source: facts/cli-behaviour.md §3 and §10."""

from __future__ import annotations

from ganeti.cli.changes import by_type_and_name, tell_changes
from ganeti.cli.cluster_init import by_ident
from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE


def modify_node(run: Run) -> int | None:
    """Submit what the options say and tell what changed."""
    from ganeti.opcodes.node import OpNodeSetParams

    (name,) = run.names
    wanted = run.options
    given = {
        "master_candidate": wanted.master_candidate,
        "drained": wanted.drained,
        "offline": wanted.offline,
        "master_capable": wanted.master_capable,
        "vm_capable": wanted.vm_capable,
        "secondary_ip": wanted.secondary_ip,
        "ndparams": wanted.ndparams,
        "powered": wanted.node_powered,
    }
    hv_state = by_ident(wanted.hv_state, "--hypervisor-state")
    disk_state = by_type_and_name(wanted.disk_state)
    if all(value is None for value in given.values()) and not (hv_state or disk_state):
        run.err("Please give at least one of the parameters.")
        return EXIT_FAILURE
    if wanted.offline is False and not wanted.force:
        question = (
            f"Node {name} comes back as it is. gnt-node add --readd would set it up again and is"
            " the safe way, as its disks and files may be outdated. Bring it back all the same?"
        )
        if not run.confirm(question):
            raise Refused()
    result = run.submit(
        OpNodeSetParams(
            node_name=name,
            hv_state=hv_state,
            disk_state=disk_state,
            auto_promote=wanted.auto_promote,
            force=wanted.force,
            **given,
        )
    )
    tell_changes(run, f"node {name}", result)
    return None
