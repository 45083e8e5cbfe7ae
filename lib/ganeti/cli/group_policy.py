"""The instance policy of a group from its options: the word `default` unsets a part."""

from __future__ import annotations

from typing import Any

from ganeti.cli.cluster_init import policy_of
from ganeti.serializer import Json

DEFAULT = "default"


class _WithoutStandard:
    """The options of a group in the form of a cluster's, which has more."""

    ipolicy_std_specs = None
    ispecs_mem_size = ispecs_cpu_count = ispecs_nic_count = None
    ispecs_disk_count = ispecs_disk_size = None

    def __init__(self, wanted: Any) -> None:
        self.ipolicy_bounds_specs = wanted.ipolicy_bounds_specs
        self.ipolicy_disk_templates = wanted.ipolicy_disk_templates
        self.ipolicy_vcpu_ratio = wanted.ipolicy_vcpu_ratio
        self.ipolicy_spindle_ratio = wanted.ipolicy_spindle_ratio


def policy_of_group(wanted: Any) -> dict[str, Json]:
    """What the options say; empty when they say nothing."""
    made = policy_of(_WithoutStandard(wanted))
    if made.get("disk-templates") == [DEFAULT]:
        made["disk-templates"] = DEFAULT
    return made
