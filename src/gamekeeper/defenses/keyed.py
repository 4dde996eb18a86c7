"""Randomness that belongs to an input: drawn from HMAC(secret, input), so that asking again brings the same answer.

An input's canonical bytes are its float32 values with -0 written as 0: changes below float32 do not redraw anything.
"""

import hashlib
import hmac

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.types import Batch


def secret(method: str, seed: int) -> bytes:
    """The key of one armed defense; every method has its own for the same seed."""
    return hashlib.sha256(f"{method} secret {seed}".encode()).digest()


def uniforms(key: bytes, x: Batch, k: int) -> Float[Tensor, "n k"]:
    """k numbers from [0, 1) for every input, float64, independent between inputs without the key."""
    rows = (x.float() + 0.0).contiguous().numpy()
    digests = [hmac.digest(key, row.tobytes(), "sha256") for row in rows]
    drawn = [np.random.Generator(np.random.Philox(key=int.from_bytes(d[:16]))).random(k) for d in digests]
    return torch.from_numpy(np.stack(drawn))
