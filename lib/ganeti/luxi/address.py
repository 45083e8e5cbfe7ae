"""Names of Unix sockets, however long the path is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_NAME_BYTES = 107  # sun_path has 108 with the final zero: unix(7)


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """A name for bind(2) and connect(2); a long path goes by way of its open directory."""
    if len(os.fsencode(path)) <= MAX_NAME_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
