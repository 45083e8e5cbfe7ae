"""Variables that hooks get when an instance goes to another node (facts/hooks.json)."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.logic import relocation
from ganeti.logic.hook_env import instance_env
from ganeti.logic.relocation import Way


def move_env(config: Snapshot, way: Way) -> tuple[dict[str, str], list[str]]:
    """The variables, and the nodes: master, primary, secondaries, target (uuids).

    Afterwards the old primary is the new one as well (recorded).
    """
    now = config.instances[way.instance.uuid]
    env = instance_env(config, now, config.disks_of(now))
    primary = config.nodes[now.primary_node]
    env |= {
        "OLD_PRIMARY": primary.name,
        "NEW_PRIMARY": way.target.name,
        "OLD_SECONDARY": "",
        "NEW_SECONDARY": "",
    }
    if relocation.is_mirrored(config, now):
        env |= {"OLD_SECONDARY": way.target.name, "NEW_SECONDARY": way.source.name}
    nodes = [config.cluster.master_node, way.source.uuid]
    nodes += [node.uuid for node in config.nodes_of(now)[1:]]
    return env, list(dict.fromkeys([*nodes, way.target.uuid]))
