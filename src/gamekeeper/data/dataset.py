"""Examples held as whole tensors: what a reader returns and a split divides."""

import hashlib
from dataclasses import dataclass

from jaxtyping import Float32, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """n inputs and, where they are known, their classes.

    x  inputs, float32 (n, ...); grey images are (n, 1, h, w), colour images (n, 3, h, w), tables (n, d)
    y  classes as whole numbers from 0, (n,); None for an unlabelled pool
    """

    x: Float32[Tensor, "n ..."]
    y: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def digest(self) -> str:
        """SHA-256 in hexadecimal over the dtype, shape and bytes of x and y; memory layout does not matter."""
        sha = hashlib.sha256()
        for part in (self.x, self.y):
            if part is None:
                sha.update(b"none;")
            else:
                sha.update(f"{part.dtype} {tuple(part.shape)};".encode())
                sha.update(part.detach().cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def take(self, rows: Int[Tensor, " m"]) -> "Dataset":
        """The given rows, in the given order."""
        return Dataset(self.x[rows], None if self.y is None else self.y[rows])
