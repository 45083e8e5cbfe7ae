"""Ganeti: a cluster manager for virtual machines."""
