"""A master that knows instances with consoles, whose commands are programs of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganeti.luxi.pool import LuxiPool

NODE = "node1.example.com"


@dataclass
class Guest:
    """`command` is what its serial console runs, `ssh` the node to log in to for that (address,
    port), `port` where its VNC is."""

    command: Sequence[str] = ()
    ssh: tuple[str, int] | None = None
    port: int | None = None
    running: bool = True
    vnc_bind_address: str = ""

    def row(self, name: str) -> list[Any]:
        console: dict[str, Any] = {"instance": name, "kind": "msg", "message": "no console here"}
        if self.command:
            console = {"instance": name, "kind": "ssh", "host": NODE, "command": [*self.command]}
            if self.ssh is not None:
                console |= {"host": self.ssh[0], "port": self.ssh[1], "user": "root"}
        elif self.port is not None:
            console = {"instance": name, "kind": "vnc", "host": NODE, "port": self.port}
        hvparams = {"vnc_bind_address": self.vnc_bind_address}
        return [console if self.running else None, self.running, NODE, self.port, hvparams]


@dataclass
class ConsoleMaster(LuxiPool):
    """Its node is a directory, `NODE`, below `place`."""

    place: Path
    guests: dict[str, Guest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.place / "no-socket")
        (self.place / NODE / "etc").mkdir(parents=True)
        (self.place / NODE / "etc" / "hosts").write_text(f"127.0.0.1 {NODE}\n")

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        if method == "QueryConfigValues":
            return ["cluster.example.com"]
        assert method == "QueryInstances", method
        return [self.guests[name].row(name) for name in args[0] if name in self.guests]
