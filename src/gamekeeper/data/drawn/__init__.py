"""Drawings of digits and clothes, made of geometry and random numbers alone. Nothing here reads a file."""
