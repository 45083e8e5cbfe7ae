"""Where instances should live: the allocator protocol, and pure placing and scoring."""
