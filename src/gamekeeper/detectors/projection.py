"""Projections: inputs or features on the few directions in which the owner's differ most."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gamekeeper.detectors.features import Features

ROWS = 2_000
"""Most rows that a projection is fitted on; further ones hardly move its first directions."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Projection:
    """(x - centre) @ axes, computed in float64 and rounded to float32, so that a row hardly depends on its batch."""

    centre: Float[Tensor, " d"]
    axes: Float[Tensor, "d p"]

    @staticmethod
    def principal(f: Features, dims: int) -> "Projection":
        """Principal components, at most `dims`, all in one unit: the mean variance of a column is 1."""
        return fitted(f.double(), f.double().var(0, correction=0).mean().sqrt(), dims)

    @staticmethod
    def standardised(f: Features, dims: int) -> "Projection":
        """The same for a table, whose columns have units of their own: each is divided by its deviation first."""
        return fitted(f.double(), f.double().std(0, correction=0), dims)

    @staticmethod
    def inputs(x: Shaped[Tensor, "n ..."], dims: int) -> "Projection":
        """Of inputs: a row of numbers is a table's, all else (an image, a series) is measured in one unit."""
        return (Projection.standardised if x.ndim == 2 else Projection.principal)(x.flatten(1), dims)

    def __call__(self, x: Shaped[Tensor, "m ..."]) -> Float[Tensor, "m p"]:
        return ((x.flatten(1).double() - self.centre) @ self.axes).float()


def fitted(f: Float[Tensor, "n d"], unit: Tensor, dims: int) -> Projection:
    """The projection for rows in these units, one for all columns or one for each; columns that never vary stay as they are."""
    unit = torch.where(unit > TINY, unit, 1.0).expand(f.shape[1])
    centre = f.mean(0)
    if f.shape[1] <= dims:
        return Projection(centre, torch.diag(1 / unit))
    rows = (f[:ROWS] - centre) / unit
    axes = torch.linalg.svd(rows, full_matrices=False).Vh[:dims].T
    return Projection(centre, axes / unit[:, None])
