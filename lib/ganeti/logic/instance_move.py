"""OP_INSTANCE_MOVE: disks are copied to another node. Rules: facts/master.md D3.

Copying between nodes comes with the transfers of exports; until then all that has to be checked is
checked, and what is left says what is missing.
"""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, instance_config, instance_state, relocation
from ganeti.logic.base import INFO, Held, LockRequest, LogicalUnit
from ganeti.logic.instance_policy import check_target
from ganeti.logic.registry import implements
from ganeti.logic.relocation import Way
from ganeti.model.inherit import fill_beparams
from ganeti.opcodes.instance import OpInstanceMove
from ganeti.serializer import Json
from ganeti.storage.layout import TRAITS

NO_COMPRESSION = "none"


@implements(OpInstanceMove)
class InstanceMove(LogicalUnit[OpInstanceMove, Way]):
    """Refuse what can't be moved, for its own reason."""

    config_hook = True

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        target = ask.node(config, self.op.target_node)
        nodes = dict.fromkeys((instance.primary_node, target.uuid), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes, node_res=nodes)

    def check(self, config: Snapshot) -> Way:
        way = self._way(config)
        instance, target = way.instance, way.target
        ask.can_take_instances(target)
        check_target(self.services, config, instance, target, ignore=self.op.ignore_ipolicy)
        if relocation.will_run(instance):
            kind = instance.hypervisor
            ask.memory(
                self.rpc,
                target,
                kind,
                ask.cluster_hvparams(config, kind),
                int(fill_beparams(config.cluster, instance.beparams)["maxmem"]),
                f"running {instance.name}",
            )
        else:
            self.feedback(
                f"{INFO}Not checking memory on the secondary node as instance will not be started"
            )
        nics = instance_config.nics_on(config, instance, target)
        instance_state.bridges(self.services, config, target, nics)
        tool = self.op.compress
        if tool != NO_COMPRESSION and tool not in config.cluster.compression_tools:
            raise OpPrereqError(f"compression tool {tool!r} is not allowed", Code.INVAL)
        raise OpPrereqError(
            f"instance {instance.name}: this release can't copy disks between nodes yet",
            Code.ENVIRON,
            hint="copy the files by hand while the instance is stopped, then use"
            " gnt-instance modify --new-primary",
        )

    def _way(self, config: Snapshot) -> Way:
        instance = ask.instance(config, self.op.instance_name)
        source, target = (
            config.nodes[instance.primary_node],
            ask.node(config, self.op.target_node),
        )
        if target.uuid == source.uuid:
            raise OpPrereqError(
                f"instance {instance.name} is on node {source.name} already", Code.STATE
            )
        for disk in config.disks_of(instance):
            traits = TRAITS[disk.dev_type]
            if traits.shared or traits.mirrored:
                raise OpPrereqError(
                    f"instance {instance.name}: disks of template {disk.dev_type} are not moved",
                    Code.STATE,
                    hint="gnt-instance migrate or failover takes it to another node",
                )
        return Way(instance, source, target)

    def execute(self, plan: Way) -> Json:
        raise NotImplementedError
