"""The command-line programs: one module per program on one framework."""
