"""Recipes that score what a client queries. They cannot change answers."""
