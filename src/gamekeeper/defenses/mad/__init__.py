"""Maximal angular deviation (Prediction Poisoning, ICLR 2020)."""

from gamekeeper.defenses.mad.recipe import MAD

__all__ = ["MAD"]
