"""Memory and processors of a Linux node, read from /proc.

Source: facts/hypervisors.md, Common (linux node info).
"""

from __future__ import annotations

from pathlib import Path

from ganeti.errors import HypervisorError
from ganeti.model.report import HypervisorNodeInfo


def parse_meminfo(text: str) -> dict[str, int]:
    """Lines of /proc/meminfo in MiB; see proc(5), sizes there are KiB."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit() and (len(words) == 1 or words[1].lower() == "kb"):
            found[name.strip()] = int(words[0]) // 1024
    return found


def node_info(meminfo: str, cpuinfo: str) -> HypervisorNodeInfo:
    """What node_info answers; HypervisorError when the texts are not those of /proc."""
    memory = parse_meminfo(meminfo)
    if "MemTotal" not in memory:
        raise HypervisorError("/proc/meminfo: the line MemTotal is missing")
    total = memory["MemTotal"]
    free = memory.get("MemAvailable")
    if free is None:  # kernels before 3.14
        free = sum(memory.get(name, 0) for name in ("MemFree", "Buffers", "Cached"))
    cpus = sum(line.partition(":")[0].strip() == "processor" for line in cpuinfo.splitlines())
    return HypervisorNodeInfo(
        memory_total=total,
        memory_free=free,
        memory_dom0=total - free,
        cpu_total=cpus,
        cpu_nodes=1,
        cpu_sockets=1,
        cpu_dom0=cpus,
    )


def read_node_info(proc: Path) -> HypervisorNodeInfo:
    try:
        return node_info((proc / "meminfo").read_text(), (proc / "cpuinfo").read_text())
    except OSError as error:
        raise HypervisorError(f"{error.filename}: {error.strerror}") from error


def start_memory_mib(minimum: int, maximum: int, free: int | None) -> int:
    """What an instance starts with: as much as is free, within its limits."""
    return maximum if free is None else max(minimum, min(maximum, free))
