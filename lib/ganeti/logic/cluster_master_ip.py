"""What the two opcodes for the master's address share."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.logic.base import Services
from ganeti.model.cluster import Cluster
from ganeti.model.master_params import master_params
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome


def activate(services: Services, config: Snapshot) -> Outcome[None]:
    """Put the address up on the master node; the outcome."""
    return services.rpc.ask(
        config.master(),
        calls.node_activate_master_ip,
        master_params(config.cluster),
        config.cluster.use_external_mip_script,
    )


def deactivate(services: Services, config: Snapshot, cluster: Cluster) -> Outcome[None]:
    """Take the address of `cluster` (which may be the former one) down; the outcome."""
    return services.rpc.ask(
        config.master(),
        calls.node_deactivate_master_ip,
        master_params(cluster),
        cluster.use_external_mip_script,
    )


def demand(outcome: Outcome[None], what: str) -> None:
    """OpExecError when it failed."""
    if not outcome.ok:
        raise OpExecError(f"the master IP address could not be {what}: {outcome.error}")
