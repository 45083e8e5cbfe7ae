"""Files besides the configuration that every node has: which, and how they get there.

Source: facts/config-data.md §11.
"""

from __future__ import annotations

import grp
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.logic.base import WARNING, Services
from ganeti.model.node import Node
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.packed import pack
from ganeti.types import HypervisorKind

MASTER_IP_SCRIPT: Final = "scripts/master-ip-setup"


def ancillary_files(config: Snapshot, paths: Paths) -> list[Path]:
    """Files that all online nodes hold; some of them need not exist."""
    files = [
        paths.known_hosts,
        paths.hmac_key,
        paths.domain_secret,
        paths.spice_pem,
        paths.spice_ca_pem,
        paths.rapi_pem,
        paths.rapi_users,
        paths.rapi_roles,
        paths.rapi_tokens,
    ]
    if config.cluster.modify_etc_hosts and not paths.is_virtual:
        files.append(paths.etc_hosts)
    if config.cluster.use_external_mip_script:
        files.append(paths.conf / MASTER_IP_SCRIPT)
    return files


def hypervisor_files(config: Snapshot, paths: Paths) -> list[Path]:
    """Files of the enabled hypervisors, for nodes that can have instances; all are optional."""
    if HypervisorKind.KVM not in config.cluster.enabled_hypervisors:
        return []
    return [paths.conf / "kvm-vif-bridge", paths.conf / "kvm-ifdown"]


def distribute(services: Services, config: Snapshot, nodes: Sequence[Node] | None = None) -> None:
    """Copy the ancillary files to these nodes, or to all online ones but the master.

    A file that does not exist is skipped; one that can't be read, or a copy that fails, is a
    warning.
    """
    if nodes is None:
        nodes = config.online_nodes()
    others = [node for node in nodes if node.uuid != config.cluster.master_node]
    able = [node for node in others if node.vm_capable]
    for targets, files in (
        (others, ancillary_files(config, services.paths)),
        (able, hypervisor_files(config, services.paths)),
    ):
        if targets:
            _copy(services, targets, files)


def _copy(services: Services, targets: Sequence[Node], files: Sequence[Path]) -> None:
    for path in files:
        try:
            upload = to_upload(path, services.paths)
        except FileNotFoundError:
            continue
        except OSError as error:
            services.feedback(
                f"{WARNING}{path.name} is not copied to the nodes: {error.strerror or error}"
            )
            continue
        for outcome in services.rpc.all(targets, calls.upload_file, upload).values():
            if not outcome.ok:
                services.feedback(
                    f"{WARNING}copy of {path.name} to node {outcome.node.name} failed:"
                    f" {outcome.error}"
                )


def to_upload(path: Path, paths: Paths) -> calls.UploadedFile:
    """The file in the form of upload_file: path, contents, mode, user, group, times."""
    status = path.stat()
    return (
        paths.virtual(path),
        pack(path.read_bytes()),
        stat.S_IMODE(status.st_mode),
        user_name(status.st_uid),
        group_name(status.st_gid),
        status.st_atime,
        status.st_mtime,
    )


def user_name(number: int) -> str:
    """Name of the user; the number as text where it has none, as in some containers."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """The same for a group."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
