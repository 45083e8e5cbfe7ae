"""OP_CLUSTER_VERIFY_CONFIG: the configuration and the certificates on the master."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ganeti.config.check import check_document
from ganeti.config.snapshot import Snapshot
from ganeti.errors import GenericError, X509CertError
from ganeti.locking.names import SHARED
from ganeti.logic.base import DEGRADED, Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.logic.verify_report import OF_CONFIG, Finding, Reporter
from ganeti.model.inherit import cluster_hvparams, fill_hvparams
from ganeti.model.params_hv import check_hvparams
from ganeti.opcodes.cluster import OpClusterVerifyConfig
from ganeti.paths import Paths
from ganeti.utils import x509
from ganeti.utils.text import nice_sorted


@implements(OpClusterVerifyConfig)
class ClusterVerifyConfig(QueryUnit[OpClusterVerifyConfig]):
    """True when nothing is wrong."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(
            instances=SHARED, groups=SHARED, nodes=SHARED, node_res=SHARED, networks=SHARED
        )

    def execute(self, plan: None) -> bool:
        config = self.services.snapshot()
        report = Reporter(
            self.feedback, error_codes=self.op.error_codes, ignored=self.op.ignore_errors
        )
        report.step("Verifying cluster config")
        for problem in check_document(config):
            report.tell(Finding("ECLUSTERCFG", "", problem))
        if self.services.is_degraded:
            report.tell(Finding("ECLUSTERCFG", "", DEGRADED, is_warning=True))
        report.step("Verifying cluster certificate files")
        if self.op.verbose:
            for path in certificate_files(self.services.paths):
                report.step(f"Verifying certificate {path}")
        for finding in certificate_findings(self.services.paths, self.services.now()):
            report.tell(finding)
        for finding in client_certificate_findings(config):
            report.tell(finding)
        report.step("Verifying hypervisor parameters")
        if self.op.verbose:
            for kind in config.cluster.enabled_hypervisors:
                report.step(f"Verifying parameters of hypervisor {kind}")
        for problem in hypervisor_problems(config):
            report.tell(Finding("ECLUSTERCFG", "", problem))
        report.step("Verifying all nodes belong to an existing group")
        if self.op.verbose:
            for group in nice_sorted([one.name for one in config.groups.values()]):
                report.step(f"Verifying node group {group}")
        for finding in dangling(config):
            report.tell(finding)
        if self.op.debug_simulate_errors:
            report.simulate(sorted(OF_CONFIG))
        return report.is_clean


def certificate_files(paths: Paths) -> tuple[Path, ...]:
    return (paths.server_pem, paths.client_pem, paths.rapi_pem, paths.spice_pem)


def certificate_findings(paths: Paths, now: float) -> Iterator[Finding]:
    """Certificates that can't be read, have expired or soon will."""
    for path in certificate_files(paths):
        try:
            severity, text = x509.check_validity(x509.load_certificate(path), now)
        except X509CertError as error:
            yield Finding("ECLUSTERCERT", "", str(error))
            continue
        if severity is not x509.Severity.FINE:
            is_warning = severity is x509.Severity.WARNING
            yield Finding("ECLUSTERCERT", "", f"{path}: {text}", is_warning)
    if paths.server_pem_new.exists() or paths.server_pem_old.exists():
        text = "a renewal of the cluster certificate was broken off, so two of them count"
        way_out = "gnt-cluster renew-crypto --new-cluster-certificate completes it"
        yield Finding("ECLUSTERCERT", "", f"{text}: {way_out}", True)


def client_certificate_findings(config: Snapshot) -> Iterator[Finding]:
    """What is wrong with the map of the candidates' certificates itself."""
    certs = config.cluster.candidate_certs
    if not certs:
        yield Finding("ECLUSTERCLIENTCERT", "", "the map of candidates' certificates is empty")
    owners: dict[str, list[str]] = {}
    for uuid, digest in sorted(certs.items()):
        node = config.nodes.get(uuid)
        owners.setdefault(digest, []).append(node.name if node else uuid)
        if node is None:
            way_out = "gnt-cluster renew-crypto --new-node-certificates removes it"
            text = f"a certificate is accepted that is not a node's, {uuid}: {way_out}"
            yield Finding("ECLUSTERCLIENTCERT", "", text)
    for names in owners.values():
        if len(names) > 1:
            text = f"nodes with the same client certificate: {', '.join(names)}"
            yield Finding("ECLUSTERCLIENTCERT", "", text)


def hypervisor_problems(config: Snapshot) -> Iterator[str]:
    """Parameters of the cluster, of OS definitions and of instances that don't hold."""
    cluster = config.cluster
    sources = [(f"hypervisor {hv}", hv, cluster_hvparams(cluster, hv)) for hv in cluster.hvparams]
    sources = [row for row in sources if row[1] in cluster.enabled_hypervisors]
    for os_name, by_hypervisor in cluster.os_hvp.items():
        for hv in by_hypervisor:
            sources.append((f"OS {os_name}", hv, fill_hvparams(cluster, hv, os_name, {})))
    for instance in config.instances.values():
        if instance.hvparams:
            full = fill_hvparams(cluster, instance.hypervisor, instance.os, instance.hvparams)
            sources.append((f"instance {instance.name}", instance.hypervisor, full))
    for source, hv, values in sources:
        try:
            check_hvparams(hv, values)
        except GenericError as error:
            yield f"{source}, hypervisor {hv}: {error}"


def dangling(config: Snapshot) -> Iterator[Finding]:
    """Nodes without a group, instances without a node."""
    for node in config.nodes.values():
        if node.group not in config.groups:
            text = f"its node group {node.group} does not exist"
            yield Finding("ECLUSTERDANGLINGNODES", node.name, text)
    for instance in config.instances.values():
        if instance.primary_node not in config.nodes:
            text = f"instance {instance.name} has it as primary node, but it does not exist"
            yield Finding("ECLUSTERDANGLINGINST", instance.primary_node, text)
