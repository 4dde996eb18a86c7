"""Drawings that a user brings: images of each class in a folder, or a class of their own that makes them."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.splits import equal_rows
from gamekeeper.errors import BadConfig
from gamekeeper.methods import imported
from gamekeeper.types import Batch, Drawings
from gamekeeper.units import UnitBox


@dataclass(frozen=True, eq=False)
class Held:
    """Inputs made beforehand, each once, in an order drawn from the seed; none are left after the last."""

    x: Batch
    classes: Int[Tensor, " n"]

    def __repr__(self) -> str:
        """Names what it holds: it stands in the ids of results."""
        return f"Held({len(self.x)} inputs, sha256={Dataset(self.x, self.classes).digest()})"

    def __call__(self, n: int, seed: int, /) -> tuple[Batch, Int[Tensor, " n"]]:
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))[:n]
        return self.x[order], self.classes[order]


@dataclass(frozen=True, eq=False)
class InUnits:
    """Drawings of rows in natural units, as a method made for a box sees them."""

    drawings: Drawings
    units: UnitBox

    def __call__(self, n: int, seed: int, /) -> tuple[Batch, Int[Tensor, " n"]]:
        x, classes = self.drawings(n, seed)
        return self.units.inside(x), classes


def held(data: Dataset) -> Held:
    """Labelled inputs as drawings; of equal ones the first is kept."""
    assert data.y is not None
    rows = torch.tensor([group[0] for group in equal_rows(data.x)], dtype=torch.long)
    return Held(data.x[rows], data.y[rows])


def own(name: str) -> Drawings:
    """The user's own drawings by import path, `package.module.Class`. Raises BadConfig. Importing runs code."""
    recipe = imported(name)()
    if not isinstance(recipe, Drawings):
        raise BadConfig(
            f"'{name}' must be callable as (n, seed) and return inputs and their classes; it is {recipe!r}."
        )
    return recipe
