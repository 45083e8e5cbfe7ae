"""Power: a node that is rebooted at once, which a virtual node can't be."""

from __future__ import annotations

from net_bed import NetBed, until


def test_a_node_is_rebooted_at_once(cluster: NetBed) -> None:
    address = cluster.nodes.address(3)
    cluster.answers(address)
    done = cluster("gnt-node powercycle --yes node3")
    assert done.rc == 0 and "Reboot scheduled in 5 seconds" in done.err
    until(lambda: not cluster.reaches(address), "the kernel has ended node 3")
    refused = cluster("gnt-node powercycle --yes node1")
    assert refused.rc == 1 and "is the master" in refused.err
