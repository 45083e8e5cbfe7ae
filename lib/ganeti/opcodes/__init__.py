"""Opcodes, declared: what the master can be told to do.

`find` and `load` import the one module that declares the opcode asked for.
"""

from ganeti.opcodes.base import Opcode
from ganeti.opcodes.registry import MODULES, find, load, load_submitted, redacted, summary

__all__ = ["MODULES", "Opcode", "find", "load", "load_submitted", "redacted", "summary"]
