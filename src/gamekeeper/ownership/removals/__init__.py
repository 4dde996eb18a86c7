"""What a thief does to a copy so that no claim finds it, one recipe per file; `apart.py` keeps their data honest."""
