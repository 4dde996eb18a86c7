"""Randomness that belongs to an input: drawn from HMAC(secret, input), so that asking again brings the same answer.

An input's canonical bytes are its float32 values with -0 written as 0: changes below float32 do not redraw anything.
"""

import hashlib
import hmac

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.types import Batch


def cells(
    f: Float[Tensor, "n d"], centre: Float[Tensor, " d"], directions: Float[Tensor, "d bits"]
) -> Int[Tensor, " n"]:
    """In which of 2^bits cells each row lies: the signs of its projections around the centre, read as a number."""
    signs = (f.double() - centre) @ directions > 0
    return (signs.long() << torch.arange(signs.shape[1])).sum(1)


def secret(method: str, seed: int) -> bytes:
    """The key of one armed defense; every method has its own for the same seed."""
    return hashlib.sha256(f"{method} secret {seed}".encode()).digest()


def uniforms(key: bytes, x: Batch, k: int) -> Float[Tensor, "n k"]:
    """k numbers from [0, 1) for every input, float64, independent between inputs without the key."""
    rows = (x.float() + 0.0).contiguous().numpy()
    digests = [hmac.digest(key, row.tobytes(), "sha256") for row in rows]
    drawn = [np.random.Generator(np.random.Philox(key=int.from_bytes(d[:16]))).random(k) for d in digests]
    return torch.from_numpy(np.stack(drawn))
