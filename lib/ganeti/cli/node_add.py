"""gnt-node add: the part that runs here, on the master, before the job.

Source: facts/cli-behaviour.md §12, facts/master.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.cli.ask import ask_password
from ganeti.cli.changes import by_type_and_name
from ganeti.cli.cluster_init import by_ident
from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError, ResolverError
from ganeti.types import IpFamily
from ganeti.utils.ssh_command import DEFAULT_SSH_PORT


def add_node(run: Run, join: Callable[..., None] | None = None) -> None:
    """Set the machine up and submit the job; Refused when it is (or is not) configured already.

    `join` does the setting up, by default `master.join.join_node`.
    """
    from ganeti.opcodes.node import OpNodeAdd

    wanted = run.options
    name, address = _look_up(run, run.names[0])
    known = _known(run, name, address)
    if wanted.readd and known is None:
        raise Refused(f"Node {name} is not in the cluster; leave out --readd to add it")
    if not wanted.readd and known is not None:
        raise Refused(f"Node {name} is in the cluster already; bring it back with --readd")
    for flag, given in (
        ("--force-join", wanted.force_join),
        ("--no-node-setup", not wanted.node_setup),
    ):
        if given:
            run.err(f"Warning: {flag} has no effect any more")
    secondary, port = known or (wanted.secondary_ip, _ssh_port(run))
    modify, key_type, key_bits = run.master.call(
        "QueryConfigValues", ["modify_ssh_setup", "ssh_key_type", "ssh_key_bits"]
    )
    (join or _join)(
        run.world.paths,
        name,
        modify_ssh_setup=bool(modify),
        ssh_key_type=key_type or "rsa",
        ssh_key_bits=int(key_bits or 2048),
        ssh_port=port,
        check_host_key=wanted.ssh_key_check,
        ask_password=lambda prompt: ask_password(run.world.terminal, prompt),
        say=run.err if wanted.verbose else lambda text: None,
    )
    run.submit(
        OpNodeAdd(
            node_name=name,
            secondary_ip=secondary,
            readd=wanted.readd,
            group=wanted.nodegroup,
            vm_capable=wanted.vm_capable,
            master_capable=wanted.master_capable,
            ndparams=wanted.ndparams,
            hv_state=by_ident(wanted.hv_state, "--hypervisor-state") or None,
            disk_state=by_type_and_name(wanted.disk_state) or None,
            node_setup=True,
        )
    )


def _join(*args: Any, **how: Any) -> None:
    from ganeti.master.join import join_node

    join_node(*args, **how)


def _look_up(run: Run, name: str) -> tuple[str, str]:
    """Full name and address; OpPrereqError RESOLVER when there are none."""
    from ganeti.utils import hosts

    family = IpFamily(int(run.world.cluster_value("primary_ip_family") or IpFamily.IPV4))
    try:
        return hosts.look_up(run.world.paths, name, family)
    except ResolverError as error:
        raise OpPrereqError(
            f"the name {name} does not resolve: {error.args[2]}", Code.RESOLVER
        ) from error


def _known(run: Run, name: str, address: str) -> tuple[str, int] | None:
    """Secondary address and SSH port of the node if it is configured.

    Refused for what must not be set up anew: the master, and a configured node by another name.
    Joining replaces the keys of a machine, so this is asked before.
    """
    rows = run.master.call("QueryNodes", [], ["name", "pip", "sip", "ndparams", "master"], False)
    for known, primary, secondary, ndparams, is_master in rows:
        if known == name and is_master:
            raise Refused(f"Node {name} is the master, it can't be added again")
        if known == name:
            return secondary, int((ndparams or {}).get("ssh_port", DEFAULT_SSH_PORT))
        if address in (primary, secondary):
            raise Refused(f"Node {name} has the address {address}, which is that of node {known}")
    return None


def _ssh_port(run: Run) -> int:
    """The new node's SSH port: its own parameter, or that of its group."""
    own = (run.options.ndparams or {}).get("ssh_port")
    if own is not None:
        try:
            return int(own)
        except (TypeError, ValueError):
            raise OpPrereqError(f"ssh_port: {own!r} is not a port", Code.INVAL) from None
    groups = [run.options.nodegroup] if run.options.nodegroup else []
    rows = run.master.call("QueryGroups", groups, ["name", "ndparams"], False)
    if not rows:
        raise OpPrereqError(f"Node group {groups[0]!r} is not known", Code.NOENT)
    return int((rows[0][1] or {}).get("ssh_port", DEFAULT_SSH_PORT))
