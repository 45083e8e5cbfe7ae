"""OP_CLUSTER_VERIFY_GROUP: the nodes and instances of one node group.

One fan-out asks the nodes everything, a second one the disks of active instances; the rest is pure
(verify_questions.py, verify_node.py, verify_instance.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.logic.verify_instance import Seen, instance_findings, notices
from ganeti.logic.verify_node import (
    Answers,
    exclusion_findings,
    file_findings,
    node_findings,
    os_findings,
    ssconf_findings,
)
from ganeti.logic.verify_questions import enabled, file_rules, questions, ssconf_checksums
from ganeti.logic.verify_report import CODES, OF_CONFIG, Finding, Reporter
from ganeti.model.fill import node_disk
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import cluster_hvparams, fill_beparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import HOOK_FAILED, HookResult, MirrorOutcome
from ganeti.opcodes.cluster import OpClusterVerifyGroup
from ganeti.query.node import role_of
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.serializer import Json
from ganeti.utils.text import nice_sort_key

ROLES = {"M": "master", "C": "master candidate", "D": "drained", "O": "offline", "R": "regular"}
NPLUSONE = "nplusone_mem"


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """What is looked at; all sorted by name."""

    group: NodeGroup
    nodes: tuple[Node, ...]
    instances: tuple[Instance, ...]

    @property
    def online(self) -> list[Node]:
        return [node for node in self.nodes if not node.offline]


@implements(OpClusterVerifyGroup)
class ClusterVerifyGroup(LogicalUnit[OpClusterVerifyGroup, VerifyPlan]):
    """True when nothing is wrong."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        plan = self._plan(config)
        return LockRequest(
            instances={instance.name: SHARED for instance in plan.instances},
            groups={plan.group.uuid: SHARED},
            nodes={node.uuid: SHARED for node in plan.nodes},
        )

    def check(self, config: Snapshot) -> VerifyPlan:
        return self._plan(config)

    def _plan(self, config: Snapshot) -> VerifyPlan:
        group = ask.group(config, self.op.group_name)
        nodes = tuple(sorted(config.nodes_in(group.uuid), key=lambda n: nice_sort_key(n.name)))
        instances = (one for node in nodes for one in config.primary_instances(node.uuid))
        by_name = tuple(sorted(instances, key=lambda one: nice_sort_key(one.name)))
        return VerifyPlan(group, nodes, by_name)

    def hooks(self, config: Snapshot, plan: VerifyPlan) -> HookEnv:
        env = {"CLUSTER_TAGS": " ".join(config.cluster.tags)}
        env |= {f"NODE_TAGS_{node.name}": " ".join(node.tags) for node in plan.nodes}
        nodes = [node.uuid for node in plan.nodes]
        return HookEnv("cluster-verify", "CLUSTER", env, post_nodes=nodes)

    def execute(self, plan: VerifyPlan) -> bool:
        report = self._report()
        report.step(f"Verifying group '{plan.group.name}'")
        if not plan.nodes:
            report.step("Empty node group, skipping verification")
            return True
        before = self.services.snapshot()
        self.services.flush()  # what is on its way to a node is no difference
        config = self.services.snapshot()
        report.step(f"Gathering data ({len(plan.nodes)} nodes)")
        report.step(f"Gathering information about nodes ({len(plan.nodes)} nodes)")
        began = self.services.now()
        outcomes = self._ask_nodes(config, plan)
        ended = self.services.now()
        answers = {uuid: one.get() for uuid, one in outcomes.items() if one.ok}
        report.step(f"Gathering disk information ({len(plan.nodes)} nodes)")
        seen = self._look_at_disks(config, plan, answers, report)
        report.step("Verifying configuration file consistency")
        for finding in self._files(before, config, answers):
            report.tell(finding)
        report.step("Verifying node status")
        self._nodes(config, plan, outcomes, report, began, ended)
        report.step("Verifying instance status")
        for instance in plan.instances:
            if self.op.verbose:
                report.step(f"Verifying instance {instance.name}")
            for finding in instance_findings(config, instance, seen):
                report.tell(finding)
        report.step("Verifying orphan volumes")
        self._memory(config, plan, answers, report)
        if self.op.debug_simulate_errors:
            report.simulate(code for code in CODES if code not in OF_CONFIG)
        self._notes(config, plan, report)
        return report.is_clean

    def _report(self) -> Reporter:
        return Reporter(
            self.feedback, error_codes=self.op.error_codes, ignored=self.op.ignore_errors
        )

    # Asking.

    def _ask_nodes(self, config: Snapshot, plan: VerifyPlan) -> dict[str, Outcome[dict[str, Json]]]:
        hvparams = {hv: cluster_hvparams(config.cluster, hv) for hv in enabled(config)}
        wanted = questions(
            config,
            self.services.paths,
            plan.group,
            plan.instances,
            skipped=self.op.skip_checks,
            clutter=self.op.verify_clutter,
        )
        return self.rpc.all(
            plan.online,
            calls.node_verify,
            wanted,
            config.cluster.cluster_name,
            hvparams,
        )

    def _look_at_disks(
        self,
        config: Snapshot,
        plan: VerifyPlan,
        answers: Mapping[str, Answers],
        report: Reporter,
    ) -> Seen:
        running = {
            uuid: frozenset(names)
            for uuid, told in answers.items()
            if isinstance(names := told.get("instancelist"), list)
        }
        work = []
        asked: dict[str, list[str]] = {}
        for node in plan.online:
            disks = [
                disk
                for instance in config.primary_instances(node.uuid)
                if instance.disks_active
                for disk in config.disks_of(instance)
            ]
            if disks and node.uuid in answers:
                asked[node.uuid] = [disk.uuid for disk in disks]
                made = [
                    node_disk(config.cluster, plan.group, disk, node.uuid, config.nodes)
                    for disk in disks
                ]
                work.append((node, (made,)))
        told: dict[str, MirrorOutcome] = {}
        for uuid, outcome in self.rpc.each(work, calls.blockdev_getmirrorstatus_multi).items():
            if outcome.ok:
                told.update(zip(asked[uuid], outcome.get()))
            else:
                text = f"does not tell about its disks: {outcome.error}"
                report.tell(Finding("ENODERPC", outcome.node.name, text))
        return Seen(running, told)

    # Telling.

    def _files(
        self, before: Snapshot, config: Snapshot, answers: Mapping[str, Answers]
    ) -> Iterator[Finding]:
        """`before`: the configuration before its files were brought to the nodes."""
        paths = self.services.paths
        checksums = {
            config.nodes[uuid].name: told["filelist"]
            for uuid, told in answers.items()
            if isinstance(told.get("filelist"), dict)
        }
        for rule in file_rules(config, paths):
            yield from file_findings(checksums, rule)
        expected = ssconf_checksums(before, self.services.snapshot(), paths)
        yield from ssconf_findings(checksums, expected)

    def _nodes(
        self,
        config: Snapshot,
        plan: VerifyPlan,
        outcomes: Mapping[str, Outcome[dict[str, Json]]],
        report: Reporter,
        began: float,
        ended: float,
    ) -> None:
        os_lists: dict[str, list[Json]] = {}
        for node in plan.nodes:
            if self.op.verbose:
                report.step(f"Verifying node {node.name} ({ROLES[role_of(config, node)]})")
            if node.offline:
                continue
            outcome = outcomes[node.uuid]
            if not outcome.ok:
                text = f"does not answer: {outcome.error}"
                report.tell(Finding("ENODERPC", node.name, text))
                continue
            for finding in node_findings(config, node, outcome.get(), began, ended):
                report.tell(finding)
            if node.vm_capable and isinstance(outcome.get().get("oslist"), list):
                os_lists[node.name] = outcome.get()["oslist"]
        for finding in os_findings(os_lists):
            report.tell(finding)
        for node in plan.nodes:
            for finding in exclusion_findings(config, node):
                report.tell(finding)

    def _memory(
        self,
        config: Snapshot,
        plan: VerifyPlan,
        answers: Mapping[str, Answers],
        report: Reporter,
    ) -> None:
        if NPLUSONE in self.op.skip_checks:
            return
        report.step("Verifying N+1 Memory redundancy")
        for node in plan.online:
            free = (answers.get(node.uuid, {}).get("hvinfo") or {}).get("memory_free")
            if isinstance(free, int):
                for finding in memory_findings(config, node, free):
                    report.tell(finding)

    def _notes(self, config: Snapshot, plan: VerifyPlan, report: Reporter) -> None:
        report.step("Other Notes")
        for notice in notices(config, plan.instances):
            report.notice(notice)
        offline = sum(node.offline for node in plan.nodes)
        drained = sum(node.drained for node in plan.nodes)
        if offline:
            report.notice(f"{offline} offline node(s) found.")
        if drained:
            report.notice(f"{drained} drained node(s) found.")

    def after_hooks(self, outcomes: Mapping[str, Outcome[list[HookResult]]], result: Json) -> bool:
        """A failing hook makes the verification fail."""
        if not outcomes:
            return bool(result)
        report = self._report()
        report.step("Hooks Results")
        for outcome in outcomes.values():
            if outcome.offline:
                continue
            if not outcome.ok:
                text = f"can't run the hooks: {outcome.error}"
                report.tell(Finding("ENODEHOOKS", outcome.node.name, text))
                continue
            for script, status, output in outcome.get():
                if status == HOOK_FAILED:
                    text = f"script {script} failed: {output or 'no output'}"
                    report.tell(Finding("ENODEHOOKS", outcome.node.name, text))
        return bool(result) and report.is_clean


def memory_findings(config: Snapshot, node: Node, free_mib: int) -> Iterator[Finding]:
    """Whether the node could take over the instances that have it as secondary node."""
    by_primary: dict[str, int] = {}
    for instance in config.secondary_instances(node.uuid):
        beparams = fill_beparams(config.cluster, instance.beparams)
        if beparams["auto_balance"]:
            needed = by_primary.get(instance.primary_node, 0) + int(beparams["minmem"])
            by_primary[instance.primary_node] = needed
    for primary, needed in sorted(by_primary.items()):
        if needed > free_mib:
            name = config.nodes[primary].name
            text = (
                f"not enough memory to take over the instances of node {name}:"
                f" {needed} MiB needed, {free_mib} MiB free"
            )
            yield Finding("ENODEN1", node.name, text)
