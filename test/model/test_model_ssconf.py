"""ssconf values against the files that a real cluster wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ganeti.constants import SSCONF_MAX_BYTES
from ganeti.errors import ConfigurationError
from ganeti.model.config import ConfigDocument
from ganeti.model.params_kvm import KVM_ADDED
from ganeti.model.ssconf import KEYS, file_content, ssconf_values
from ganeti.serializer import decode, loads

STATES = ("1-fresh", "2-three-nodes", "3-instances", "4-full", "5-late", "6-end")

UNSORTED = {"cluster_tags", "master_candidates", "master_candidates_ips"}
"""Lists that the recorded cluster wrote in the order of a hash."""


def document(samples: Path, state: str) -> ConfigDocument:
    text = (samples / "state" / state / "config.data").read_bytes()
    return decode(ConfigDocument, loads(text), "config.data")


def values_of(config: ConfigDocument) -> dict[str, str]:
    return ssconf_values(
        config.cluster,
        config.nodes.values(),
        config.nodegroups.values(),
        config.instances.values(),
        config.networks.values(),
        release="3.0.2",
    )


def without_additions(text: str) -> str:
    """Without the parameters that the recorded program did not have."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("=")[0] not in KVM_ADDED)


@pytest.mark.parametrize("state", STATES)
def test_values_equal_the_files_of_a_real_cluster(samples: Path, state: str) -> None:
    files = {
        path.name.removeprefix("ssconf_"): path.read_text()
        for path in (samples / "state" / state).glob("ssconf_*")
    }
    values = values_of(document(samples, state))
    values["hvparams_kvm"] = without_additions(values["hvparams_kvm"])
    assert values.keys() == files.keys()
    for key, text in files.items():
        if key in UNSORTED or state == "1-fresh":  # the latter was written by another program
            assert sorted(values[key].splitlines()) == sorted(text.splitlines()), key
        else:
            assert file_content(values[key]) == text, key


def test_keys_are_those_that_are_written(samples: Path) -> None:
    assert set(KEYS) == set(values_of(document(samples, "4-full")))


def test_the_master_is_a_candidate_even_without_the_flag(samples: Path) -> None:
    config = document(samples, "4-full")
    nodes = [replace(node, master_candidate=False) for node in config.nodes.values()]
    values = ssconf_values(config.cluster, nodes, (), (), (), release="x")
    assert values["master_candidates"] == values["master_node"]


def test_a_value_that_is_too_long_is_refused(samples: Path) -> None:
    config = document(samples, "1-fresh")
    cluster = replace(config.cluster, file_storage_dir="x" * (SSCONF_MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match="file_storage_dir"):
        ssconf_values(cluster, config.nodes.values(), (), (), (), release="x")


def test_an_unknown_master_is_refused(samples: Path) -> None:
    config = document(samples, "1-fresh")
    with pytest.raises(ConfigurationError, match="master node"):
        ssconf_values(config.cluster, (), (), (), (), release="x")


def test_an_empty_value_is_an_empty_file() -> None:
    assert file_content("") == ""
    assert file_content("a") == "a\n"
    assert file_content("a\n") == "a\n"
