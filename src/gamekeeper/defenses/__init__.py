"""Recipes that change answers, one paper a file."""

from gamekeeper.defenses.adaptive_misinformation import AdaptiveMisinformation
from gamekeeper.defenses.baselines import ConstantTarget, Flatten, LeastLikely
from gamekeeper.defenses.deep_defense.recipe import DeepDefense
from gamekeeper.defenses.dp_sgd import DPSGD
from gamekeeper.defenses.edm import EDM
from gamekeeper.defenses.grad2 import GRAD2
from gamekeeper.defenses.keyed_misinformation import KeyedMisinformation
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.modelguard import ModelGuardS, ModelGuardW
from gamekeeper.defenses.noise import RandomNoise
from gamekeeper.defenses.ood_gate import OodGate
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.defenses.truncate import Label, Round, TopK

__all__ = [
    "DPSGD",
    "EDM",
    "GRAD2",
    "MAD",
    "AdaptiveMisinformation",
    "ConstantTarget",
    "DeepDefense",
    "Flatten",
    "KeyedMisinformation",
    "Label",
    "LeastLikely",
    "ModelGuardS",
    "ModelGuardW",
    "OodGate",
    "RandomNoise",
    "ReverseSigmoid",
    "Round",
    "TopK",
]
