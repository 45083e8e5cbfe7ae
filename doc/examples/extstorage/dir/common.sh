# What the scripts of this provider have in common; each reads it with ". ./common.sh".
#
# A volume is a file in a directory that all nodes share. Beside it lie VOLUME.info (what setinfo
# was told) and, for each node that has it open, VOLUME.open-NODE.

set -eu
umask 077

NO_VOLUME=66 # of attach: there is no such volume; any other failure leaves that open

fail() {
    echo "volume ${VOL_NAME:-}: $*" >&2
    exit 1
}

case ${VOL_NAME:-} in
"" | .* | */*) fail "this is no name for a volume" ;;
esac

directory=${EXTP_DIRECTORY:-/srv/ganeti/volumes}
case $directory/ in
*/../*) fail "parameter directory: $directory leads upwards" ;;
/*) ;;
*) fail "parameter directory: $directory is not an absolute path" ;;
esac

# On a virtual node all paths are below its root, and there may be no right to make loop devices.
root=${GANETI_ROOTDIR:-}
device=${EXTP_DEVICE:-$([ -n "$root" ] && echo file || echo loop)}
place=${root%/}$directory
volume=$place/$VOL_NAME
node=${GANETI_HOSTNAME:-$(uname -n)}

# Without its directory (a file system that is not mounted) nothing can be said about a volume.
need_place() {
    [ -d "$place" ] || fail "directory $place is not on this node; is the shared storage mounted?"
}

# The loop devices of the volume, one a line.
loops() {
    losetup --noheadings --output NAME --associated "$volume"
}

# New volumes get their name last: whoever sees one sees it whole, and two can't make the same.
publish() { # file, volume
    ln "$1" "$2" || fail "$2 can't be made"
    rm -f "$1"
}
