"""gnt-instance modify: the opcode that options make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import program_of
from ganeti.cli.failure import Refused
from ganeti.cli.instance_modify import modification
from ganeti.cli.parser import parse
from ganeti.errors import GenericError

NAMES = (
    "beparams hvparams osparams runtime_mem disk_template os_name offline"
    " wait_for_sync conflicts_check force ignore_ipolicy hotplug_if_possible"
).split()


def modified(*words: str) -> dict[str, Any]:
    """The opcode of `gnt-instance modify WORDS`, the last of which is the name."""
    options = program_of("gnt-instance").commands["modify"].options
    values, names = parse("gnt-instance", "", "", options, list(words))
    made: dict[str, Any] = modification(names[0], values).to_json()
    return made


def test_recorded_commands_make_the_recorded_opcodes(samples: Path) -> None:
    paths = (samples / "state/5-late/queue").rglob("job-*")
    ops = [one["input"] for path in paths for one in json.loads(path.read_text())["ops"]]
    sent = [op for op in ops if op["OP_ID"] == "OP_INSTANCE_SET_PARAMS"]
    compared = 0
    for name in ("30-instance", "35-instance-with-a-node-down"):
        for line in (samples / f"cli/{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            argv = record["argv"]
            if argv[:2] != ["gnt-instance", "modify"] or record["rc"]:
                continue
            now = modified(*argv[2:])
            same = [op for op in sent if is_same(op, now)]
            assert same, argv
            compared += 1
    assert compared >= 12


def is_same(recorded: dict[str, Any], now: dict[str, Any]) -> bool:
    """The recorded one as far as the recorded master has not filled it in."""
    if not all(recorded[key] == now[key] for key in NAMES):
        return False
    if not str(recorded["pnode"]).startswith(str(now["pnode"])):
        return False
    pairs = [(*recorded["nics"], *recorded["disks"]), (*now["nics"], *now["disks"])]
    return len(pairs[0]) == len(pairs[1]) and all(
        old[0] == new[0]
        and str(old[1]) == str(new[1])
        and {key: value or "none" for key, value in old[2].items()}.items() >= new[2].items()
        for old, new in zip(*pairs)
    )


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["--net", "add"], ["add", -1, {}]),
        (["--net", "add:ip=1.2.3.4"], ["add", -1, {"ip": "1.2.3.4"}]),
        (["--net", "remove"], ["remove", -1, {}]),
        (["--net", "1:remove"], ["remove", 1, {}]),
        (["--net", "1:add,link=x"], ["add", 1, {"link": "x"}]),
        (["--net", "1:modify,link=x"], ["modify", 1, {"link": "x"}]),
        (["--net", "front:link=x"], ["modify", "front", {"link": "x"}]),
        (["--net", "-1:link=x"], ["modify", -1, {"link": "x"}]),
    ],
)
def test_forms_of_a_changed_interface(words: list[str], change: Any) -> None:
    assert modified(*words, "i1")["nics"] == [change]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("add:size=1g,spindles=2", ["add", -1, {"size": 1024, "spindles": 2}]),
        ("0:add,size=1m", ["add", 0, {"size": 4}]),
        ("0:name=x", ["modify", 0, {"name": "x"}]),
        ("attach:uuid=u", ["attach", -1, {"uuid": "u"}]),
        ("2:detach", ["detach", 2, {}]),
    ],
)
def test_forms_of_a_changed_disk(text: str, change: Any) -> None:
    assert modified("--disk", text, "i1")["disks"] == [change]


def test_inherited_values_and_states() -> None:
    made = modified("-B", "-vcpus,memory=1g", "-H", "-acpi,boot_order=default", "i1")
    assert made["beparams"] == {"vcpus": "default", "memory": 1024}
    assert made["hvparams"] == {"acpi": "default", "boot_order": "default"}
    assert modified("--offline", "i1")["offline"] is True
    assert modified("--online", "i1")["offline"] is False


def test_a_running_guest_is_touched_only_when_that_is_said() -> None:
    def plugs(*words: str) -> tuple[bool, bool]:
        made = modified(*words, "--net", "add", "i1")
        return made["hotplug"], made["hotplug_if_possible"]

    assert plugs() == (False, False)
    assert plugs("--hotplug") == (True, False)
    assert plugs("--hotplug-if-possible") == (False, True)
    assert plugs("--hotplug", "--no-hotplug") == (False, False)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--offline", "--online"],
        ["--net", "1:add,remove"],
        ["--net", "add:remove"],
        ["--net", "1:remove,ip=x"],
        ["--net", "no_1"],
        ["--disk", "add"],
        ["--disk", "add:size=x"],
        ["--disk", "0:detach,name=x"],
        ["-t", "ext"],
        ["-e", "provider=x", "-B", "vcpus=1"],
        ["-t", "plain", "--file-driver", "loop"],
        ["-B", "vcpus=x"],
    ],
)
def test_what_makes_no_sense_is_refused_by_the_client(words: list[str]) -> None:
    with pytest.raises((GenericError, Refused)):
        modified(*words, "i1")
