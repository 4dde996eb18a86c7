"""Recipes that change answers, one paper per file. All can be imported from here, as `gamekeeper.defenses.MAD`."""

import importlib
import pkgutil


def __getattr__(name: str) -> type:
    """The recipe of that name from any module of the package; new files need not be listed here."""
    for info in pkgutil.iter_modules(__path__):
        recipe = getattr(importlib.import_module(f"{__name__}.{info.name}"), name, None)
        if isinstance(recipe, type) and hasattr(recipe, "arm"):
            return recipe
    raise AttributeError(f"module '{__name__}' has no recipe '{name}'")
