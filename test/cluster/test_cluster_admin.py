"""Groups, networks, filters, roles of nodes and settings of the cluster, on real daemons."""

from __future__ import annotations

import json

import pytest
from cluster_bed import ClusterBed, until, without_dates

OOB = """#!/bin/sh
case "$1" in
  power-status) echo '{"powered": true}' ;;
  health) echo '[["fan", "OK"], ["psu", "WARNING"]]' ;;
esac
"""


def roles(bed: ClusterBed) -> str:
    """`M C R` for nodes 1, 2, 3."""
    return " ".join(bed.ok("gnt-node list --no-headers -o role").split())


def refused(bed: ClusterBed, line: str, code: str) -> None:
    done = bed(line)
    assert done.rc == 1, line
    assert f"error type: {code}" in done.err, line
    assert "Traceback" not in done.err


def verify_soon(bed: ClusterBed) -> None:
    """Candidates get the checkpoint of the configuration a moment after a change."""
    until(lambda: bed("gnt-cluster verify").rc == 0, "verify finds nothing wrong")


def test_the_life_of_a_group(cluster: ClusterBed) -> None:
    cluster.ok("gnt-group add --alloc-policy=last_resort --ipolicy-vcpu-ratio=8 spare")
    cluster.ok("gnt-group assign-nodes spare node3")
    fields = "name,node_list,alloc_policy"
    assert cluster.ok(f"gnt-group list --no-headers --separator=: -o {fields} spare") == (
        "spare:node3.example.com:last_resort\n"
    )
    changed = cluster.ok("gnt-group modify --node-parameters spindle_count=2 spare")
    assert changed == "Modified node group spare\n - ndparams -> {'spindle_count': 2}\n"
    assert "spindle_count: 2" in cluster.ok("gnt-group info spare")
    assert "vcpu-ratio: 8\n" in cluster.ok("gnt-group info spare")
    cluster.ok("gnt-group modify --ipolicy-vcpu-ratio=default spare")
    assert "vcpu-ratio: default (4)" in cluster.ok("gnt-group info spare")
    cluster.ok("gnt-group add-tags spare rack:2")
    assert cluster.ok("gnt-group list-tags spare") == "rack:2\n"
    cluster.ok("gnt-group rename spare standby")
    assert cluster.ok("gnt-group show-ispecs-cmd standby") == "gnt-group add standby\n"
    refused(cluster, "gnt-group remove standby", "wrong_state")
    refused(cluster, "gnt-group rename standby default", "already_exists")
    refused(cluster, "gnt-group add standby", "already_exists")
    refused(cluster, "gnt-group modify --ipolicy-disk-templates=rbd standby", "wrong_input")
    refused(cluster, "gnt-group remove nosuch", "unknown_entity")
    cluster.ok("gnt-group assign-nodes default node3")
    cluster.ok("gnt-group remove standby")
    assert cluster.ok("gnt-group list --no-headers -o name") == "default\n"


def test_the_life_of_a_network(cluster: ClusterBed) -> None:
    cluster.ok(
        "gnt-network add --network=192.0.2.0/28 --gateway=192.0.2.1 --network6=2001:db8::/64"
        " --mac-prefix=aa:bb:cc --add-reserved-ips=192.0.2.9 --tags=lan lan"
    )
    cluster.ok("gnt-network connect --nic-parameters=mode=bridged,link=br0 lan")
    page = cluster.ok("gnt-network info lan")
    assert "    0 XX.......X.....X " in page
    assert "  Free: 12 (75.00%)" in page
    assert "    default (mode:bridged link:br0 vlan:)" in page
    assert "  not used by any instances" in page
    refused(cluster, "gnt-network remove lan", "wrong_state")
    refused(cluster, "gnt-network add --network=192.0.2.0/28 lan", "already_exists")
    bad = cluster("gnt-network add --network=192.0.2.0/33 bad")
    assert (bad.rc, bad.err.splitlines()[0]) == (1, "Failure: command execution error:")
    cluster.ok("gnt-network modify --gateway=none --mac-prefix=none lan")
    cluster.ok("gnt-network modify --remove-reserved-ips=192.0.2.9 lan")
    assert cluster.ok("gnt-network list --no-headers --separator=: lan") == (
        "lan:192.0.2.0/28:-:-:default (bridged, br0, ):lan\n"
    )
    cluster.ok("gnt-network rename lan wan")
    cluster.ok("gnt-network disconnect wan default")
    again = without_dates(cluster.ok("gnt-network disconnect wan default"))
    assert again.startswith(" - WARNING: ")
    cluster.ok("gnt-network remove wan")
    assert cluster.ok("gnt-network list --no-headers") == ""


def test_a_filter_holds_jobs_until_it_is_deleted(cluster: ClusterBed) -> None:
    predicates = json.dumps([["jobid", [">", "id", "watermark"]]])
    uuid = cluster.ok(f"gnt-filter add --action=PAUSE --predicates='{predicates}'").strip()
    assert uuid in cluster.ok("gnt-filter list --no-headers -o uuid")
    number = cluster.delay(0.01)
    assert cluster.statuses([number]) == ["queued"]
    assert cluster.ok(f"gnt-filter replace --action=ACCEPT {uuid}").strip() == uuid
    cluster.await_status(number, "success")
    assert f"UUID: {uuid}\n" in cluster.ok(f"gnt-filter info {uuid}")
    cluster.ok(f"gnt-filter delete {uuid}")
    gone = cluster(f"gnt-filter delete {uuid}")
    assert (gone.rc, gone.out) == (1, "")


def test_a_candidate_goes_offline_and_another_takes_over(cluster: ClusterBed) -> None:
    cluster.ok("gnt-cluster modify --candidate-pool-size=2")
    cluster.ok("gnt-node modify -C no node3")
    assert roles(cluster) == "M C R"
    refused(cluster, "gnt-node modify -O yes node2", "wrong_state")
    said = without_dates(cluster.ok("gnt-node modify --auto-promote -O yes node2"))
    assert " - INFO: Promoted nodes to master candidate role: node3.example.com" in said
    assert said.endswith("Modified node node2\n - master_candidate -> False\n - offline -> True\n")
    assert roles(cluster) == "M O C"
    verify_soon(cluster)
    assert cluster("gnt-node modify -O no node2").rc == 1  # nobody answers the question
    cluster.ok("gnt-node modify -f -O no node2")
    assert roles(cluster) == "M R C"
    cluster.ok("gnt-cluster modify --candidate-pool-size=10")
    assert roles(cluster) == "M C C"
    journal = [cluster.cluster.paths(node).config_journal for node in (1, 2, 3)]
    until(
        lambda: len({path.read_bytes() for path in journal}) == 1,
        "all candidates have the configuration",
    )
    verify_soon(cluster)


@pytest.mark.parametrize("flag", ["-C no", "-D yes", "-O yes", "--master-capable=no"])
def test_the_masters_role_stays(cluster: ClusterBed, flag: str) -> None:
    assert cluster(f"gnt-node modify {flag} node1").rc == 1
    assert roles(cluster).startswith("M ")


def test_a_demoted_node_has_no_configuration(cluster: ClusterBed) -> None:
    paths = cluster.cluster.paths(3)
    cluster.ok("gnt-node modify --master-capable=no node3")
    assert not paths.config_data.exists() and not paths.config_journal.exists()
    cluster.ok("gnt-node modify --master-capable=yes node3")
    until(paths.config_journal.exists, "node 3 has the configuration again")


def test_power_and_health_come_from_the_out_of_band_program(cluster: ClusterBed) -> None:
    for number in (1, 2, 3):  # any of them may become master
        program = cluster.cluster.paths(number).below("/usr/bin/oob")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(OOB)
        program.chmod(0o755)
    cluster.ok("gnt-node modify --node-parameters oob_program=/usr/bin/oob node3")
    assert cluster.ok("gnt-node power status node3").splitlines()[-1] == (
        "node3.example.com powered"
    )
    health = without_dates(cluster.ok("gnt-node health node3"))
    assert "item 'psu' is WARNING" in health
    assert health.endswith("node3.example.com fan=OK, psu=WARNING\n")
    cluster.ok("gnt-node power -f off node3")
    assert roles(cluster) == "M C O"
    assert cluster.ok("gnt-node list --no-headers -o powered node3") == "N\n"
    refused(cluster, "gnt-node modify -f -O no node3", "wrong_state")
    cluster.ok("gnt-node power on node3")
    cluster.ok("gnt-node modify -f -O no node3")
    assert roles(cluster) == "M C C"
    assert cluster("gnt-node power -f cycle node1").rc == 1
    assert cluster("gnt-node health").rc == 1  # nodes without a program


def test_storage_of_nodes_is_listed(cluster: ClusterBed) -> None:
    lines = cluster.ok("gnt-node list-storage -t file").splitlines()
    assert lines[0].split() == ["Node", "Type", "Name", "Size", "Used", "Free", "Allocatable"]
    assert [line.split()[0] for line in lines[1:]] == list(cluster.cluster.names)
    assert cluster("gnt-node list-storage -t lvm-vg").rc == 1
    assert cluster.ok("gnt-node volumes").split()[0] == "Node"


def test_a_virtual_node_is_not_power_cycled(cluster: ClusterBed) -> None:
    done = cluster("gnt-node powercycle --yes node3")
    assert done.rc == 1 and "virtual" in done.err
    assert cluster("gnt-node powercycle node3").rc == 2


def test_settings_of_the_cluster_are_kept(cluster: ClusterBed) -> None:
    cluster.ok(
        "gnt-cluster modify -B maxmem=96M,minmem=48M --max-running-jobs=15 --uid-pool=4000-4010"
        " --mac-prefix=AA:11:22 --node-parameters spindle_count=3 -D plain:stripes=2"
        " --compression-tools=gzip,lzop --install-image=/srv/image --ipolicy-spindle-ratio=64"
    )
    page = cluster.ok("gnt-cluster info")
    for line in (
        "maxmem: 96", "minmem: 48", "uid pool: 4000-4010", "mac prefix: aa:11:22",
        "spindle_count: 3", "stripes: 2", "install image: /srv/image", "spindle-ratio: 64\n",
    ):  # fmt: skip
        assert line in page
    cluster.ok("gnt-cluster modify -B maxmem=default,minmem=default")
    assert "maxmem: 128" in cluster.ok("gnt-cluster info")
    refused(cluster, "gnt-cluster modify --uid-pool=9-1", "wrong_input")
    refused(cluster, "gnt-cluster modify --default-iallocator=nosuch", "wrong_input")
    wrong = cluster("gnt-cluster modify -H fake:nosuch=1")
    assert (wrong.rc, wrong.err.split(":")[0]) == (1, "Parameter Error")
    assert "--ipolicy-bounds-specs min:" in cluster.ok("gnt-cluster show-ispecs-cmd")


def test_a_communication_network_appears_in_every_group(cluster: ClusterBed) -> None:
    cluster.ok("gnt-cluster modify --instance-communication-network=comm")
    cluster.ok("gnt-group add later")
    until(
        lambda: "later" in cluster.ok("gnt-network list --no-headers -o group_list comm"),
        "the job of the new group has connected it",
    )
    cluster.ok("gnt-cluster modify --instance-communication-network=")
    cluster.ok("gnt-network disconnect comm")
    cluster.ok("gnt-network remove comm")
    cluster.ok("gnt-group remove later")


def test_the_script_for_the_master_address_goes_to_all_nodes(cluster: ClusterBed) -> None:
    here, there = (cluster.cluster.paths(n).conf / "scripts/master-ip-setup" for n in (1, 2))
    cluster.ok("gnt-cluster modify --use-external-mip-script=yes")
    try:
        assert "ENODEUSERSCRIPTS" in cluster("gnt-cluster verify --error-codes").out
        here.parent.mkdir()
        here.write_text("#!/bin/sh\n")
        here.chmod(0o755)
        cluster.ok("gnt-cluster redist-conf")
        assert (there.read_text(), there.stat().st_mode & 0o777) == ("#!/bin/sh\n", 0o755)
        there.write_text("#!/bin/sh\nexit 1\n")
        said = cluster("gnt-cluster verify --error-codes").out
        assert "ENODEUSERSCRIPTS" not in said
        assert [
            line for line in said.splitlines() if "ECLUSTERFILECHECK" in line and here.name in line
        ]
    finally:
        cluster.ok("gnt-cluster modify --use-external-mip-script=no")


def test_disks_are_verified_in_each_group(cluster: ClusterBed) -> None:
    assert "No disks need to be activated." in cluster.ok("gnt-cluster verify-disks")
    cluster.ok("gnt-cluster repair-disk-sizes")
    refused(cluster, "gnt-cluster repair-disk-sizes nosuch", "unknown_entity")


def test_the_cluster_gets_another_name(cluster: ClusterBed) -> None:
    hosts = cluster.cluster.paths(1).etc_hosts
    address = cluster.cluster.address(1).rpartition(".")[0] + ".251"
    hosts.write_text(f"{hosts.read_text()}{address} other.example.com\n")
    assert cluster("gnt-cluster rename other.example.com").rc == 1  # nobody answers the question
    renamed = cluster.ok("gnt-cluster rename -f other.example.com")
    assert renamed == "Cluster renamed from 'cluster.example.com' to 'other.example.com'\n"
    ssconf = cluster.cluster.paths(2).ssconf("cluster_name")
    until(lambda: ssconf.read_text() == "other.example.com\n", "node 2 knows the new name")
    cluster.ok("gnt-cluster activate-master-ip")
    cluster.ok("gnt-cluster deactivate-master-ip --yes")
    verify_soon(cluster)
    cluster.ok("gnt-cluster rename -f cluster.example.com")
    refused(cluster, "gnt-cluster rename -f cluster.example.com", "wrong_input")
    refused(cluster, "gnt-cluster rename -f node2.example.com", "resource_not_unique")


def test_providers_of_external_storage_are_diagnosed(cluster: ClusterBed) -> None:
    none = cluster("gnt-storage diagnose")
    assert (none.rc, none.out) == (1, "")
    for number in (1, 2, 3):
        directory = cluster.cluster.paths(number).below("/srv/ganeti/extstorage/san")
        directory.mkdir(parents=True)
        for name in ("create", "remove", "grow", "attach", "detach", "setinfo", "verify"):
            (directory / name).write_text("#!/bin/sh\n")
            (directory / name).chmod(0o755)
        (directory / "parameters.list").write_text("pool where volumes lie\n")
    assert "    - pool: where volumes lie\n" in cluster.ok("gnt-storage info san")
    good = cluster.ok("gnt-storage diagnose")
    assert "[global status: valid]" in good and "Node: node1.example.com, status: valid" in good
    (directory / "grow").unlink()
    partial = cluster("gnt-storage diagnose")
    assert partial.rc == 1
    assert "partial valid" in partial.out and "script grow is missing" in partial.out
