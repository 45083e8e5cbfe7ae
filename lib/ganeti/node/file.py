"""Files that the master writes on its nodes: an allowed few, whole and durably."""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
from pathlib import Path

from ganeti.errors import OpExecError
from ganeti.model.report import FileInfo
from ganeti.node.context import NodeContext
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.rpc.packed import unpack
from ganeti.utils import hosts
from ganeti.utils.files import PRIVATE, Owner

MASTER_IP_SCRIPT = "scripts/master-ip-setup"
HOSTS_LOCK = "ganeti-hosts.lock"


def allowed_files(paths: Paths) -> set[str]:
    """What may be uploaded, as the node names it (facts/node-behaviour.md §11).

    The last rows are the ancillary files of the hypervisors (facts/hypervisors.md).
    """
    files = (
        paths.config_data,
        paths.etc_hosts,
        paths.known_hosts,
        paths.vnc_password,
        paths.rapi_pem,
        paths.spice_pem,
        paths.spice_ca_pem,
        paths.rapi_users,
        paths.rapi_roles,
        paths.rapi_tokens,
        paths.hmac_key,
        paths.domain_secret,
        paths.conf / MASTER_IP_SCRIPT,
        paths.conf / "kvm-vif-bridge",
        paths.conf / "kvm-ifdown",
        paths.below("/etc/xen/xl.conf"),
        paths.below("/etc/xen/scripts/vif-bridge"),
        paths.below("/etc/xen/xend-config.sxp"),
    )
    return {paths.virtual(file) for file in files}


@serves(calls.upload_file)
def upload_file(node: NodeContext, file_name: calls.UploadedFile) -> None:
    upload_file_single(node, *file_name)


@serves(calls.upload_file_single)
def upload_file_single(
    node: NodeContext,
    file_name: str,
    content: calls.Packed,
    mode: int | None,
    uid: str,
    gid: str,
    atime: float,
    mtime: float,
) -> None:
    if not posixpath.isabs(file_name):
        raise OpExecError(f"file {file_name!r}: the path is not absolute")
    if file_name not in allowed_files(node.paths):
        raise OpExecError(f"file {file_name!r} is not one of those that may be uploaded")
    place = node.paths.below(file_name)
    write(node, place, unpack(content), PRIVATE if mode is None else mode, owner(node, uid, gid))
    try:
        os.utime(place, (atime, mtime))
    except FileNotFoundError:
        pass  # it was replaced or taken away in between; its time does not matter then


def write(node: NodeContext, place: Path, data: bytes, mode: int, owner: Owner | None) -> None:
    """The file is there with these contents; on any failure it is what it was."""
    try:
        if not place.parent.is_dir():
            node.files.mkdir(place.parent)
        node.files.replace(place, data, mode=mode, owner=owner)
    except OSError as error:
        name = node.paths.virtual(place)
        raise OpExecError(f"file {name}: can't write: {error.strerror or error}") from error


def owner(node: NodeContext, user: str, group: str) -> Owner | None:
    """Numbers of user and group here. None where noded may not give files away."""
    if os.geteuid() != 0 or node.is_virtual:
        return None
    try:
        return Owner(pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise OpExecError(f"user {user!r} or group {group!r} does not exist here") from error


@serves(calls.get_file_info)
def get_file_info(node: NodeContext, file_path: str) -> FileInfo:
    try:
        return FileInfo(True, {"size": node.paths.below(file_path).stat().st_size})
    except FileNotFoundError:
        return FileInfo(False, {})


@serves(calls.etc_hosts_modify)
def etc_hosts_modify(node: NodeContext, mode: str, name: str, ip: str | None) -> bool:
    if any(character.isspace() or character == "#" for character in f"{name}{ip or ''}"):
        raise OpExecError(f"host {name!r}, address {ip!r}: can't stand in a hosts file")
    node.files.mkdir(node.paths.lock)
    with node.files.lock(node.paths.lock / HOSTS_LOCK):
        _modify_hosts(node, mode, name, ip)
    return True


def _modify_hosts(node: NodeContext, mode: str, name: str, ip: str | None) -> None:
    place = node.paths.etc_hosts
    text = place.read_text() if place.exists() else ""
    if mode == "add":
        if not ip:
            raise OpExecError(f"host {name}: an address is needed to add it to {place.name}")
        changed = hosts.with_host(text, ip, name)
    elif mode == "remove":
        changed = hosts.without_host(text, name)
    else:
        raise OpExecError(f"mode {mode!r} is not known; use add or remove")
    if changed != text:
        write(node, place, changed.encode(), hosts.HOSTS_MODE, None)
