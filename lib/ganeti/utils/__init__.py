"""What any program might need."""
