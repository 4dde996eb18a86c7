"""What a clone is good for: attacks on the victim that are prepared on the clone."""
