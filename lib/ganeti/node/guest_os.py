"""Guest OS definitions: what is here, what fits, and running their scripts."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping, Sequence

from ganeti.errors import OpExecError
from ganeti.model.filled import FilledInstance
from ganeti.model.report import OsReport
from ganeti.node.context import NodeContext
from ganeti.node.disk import assemble
from ganeti.node.os_task import script_host
from ganeti.os_defs import environment, find, run
from ganeti.os_defs.environment import ScriptDisk
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.utils import script_log

PACKAGE_MODE = 0o600


def script_disks(node: NodeContext, instance: FilledInstance) -> list[ScriptDisk]:
    """The instance's disks, assembled and open, as its scripts find them."""
    made = []
    for disk in instance.disks_info:
        attached = assemble(node, disk, on_primary=True)
        assert attached is not None
        path = None if attached.path is None else str(attached.path)
        made.append(ScriptDisk(disk, path, attached.uri(instance.hypervisor)))
    return made


@serves(calls.os_diagnose)
def os_diagnose(node: NodeContext) -> list[OsReport]:
    return find.diagnose(node.paths)


@serves(calls.os_validate)
def os_validate(
    node: NodeContext,
    required: bool,
    name: str,
    checks: Sequence[str],
    params: calls.Params,
    force_variant: bool,
) -> bool:
    return run.validate(
        script_host(node), name, checks, params, required=required, force_variant=force_variant
    )


@serves(calls.instance_os_add)
def instance_os_add(
    node: NodeContext, instance_osp: FilledInstance, reinstall: bool, debug: int
) -> None:
    disks = script_disks(node, instance_osp)
    run.create(script_host(node), instance_osp, disks, reinstall=reinstall, debug_level=debug)


@serves(calls.instance_run_rename)
def instance_run_rename(
    node: NodeContext, instance: FilledInstance, old_name: str, debug: int
) -> None:
    disks = script_disks(node, instance)
    run.rename(script_host(node), instance, disks, old_name, debug_level=debug)


@serves(calls.os_export)
def os_export(node: NodeContext, instance: FilledInstance, override_env: calls.Params) -> str:
    """A .tgz with the definition as `os/` and its variables in `environment`."""
    definition = find.require(node.paths, instance.os)
    variables = environment.instance_environment(
        definition, instance, script_disks(node, instance), 0
    )
    variables |= {name: str(value) for name, value in override_env.items()}
    stamp = time.strftime(script_log.STAMP, time.localtime(node.clock.now()))
    place = node.paths.run / f"os-{definition.name}-{instance.name}-{stamp}.tgz"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.touch(PACKAGE_MODE)  # before there is anything in it: it may hold secrets
        with tarfile.open(place, "w:gz", dereference=True) as package:
            package.add(definition.path, "os")
            _add_text(package, "environment", environment_text(variables), node.clock.now())
    except OSError as error:
        place.unlink(missing_ok=True)
        raise OpExecError(f"OS {definition.name}: package {place}: {error}") from error
    return node.paths.virtual(place)


def environment_text(variables: Mapping[str, str]) -> str:
    """KEY=VALUE lines, sorted."""
    return "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))


def _add_text(package: tarfile.TarFile, name: str, text: str, now: float) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), PACKAGE_MODE, int(now)
    package.addfile(entry, io.BytesIO(data))
