"""Where this installation keeps its files; `make install` writes a copy with its own values."""

LOCALSTATEDIR = "/var"
SYSCONFDIR = "/etc"
DATADIR = "/usr/share"
LIBDIR = "/usr/lib/ganeti"
SBINDIR = "/usr/sbin"
