"""Lock manager: pure."""
