"""Inputs drawn from the names of their classes: what a thief can make without any input of the owner's."""
