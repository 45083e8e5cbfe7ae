"""Calls between the master and the nodes."""
