"""The master daemon: LUXI service, job execution, hooks, voting, and cluster creation."""
