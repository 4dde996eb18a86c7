"""Randomness tied to the input: drawn from HMAC(secret, input), so that a repeated query gets the same answer.

An input's canonical bytes are its float32 values with -0 written as 0: changes below float32 precision redraw nothing.
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
    """Which of 2^bits cells each row lies in: the signs of its projections around the centre, read as a number."""
    signs = (f.double() - centre) @ directions > 0
    return (signs.long() << torch.arange(signs.shape[1])).sum(1)


@runtime_checkable
class Keyed(Protocol):
    """A defense that draws on the owner's secret, if `keyed`. One without the property does not."""

    @property
    def keyed(self) -> bool: ...


def secret(method: str, seed: int, owned: bytes | None) -> bytes:
    """The key of one armed defense, 32 bytes; it differs between methods and between seeds.

    `owned` is the owner's secret. Without it, anybody who guesses the seed can compute the key: good enough for an
    audit, which must be reproducible by everybody.
    """
    if owned is None:
        return hashlib.sha256(f"{method} secret {seed}".encode()).digest()
    return derived(owned, f"defense {method} seed {seed}")


def uniforms(key: bytes, x: Batch, k: int) -> Float[Tensor, "n k"]:
    """k float64 numbers from [0, 1) for each input; to anyone without the key, independent between inputs."""
    rows = (x.float() + 0.0).contiguous().numpy()
    digests = [hmac.digest(key, row.tobytes(), "sha256") for row in rows]
    drawn = [np.random.Generator(np.random.Philox(key=int.from_bytes(d[:16]))).random(k) for d in digests]
    return torch.from_numpy(np.stack(drawn))
