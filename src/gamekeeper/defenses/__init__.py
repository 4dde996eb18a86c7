"""Recipes that change answers, one paper a file."""

from gamekeeper.defenses.baselines import ConstantTarget, Flatten, LeastLikely
from gamekeeper.defenses.mad import MAD
from gamekeeper.defenses.noise import RandomNoise
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.defenses.truncate import Label, Round, TopK

__all__ = ["MAD", "ConstantTarget", "Flatten", "Label", "LeastLikely", "RandomNoise", "ReverseSigmoid", "Round", "TopK"]
