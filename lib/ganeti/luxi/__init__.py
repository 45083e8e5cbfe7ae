"""LUXI, the local protocol between programs on the master node and the master daemon."""
