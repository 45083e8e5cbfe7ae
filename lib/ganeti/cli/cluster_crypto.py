"""gnt-cluster renew-crypto: new certificates, secrets and SSH keys.

What concerns calls between nodes and SSH is done by a job, while the cluster works; the other files
are made here, on the master, and a job brings them to the nodes. Source: facts/cli.json.
"""

from __future__ import annotations

from typing import Any

from ganeti.cli import options
from ganeti.cli.failure import Refused
from ganeti.cli.options_cluster import SSH_KEY_BITS, SSH_KEY_TYPE
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError

NO_SSH_KEY_CHECK = options.switch(
    "--no-ssh-key-check",
    dest="ssh_key_check",
    default=True,
    help="has no effect: the host keys are the cluster's",
)
RENEWING = (
    options.switch(
        "--new-cluster-certificate",
        dest="new_cluster_cert",
        help="make a new cluster certificate, and with it new node certificates",
    ),
    options.switch(
        "--new-rapi-certificate",
        dest="new_rapi_cert",
        default=None,
        help="make a new certificate for the remote API",
    ),
    options.value("--rapi-certificate", dest="rapi_cert", help="take it from this file"),
    options.switch(
        "--new-confd-hmac-key", dest="new_confd_hmac_key", help="make a new key for confd"
    ),
    options.FORCE,
    options.switch(
        "--new-cluster-domain-secret",
        dest="new_cluster_domain_secret",
        help="make a new secret for moves between clusters",
    ),
    options.value(
        "--cluster-domain-secret", dest="cluster_domain_secret", help="take it from this file"
    ),
    options.switch(
        "--new-spice-certificate",
        dest="new_spice_cert",
        default=None,
        help="make a new certificate for SPICE",
    ),
    options.value("--spice-certificate", dest="spice_cert", help="take it from this file"),
    options.value(
        "--spice-ca-certificate", dest="spice_cacert", help="its authority, from this file"
    ),
    options.switch(
        "--new-node-certificates", dest="new_node_cert", help="make new certificates for all nodes"
    ),
    options.switch(
        "--new-ssh-keys", dest="new_ssh_keys", help="make new SSH keys for root on all nodes"
    ),
    NO_SSH_KEY_CHECK,
    options.VERBOSE,
    SSH_KEY_BITS,
    SSH_KEY_TYPE,
)
FILES = (
    "new_cluster_cert", "new_rapi_cert", "rapi_cert", "new_spice_cert", "spice_cert",
    "spice_cacert", "new_confd_hmac_key", "new_cluster_domain_secret", "cluster_domain_secret",
)  # fmt: skip


def renew_crypto(run: Run) -> None:
    """Make certificates and secrets anew, or take them from files."""
    from ganeti.master import crypto

    wanted = run.options
    _check(wanted)
    renewal = crypto.Renewal(
        **{name: value for name in FILES if (value := getattr(wanted, name)) not in (None, False)}
    )
    paths = run.world.paths
    files = crypto.new_files(paths, renewal, run.world.now())
    run.master.call("QueryConfigValues", ["cluster_name"])  # else: not on the master, or it is down
    run.require(
        wanted.force,
        "Nodes that are down now will not get what is made anew, and have to be added again"
        " (gnt-node add --readd). Go on?",
    )
    files.write()
    staged = wanted.new_cluster_cert and crypto.stage_cluster_certificate(paths, run.world.now())
    try:
        number = run.send(*_opcodes(wanted, bool(files.contents)))
    except BaseException:
        if staged:
            paths.server_pem_new.unlink(missing_ok=True)
        raise
    run.follower.follow(number)
    if files.contents:
        for name in crypto.tell_users(paths, run.world.hostname):
            run.out(f"{name} was restarted")
    run.out("All requested certificates and keys have been replaced")


def _opcodes(wanted: Any, new_files: bool) -> list[Any]:
    from ganeti.opcodes.cluster import OpClusterRedistConf, OpClusterRenewCrypto

    made: list[Any] = []
    certificates = wanted.new_node_cert or wanted.new_cluster_cert
    if certificates or wanted.new_ssh_keys:
        made.append(
            OpClusterRenewCrypto(
                node_certificates=certificates,
                renew_ssh_keys=wanted.new_ssh_keys,
                ssh_key_type=wanted.ssh_key_type,
                ssh_key_bits=wanted.ssh_key_bits,
                verbose=wanted.verbose,
                debug=wanted.debug > 0,
            )
        )
    if new_files:
        made.append(OpClusterRedistConf())
    return made


def _check(wanted: Any) -> None:
    """Refuse options that exclude each other, and none at all."""
    for made, given, what in (
        (wanted.new_rapi_cert, wanted.rapi_cert, "RAPI certificate"),
        (
            wanted.new_cluster_domain_secret,
            wanted.cluster_domain_secret,
            "cluster domain secret",
        ),
        (wanted.new_spice_cert, wanted.spice_cert or wanted.spice_cacert, "SPICE certificate"),
    ):
        if made and given:
            raise OpPrereqError(
                f"the {what} is either made or taken from a file, not both", Code.INVAL
            )
    if bool(wanted.spice_cert) != bool(wanted.spice_cacert):
        raise OpPrereqError(
            "--spice-certificate and --spice-ca-certificate are needed together", Code.INVAL
        )
    if (wanted.ssh_key_type or wanted.ssh_key_bits) and not wanted.new_ssh_keys:
        raise OpPrereqError("--ssh-key-type and --ssh-key-bits are for --new-ssh-keys", Code.INVAL)
    if not any(getattr(wanted, name) for name in (*FILES, "new_node_cert", "new_ssh_keys")):
        raise Refused("Nothing is to be renewed; gnt-cluster renew-crypto --help shows what can be")
