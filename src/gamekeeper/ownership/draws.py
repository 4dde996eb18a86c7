"""Draws that nobody chose: rows, labels and signs from public randomness and a committed digest.

    key    HMAC-SHA256(beacon, the digest, and what the draw is for)
    block  HMAC-SHA256(key, 0), HMAC-SHA256(key, 1), …: a stream of 64-bit numbers (big-endian, four per block)

Whoever knows the digest before the beacon is drawn cannot foresee the draw, and whoever knows the beacon cannot change a
digest that was committed to. Only whole numbers are computed, so that a draw is the same on every machine. A number below
m comes from the stream by rejection, hence without bias; a permutation by Fisher and Yates.

Source      HMAC as a pseudorandom function: RFC 2104 and Bellare 2006; Durstenfeld's form of the Fisher-Yates shuffle
Assumes     a beacon published after the digest was committed to (drand, NIST, a lottery): at least 16 bytes, since fewer
            could be tried in advance
"""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import hash_bytes, part

LEAST = 16
WORD = 2**64


@dataclass(frozen=True)
class Draw:
    """A source of draws. Each `use` is a stream of its own: drawing more of one does not change another.

    beacon  public random bytes
    digest  of the claim, 64 hexadecimal digits, committed to before the beacon was published
    """

    beacon: bytes
    digest: str

    def __post_init__(self) -> None:
        if len(self.beacon) < LEAST:
            raise BadClaim(
                f"a beacon must be {LEAST} bytes or more, so that none can be guessed. Got {len(self.beacon)}."
            )

    def words(self, use: str) -> Iterator[int]:
        """The stream of 64-bit numbers for this use."""
        key = hmac.digest(self.beacon, part(hash_bytes(self.digest)) + part(use.encode()), "sha256")
        for block in range(WORD):
            digest = hmac.digest(key, block.to_bytes(8, "big"), "sha256")
            yield from (int.from_bytes(digest[i : i + 8], "big") for i in range(0, 32, 8))

    def rows(self, use: str, n: int, count: int) -> Int[Tensor, " count"]:
        """`count` different rows of n, in the order drawn: the first of a permutation, so that more rows begin with these.

        Raises BadClaim if there are not as many.
        """
        if not 0 <= count <= n:
            raise BadClaim(f"{count} different rows cannot be drawn of {n}. Ask for fewer.")
        words, order = self.words(use), list(range(n))
        for i in range(count):
            j = i + below(n - i, words)
            order[i], order[j] = order[j], order[i]
        return torch.tensor(order[:count], dtype=torch.int64)

    def labels(self, use: str, classes: int, count: int) -> Int[Tensor, " count"]:
        """Labels, uniform over the classes and independent of each other."""
        words = self.words(use)
        return torch.tensor([below(classes, words) for _ in range(count)], dtype=torch.int64)

    def other_labels(self, use: str, classes: int, natural: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """For each row a label, uniform over all classes but the natural one. Raises BadClaim with fewer than two classes."""
        if classes < 2:
            raise BadClaim(f"a label other than the natural one needs two classes. Got {classes}.")
        steps = self.labels(use, classes - 1, len(natural)) + 1
        return (natural + steps) % classes


def below(bound: int, words: Iterator[int]) -> int:
    """The next number in [0, bound), uniform: words beyond the last whole multiple of the bound are passed over.

    Raises BadClaim unless 1 <= bound <= 2^64.
    """
    if not 1 <= bound <= WORD:
        raise BadClaim(f"a number can be drawn below 1 to 2^64. Got {bound}.")
    limit = WORD - WORD % bound
    return next(word for word in words if word < limit) % bound
