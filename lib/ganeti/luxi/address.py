"""Names of Unix sockets, however long the path is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

MAX_NAME_BYTES = 107  # sun_path has 108 with the final zero: unix(7)


@contextmanager
def address_of(path: "str | os.PathLike[str]") -> Iterator[str]:
    """A name for bind(2) and connect(2); a long path goes by way of its open directory."""
    if len(os.fsencode(path)) <= MAX_NAME_BYTES:
        yield os.fspath(path)
        return
    parent, name = os.path.split(path)
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)
