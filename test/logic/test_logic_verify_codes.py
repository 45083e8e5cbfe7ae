"""Every code of facts/constants.json under which verify tells what is wrong, and what brings it.

Each row harms a sound cluster in one way; nothing else may be told then.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.configs import NOW, a_drbd_disk, an_instance
from fakes.services import run_unit
from fakes.verify_bed import Harm, VerifyBed, certificates
from ganeti.logic.cluster_verify_group import ClusterVerifyGroup
from ganeti.logic.verify_questions import questions, ssh_targets
from ganeti.logic.verify_report import CODES, OF_CONFIG
from ganeti.model.report import HOOK_FAILED, BlockDeviceStatus, MirrorOutcome, RunningInfo
from ganeti.opcodes.cluster import OpClusterVerify, OpClusterVerifyGroup
from ganeti.paths import Paths
from ganeti.rpc.base import Outcome, Target
from ganeti.types import AdminState, DiskTemplate, HypervisorKind
from ganeti.utils import x509
from ganeti.version import CONFIG_VERSION, RELEASE

TABLE = facts("constants")["verify_error_codes"]["codes"]
NEEDS_STORAGE_OF_BLOCKS = {
    "EGROUPDIFFERENTPVSIZE": "LVM",
    "EINSTANCEMISSINGDISK": "LVM",
    "EINSTANCEMISSINGCFGPARAMETER": "exclusive storage, which is LVM's",
    "EINSTANCEUNSUITABLENODE": "exclusive storage, which is LVM's",
    "ENODELVM": "LVM",
    "ENODEORPHANLV": "LVM",
    "ENODEDRBD": "DRBD",
    "ENODEDRBDHELPER": "DRBD",
    "ENODEDRBDVERSION": "DRBD",
    "ENODEGLUSTERSTORAGEPATHUNUSABLE": "Gluster",
}
WARNINGS = ("EEXTAGS", "EINSTANCEPOLICY", "EINSTANCELAYOUT", "EINSTANCESPLITGROUPS")
OTHER_GROUP = "88888888-0000-4000-8000-000000000002"


@pytest.fixture
def bed(tmp_path: Path) -> VerifyBed:
    return VerifyBed(tmp_path)


# Ways to harm a cluster that take more than a word.


def tell(name: str, **answers: Any) -> Harm:
    return lambda bed: bed.tell(name, **answers)


def node(name: str, **values: Any) -> Harm:
    return lambda bed: bed.change_node(name, **values)


def instance(**values: Any) -> Harm:
    return lambda bed: bed.change_instance(**values)


def os_row(name: str, good: bool = True) -> list[Any]:
    return [name, f"/os/{name}", good, "" if good else "create is missing", [], [], [20], False]


def candidate_certs(change: Any) -> Harm:
    """`change` gives the map from the former one and the bed."""
    return lambda bed: bed.change_cluster(
        candidate_certs=change(dict(bed.config.cluster.candidate_certs), bed)
    )


def not_listed(bed: VerifyBed, name: str) -> None:
    uuid = bed.uuid(name)
    candidate_certs(lambda known, bed: {k: v for k, v in known.items() if k != uuid})(bed)


def big_instance(bed: VerifyBed) -> None:
    bed.change_instance(beparams={"minmem": 65536, "maxmem": 65536})


def lose_devices(bed: VerifyBed) -> None:
    bed.services.place("node2").devices.clear()


def two_groups(bed: VerifyBed, *moved: str) -> None:
    (group,) = bed.config.groups.values()
    bed.write("nodegroups", {OTHER_GROUP: replace(group, uuid=OTHER_GROUP, name="rack2")})
    for name in moved:
        bed.change_node(name, group=OTHER_GROUP)


def disk_state(**values: Any) -> Harm:
    def harm(bed: VerifyBed) -> None:
        status = BlockDeviceStatus(dev_path="/dev/x", **values)
        bed.rpc.blockdev_getmirrorstatus_multi = (  # type: ignore[method-assign]
            lambda place, disks: [MirrorOutcome(True, status) for _ in disks]
        )

    return harm


def mirrored(bed: VerifyBed, *secondaries: str) -> None:
    """The instance has a disk on its primary and on each of these nodes."""
    pairs = [("node2", name) for name in secondaries]
    disks = [
        a_drbd_disk(number, bed.uuid(a), bed.uuid(b), 10900 + number, (number, number))
        for number, (a, b) in enumerate(pairs, 1)
    ]
    named = [replace(disk, iv_name=f"disk/{index}") for index, disk in enumerate(disks)]
    bed.write("disks", {disk.uuid: disk for disk in named})
    bed.change_instance(disks=tuple(disk.uuid for disk in disks), disks_active=False)
    templates = (*bed.config.cluster.enabled_disk_templates, DiskTemplate.DRBD)
    policy = {**bed.config.cluster.ipolicy, "disk-templates": [str(one) for one in templates]}
    bed.change_cluster(enabled_disk_templates=templates, ipolicy=policy)


def no_memory_to_take_over(bed: VerifyBed) -> None:
    mirrored(bed, "node3")
    bed.change_instance(beparams={"minmem": 2048, "maxmem": 2048})
    bed.tell("node3", hvinfo={"memory_total": 4096, "memory_free": 1024, "memory_dom0": 0})


def tagged_alike(bed: VerifyBed) -> None:
    bed.change_cluster(tags=frozenset({"htools:iextags:service"}))
    bed.change_instance(tags=frozenset({"service:dns", "rack:1"}))
    twin = an_instance(
        2, bed.uuid("node2"), admin_state=AdminState.DOWN, disks_active=False,
        tags=frozenset({"service:dns", "rack:1"}),
    )  # fmt: skip
    bed.write("instances", {twin.uuid: twin})


def file_state(change: Any) -> Harm:
    """`change` alters the checksums that node3 tells."""

    def harm(bed: VerifyBed) -> None:
        bed.verify()
        sums = {path: "0" * 40 for path in bed.rpc.asked["filelist"]}
        bed.tell("node3", filelist=change(sums))

    return harm


def without(word: str) -> Any:
    return lambda sums: {path: one for path, one in sums.items() if word not in path}


def wrong_sum(word: str) -> Any:
    return lambda sums: {path: "1" * 40 if word in path else one for path, one in sums.items()}


def regular_node_with_configuration(bed: VerifyBed) -> None:
    bed.change_node("node3", master_candidate=False)
    bed.change_cluster(candidate_pool_size=2)
    not_listed(bed, "node3")
    file_state(lambda sums: sums)(bed)


def script_state(change: Any, **of_node3: Any) -> Harm:
    """The same with KVM, whose scripts for interfaces are on all nodes that can have instances."""

    def harm(bed: VerifyBed) -> None:
        bed.change_cluster(enabled_hypervisors=(HypervisorKind.FAKE, HypervisorKind.KVM))
        bed.change_node("node3", **of_node3)
        file_state(change)(bed)

    return harm


def unreadable(bed: VerifyBed) -> None:
    bed.services.paths.spice_pem.unlink()
    bed.services.paths.spice_pem.mkdir()


def server_certificate(days: int) -> Harm:
    def harm(bed: VerifyBed) -> None:
        bed.services.paths.rapi_pem.write_bytes(x509.make_server(NOW - 1, days=days).pem())

    return harm


def dead_group(bed: VerifyBed) -> None:
    bed.change_node("node3", group=OTHER_GROUP)


def dead_primary(bed: VerifyBed) -> None:
    lost = an_instance(2, OTHER_GROUP, disks_active=False, admin_state=AdminState.DOWN)
    bed.write("instances", {lost.uuid: lost})


def runs_on(name: str) -> Harm:
    def harm(bed: VerifyBed) -> None:
        info = RunningInfo(memory=128, vcpus=1)
        bed.services.place(name).running["web1.example.com"] = info

    return harm


def runs_in_another_group(bed: VerifyBed) -> None:
    """Node 1 is looked at, the instance is another group's."""
    two_groups(bed, "node2")
    runs_on("node1")(bed)


def not_running(bed: VerifyBed) -> None:
    bed.services.place("node2").running.clear()


def offline_primary(bed: VerifyBed) -> None:
    bed.change_node("node2", offline=True, master_candidate=False)
    bed.change_cluster(candidate_pool_size=2)
    not_listed(bed, "node2")


def split_groups(bed: VerifyBed) -> None:
    mirrored(bed, "node3")
    two_groups(bed, "node3")


def ghost_secondary(bed: VerifyBed) -> None:
    mirrored(bed, "node3")
    (disk,) = bed.config.disks_of(bed.instance)
    primary, _, *rest = disk.logical_id
    nodes = (str(primary), OTHER_GROUP)
    ghostly = replace(disk, logical_id=(primary, OTHER_GROUP, *rest), nodes=nodes)
    bed.write("disks", {disk.uuid: ghostly})


SCENARIOS: list[tuple[str, str, Harm]] = [
    ("a parameter that is none", "ECLUSTERCFG", instance(hvparams={"nosuch": 1})),
    ("an expired certificate", "ECLUSTERCERT", server_certificate(0)),
    ("a certificate of six days", "ECLUSTERCERT", server_certificate(6)),
    ("a missing one", "ECLUSTERCERT", lambda bed: bed.services.paths.client_pem.unlink()),
    ("one that can't be read", "ECLUSTERCERT", unreadable),
    ("no certificate is listed", "ECLUSTERCLIENTCERT", candidate_certs(lambda known, bed: {})),
    (
        "two candidates with one certificate",
        "ECLUSTERCLIENTCERT",
        candidate_certs(lambda known, bed: dict.fromkeys(known, "aa:bb")),
    ),
    (
        "a stranger's certificate is listed",
        "ECLUSTERCLIENTCERT",
        candidate_certs(lambda known, bed: {**known, OTHER_GROUP: "ff:ff"}),
    ),
    (
        "a candidate that is not listed",
        "ECLUSTERCLIENTCERT",
        lambda bed: not_listed(bed, "node3"),
    ),
    ("not the listed one", "ECLUSTERCLIENTCERT", tell("node3", client_cert=[None, "ff"])),
    ("a broken certificate", "ECLUSTERCLIENTCERT", tell("node3", client_cert=["ERROR", "expired"])),
    ("a node without a group", "ECLUSTERDANGLINGNODES", dead_group),
    ("an instance without a node", "ECLUSTERDANGLINGINST", dead_primary),
    ("a file that is missing", "ECLUSTERFILECHECK", file_state(without("hmac"))),
    ("a file that differs", "ECLUSTERFILECHECK", file_state(wrong_sum("server.pem"))),
    ("an optional file on some nodes", "ECLUSTERFILECHECK", file_state(without("rapi/users"))),
    ("a file where it must not be", "ECLUSTERFILECHECK", regular_node_with_configuration),
    ("a script on some nodes", "ECLUSTERFILECHECK", script_state(without("kvm-vif-bridge"))),
    ("a script that differs", "ECLUSTERFILECHECK", script_state(wrong_sum("kvm-ifdown"))),
    (
        "a script where no instance can be",
        "ECLUSTERFILECHECK",
        script_state(lambda sums: sums, vm_capable=False),
    ),
    ("paths that differ", "ECLUSTERFILECHECK", file_state(wrong_sum("file-storage-paths"))),
    ("tags that exclude each other", "EEXTAGS", tagged_alike),
    ("runs on an offline node", "EINSTANCEBADNODE", offline_primary),
    ("on a node not for instances", "EINSTANCEBADNODE", node("node2", vm_capable=False)),
    ("a secondary that is gone", "EINSTANCEBADNODE", ghost_secondary),
    ("stopped without order", "EINSTANCEDOWN", not_running),
    ("a disk that is gone", "EINSTANCEFAULTYDISK", lose_devices),
    ("a degraded disk", "EINSTANCEFAULTYDISK", disk_state(is_degraded=True)),
    ("two secondaries", "EINSTANCELAYOUT", lambda bed: mirrored(bed, "node1", "node3")),
    ("more than the policy has", "EINSTANCEPOLICY", big_instance),
    ("nodes of two groups", "EINSTANCESPLITGROUPS", split_groups),
    ("runs twice", "EINSTANCEWRONGNODE", runs_on("node3")),
    ("runs in another group", "EINSTANCEWRONGNODE", runs_in_another_group),
    ("no checksums", "ENODEFILECHECK", tell("node3", filelist=None)),
    ("bad paths", "ENODEFILESTORAGEPATHS", tell("node1", allowed_file_storage_paths=["/etc"])),
    ("no directory", "ENODEFILESTORAGEPATHUNUSABLE", tell("node3", file_storage_path="is missing")),
    (
        "no shared directory",
        "ENODESHAREDFILESTORAGEPATHUNUSABLE",
        tell("node3", shared_file_storage_path="is missing"),
    ),
    ("no hypervisor", "ENODEHV", tell("node3", hypervisor={"kvm": "no /dev/kvm"})),
    ("bad parameters", "ENODEHV", tell("node3", hvparms=[["cluster", "kvm", "no kernel"]])),
    ("instances are not listed", "ENODEHV", tell("node3", instancelist="no hypervisor")),
    ("no list of instances", "ENODEHV", tell("node3", instancelist=None)),
    ("no memory is told", "ENODEHV", tell("node3", hvinfo=None)),
    ("no memory to take over", "ENODEN1", no_memory_to_take_over),
    ("a node can't be reached", "ENODENET", tell("node3", node_net_test={"node1": "refused"})),
    ("no bridge", "ENODENET", tell("node3", bridges=["br0"])),
    ("no master address", "ENODENET", tell("node3", master_ip=False)),
    ("no program", "ENODEOOBPATH", tell("node3", oob_paths=["/srv/oob is missing"])),
    ("a stranger runs", "ENODEORPHANINSTANCE", tell("node3", instancelist=["who.example.com"])),
    ("a broken OS", "ENODEOS", lambda bed: every_node(bed, oslist=[os_row("noop", good=False)])),
    ("an OS that others lack", "ENODEOS", tell("node3", oslist=[os_row("noop")])),
    ("silent", "ENODERPC", lambda bed: bed.rpc.silent.add("node3.example.com")),
    ("no version", "ENODERPC", tell("node3", version=None)),
    (
        "silent about disks",
        "ENODERPC",
        lambda bed: bed.rpc.failures.update(blockdev_getmirrorstatus_multi="connection lost"),
    ),
    ("not set up", "ENODESETUP", tell("node3", nodesetup=["/sys is not mounted"])),
    ("no SSH", "ENODESSH", tell("node3", nodelist={"node1": "refused"})),
    ("wrong keys", "ENODESSH", tell("node3", ssh_setup=["no key of node1"])),
    ("old keys", "ENODESSH", tell("node3", ssh_clutter=["two keys of node1"])),
    ("a clock that is late", "ENODETIME", tell("node3", time=[int(NOW) - 500, 0])),
    ("no clock", "ENODETIME", tell("node3", time=None)),
    ("no script", "ENODEUSERSCRIPTS", tell("node3", user_scripts=["/etc/x"])),
    ("another protocol", "ENODEVERSION", tell("node3", version=[1, RELEASE])),
    ("another release", "ENODEVERSION", tell("node3", version=[CONFIG_VERSION, "0.1"])),
]  # fmt: skip


MORE_THAN_ONE = (dead_group, dead_primary, ghost_secondary)
"""The check of the configuration finds these, too."""


def every_node(bed: VerifyBed, **answers: Any) -> None:
    for name in ("node1", "node2", "node3"):
        bed.tell(name, **answers)


def findings(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("  - ") and "NOTICE" not in line]


def codes_of(lines: list[str]) -> set[str]:
    return {line.split(":")[1] for line in findings(lines)}


def test_a_sound_cluster_has_no_finding(bed: VerifyBed) -> None:
    clean, lines = bed.verify()
    assert (clean, findings(lines)) == (True, [])


@pytest.mark.parametrize(
    ("code", "harm"),
    [pytest.param(code, harm, id=f"{code}-{text}") for text, code, harm in SCENARIOS],
)
def test_what_is_wrong_is_told_under_its_code(bed: VerifyBed, code: str, harm: Harm) -> None:
    harm(bed)
    clean, lines = bed.verify()
    also = {"ECLUSTERCFG"} if harm in MORE_THAN_ONE else set()
    assert codes_of(lines) == {code} | also, findings(lines)
    assert clean is not any(line.startswith("  - ERROR") for line in findings(lines))
    kinds = {line.split(":")[2] for line in findings(lines) if f":{code}:" in line}
    assert kinds == {TABLE[code]["item"]}


@pytest.mark.parametrize("code", WARNINGS)
def test_some_are_only_warnings(bed: VerifyBed, code: str) -> None:
    next(harm for _, one, harm in SCENARIOS if one == code)(bed)
    clean, lines = bed.verify()
    assert clean and all(line.startswith("  - WARNING") for line in findings(lines)), lines


@pytest.mark.parametrize("holders", [[], ["node1"], ["node1", "node2", "node3"]], ids=len)
def test_scripts_for_interfaces_may_be_nowhere(bed: VerifyBed, holders: list[str]) -> None:
    """Nor need the master, from which they come, be a node for instances to have them."""
    script_state(lambda sums: sums)(bed)
    bed.change_node("node1", vm_capable=False)
    only_master = holders == ["node1"]
    sums = dict.fromkeys(bed.rpc.asked["filelist"], "0" * 40)
    for name in ("node1", "node2", "node3"):
        bed.tell(name, filelist=sums if name in holders else without("kvm-")(sums))
    lines = [line for line in findings(bed.verify()[1]) if "kvm-" in line]
    assert len(lines) == (2 if only_master else 0), lines


def test_a_failing_hook_is_told_under_its_code(bed: VerifyBed) -> None:
    unit = ClusterVerifyGroup(
        OpClusterVerifyGroup(group_name="default", error_codes=True), bed.services
    )
    where = Target(bed.uuid("node3"), "node3.example.com", "192.0.2.3", False)
    outcomes: dict[str, Outcome[Any]] = {
        "a": Outcome(where, [["20-check", HOOK_FAILED, "disk is full"]]),
        "b": Outcome(where, error="connection lost"),
    }
    assert unit.after_hooks(outcomes, True) is False
    lines = findings(bed.services.messages)
    assert len(lines) == 2 and codes_of(lines) == {"ENODEHOOKS"}
    assert any("20-check" in line and "disk is full" in line for line in lines)


def test_all_codes_of_the_table_are_brought_about() -> None:
    brought = {code for _, code, _ in SCENARIOS} | {"ENODEHOOKS"}
    assert {code: one["item"] for code, one in TABLE.items()} == CODES
    assert brought | NEEDS_STORAGE_OF_BLOCKS.keys() == TABLE.keys()
    assert not brought & NEEDS_STORAGE_OF_BLOCKS.keys()


# Options.


def test_lines_have_codes_only_when_asked_for(bed: VerifyBed) -> None:
    bed.tell("node3", nodesetup=["/sys is not mounted"])
    _, plain = bed.verify(error_codes=False)
    _, coded = bed.verify()
    assert "  - ERROR: node node3.example.com: /sys is not mounted" in plain
    assert "  - ERROR:ENODESETUP:node:node3.example.com:/sys is not mounted" in coded


def test_ignored_codes_are_warnings(bed: VerifyBed) -> None:
    bed.tell("node3", nodesetup=["/sys is not mounted"])
    clean, lines = bed.verify(ignore_errors=["ENODESETUP"])
    assert clean and findings(lines)[0].startswith("  - WARNING:ENODESETUP:")
    assert bed.verify(ignore_errors=["ENODEHV"])[0] is False


def test_memory_for_failovers_is_not_looked_at_on_wish(bed: VerifyBed) -> None:
    no_memory_to_take_over(bed)
    assert bed.verify(skip_checks=["nplusone_mem"])[0] is True


def test_parameters_of_hypervisors_are_not_asked_about_on_wish(bed: VerifyBed) -> None:
    bed.verify()
    assert bed.rpc.asked["hvparms"]
    bed.verify(skip_checks=["hvparam_assessment"])
    assert "hvparms" not in bed.rpc.asked


def test_every_code_can_be_made_up(bed: VerifyBed) -> None:
    clean, lines = bed.verify(debug_simulate_errors=True)
    assert clean is False
    assert codes_of(lines) == CODES.keys()
    assert CODES.keys() > OF_CONFIG


def test_more_is_told_of_what_is_looked_at(bed: VerifyBed) -> None:
    _, few = bed.verify()
    _, more = bed.verify(verbose=True)
    assert set(few) < set(more)
    text = "\n".join(more)
    for what in (
        "certificate /",
        "parameters of hypervisor fake",
        "node group default",
        "node node1",
    ):
        assert f"* Verifying {what}" in text


def test_jobs_get_the_options(bed: VerifyBed) -> None:
    two_groups(bed)
    given: dict[str, Any] = {
        "error_codes": True,
        "verbose": True,
        "ignore_errors": ("ENODEOS",),
        "debug_simulate_errors": True,
    }
    of_groups = {"skip_checks": ("hvparam_assessment",), "verify_clutter": True}
    made = run_unit(bed.services, OpClusterVerify(**given, **of_groups)).result
    (config_job,), *group_jobs = made.jobs
    assert {name: getattr(config_job, name) for name in given} == given
    assert [job.group_name for (job,) in group_jobs] == ["default", "rack2"]
    for (job,) in group_jobs:
        assert {name: getattr(job, name) for name in of_groups} == of_groups
        assert {name: getattr(job, name) for name in given} == given
    one = run_unit(bed.services, OpClusterVerify(group_name="rack2")).result
    assert [[job.OP_ID for job in jobs] for jobs in one.jobs] == [["OP_CLUSTER_VERIFY_GROUP"]]


# What is asked.


def test_each_node_tries_ssh_to_its_group_and_one_node_of_each_other(bed: VerifyBed) -> None:
    two_groups(bed, "node3")
    default = bed.config.find_group("default")
    assert default is not None
    names = [f"node{number}.example.com" for number in (1, 2, 3)]
    assert ssh_targets(bed.config, default) == {names[0]: [names[2]], names[1]: [names[2]]}
    assert ssh_targets(bed.config, bed.config.groups[OTHER_GROUP]) == {names[2]: [names[0]]}


def test_a_real_cluster_is_asked_about_its_keys_scripts_and_bridges(bed: VerifyBed) -> None:
    bed.change_cluster(modify_ssh_setup=True, use_external_mip_script=True)
    (group,) = bed.config.groups.values()

    def asked(*, clutter: bool) -> dict[str, Any]:
        return questions(bed.config, Paths("/"), group, [bed.instance], skipped=(), clutter=clutter)

    owners, kind = asked(clutter=False)["ssh-setup"]
    assert kind == "rsa" and [row[1:] for row in owners][0] == [
        "node1.example.com", True, True, True,
    ]  # fmt: skip
    assert asked(clutter=False)["user-scripts"] == ["/etc/ganeti/scripts/master-ip-setup"]
    assert "ssh-clutter" not in asked(clutter=False) and "ssh-clutter" in asked(clutter=True)
    assert "bridges" in asked(clutter=False)
    assert certificates()[0].startswith(b"-----BEGIN")
