"""Hooks around an opcode: the environment, and what the scripts answer decides.

Source: facts/hooks.json. Pre scripts may refuse the operation; post scripts are only listened to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.errors import HooksAbort, HooksFailure
from ganeti.logic.base import WARNING, HookEnv, NodeCalls, Services
from ganeti.model.node import Node
from ganeti.model.report import HOOK_FAILED, HookResult
from ganeti.opcodes.base import Opcode
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.types import HooksPhase

HOOKS_VERSION = "2"
HOOKS_SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"

HookOutcomes = dict[str, Outcome[list[HookResult]]]
"""Per node uuid."""


class Hooks:
    """The hooks of one opcode. To all of them the cluster has the name that it has now."""

    def __init__(self, op: Opcode, services: Services) -> None:
        self.op = op
        self.services = services
        self._cluster_name = services.snapshot().cluster.cluster_name

    def before(self, config: Snapshot, env: HookEnv) -> None:
        """Run the pre scripts; HooksAbort when one refuses."""
        variables = self._common(config, env.path, env.object_type, HooksPhase.PRE) | _named(
            env.env
        )
        nodes = _nodes(config, env.pre_nodes)
        outcomes = self._run(nodes, env.path, HooksPhase.PRE, variables)
        if nodes and not any(outcome.ok or outcome.offline for outcome in outcomes.values()):
            raise HooksFailure(f"{env.path}: no node could run the hooks")
        refusals = list(_failures(outcomes))
        if refusals:
            raise HooksAbort(refusals)

    def after(self, config: Snapshot, before: HookEnv, now: HookEnv) -> HookOutcomes:
        """Run the post scripts; failures become warnings in the job's log."""
        variables = self._common(config, now.path, now.object_type, HooksPhase.POST)
        variables |= _named(before.env) | _named(now.env, "POST_")
        outcomes = self._run(_nodes(config, now.post_nodes), now.path, HooksPhase.POST, variables)
        for node, script, output in _failures(outcomes):
            self.services.feedback(
                f"{WARNING}post hook {script} on node {node} failed: {output or 'no output'}"
            )
        return outcomes

    def config_updated(self, config: Snapshot, before: HookEnv | None) -> None:
        """The hook after a change of the configuration by this opcode, on the master only.

        Other jobs may have changed it meanwhile: that is theirs to tell. It has the variables of
        the opcode's own pre hooks, `before`; some opcodes have none.
        """
        if not self.services.has_committed:
            return
        object_type = before.object_type if before is not None else ""
        variables = self._common(config, "config-update", object_type, HooksPhase.POST)
        if before is not None:
            variables |= _named(before.env)
        self._run([config.master()], "config-update", HooksPhase.POST, variables)

    def _run(
        self, nodes: Sequence[Node], path: str, phase: HooksPhase, variables: Mapping[str, str]
    ) -> HookOutcomes:
        if not nodes:
            return {}
        rpc: NodeCalls = self.services.rpc
        outcomes = rpc.all(nodes, calls.hooks_runner, path, str(phase), variables)
        for outcome in outcomes.values():
            if not outcome.ok and not outcome.offline:
                self.services.feedback(
                    f"{WARNING}node {outcome.node.name} can't run the {path} hooks: {outcome.error}"
                )
        return outcomes

    def _common(
        self, config: Snapshot, path: str, object_type: str, phase: HooksPhase
    ) -> dict[str, str]:
        made = {
            "PATH": HOOKS_SEARCH_PATH,
            "GANETI_HOOKS_VERSION": HOOKS_VERSION,
            "GANETI_OP_CODE": self.op.OP_ID,
            "GANETI_DATA_DIR": str(self.services.paths.virtual(self.services.paths.data)),
            "GANETI_HOOKS_PHASE": str(phase),
            "GANETI_HOOKS_PATH": path,
            "GANETI_CLUSTER": self._cluster_name,
            "GANETI_MASTER": config.master().name,
        }
        if object_type:
            made["GANETI_OBJECT_TYPE"] = object_type
        return made


def _named(env: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    return {f"GANETI_{prefix}{name}": value for name, value in env.items()}


def _nodes(config: Snapshot, uuids: Sequence[str]) -> list[Node]:
    """The nodes, each once; one that has just been removed is left out."""
    return [config.nodes[uuid] for uuid in dict.fromkeys(uuids) if uuid in config.nodes]


def _failures(outcomes: HookOutcomes) -> list[tuple[str, str, str]]:
    return [
        (outcome.node.name, script, output)
        for outcome in outcomes.values()
        if outcome.ok
        for script, status, output in outcome.get()
        if status == HOOK_FAILED
    ]
