"""Randomness that belongs to an input: drawn from HMAC(secret, input), so that asking again brings the same answer.

An input's canonical bytes are its float32 values with -0 written as 0: changes below float32 do not redraw anything.
"""

import hashlib
import hmac
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.keys import derived
from gamekeeper.types import Batch


def cells(
    f: Float[Tensor, "n d"], centre: Float[Tensor, " d"], directions: Float[Tensor, "d bits"]
) -> Int[Tensor, " n"]:
    """In which of 2^bits cells each row lies: the signs of its projections around the centre, read as a number."""
    signs = (f.double() - centre) @ directions > 0
    return (signs.long() << torch.arange(signs.shape[1])).sum(1)


@runtime_checkable
class Keyed(Protocol):
    """A defense that, where `keyed`, draws answers from the owner's secret. One without the property draws none."""

    @property
    def keyed(self) -> bool: ...


def secret(method: str, seed: int, owned: bytes | None) -> bytes:
    """The key of one armed defense, 32 bytes; every method has its own, and for another seed another.

    `owned` is the owner's secret. Without it the key is anybody's who reads this and guesses the seed: good enough for
    an audit, which must come out alike for everybody.
    """
    if owned is None:
        return hashlib.sha256(f"{method} secret {seed}".encode()).digest()
    return derived(owned, f"defense {method} seed {seed}")


def uniforms(key: bytes, x: Batch, k: int) -> Float[Tensor, "n k"]:
    """k numbers from [0, 1) for every input, float64, independent between inputs without the key."""
    rows = (x.float() + 0.0).contiguous().numpy()
    digests = [hmac.digest(key, row.tobytes(), "sha256") for row in rows]
    drawn = [np.random.Generator(np.random.Philox(key=int.from_bytes(d[:16]))).random(k) for d in digests]
    return torch.from_numpy(np.stack(drawn))
