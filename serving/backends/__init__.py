"""What answers for an arm."""
