"""For `pip install .`: programs, library, helpers and guest OS definition below one prefix.

The description of the project is pyproject.toml. A full installation (manual pages, units, cron) is
made by `./autogen.sh && ./configure && make install`; see doc/install.rst. Only that one puts
versions beside each other: here, each version has an environment of its own.
"""

from collections.abc import Sequence
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TOP = Path(__file__).resolve().parent
HELPERS = {
    "lib/ganeti": (
        *("daemon-util", "ensure-dirs", "import-export", "node-daemon-setup"),
        *("prepare-node-join", "ssh-update"),
    ),
    "lib/ganeti/tools": ("cfgupgrade", "kvm-console-wrapper"),
}

# A prefix may lie anywhere, so that places are found from where the package is:
# PREFIX/lib/python3.X/site-packages/ganeti/build.py.
BUILD = '''"""Where this installation keeps its files: below the prefix that pip chose."""

from os.path import abspath, dirname

_PREFIX = dirname(dirname(dirname(dirname(dirname(abspath(__file__))))))

LOCALSTATEDIR = "/var"
SYSCONFDIR = "/etc"
DATADIR = _PREFIX + "/share"
LIBDIR = _PREFIX + "/lib/ganeti"
SBINDIR = _PREFIX + "/bin"
'''

# Shell and Python at once: pip sets the interpreter of programs, not of other files.
HEADER = """#!/bin/sh
''':'
up=.; case "$0" in */tools/*) up=..;; esac
python=$(dirname "$0")/$up/../../bin/python3
[ -x "$python" ] || python=python3
exec "$python" "$0" "$@"
'''
"""


class BuildPy(build_py):
    """Writes the package's own build.py."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, "ganeti", "build.py").write_text(BUILD)


def helper(name: str) -> str:
    """A copy of the helper program that finds the interpreter of its prefix."""
    made = TOP / "build" / "helpers" / name
    made.parent.mkdir(parents=True, exist_ok=True)
    body = (TOP / "tools" / name).read_text().split("\n", 1)[1]
    made.write_text(HEADER + body.replace('"""', '__doc__ = """', 1))
    made.chmod(0o755)
    return str(made.relative_to(TOP))


def data_files() -> list[tuple[str, Sequence[str]]]:
    files: list[tuple[str, Sequence[str]]] = [
        (place, [helper(name) for name in names]) for place, names in HELPERS.items()
    ]
    for definition in sorted((TOP / "os").iterdir()):
        inside = [one for one in sorted(definition.iterdir()) if one.is_file()]
        names = [str(one.relative_to(TOP)) for one in inside]
        files.append((f"share/ganeti/os/{definition.name}", names))
    for provider in sorted((TOP / "doc/examples/extstorage").iterdir()):
        names = [str(one.relative_to(TOP)) for one in sorted(provider.iterdir())]
        files.append((f"share/ganeti/extstorage/{provider.name}", names))
    return files


setup(
    cmdclass={"build_py": BuildPy},
    data_files=data_files(),
    scripts=[
        str(one.relative_to(TOP))
        for folder in ("scripts", "daemons")
        for one in sorted((TOP / folder).iterdir())
    ],
)
