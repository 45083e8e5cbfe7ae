"""The configuration: snapshots, transactions, reservations, upgrade, distribution."""
