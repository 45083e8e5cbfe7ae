"""All resources of the remote API."""

from __future__ import annotations

from typing import Final

from ganeti.rapi import (
    resources_cluster,
    resources_console,
    resources_events,
    resources_instance,
    resources_job,
    resources_network,
    resources_node,
    resources_tags,
)
from ganeti.rapi.openapi import described
from ganeti.rapi.table import Resource

RESOURCES: Final[tuple[Resource, ...]] = described(
    (
        *resources_cluster.RESOURCES,
        *resources_job.RESOURCES,
        *resources_node.RESOURCES,
        *resources_tags.RESOURCES,
        *resources_instance.RESOURCES,
        *resources_network.RESOURCES,
        *resources_events.RESOURCES,
        *resources_console.RESOURCES,
    )
)
