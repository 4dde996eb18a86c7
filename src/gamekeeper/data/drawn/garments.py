"""Silhouettes of the ten kinds of articles in Fashion-MNIST, as polygons whose measures are random.

Seen from the front, or a shoe from its side, toe to the left. x goes right, y down; any unit, since the whole is scaled to fit.
Worn things are symmetric about x = 0 and given by their right half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gamekeeper.data.drawn.pen import Points, between

Number = Float[Tensor, " n"]
Place = tuple[Number | float, Number | float]


@dataclass(frozen=True, eq=False)
class Part:
    """One polygon of a drawing: its corners, its brightness beside the article's own, and in which drawings it occurs."""

    corners: Points
    shade: Number
    there: Bool[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Measures:
    """Random measures for n articles."""

    n: int
    generator: torch.Generator

    def __call__(self, low: float, high: float) -> Number:
        return between(low, high, self.n, self.generator)

    def in_part(self, share: float) -> Bool[Tensor, " n"]:
        """True for that share of them, at random."""
        return torch.rand(self.n, generator=self.generator) < share

    def polygon(self, places: Sequence[Place]) -> Points:
        rows = [torch.stack([torch.as_tensor(value).expand(self.n) for value in place], -1) for place in places]
        return torch.stack(rows, 1).float()

    def part(
        self, places: Sequence[Place], shade: Number | float = 1.0, there: Bool[Tensor, " n"] | None = None
    ) -> Part:
        always = torch.ones(self.n, dtype=torch.bool) if there is None else there
        return Part(self.polygon(places), torch.as_tensor(shade).expand(self.n), always)

    def both(
        self, right: Sequence[Place], shade: Number | float = 1.0, there: Bool[Tensor, " n"] | None = None
    ) -> Part:
        """The polygon whose right half is given, from top to bottom."""
        return self.part([*right, *mirrored(right)], shade, there)


def mirrored(right: Sequence[Place]) -> list[Place]:
    return [(-x, y) for x, y in reversed(right)]


Garment = Callable[[int, torch.Generator], list[Part]]


def t_shirt(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    shoulder, hem, length = m(0.34, 0.44), m(0.3, 0.42), m(1.0, 1.3)
    return upper(
        m, shoulder, hem, length, reach=m(0.12, 0.26), drop=m(0.15, 0.4), wide=m(0.16, 0.26), bare=m.in_part(0.12)
    )


def pullover(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    shoulder, hem, length = m(0.34, 0.44), m(0.32, 0.42), m(1.0, 1.2)
    return upper(
        m, shoulder, hem, length, reach=m(0.08, 0.28), drop=m(0.75, 1.05) * length, wide=m(0.13, 0.19), high=True
    )


def coat(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    shoulder, hem, length = m(0.32, 0.42), m(0.32, 0.46), m(1.15, 1.6)
    parts = upper(m, shoulder, hem, length, reach=m(0.06, 0.22), drop=m(0.8, 1.0), wide=m(0.12, 0.18), high=True)
    return [*parts, *opening(m, length, m(0.02, 0.05), m.in_part(0.9)), lapel(m, 1), lapel(m, -1)]


def shirt(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    shoulder, hem, length = m(0.32, 0.42), m(0.3, 0.4), m(1.05, 1.3)
    short = m.in_part(0.25)
    drop = torch.where(short, m(0.2, 0.5), m(0.75, 1.05))
    parts = upper(m, shoulder, hem, length, reach=m(0.06, 0.22), drop=drop, wide=m(0.11, 0.18))
    return [*parts, *opening(m, length, m(0.01, 0.025), m.in_part(0.6)), lapel(m, 1), lapel(m, -1)]


def dress(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    shoulder, waist, hem, length = m(0.2, 0.3), m(0.15, 0.24), m(0.2, 0.48), m(1.6, 2.1)
    neck, deep = m(0.08, 0.15), m(0.05, 0.25)
    sleeve, drop = m.in_part(0.4), m(0.15, 0.9)
    body = [(neck, 0.0), (shoulder, 0.06), (shoulder * 0.85, 0.35), (waist, m(0.55, 0.75)), (hem, length)]
    front = m.part([(0.0, deep), *body, *mirrored(body)], 1.0)
    return [*sleeves(m, shoulder, m(0.06, 0.18), drop, m(0.09, 0.13), sleeve), front]


def trouser(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    waist, hip, length, crotch = m(0.2, 0.28), m(0.24, 0.32), m(1.5, 1.9), m(0.4, 0.6)
    apart, ankle, knee = m(0.0, 0.08), m(0.1, 0.2), m(0.12, 0.18)
    inner = 0.02 + apart
    leg = [
        (0.0, 0.0), (waist, 0.0), (hip, crotch * 0.8), (inner / 2 + knee + 0.06, length * 0.6), (inner + ankle, length),
        (inner, length), (inner / 2, length * 0.6), (0.0, crotch),
    ]  # fmt: skip
    left = [(-x, y) for x, y in leg]
    return [m.part(leg), m.part(left), m.both([(waist, 0.0), (waist * 1.03, 0.09)], m(0.75, 1.1))]


def upper(
    m: Measures,
    shoulder: Number,
    hem: Number,
    length: Number,
    reach: Number,
    drop: Number,
    wide: Number,
    high: bool = False,
    bare: Tensor | None = None,
) -> list[Part]:
    """A body with sleeves that reach out and hang down so far. high: a closed neck; bare: those without sleeves."""
    neck, deep = (m(0.1, 0.15), m(0.0, 0.06)) if high else (m(0.1, 0.18), m(0.04, 0.18))
    waist = (shoulder + hem) / 2 * m(0.88, 1.0)
    body = [(neck, 0.0), (shoulder, 0.1), (waist * 1.02, 0.4), (waist, 0.65), (hem, length)]
    sleeved = torch.ones(m.n, dtype=torch.bool) if bare is None else ~bare
    arms = sleeves(m, shoulder, reach, drop, wide, sleeved)
    inside = m.both([(neck, 0.0), (neck * 0.8, deep)], m(0.4, 1.0), m.in_part(0.6))
    return [*arms, m.part([(0.0, deep), *body, *mirrored(body)]), inside]


def sleeves(m: Measures, shoulder: Number, reach: Number, drop: Number, wide: Number, there: Tensor) -> list[Part]:
    """Both sleeves: from the shoulder outwards by `reach` and down by `drop`."""
    shade = m(0.85, 1.05)
    sleeve = [
        (shoulder * 0.8, 0.03), (shoulder + reach * 0.35, 0.14), (shoulder + reach, 0.1 + drop),
        (shoulder + reach - wide, 0.13 + drop), (shoulder * 0.8, 0.1 + wide * 1.6),
    ]  # fmt: skip
    return [m.part(sleeve, shade, there), m.part([(-x, y) for x, y in sleeve], shade, there)]


def opening(m: Measures, length: Number, wide: Number, there: Tensor) -> list[Part]:
    """The line down the front where it is buttoned."""
    return [m.both([(wide, 0.06), (wide, length)], m(0.3, 0.9), there)]


def lapel(m: Measures, side: int) -> Part:
    """Half a collar."""
    return m.part(
        [(0.14 * side, 0.0), (0.16 * side, 0.1), (0.03 * side, m(0.18, 0.4)), (0.0, 0.08)], m(0.6, 1.2), m.in_part(0.7)
    )


def sneaker(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    toe, rise, ankle, thick = m(0.1, 0.17), m(0.26, 0.36), m(0.3, 0.44), m(0.04, 0.09)
    top = [
        (0.0, 1.0 - thick / 2), (0.02, 1.0 - toe), (0.22, 1.0 - toe * 1.35), (m(0.48, 0.6), 1.0 - rise),
        (0.68, 1.0 - ankle * 0.97), (0.82, 1.0 - ankle * 0.8), (0.97, 1.0 - ankle), (1.0, 1.0 - thick),
        (1.0, 1.0),
    ]  # fmt: skip
    ground = [(0.0, 1.0 - thick), (1.0, 1.0 - thick), (1.0, 1.0), (0.03, 1.0)]
    mark = [(0.4, 1.0 - thick), (0.47, 1.0 - thick), (0.58, 1.0 - rise * 0.9), (0.52, 1.0 - rise * 0.9)]
    return [m.part(top), m.part(ground, m(0.6, 1.4)), m.part(mark, m(0.4, 1.4), m.in_part(0.5))]


def ankle_boot(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    toe, shaft, front, thick = m(0.13, 0.24), m(0.72, 1.2), m(0.46, 0.6), m(0.03, 0.09)
    heel = m(0.0, 0.3) * m.in_part(0.6)
    lower = 1.0 - heel
    top = [
        (0.0, 1.0 - thick), (0.03, 1.0 - toe), (0.25, 1.0 - toe * 1.5), (front, 1.0 - toe - 0.2), (front + 0.03, 1.0 - shaft),
        (1.0, 1.0 - shaft * m(0.97, 1.03)), (m(0.93, 0.99), lower - 0.25), (1.0, lower - thick), (0.72, lower - thick),
        (0.55, 1.0 - thick),
    ]  # fmt: skip
    ground = [
        (0.0, 1.0 - thick), (0.0, 1.0), (0.55, 1.0), (0.72, lower), (m(0.76, 0.86), 1.0), (1.0, 1.0), (1.0, lower - thick),
        (0.72, lower - thick), (0.55, 1.0 - thick),
    ]  # fmt: skip
    return [m.part(top), m.part(ground, m(0.5, 1.2))]


def sandal(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    thick = m(0.04, 0.1)
    heel = m(0.0, 0.5) * m.in_part(0.6)
    lower = 1.0 - heel
    foot = [
        (0.0, 1.0 - thick), (0.0, 1.0), (0.5, 1.0), (0.8, lower), (m(0.8, 0.9), 1.0), (0.97, 1.0), (1.0, lower - thick),
        (0.75, lower - thick), (0.45, 1.0 - thick),
    ]  # fmt: skip
    rise, wide = m(0.12, 0.35), m(0.05, 0.14)
    strap = [
        (0.12, 1.0 - thick),
        (0.2, 0.97 - rise),
        (0.2 + wide, 0.97 - rise),
        (0.38 + wide, 1.0 - thick),
        (0.3, 1.0 - thick),
    ]
    back = m(0.1, 0.35)
    around = [(0.6, lower - back), (0.98, lower - back * 1.2), (0.98, lower - back * 0.85), (0.6, lower - back * 0.7)]
    hold = [(0.93, lower - thick), (0.93, lower - back * 1.1), (1.0, lower - back * 1.1), (1.0, lower - thick)]
    slope = [(0.25, 0.98 - rise), (0.3, 0.9 - rise), (0.66, lower - back), (0.62, lower - back * 0.7)]
    shade, strapped = m(0.5, 1.2), m.in_part(0.7)
    return [
        m.part(foot, m(0.6, 1.2)), m.part(strap, shade), m.part(around, shade, strapped), m.part(hold, shade, strapped),
        m.part(slope, shade, m.in_part(0.4)),
    ]  # fmt: skip


def bag(n: int, generator: torch.Generator) -> list[Part]:
    m = Measures(n, generator)
    top, bottom, height = m(0.35, 0.6), m(0.42, 0.6), m(0.5, 0.95)
    body = [(top * 0.96, 0.0), (top, 0.05), (bottom, height - 0.05), (bottom * 0.95, height)]
    grip, tall, wide = m(0.14, 0.36), m(0.1, 0.55), m(0.03, 0.06)
    held = m.in_part(0.75)
    outer = [(grip * 0.6, -tall), (grip, -tall * 0.6), (grip * 1.1, 0.02)]
    inner = [(grip * 1.1 - wide, 0.02), (grip - wide, -tall * 0.6), (grip * 0.6 - wide / 2, wide - tall)]
    handle = [*mirrored(outer), *outer, *inner, *mirrored(inner)]
    flap = [(top, 0.02), (top * 1.02, height * m(0.25, 0.6))]
    clasp = [(0.04, height * 0.3), (0.04, height * 0.45)]
    return [
        m.part(handle, m(0.6, 1.1), held), m.both(body), m.both(flap, m(0.7, 1.15), m.in_part(0.5)),
        m.both(clasp, m(0.3, 1.3), m.in_part(0.5)),
    ]  # fmt: skip


GARMENTS: Sequence[Garment] = (
    t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot,
)  # fmt: skip
"""By class."""
