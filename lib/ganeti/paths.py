"""Where files lie, below one root.

A virtual node is a root directory and nothing else: `Paths(root)` gives every location of that
node. The names below the root are those of facts/constants.json (`paths`).
"""

import os
from pathlib import Path

from ganeti.build import DATADIR, LIBDIR, LOCALSTATEDIR, SYSCONFDIR

OS_SEARCH = (
    "/srv/ganeti/os",
    "/usr/local/lib/ganeti/os",
    LIBDIR + "/os",
    DATADIR + "/ganeti/os",
)
"""Where a node looks for OS definitions."""

ROOT_VARIABLE = "GANETI_ROOTDIR"
HOSTNAME_VARIABLE = "GANETI_HOSTNAME"


class Paths:
    """Every location of one node. `root` is `/` on a real node."""

    __slots__ = ("conf", "data", "is_virtual", "lock", "log", "root", "run")

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.is_virtual = self.root != Path("/")
        state = self.below(LOCALSTATEDIR)
        self.data = state / "lib/ganeti"
        self.run = state / "run/ganeti"
        self.log = state / "log/ganeti"
        self.lock = state / "lock"
        self.conf = self.below(SYSCONFDIR) / "ganeti"

    @classmethod
    def from_environment(cls) -> "Paths":
        return cls(os.environ.get(ROOT_VARIABLE) or "/")

    def below(self, path: str) -> Path:
        """The absolute path `path` of a node, as seen from outside its root.

        As in the kernel's, `..` at the top of a root stays there.
        """
        if self.is_virtual and ".." in path:
            path = os.path.normpath("/" + path.lstrip("/"))
        return self.root / path.lstrip("/")

    def virtual(self, path: str | Path) -> str:
        """The reverse of `below`: the path as the node itself names it."""
        return "/" + str(Path(path).relative_to(self.root)) if self.is_virtual else str(path)

    # Directories.
    @property
    def directories(self) -> dict[Path, int]:
        """Those that every node has, with their modes: facts/node-behaviour.md §11."""
        return {
            self.data: 0o755,
            self.queue: 0o750,
            self.archive: 0o750,
            self.run: 0o775,
            self.sockets: 0o770,
            self.disk_links: 0o755,
            self.crypto_keys: 0o700,
            self.tasks: 0o700,
            self.log: 0o770,
            self.os_log: 0o750,
            self.lock: 0o1777,
        }

    @property
    def queue(self) -> Path:
        return self.data / "queue"

    @property
    def archive(self) -> Path:
        return self.queue / "archive"

    @property
    def sockets(self) -> Path:
        return self.run / "socket"

    @property
    def tasks(self) -> Path:
        """Records of long work on the node (ours)."""
        return self.run / "tasks"

    @property
    def disk_links(self) -> Path:
        return self.run / "instance-disks"

    @property
    def crypto_keys(self) -> Path:
        return self.run / "crypto"

    @property
    def transfers(self) -> Path:
        """One directory per end of a transfer between nodes."""
        return self.run / "import-export"

    @property
    def os_log(self) -> Path:
        return self.log / "os"

    @property
    def ext_log(self) -> Path:
        """Logs of the scripts of external storage."""
        return self.log / "extstorage"

    @property
    def hooks(self) -> Path:
        return self.conf / "hooks"

    @property
    def os_search(self) -> list[Path]:
        return [self.below(place) for place in OS_SEARCH]

    @property
    def extstorage_search(self) -> list[Path]:
        """Where a node looks for providers of external storage: beside the OS definitions."""
        return [place.with_name("extstorage") for place in self.os_search]

    @property
    def allocator_search(self) -> list[Path]:
        places = ["/usr/local/lib/ganeti/iallocators", LIBDIR + "/iallocators"]
        return [self.below(place) for place in places]

    @property
    def export(self) -> Path:
        return self.below("/var/lib/ganeti/export")

    # Files of the cluster.
    @property
    def config_data(self) -> Path:
        return self.data / "config.data"

    @property
    def config_journal(self) -> Path:
        return self.data / "config.journal"

    @property
    def queue_journal(self) -> Path:
        return self.queue / "journal"

    @property
    def server_pem(self) -> Path:
        return self.data / "server.pem"

    @property
    def server_pem_new(self) -> Path:
        """The cluster's next certificate, while it is renewed (ours)."""
        return self.data / "server.pem.new"

    @property
    def server_pem_old(self) -> Path:
        """The one before, until the renewal is over (ours)."""
        return self.data / "server.pem.old"

    @property
    def server_pem_former(self) -> Path:
        """Certificates, without keys, that the cluster once had (ours)."""
        return self.data / "server.pem.former"

    @property
    def client_pem(self) -> Path:
        return self.data / "client.pem"

    @property
    def client_pem_new(self) -> Path:
        return self.data / "client.pem.new"

    @property
    def rapi_pem(self) -> Path:
        return self.data / "rapi.pem"

    @property
    def spice_pem(self) -> Path:
        return self.data / "spice.pem"

    @property
    def spice_ca_pem(self) -> Path:
        return self.data / "spice-ca.pem"

    @property
    def hmac_key(self) -> Path:
        return self.data / "hmac.key"

    @property
    def domain_secret(self) -> Path:
        return self.data / "cluster-domain-secret"

    @property
    def known_hosts(self) -> Path:
        return self.data / "known_hosts"

    @property
    def ssh_public_keys(self) -> Path:
        return self.data / "ganeti_pub_keys"

    @property
    def rapi_users(self) -> Path:
        return self.data / "rapi/users"

    @property
    def rapi_roles(self) -> Path:
        """Roles of the cluster's own, for users of the remote API (ours)."""
        return self.data / "rapi/roles"

    @property
    def rapi_tokens(self) -> Path:
        """Hashes of the tokens of users of the remote API (ours)."""
        return self.data / "rapi/tokens"

    @property
    def watcher_pause(self) -> Path:
        return self.data / "watcher.pause"

    @property
    def file_storage_paths(self) -> Path:
        return self.conf / "file-storage-paths"

    @property
    def vnc_password(self) -> Path:
        return self.conf / "vnc-cluster-password"

    @property
    def etc_hosts(self) -> Path:
        return self.below("/etc/hosts")

    @property
    def ssconf_lock(self) -> Path:
        return self.lock / "ganeti-ssconf.lock"

    @property
    def master_socket(self) -> Path:
        return self.sockets / "ganeti-master"

    @property
    def query_socket(self) -> Path:
        return self.sockets / "ganeti-query"

    @property
    def commands_log(self) -> Path:
        return self.log / "commands.log"

    @property
    def rapi_audit_log(self) -> Path:
        """Who did what over the remote API (ours)."""
        return self.log / "rapi-audit.log"

    # Versions of the software that stand beside each other.
    @property
    def active_lib(self) -> Path:
        """Link to the programs and the library of the active version."""
        return self.conf / "lib"

    @property
    def active_share(self) -> Path:
        """Link to what else belongs to the active version."""
        return self.conf / "share"

    @property
    def intent_to_upgrade(self) -> Path:
        """What `gnt-cluster upgrade` is about to do, while it does."""
        return self.data / "intent-to-upgrade"

    @property
    def upgrade_lock(self) -> Path:
        return self.lock / "ganeti-upgrade.lock"

    @property
    def daemon_util_lock(self) -> Path:
        return self.lock / "ganeti-daemon-util.lock"

    @property
    def backups(self) -> Path:
        return self.below(LOCALSTATEDIR) / "backups"

    @property
    def daemon_defaults(self) -> Path:
        """Further options of the daemons."""
        return self.below(SYSCONFDIR) / "default/ganeti"

    def ssconf(self, key: str) -> Path:
        return self.data / f"ssconf_{key}"

    def pid_file(self, daemon: str) -> Path:
        return self.run / f"{daemon}.pid"

    def daemon_log(self, kind: str) -> Path:
        """`kind` is node, master, rapi or conf."""
        return self.log / f"{kind}-daemon.log"

    def job_file(self, number: int) -> Path:
        return self.queue / f"job-{number}"
