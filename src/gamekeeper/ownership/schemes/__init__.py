"""Schemes: what marks a model or tells it from others, one per file; each ends in a claim."""
