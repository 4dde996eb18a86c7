"""DeepDefense (IJCAI 2022)."""

from gamekeeper.defenses.deep_defense.recipe import DeepDefense

__all__ = ["DeepDefense"]
