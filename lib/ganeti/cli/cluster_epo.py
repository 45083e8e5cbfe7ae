"""gnt-cluster epo: emergency power off, and on again.

Off: instances end, then the nodes are switched off by their out-of-band programs. The instances
stay marked as up, so that `--on` can start them. Source: facts/master.md §A6, facts/
cli-behaviour.md §12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS, NODED_PORT
from ganeti.types import FieldStatus, OobCommand
from ganeti.utils import net

WAIT_S: Final = 15 * 60
POLL_S: Final = 30
ANSWER_S: Final = 5.0

IsUp = Callable[[str], bool]
"""Whether the node daemon answers on this address."""


class EpoNode(NamedTuple):
    """A row of QueryNodes; `powered` is None without an out-of-band program."""

    name: str
    master: bool
    instances: list[str]
    powered: bool | None
    offline: bool
    address: str


FIELDS: Final = ["name", "master", "pinst_list", "powered", "offline", "pip"]


def node_daemon_answers(address: str) -> bool:
    return net.is_port_open(address, NODED_PORT, timeout_s=ANSWER_S)


def epo(run: Run, is_up: IsUp = node_daemon_answers) -> int:
    nodes = _chosen(run)
    wanted = run.options
    if not wanted.on and not wanted.show_all:
        for node in nodes:
            if node.master:
                raise Refused(
                    f"Node {node.name} is the master and can't be switched off alone; give --all,"
                    " or make another node the master first"
                )
    switched = []
    for node in nodes:
        if node.powered is None and not node.master:
            run.err(f"Node {node.name} has no out-of-band program and is skipped")
        elif not node.master and (not wanted.on or not node.powered):
            switched.append(node.name)
    operation = "power on" if wanted.on else "power off"
    names = [node.name for node in nodes]
    if not (wanted.force or run.confirm_many(names, "nodes", operation, "--force")):
        return EXIT_FAILURE
    return _on(run, nodes, switched, is_up) if wanted.on else _off(run, nodes, switched)


def _chosen(run: Run) -> list[EpoNode]:
    wanted, names = run.options, run.names
    if wanted.show_all and (wanted.groups or names):
        raise Refused("--all stands alone: neither names nor --groups go with it")
    if not wanted.show_all and not names:
        raise Refused("Name the nodes, or groups with --groups, or give --all")
    if wanted.groups:
        rows = run.master.call("QueryGroups", names, ["node_list"], False)
        names = [name for (members,) in rows for name in members]
        if not names:
            raise Refused("These groups have no nodes")
    return [EpoNode(*row) for row in run.master.call("QueryNodes", names, FIELDS, False)]


def _off(run: Run, nodes: Sequence[EpoNode], switched: Sequence[str]) -> int:
    from ganeti.opcodes.instance import OpInstanceShutdown

    jobs = run.job_set()
    for name in _wanted_up(run, [one for node in nodes for one in node.instances]):
        jobs.add(
            name,
            OpInstanceShutdown(
                instance_name=name, timeout=run.options.shutdown_timeout, no_remember=True
            ),
        )
    if jobs.finish(wait=True) != EXIT_SUCCESS:
        run.err("Not all instances could be stopped: no node was switched off. Stop them, repeat")
        return EXIT_FAILURE
    return _switch(run, OobCommand.POWER_OFF, switched)


def _on(run: Run, nodes: Sequence[EpoNode], switched: Sequence[str], is_up: IsUp) -> int:
    from ganeti.opcodes.instance import OpInstanceStartup

    status = _switch(run, OobCommand.POWER_ON, switched)
    up = _wait_for(run, [node for node in nodes if not node.offline], is_up)
    for node in nodes:
        if node.name not in up:
            why = "is marked offline" if node.offline else "does not answer"
            run.err(f"Node {node.name} {why}; its instances are not started")
            status = EXIT_FAILURE
    jobs = run.job_set()
    for name in _wanted_up(run, [one for node in nodes for one in node.instances], up, nodes):
        jobs.add(name, OpInstanceStartup(instance_name=name))
    return max(status, jobs.finish(wait=True))


def _switch(run: Run, command: OobCommand, names: Sequence[str]) -> int:
    from ganeti.opcodes.node import OpOobCommand

    if not names:
        run.out("No node is to be switched")
        return EXIT_SUCCESS
    rows = run.submit(
        OpOobCommand(
            node_names=list(names),
            command=command,
            timeout=run.options.oob_timeout,
            power_delay=run.options.power_delay,
            ignore_status=True,
        )
    )
    failed = [name for (_, name), (status, _) in rows if status != FieldStatus.NORMAL]
    for name in failed:
        run.err(f"Node {name}: {command} failed")
    return EXIT_FAILURE if failed else EXIT_SUCCESS


def _wait_for(run: Run, nodes: Sequence[EpoNode], is_up: IsUp) -> set[str]:
    """Names of the nodes whose daemons answer, at the latest after 15 minutes."""
    up: set[str] = set()
    for _ in range(WAIT_S // POLL_S):
        up |= {node.name for node in nodes if node.name not in up and is_up(node.address)}
        left = len(nodes) - len(up)
        if not left:
            break
        run.out(f"Waiting for {left} nodes")
        run.world.sleep(POLL_S)
    return up


def _wanted_up(
    run: Run,
    names: Sequence[str],
    up: set[str] | None = None,
    nodes: Sequence[EpoNode] = (),
) -> list[str]:
    """Those of the instances that are marked as up; with `up`, that have no node which is not."""
    if not names:
        return []
    down = set() if up is None else {node.name for node in nodes} - up
    chosen: Any = ["|", *(["==", "name", name] for name in dict.fromkeys(names))]
    answer = run.master.call(
        "Query", "instance", ["name", "admin_state", "pnode", "snodes"], chosen
    )
    found = []
    for (_, name), (_, state), (_, primary), (_, others) in answer["data"]:
        if state == "up" and not {primary, *others} & down:
            found.append(name)
    return found
