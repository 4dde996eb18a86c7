"""Recipes that score what a client asks. They can change no answer."""
