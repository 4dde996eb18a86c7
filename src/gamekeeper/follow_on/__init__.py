"""What a stolen copy is good for: attacks on the victim that are worked out on the copy."""
