"""New certificates on a node, without a moment in which it can't be reached.

A renewal has three steps on each node, each of which can be repeated, and after each of which the
node serves the master, whichever certificates that one has already (logic/cluster_renew_crypto.py):

stage     client.pem.new is made, for a new cluster certificate beside server.pem.new; clients of
          both cluster certificates are served from now on
activate  they take the places of client.pem and server.pem; that one becomes server.pem.old
finish    the old cluster certificate counts no more

Form of the files: facts/node-behaviour.md §13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.node.file import write
from ganeti.serializer import Json
from ganeti.utils import x509

FORMER_KEPT: Final = 10


def ssl_token(node: NodeContext, action: str, options: Mapping[str, Json]) -> str:
    """The digest of the client certificate that the action leaves or prepares."""
    match action:
        case "get":
            pass
        case "delete":
            node.files.unlink(node.paths.client_pem, missing_ok=True)
            return ""
        case "create":
            return _create(node, options)
        case "stage":
            return _stage(node, options)
        case "activate":
            _activate(node)
        case "finish":
            _finish(node)
        case "discard":
            _discard(node)
        case _:
            raise OpExecError(
                f"crypto token action {action!r} is not known; use get, create, delete, stage,"
                " activate, finish or discard"
            )
    return x509.digest(x509.load_certificate(node.paths.client_pem))


def _create(node: NodeContext, options: Mapping[str, Json]) -> str:
    place = node.paths.client_pem
    if options.get("cert_file", node.paths.virtual(place)) != node.paths.virtual(place):
        raise OpExecError(f"a client certificate is only made as {node.paths.virtual(place)}")
    made = x509.make_client(
        node.hostname,
        x509.load_pair(node.paths.server_pem),
        node.clock.now(),
        serial=int(options.get("serial_no", 1)),
    )
    write(node, place, made.pem(), x509.CERTIFICATE_MODE, None)
    return made.digest


def _stage(node: NodeContext, options: Mapping[str, Json]) -> str:
    paths = node.paths
    server = x509.load_pair(paths.server_pem)
    if options.get("server"):
        wanted = x509.parse_pair(str(options["server"]).encode(), "the new cluster certificate")
        _check_valid_here(node, wanted)
        if wanted.digest != server.digest:
            write(node, paths.server_pem_new, wanted.pem(), x509.CERTIFICATE_MODE, None)
        else:  # a renewal that was broken off got this far
            node.files.unlink(paths.server_pem_new, missing_ok=True)
        server = wanted
    now = node.clock.now()
    made = x509.make_client(node.hostname, server, now, serial=int(now))
    write(node, paths.client_pem_new, made.pem(), x509.CERTIFICATE_MODE, None)
    node.renew_tls()
    return made.digest


def _check_valid_here(node: NodeContext, wanted: x509.Pair) -> None:
    """Else this node would be cut off: a clock that is wrong by hours is enough."""
    severity, text = x509.check_validity(wanted.certificate, node.clock.now())
    if severity is not x509.Severity.FINE:
        raise OpExecError(f"the new cluster {text}, by the clock of node {node.hostname}")


def _activate(node: NodeContext) -> None:
    """In this order: at no point is a certificate shown whose issuer is not known here."""
    paths, files = node.paths, node.files
    if files.exists(paths.server_pem_new):
        old = files.read(paths.server_pem)
        write(node, paths.server_pem_old, old, x509.CERTIFICATE_MODE, None)
        files.rename(paths.server_pem_new, paths.server_pem)
    if files.exists(paths.client_pem_new):
        files.rename(paths.client_pem_new, paths.client_pem)
    node.renew_tls()


def _finish(node: NodeContext) -> None:
    paths = node.paths
    if not node.files.exists(paths.server_pem_old):
        return
    gone = x509.load_pair(paths.server_pem_old).certificate_pem()
    former = [pem for pem in former_certificates(node) if pem != gone]
    text = b"".join([gone, *former][:FORMER_KEPT])
    write(node, paths.server_pem_former, text, x509.CERTIFICATE_MODE, None)
    node.files.unlink(paths.server_pem_old)
    node.renew_tls()


def former_certificates(node: NodeContext) -> list[bytes]:
    """The cluster's earlier certificates, the newest first: who shows one may be added again."""
    try:
        text = node.paths.server_pem_former.read_bytes()
    except FileNotFoundError:
        return []
    return x509.split_certificates(text)


def _discard(node: NodeContext) -> None:
    for place in (node.paths.server_pem_new, node.paths.client_pem_new):
        node.files.unlink(place, missing_ok=True)
    node.renew_tls()
