"""The master's IP address and the master's daemons on this node (facts/node-behaviour.md §7)."""

from __future__ import annotations

import logging
import os

from ganeti.constants import NODED_PORT
from ganeti.errors import CommandError, OpExecError
from ganeti.node.context import NodeContext
from ganeti.node.file import MASTER_IP_SCRIPT
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.types import IpFamily
from ganeti.utils import daemons, net

logger = logging.getLogger(__name__)

PROBE_S = 2.0  # for another node to answer at the master's address
MASTER_PROGRAM = "ganeti-masterd"


@serves(calls.node_activate_master_ip)
def node_activate_master_ip(
    node: NodeContext, master_params: calls.MasterParams, use_external_mip_script: bool
) -> None:
    if _is_skipped(node, "activate"):
        return
    if use_external_mip_script:
        _run_script(node, "start", master_params)
        return
    ip = str(master_params["ip"])
    if net.is_own_address(ip):
        return
    if net.is_port_open(ip, NODED_PORT, timeout_s=PROBE_S):
        raise OpExecError(f"master IP {ip}: another machine answers there; is it still master?")
    for argv in activate_argvs(ip, int(master_params["netmask"]), str(master_params["netdev"])):
        node.run(argv).check(f"master IP {ip}")
    try:  # it goes on for three seconds; the first word is out at once
        node.in_background(announce_argv(ip, str(master_params["netdev"])), f"master IP {ip}")
    except CommandError as error:
        logger.warning("master IP %s: neighbours are not told: %s", ip, error)


@serves(calls.node_deactivate_master_ip)
def node_deactivate_master_ip(
    node: NodeContext, master_params: calls.MasterParams, use_external_mip_script: bool
) -> None:
    if _is_skipped(node, "deactivate"):
        return
    if use_external_mip_script:
        _run_script(node, "stop", master_params)
        return
    ip, device = str(master_params["ip"]), str(master_params["netdev"])
    if not net.is_own_address(ip):
        return
    node.run(delete_argv(ip, int(master_params["netmask"]), device)).check(f"master IP {ip}")


@serves(calls.node_change_master_netmask)
def node_change_master_netmask(
    node: NodeContext, old_netmask: int, netmask: int, master_ip: str, master_netdev: str
) -> None:
    """The address is there with the new prefix before the old one is taken away."""
    if old_netmask == netmask or _is_skipped(node, "change netmask of"):
        return
    if not net.is_own_address(master_ip):
        raise OpExecError(f"master IP {master_ip} is not configured here, so its netmask is not")
    for argv in activate_argvs(master_ip, netmask, master_netdev):
        node.run(argv).check(f"master IP {master_ip}")
    node.run(delete_argv(master_ip, old_netmask, master_netdev)).check(f"master IP {master_ip}")


def _is_skipped(node: NodeContext, what: str) -> bool:
    if node.is_virtual:
        logger.info("%s master IP: skipped, a virtual node has no addresses of its own", what)
    return node.is_virtual


def activate_argvs(ip: str, prefix: int, device: str) -> list[list[str]]:
    """ip-address(8); never used as source address, since it moves (preferred_lft 0)."""
    label = ["label", f"{device}:0"] if net.family_of(ip) == IpFamily.IPV4 else []
    address = ["ip", "address", "add", f"{ip}/{prefix}", "dev", device, *label]
    return [[*address, "preferred_lft", "0"]]


def delete_argv(ip: str, prefix: int, device: str) -> list[str]:
    return ["ip", "address", "del", f"{ip}/{prefix}", "dev", device]


def announce_argv(ip: str, device: str) -> list[str]:
    """arping(8) or ndisc6(8): the neighbours learn where the address is now."""
    if net.family_of(ip) == IpFamily.IPV4:
        return ["arping", "-q", "-U", "-c", "3", "-I", device, "-s", ip, ip]
    return ["ndisc6", "-q", "-r", "3", ip, device]


def _run_script(node: NodeContext, action: str, master_params: calls.MasterParams) -> None:
    script = node.paths.conf / MASTER_IP_SCRIPT
    if not os.access(script, os.X_OK):
        raise OpExecError(f"external master IP script {script} is missing or not executable")
    env = {
        "MASTER_NETDEV": str(master_params["netdev"]),
        "MASTER_IP": str(master_params["ip"]),
        "MASTER_NETMASK": str(master_params["netmask"]),
        "CLUSTER_IP_VERSION": "4" if master_params["ip_family"] == IpFamily.IPV4 else "6",
    }
    node.run([str(script), action], env=env, clean_env=True).check("master IP")


@serves(calls.node_start_master_daemons)
def node_start_master_daemons(node: NodeContext, no_voting: bool) -> None:
    """All that are installed are asked to start; the error names each that did not."""
    problems = []
    starting = []
    for name in node.settings.master_daemons:
        if not daemons.program(name).exists():
            continue
        forced = no_voting and name == MASTER_PROGRAM
        arguments = ["--no-voting", "--yes-do-it"] if forced else []
        starting.append(daemons.begin(node.paths, node.hostname, name, arguments))
    for one in starting:
        try:
            one.wait()
        except OpExecError as error:
            problems.append(str(error))
    if problems:
        raise OpExecError("; ".join(problems))


@serves(calls.node_stop_master)
def node_stop_master(node: NodeContext) -> None:
    for name in reversed(node.settings.master_daemons):
        daemons.stop(node.paths, name)
