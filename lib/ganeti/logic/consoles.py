"""Where the console of an instance is: its hypervisor knows without asking the node."""

from __future__ import annotations

from collections.abc import Callable

from ganeti.config.snapshot import Snapshot
from ganeti.hypervisor.registry import driver_class
from ganeti.logic import ask
from ganeti.model.instance import Instance
from ganeti.paths import Paths
from ganeti.serializer import Json


def console_of(paths: Paths) -> Callable[[Snapshot, Instance], Json]:
    """A function that gives the answer of OP_INSTANCE_CONSOLE (facts/opcodes.json)."""

    def find(config: Snapshot, instance: Instance) -> Json:
        filled = ask.filled(config, instance)
        node = config.nodes[instance.primary_node]
        driver = driver_class(instance.hypervisor)
        return driver.console(instance, node, filled.hvparams, filled.beparams, paths).to_json()

    return find
