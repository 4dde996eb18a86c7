"""Every reproduction by its name. `reproductions/description.py` explains the terms."""

from collections.abc import Mapping

from gamekeeper.reproductions.deep_defense import EXPLAINED, EXPLAINED_CIFAR10, EXPLAINED_CLOTHES
from gamekeeper.reproductions.description import Reproduction
from gamekeeper.reproductions.orderings import COMPARED, OTHERS
from gamekeeper.reproductions.prediction_poisoning import CIFAR10, FASHION, MNIST
from gamekeeper.reproductions.tramer import TRAMER_TABLES

REPRODUCTIONS: Mapping[str, Reproduction] = {
    each.name: each
    for each in (
        TRAMER_TABLES,
        FASHION,
        MNIST,
        COMPARED,
        CIFAR10,
        OTHERS,
        EXPLAINED,
        EXPLAINED_CLOTHES,
        EXPLAINED_CIFAR10,
    )
}
