"""Hypervisors: one driver per kind, behind one contract (base.py)."""
