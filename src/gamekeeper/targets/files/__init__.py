"""Model files that were handed over: read without running any code in them."""
