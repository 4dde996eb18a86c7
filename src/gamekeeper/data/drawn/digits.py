"""Handwritten digits, drawn by somebody who knows what digits look like and has seen none of the owner's.

Source      none: stroke skeletons from memory, three or more ways to write each digit. That digits are white on black, fill
            20 of 28 pixels and are centred by mass is the published description of MNIST (LeCun, Cortes, Burges)
Keeps       no state: a drawing depends on the seed and its number alone
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.data.drawn.strokes import (
    SIDE,
    Dice,
    Images,
    Segments,
    Skeletons,
    centred,
    distance,
    field,
    fitted,
    ink,
    skeletons,
    slanted,
    stream,
)
from gamekeeper.types import Batch

WAYS: tuple[tuple[str, ...], ...] = (
    (  # an oval, closed at the top or beside it, round or narrow
        "50,0 22,12 8,50 22,88 50,100 78,88 92,50 78,12 50,0",
        "60,2 30,10 14,50 28,90 52,100 78,84 84,46 70,10 44,4",
        "50,0 32,14 26,50 32,86 50,100 68,86 74,50 68,14 50,0",
        "72,12 48,0 20,22 10,60 30,94 60,96 84,68 88,34 72,8 56,4",
    ),
    (  # a line; with a flag; with a flag and a foot
        "50,0 50,50 50,100",
        "54,0 50,50 46,100",
        "28,24 44,12 54,0/54,0 54,50 54,100",
        "30,22 54,0/54,0 54,50 54,100/30,100 54,100 78,100",
        "48,0 53,35 52,70 48,100",
    ),
    (  # a straight foot; a loop; a wave; a flat top
        "14,24 28,5 54,0 80,12 80,36 54,66 12,100/12,100 50,100 90,98",
        "16,20 38,0 70,4 80,26 66,56 36,88 14,96 14,82 32,80 54,92 90,96",
        "12,28 30,6 58,2 78,20 72,46 44,74 10,96/10,96 36,88 60,98 92,90",
        "20,10 50,0 76,10 78,32 50,64 16,98/16,98 88,100",
        "22,22 40,4 66,4 78,20 70,44 46,70 26,94 14,88 26,78 50,88 70,100 90,92",
    ),
    (  # two bows; a flat top; a small loop in the middle; bows without a tip
        "16,14 40,0 72,6 74,30 44,46/44,46 78,56 84,80 54,100 14,90",
        "16,2 78,2/78,2 44,40/44,40 78,50 84,76 56,100 14,92",
        "18,12 46,0 74,12 68,36 44,48 36,42 50,44 78,56 82,82 52,100 16,90",
        "22,8 52,0 76,16 64,40 40,46/40,46 72,50 86,70 70,94 40,100 14,86",
        "20,4 60,0 78,14 66,38 50,46 74,56 80,78 60,98 20,98",
    ),
    (  # open; closed above; a round corner; a short stem
        "24,0 16,56/16,56 84,54/72,4 68,50 66,100",
        "66,0 36,34 10,64/10,64 90,64/66,0 66,50 66,100",
        "22,4 14,40 24,56 50,56 76,48/80,0 74,50 66,100",
        "30,2 22,30 20,50/20,50 50,54 80,50/74,10 70,56 68,100",
        "60,0 30,30 12,58/12,58 50,60 86,56/62,30 60,66 58,100",
        "20,8 18,34 26,48 50,50 72,42/78,6 76,30 70,66 62,100",
    ),
    (  # a bar first or last, an S
        "82,2 28,2/28,2 22,42/22,42 50,36 80,52 80,80 52,100 14,92",
        "30,4 24,44/24,44 54,38 78,58 72,86 44,100 16,92/30,4 84,0",
        "84,4 50,2 30,14 30,34 54,46 74,62 70,88 44,100 14,92",
        "36,6 26,46/26,46 52,44 70,62 64,88 40,100 14,94/36,6 60,8 88,2",
        "90,0 40,6/40,6 30,40/30,40 60,46 66,70 46,96 10,96",
    ),
    (  # a bow and a loop; straight and a loop; a wide loop; a narrow one
        "68,0 34,24 18,62 30,94 58,100 78,82 70,60 46,56 22,72",
        "46,0 28,36 20,74 36,100 62,98 72,78 56,62 34,68 22,82",
        "76,4 44,10 18,46 14,78 38,100 72,94 84,72 64,54 36,58 16,76",
        "60,0 40,30 30,64 36,94 56,100 70,84 64,66 46,66 32,82",
        "54,0 26,40 16,76 40,100 74,90 78,70 56,62 30,76 24,90",
    ),
    (  # plain; with a bar; with a hook; a bent stem
        "14,6 50,4 84,4/84,4 64,40 44,100",
        "14,8 84,4/84,4 62,46 42,100/36,52 60,50 82,50",
        "14,22 18,6 50,6 84,4/84,4 60,40 50,100",
        "12,10 40,2 82,8/82,8 80,24 56,54 48,100",
        "16,10 50,8 78,0/78,0 76,30 70,66 62,100",
        "18,18 34,4 60,10 82,2/82,2 64,36 54,70 50,100",
    ),
    (  # one stroke that crosses; two rings; an open top
        "72,10 46,0 24,16 34,38 60,54 78,76 56,100 28,94 24,74 46,52 70,34 78,14 62,2",
        "50,0 28,10 28,36 50,46 72,36 72,10 50,0/50,46 22,58 20,88 50,100 80,88 78,58 50,46",
        "80,6 50,0 28,14 34,36 58,50 72,72 58,98 34,98 26,76 44,54 84,12",
        "62,2 40,2 30,20 42,42 60,58 66,82 50,100 34,88 38,64 56,42 70,22 62,2",
        "52,0 34,8 32,30 50,44 66,32 68,10 52,0/50,44 30,60 28,88 48,100 68,88 68,60 50,44",
    ),
    (  # a loop and a straight stem; a bent one; a hook; a small loop
        "76,16 50,0 22,18 22,44 48,52 74,34 76,16/76,12 72,60 66,100",
        "74,22 58,2 30,8 20,34 40,50 66,40 76,14/76,14 76,46 58,80 40,100",
        "78,14 52,2 24,22 28,46 54,50 76,30 78,14/78,14 78,60 62,94 36,100 20,90",
        "68,10 48,0 32,14 36,36 56,38 70,16/70,10 66,56 60,100",
        "80,8 44,2 18,24 30,46 60,40 80,10/80,8 68,50 46,100",
    ),
)
"""For each digit, the ways to write it, in the notation of `strokes.skeletons`."""
FIRST = torch.tensor([0, *(len(ways) for ways in WAYS)]).cumsum(0)[:-1]
"""The number of each digit's first skeleton."""


@cache
def all_ways() -> Skeletons:
    return skeletons([way for ways in WAYS for way in ways])


@dataclass(frozen=True)
class Digits:
    """Digits 0 to 9 in rotation, (n, 1, 28, 28) in [0, 1], white on black.

    bend    how far a smooth field moves the skeletons: root mean square, as a share of their height
    slant   mean lean to the right, per unit of height
    """

    bend: float = 0.09
    slant: float = 0.15

    def __call__(self, n: int, seed: int, /) -> tuple[Batch, Int[Tensor, " n"]]:
        return stream(self.portion, len(WAYS), n, seed)

    def portion(self, digits: Int[Tensor, " n"], dice: Dice) -> Images:
        """One drawing of each of the given digits."""
        count = torch.tensor([len(ways) for ways in WAYS])[digits]
        rows = FIRST[digits] + dice.number(count)
        radius, edge = dice.uniform(0.7, 1.7), dice.uniform(1.0, 1.8)
        start, end = self.written(rows, dice)
        size = dice.uniform(18.5, 20.5) - 2 * radius
        start, end = fitted(torch.cat([start, end], 1), size).add((SIDE - 1) / 2).chunk(2, 1)
        return centred(ink(distance((start, end)), radius, edge))

    def written(self, rows: Int[Tensor, " n"], dice: Dice) -> Segments:
        """The segments of these skeletons: bent, narrowed, slanted and turned."""
        ways = all_ways()
        controls = field(ways.controls[rows], self.bend, dice)
        width = dice.uniform(0.65, 1.2)
        controls = controls * torch.stack([width, torch.ones_like(width)], 1)[:, None]
        controls = slanted(controls, dice.normal(self.slant, 0.25), dice.normal(0.0, math.radians(8)))
        return ways.segments(rows, controls)
