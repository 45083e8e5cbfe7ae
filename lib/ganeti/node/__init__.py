"""The node daemon: the functions that the call table names."""
