"""Attacks: how a thief queries, one paper per file."""
