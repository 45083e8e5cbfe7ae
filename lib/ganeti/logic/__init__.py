"""Logical units: what each opcode means. One module per opcode, named like it."""
