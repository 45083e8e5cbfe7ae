"""Job model, store, replication, scheduling."""
