#!/bin/sh
# Make ./configure. Needs autoconf (2.69 or later) and automake (1.16 or later).
set -e
cd "$(dirname "$0")"
for program in autoreconf automake; do
  if ! command -v $program >/dev/null; then
    echo "autogen.sh: $program is missing; on Debian: apt-get install autoconf automake" >&2
    exit 1
  fi
done
autoreconf --force --install --warnings=all
echo "Now run ./configure --prefix=/usr --localstatedir=/var --sysconfdir=/etc"
