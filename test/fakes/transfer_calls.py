"""What fake nodes do when disks are copied between them; see fakes.services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti.errors import OpExecError
from ganeti.model.filled import FilledInstance
from ganeti.model.report import ImportExportStatus
from ganeti.serializer import Json


class TransferCalls:
    """Everything that is sent arrives, unless `broken` says why not."""

    broken = ""

    @property
    def rest_of_transfers(self) -> list[str]:
        """What has not been cleaned: names of certificates and of ends."""
        return sorted([*self._made("certificates"), *self._made("transfers")])

    def _made(self, kind: str) -> Any:
        return self.__dict__.setdefault(kind, {} if kind == "transfers" else set())

    def x509_cert_create(self, place: Any, validity: int) -> tuple[str, str]:
        name = f"x509-{len(self._made('certificates'))}"
        self._made("certificates").add(name)
        return name, f"PEM of {name}"

    def x509_cert_remove(self, place: Any, name: str) -> None:
        self._made("certificates").discard(name)

    def import_start(
        self, place: Any, opts: Any, instance: FilledInstance, component: str, io: Any
    ) -> str:
        self._check_device(place, io)
        return self._begin("import", opts, component, ImportExportStatus(listen_port=4711))

    def export_start(
        self,
        place: Any,
        opts: Any,
        host: str,
        port: int,
        instance: FilledInstance,
        component: str,
        io: Any,
    ) -> str:
        self._check_device(place, io)
        assert instance.name not in place.running, "its disk is being written"
        receiver = self._begin_name("import", component)
        failed = {"exit_status": 1, "error_message": self.broken}
        good = {"exit_status": 0, "progress_mbytes": 5.0}
        end = ImportExportStatus(**(failed if self.broken else good))  # type: ignore[arg-type]
        self._made("transfers")[receiver] = end
        return self._begin("export", opts, component, end)

    def impexp_status(self, place: Any, names: Sequence[str]) -> list[ImportExportStatus | None]:
        return [self._made("transfers").get(name) for name in names]

    def impexp_abort(self, place: Any, name: str) -> None:
        assert name in self._made("transfers")

    def impexp_cleanup(self, place: Any, name: str) -> None:
        self._made("transfers").pop(name, None)

    def _begin(
        self, mode: str, opts: dict[str, Json], component: str, status: ImportExportStatus
    ) -> str:
        assert opts["key_name"] in self._made("certificates")
        assert opts["ca_pem"] != f"PEM of {opts['key_name']}"
        name = self._begin_name(mode, component)
        self._made("transfers")[name] = status
        return name

    def _begin_name(self, mode: str, component: str) -> str:
        return f"{mode}-{component}"

    def _check_device(self, place: Any, io: tuple[str, list[Any]]) -> None:
        _, (disk, *_) = io
        if disk["uuid"] not in place.devices:
            raise OpExecError(f"device {disk['uuid']} does not exist")
