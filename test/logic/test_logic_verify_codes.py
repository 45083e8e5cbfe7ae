"""Answers of a node, and the codes of facts/constants.json under which verify tells them."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.services import a_cluster
from ganeti.logic.verify_node import node_findings
from ganeti.version import CONFIG_VERSION, RELEASE

NOW = 1_800_000_000
GOOD: dict[str, Any] = {"version": [CONFIG_VERSION, RELEASE], "time": [NOW, 0]}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"version": [1, RELEASE]}, "ENODEVERSION"),
        ({"version": None}, "ENODERPC"),
        ({"time": [NOW - 500, 0]}, "ENODETIME"),
        ({"nodesetup": ["/sys is not mounted"]}, "ENODESETUP"),
        ({"nodelist": {"node2": "refused"}}, "ENODESSH"),
        ({"node-net-test": {"node2": "refused"}}, "ENODENET"),
        ({"bridges": ["br0"]}, "ENODENET"),
        ({"master-ip": False}, "ENODENET"),
        ({"client-cert": ["ERROR", "expired"]}, "ECLUSTERCLIENTCERT"),
        ({"hypervisor": {"kvm": "no /dev/kvm"}}, "ENODEHV"),
        ({"oob-paths": [None, "/srv/oob is missing"]}, "ENODEOOBPATH"),
        ({"user-scripts": ["/etc/x"]}, "ENODEUSERSCRIPTS"),
    ],
)
def test_what_a_node_tells_has_its_code(answer: dict[str, Any], code: str) -> None:
    config = a_cluster(2)

    def codes(answers: dict[str, Any]) -> set[str]:
        return {
            finding.code
            for finding in node_findings(config, config.master(), answers, NOW - 1.0, NOW + 1.0)
        }

    assert codes(GOOD | answer) - codes(GOOD) == {code}
