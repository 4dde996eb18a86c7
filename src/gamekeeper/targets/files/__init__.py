"""Model files from others, read without running any code in them."""
