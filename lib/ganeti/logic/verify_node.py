"""What the answers of a node tell about it: pure checks of `gnt-cluster verify`.

`answers` is the answer of the call node_verify (facts/node-rpc.json, node_verify_items). Codes:
facts/master.md §A7.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ganeti.alloc.cluster import EXCLUSION_TAG_PREFIX
from ganeti.config.snapshot import Snapshot
from ganeti.logic.verify_questions import FileRule
from ganeti.logic.verify_report import Finding
from ganeti.model.node import Node
from ganeti.model.report import OsReport
from ganeti.serializer import Json, decode
from ganeti.version import CONFIG_VERSION, RELEASE

MOST_CLOCK_SKEW_S = 150.0
CERTIFICATE_CURE = "gnt-cluster renew-crypto --new-node-certificates makes new ones"
SSCONF_CURE = "gnt-cluster redist-conf writes it anew"

Answers = Mapping[str, Json]


def node_findings(
    config: Snapshot, node: Node, answers: Answers, began: float, ended: float
) -> Iterator[Finding]:
    """Everything that one node's own answers tell. `began` and `ended`: when it was asked."""
    yield from _version(node, answers)
    yield from _clock(node, answers, began, ended)
    yield from _setup(node, answers)
    yield from _network(node, answers)
    if not isinstance(answers.get("filelist"), dict):
        yield Finding("ENODEFILECHECK", node.name, "does not tell the checksums of its files")
    yield from _certificate(config, node, answers)
    if node.vm_capable:
        yield from _hypervisors(node, answers)
        yield from _storage(node, answers)
        yield from _orphans(config, node, answers)
    if node.master_capable:
        for problem in answers.get("oob-paths") or ():
            if problem is not None:
                yield Finding("ENODEOOBPATH", node.name, f"out-of-band program: {problem}")
    for path in answers.get("user-scripts") or ():
        yield Finding("ENODEUSERSCRIPTS", node.name, f"script {path} is missing or can't be run")


def _version(node: Node, answers: Answers) -> Iterator[Finding]:
    match answers.get("version"):
        case [int(protocol), str(release)]:
            if protocol != CONFIG_VERSION:
                text = f"speaks protocol {protocol}, the master {CONFIG_VERSION}"
                yield Finding("ENODEVERSION", node.name, text)
            elif release != RELEASE:
                text = f"has release {release}, the master {RELEASE}"
                yield Finding("ENODEVERSION", node.name, text, is_warning=True)
        case _:
            yield Finding("ENODERPC", node.name, "does not tell its version")


def _clock(node: Node, answers: Answers, began: float, ended: float) -> Iterator[Finding]:
    match answers.get("time"):
        case [int(seconds), int(micro)]:
            told = seconds + micro / 1_000_000
            skew = max(began - told, told - ended)
            if skew > MOST_CLOCK_SKEW_S:
                text = f"its clock is {skew:.0f} s away from the master's; is NTP running?"
                yield Finding("ENODETIME", node.name, text)
        case _:
            yield Finding("ENODETIME", node.name, "does not tell its time")


def _setup(node: Node, answers: Answers) -> Iterator[Finding]:
    for complaint in answers.get("nodesetup") or ():
        yield Finding("ENODESETUP", node.name, str(complaint))


def _network(node: Node, answers: Answers) -> Iterator[Finding]:
    for name, problem in sorted((answers.get("nodelist") or {}).items()):
        yield Finding("ENODESSH", node.name, f"SSH to node {name} does not work: {problem}")
    for name, problem in sorted((answers.get("node-net-test") or {}).items()):
        yield Finding("ENODENET", node.name, f"can't reach node {name}: {problem}")
    for bridge in answers.get("bridges") or ():
        yield Finding("ENODENET", node.name, f"bridge {bridge} is missing")
    for key in ("ssh-setup", "ssh-clutter"):
        for complaint in answers.get(key) or ():
            yield Finding("ENODESSH", node.name, str(complaint))
    if answers.get("master-ip") is False:
        yield Finding("ENODENET", node.name, "can't reach the master address")


def _certificate(config: Snapshot, node: Node, answers: Answers) -> Iterator[Finding]:
    match answers.get("client-cert"):
        case ["ERROR" | "WARNING" as word, str(text)]:
            told = f"client certificate of node {node.name}: {text}"
            yield Finding("ECLUSTERCLIENTCERT", "", told, word == "WARNING")
        case [None, str(digest)]:
            yield from _digest(config, node, digest)


def _digest(config: Snapshot, node: Node, digest: str) -> Iterator[Finding]:
    listed = config.cluster.candidate_certs.get(node.uuid)
    if node.master_candidate and listed is None:
        text = (
            f"node {node.name} is a master candidate, but its certificate is not listed;"
            f" {CERTIFICATE_CURE}"
        )
        yield Finding("ECLUSTERCLIENTCERT", "", text)
    elif node.master_candidate and listed != digest:
        text = (
            f"node {node.name} has another client certificate than the listed one;"
            f" {CERTIFICATE_CURE}"
        )
        yield Finding("ECLUSTERCLIENTCERT", "", text)
    elif not node.master_candidate and listed is not None:
        text = f"node {node.name} is no master candidate, but its certificate is listed"
        yield Finding("ECLUSTERCLIENTCERT", "", text)
    elif listed is None and digest in config.cluster.candidate_certs.values():
        text = f"node {node.name} has the client certificate of a master candidate"
        yield Finding("ECLUSTERCLIENTCERT", "", text)


def _hypervisors(node: Node, answers: Answers) -> Iterator[Finding]:
    for hypervisor, problem in sorted((answers.get("hypervisor") or {}).items()):
        if problem is not None:
            yield Finding("ENODEHV", node.name, f"hypervisor {hypervisor}: {problem}")
    for source, hypervisor, problem in answers.get("hvparms") or ():
        text = f"hypervisor {hypervisor} parameters of {source}: {problem}"
        yield Finding("ENODEHV", node.name, text)
    running = answers.get("instancelist")
    if not isinstance(running, list):
        text = f"can't list its instances: {running or 'no answer'}"
        yield Finding("ENODEHV", node.name, text)
    if not isinstance(answers.get("hvinfo"), dict):
        yield Finding("ENODEHV", node.name, "does not tell its memory and processors")


def _storage(node: Node, answers: Answers) -> Iterator[Finding]:
    for path in answers.get("allowed-file-storage-paths") or ():
        text = f"file-storage-paths allows the forbidden directory {path}"
        yield Finding("ENODEFILESTORAGEPATHS", node.name, text)
    for key, code in (
        ("file-storage-path", "ENODEFILESTORAGEPATHUNUSABLE"),
        ("shared-file-storage-path", "ENODESHAREDFILESTORAGEPATHUNUSABLE"),
    ):
        problem = answers.get(key)
        if problem:
            yield Finding(code, node.name, str(problem))


def _orphans(config: Snapshot, node: Node, answers: Answers) -> Iterator[Finding]:
    running = answers.get("instancelist")
    for name in running if isinstance(running, list) else ():
        instance = config.find_instance(name)
        if instance is None:
            yield Finding("ENODEORPHANINSTANCE", node.name, f"unknown instance {name} runs here")
            continue
        primary = config.nodes.get(instance.primary_node)
        if primary is not None and primary.group != node.group:
            text = f"instance should not run on node {node.name}, of another node group"
            yield Finding("EINSTANCEWRONGNODE", instance.name, text)


def exclusion_findings(config: Snapshot, node: Node) -> Iterator[Finding]:
    """Instances that the cluster's exclusion tags keep apart, together on the node."""
    prefixes = tuple(
        tag.removeprefix(EXCLUSION_TAG_PREFIX) + ":"
        for tag in config.cluster.tags
        if tag.startswith(EXCLUSION_TAG_PREFIX)
    )
    having: dict[str, list[str]] = defaultdict(list)
    for instance in config.primary_instances(node.uuid):
        for tag in instance.tags:
            if tag.startswith(prefixes):
                having[tag].append(instance.name)
    for tag, names in sorted(having.items()):
        if len(names) > 1:
            text = f"is primary node of several instances with tag {tag}: {', '.join(names)}"
            yield Finding("EEXTAGS", node.name, text, is_warning=True)


# Comparisons between nodes.


def os_findings(told: Mapping[str, Sequence[Json]]) -> Iterator[Finding]:
    """OS definitions that are broken, or differ from the first good node's. Key: node name."""
    reports = {
        name: {one.name: one for one in (decode(OsReport, row, "oslist") for row in rows)}
        for name, rows in told.items()
    }
    reference_name = next(iter(sorted(reports)), None)
    for name, found in sorted(reports.items()):
        for report in found.values():
            if not report.ok:
                text = f"Invalid OS {report.name} (located at {report.path}): {report.diagnose}"
                yield Finding("ENODEOS", name, text)
        if reference_name is not None and name != reference_name:
            yield from _os_differences(name, found, reference_name, reports[reference_name])


def _os_differences(
    name: str, found: Mapping[str, OsReport], other: str, reference: Mapping[str, OsReport]
) -> Iterator[Finding]:
    for os_name in sorted(reference.keys() - found.keys()):
        yield Finding("ENODEOS", name, f"OS {os_name} is missing, but node {other} has it")
    for os_name in sorted(found.keys() - reference.keys()):
        yield Finding("ENODEOS", name, f"OS {os_name} is not on node {other}")
    for os_name in sorted(found.keys() & reference.keys()):
        mine, theirs = found[os_name], reference[os_name]
        if not (mine.ok and theirs.ok):
            continue
        for what, a, b in (
            ("API versions", mine.api_versions, theirs.api_versions),
            ("variants", mine.variants, theirs.variants),
            ("parameters", mine.parameters, theirs.parameters),
            ("trust", mine.trusted, theirs.trusted),
        ):
            if a != b:
                text = f"OS {os_name}: {what} differ from node {other}: {a} and {b}"
                yield Finding("ENODEOS", name, text)


def file_findings(checksums: Mapping[str, Mapping[str, str]], rule: FileRule) -> Iterator[Finding]:
    """Files that are missing or differ. `checksums`: node name → path → SHA1."""
    wanted = set(checksums) if rule.on is None else set(rule.on) & set(checksums)
    for path in rule.paths:
        holders: dict[str, list[str]] = defaultdict(list)
        for name, found in sorted(checksums.items()):
            if path in found:
                holders[found[path]].append(name)
        having = {name for names in holders.values() for name in names}
        missing = sorted(wanted - having)
        if missing and not (rule.optional and not having):
            text = f"File {path} is missing from node(s) {', '.join(missing)}"
            yield Finding("ECLUSTERFILECHECK", "", text)
        extra = sorted(having - wanted - set(rule.tolerated_on))
        if extra:
            text = f"File {path} should not exist on node(s) {', '.join(extra)}"
            yield Finding("ECLUSTERFILECHECK", "", text)
        if len(holders) > 1:
            variants = "; ".join(
                f"variant {number} on {', '.join(names)}"
                for number, names in enumerate(holders.values(), start=1)
            )
            text = f"File {path} found with {len(holders)} different checksums ({variants})"
            yield Finding("ECLUSTERFILECHECK", "", text)


def ssconf_findings(
    checksums: Mapping[str, Mapping[str, str]], expected: Mapping[str, str]
) -> Iterator[Finding]:
    """ssconf files that are not what the configuration says. `expected`: path → SHA1."""
    for path, digest in sorted(expected.items()):
        missing = sorted(name for name, found in checksums.items() if path not in found)
        other = sorted(
            name for name, found in checksums.items() if found.get(path, digest) != digest
        )
        for fact, names in (
            ("is missing from", missing),
            ("is not what the configuration says on", other),
        ):
            if names:
                text = f"File {path} {fact} node(s) {', '.join(names)}; {SSCONF_CURE}"
                yield Finding("ECLUSTERFILECHECK", "", text)
