"""Clothes, shoes and bags, drawn by somebody who knows the ten class names and has seen none of the owner's images.

Source      none: silhouettes from memory. That images are bright on black, seen from the front (shoes from the side), and
            fill the longer side of 28 pixels is the published description of Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017)
Keeps       no state: a drawing depends on the seed and its number alone
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.cloth import SIDE, Dice, Images, Number, Sheet, both, cover, edge, either, line, sheet, where

Drawn = tuple[Images, Images]
"""A shape, and a factor of its brightness."""


@dataclass(frozen=True, eq=False)
class Torso:
    """A garment for the upper body: where its shoulders end, its half width and lower end, its neck's half width and depth."""

    shoulder: Number
    top: Number
    chest: Number
    waist: Number
    hem: Number
    end: Number
    neck: Number
    depth: Number
    collar: float = 0.0

    def shape(self, on: Sheet) -> Images:
        """The torso without sleeves, its neck cut out."""
        out = edge(on.v, [(self.top, self.shoulder), (-0.45, self.chest), (0.05, self.waist), (self.end, self.hem)])
        slope = 0.35 * (on.u.abs() - self.neck).clamp(min=0)
        body = both(out - on.u.abs(), on.v - self.top - slope, self.end - on.v)
        return both(body, -on.disc(0.0, self.top, self.neck, self.depth))

    def side(self, on: Sheet) -> Images:
        """How far each pixel is from the seam between body and sleeve."""
        return on.u.abs() - edge(
            on.v, [(self.top, self.shoulder), (-0.45, self.chest), (0.05, self.waist), (self.end, self.hem)]
        )


def sleeves(on: Sheet, torso: Torso, hand: tuple[Number, Number], radii: tuple[Number, Number]) -> Images:
    """Both sleeves, from the shoulders to the hands at (±x, y). Cut straight at the hand."""
    folded = Sheet(on.u.abs(), on.v, on.dice)
    start = (torso.shoulder - radii[0] * 0.8, torso.top + 0.1 + radii[0])
    arm = folded.limb(start, hand, radii)
    along = ((folded.u - hand[0]) * (hand[0] - start[0]) + (folded.v - hand[1]) * (hand[1] - start[1])) / (
        ((hand[0] - start[0]) ** 2 + (hand[1] - start[1]) ** 2).sqrt()
    )
    return both(arm, -along)


def long_sleeves(on: Sheet, torso: Torso) -> Images:
    hand = (on.number(0.56, 0.84), on.number(0.5, 0.98))
    return sleeves(on, torso, hand, (on.number(0.15, 0.22), on.number(0.1, 0.16)))


def short_sleeves(on: Sheet, torso: Torso) -> Images:
    hand = (on.number(0.78, 1.0), on.number(-0.5, -0.15))
    return sleeves(on, torso, hand, (on.number(0.2, 0.28), on.number(0.16, 0.24)))


def seam(on: Sheet, torso: Torso, depth: float) -> Images:
    """The shade between body and sleeves."""
    return 1 - depth * on.number(0.3, 1.0) * line(torso.side(on), 0.1)


def striped(on: Sheet, share: float) -> Images:
    """Stripes across in that share of the drawings: a factor."""
    wave = torch.sin(torch.pi * on.number(3.0, 9.0) * on.v + on.number(0.0, 6.3))
    return 1 - on.chance(share) * on.number(0.1, 0.45) * (1 + wave)


def printed(on: Sheet, share: float) -> Images:
    """A print on the chest in that share of the drawings: a factor."""
    print_ = cover(on.disc(on.number(-0.08, 0.08), on.number(-0.3, 0.1), on.number(0.15, 0.35), on.number(0.12, 0.35)))
    return 1 + on.chance(share) * on.number(-0.7, 0.5) * print_ * (1 + on.grain(0.4))


def t_shirt(on: Sheet) -> Drawn:
    chest = on.number(0.46, 0.64)
    torso = Torso(
        chest + on.number(0.0, 0.06), on.number(-0.98, -0.9), chest, chest - on.number(-0.02, 0.06),
        chest + on.number(-0.05, 0.06), on.number(0.9, 1.0), on.number(0.18, 0.32), on.number(0.1, 0.4),
    )  # fmt: skip
    sleeved = on.chance(0.8)
    shape = either(torso.shape(on), where(sleeved, short_sleeves(on, torso)))
    return shape, seam(on, torso, 0.15) * striped(on, 0.15) * printed(on, 0.4)


def trouser(on: Sheet) -> Drawn:
    waist, hip, crotch = on.number(0.24, 0.38), on.number(0.3, 0.46), on.number(-0.5, -0.25)
    outer = edge(on.v, [(-1.0, waist), (-0.55, hip), (1.0, on.number(0.26, 0.5))])
    inner = edge(on.v, [(crotch, -0.03), (crotch + 0.15, 0.03), (1.0, on.number(0.05, 0.24))])
    shape = both(outer - on.u.abs(), on.u.abs() - inner, on.v + on.number(0.94, 1.0), on.number(0.94, 1.0) - on.v)
    middle = 1 - 0.3 * on.number(0.0, 1.0) * line(on.u, 0.09)
    return shape, middle * (1 - on.chance(0.4) * 0.35 * line(on.v + 0.88, 0.1))


def pullover(on: Sheet) -> Drawn:
    chest, end = on.number(0.4, 0.54), on.number(0.85, 1.0)
    torso = Torso(
        chest + on.number(-0.04, 0.06), on.number(-0.98, -0.85), chest, chest + on.number(-0.05, 0.03),
        chest + on.number(-0.08, 0.04), end, on.number(0.16, 0.28), on.number(0.06, 0.22),
    )  # fmt: skip
    shape = either(torso.shape(on), long_sleeves(on, torso))
    rib = 1 - 0.3 * on.number(0.0, 1.0) * line(on.v - end + 0.12, 0.1)
    return shape, seam(on, torso, 0.4) * rib * striped(on, 0.25) * printed(on, 0.15)


def dress(on: Sheet) -> Drawn:
    chest = on.number(0.24, 0.38)
    waist = chest - on.number(-0.02, 0.1)
    torso = Torso(
        chest - on.number(0.0, 0.12), on.number(-1.0, -0.92), chest, waist, waist + on.number(0.0, 0.36),
        on.number(0.92, 1.0), on.number(0.1, 0.2), on.number(0.1, 0.45),
    )  # fmt: skip
    kind = on.number(0.0, 1.0)
    hand = (chest + on.number(0.12, 0.26), on.number(-0.3, 0.25))
    arms = sleeves(on, torso, hand, (on.number(0.1, 0.16), on.number(0.07, 0.12)))
    width = on.number(0.12, 0.18)
    cap = sleeves(on, torso, (chest + on.number(0.1, 0.2), on.number(-0.65, -0.5)), (width, width))
    shape = either(torso.shape(on), where((kind < 0.25).float(), arms), where((kind > 0.75).float(), cap))
    belt = 1 - on.chance(0.35) * on.number(-0.3, 0.5) * line(on.v + on.number(0.05, 0.25), 0.12)
    return shape, belt * striped(on, 0.15) * printed(on, 0.15)


def coat(on: Sheet) -> Drawn:
    chest = on.number(0.36, 0.5)
    torso = Torso(
        chest + on.number(-0.04, 0.04), on.number(-1.0, -0.9), chest, chest + on.number(-0.06, 0.03),
        chest + on.number(0.0, 0.12), on.number(0.92, 1.0), on.number(0.12, 0.24), on.number(0.08, 0.25),
    )  # fmt: skip
    shape = either(torso.shape(on), long_sleeves(on, torso))
    opening = line(on.u - on.number(-0.08, 0.08), on.number(0.06, 0.13))
    deep = on.number(-0.6, 0.1)
    lapel = line(on.u.abs() - edge(on.v, [(-1.0, on.number(0.15, 0.3)), (deep, 0.0)]), 0.09) * (on.v < deep)
    buttons = opening * (torch.sin(torch.pi * on.number(2.0, 5.0) * on.v) > 0.6) * on.chance(0.4)
    shade = 1 - on.number(0.25, 0.9) * opening - 0.4 * on.number(0.0, 1.0) * lapel + 0.5 * buttons
    return shape, seam(on, torso, 0.45) * shade.clamp(min=0)


def shirt(on: Sheet) -> Drawn:
    chest = on.number(0.4, 0.56)
    torso = Torso(
        chest + on.number(-0.03, 0.06), on.number(-0.98, -0.88), chest, chest - on.number(0.0, 0.1),
        chest + on.number(-0.05, 0.08), on.number(0.85, 1.0), on.number(0.14, 0.26), on.number(0.1, 0.4),
    )  # fmt: skip
    long = on.chance(0.6)
    shape = either(torso.shape(on), where(long, long_sleeves(on, torso)), where(1 - long, short_sleeves(on, torso)))
    row = line(on.u, 0.1) * on.chance(0.75)
    dots = 1 + torch.sin(torch.pi * on.number(4.0, 8.0) * on.v)
    collar = line(on.u.abs() - edge(on.v, [(-1.0, 0.12), (-0.65, 0.26)]), 0.12) * (on.v < -0.65) * on.chance(0.7)
    across = torch.sin(torch.pi * on.number(4.0, 9.0) * on.u)
    checks = 1 - on.chance(0.3) * on.number(0.05, 0.3) * (1 + across)
    shade = 1 - on.number(0.1, 0.35) * row * dots + on.number(-0.4, 0.4) * collar
    return shape, seam(on, torso, 0.35) * striped(on, 0.3) * checks * shade


def sandal(on: Sheet) -> Drawn:
    """The toe to the left: a thin sole, a heel that is flat, a wedge or a stick, and a few straps."""
    rise = on.number(0.0, 1.0) * on.chance(0.6)
    base = 0.25 + 0.55 * rise
    floor = edge(on.u, [(-0.9, base), (-0.3, base), (0.55, base - 1.0 * rise), (1.0, base - 1.05 * rise)])
    thick = on.number(0.05, 0.12)
    sole = both(thick - (on.v - floor).abs(), 0.97 - on.u.abs())
    place = on.number(0.65, 0.85)
    stick = both(on.number(0.06, 0.14) - (on.u - place).abs(), on.v - floor, base + thick - on.v)
    wedge = both(on.u + on.number(-0.2, 0.6), on.v - floor, base + thick - on.v, 0.95 - on.u)
    wedged = on.chance(0.35)
    shape = either(sole, where(1 - wedged, stick), where(wedged, wedge))
    straps = [(-0.75, 0.8), (-0.45, 0.9), (-0.1, 0.4), (0.3, 0.45), (0.75, 0.6)]
    for at, share in straps:
        foot = on.number(at - 0.08, at + 0.08)
        high = floor_at(foot, base, rise) - on.number(0.3, 0.5) * (1 + 0.4 * (at > 0))
        lean = on.number(0.1, 0.45) if at < 0.5 else on.number(-0.15, 0.1)
        width = on.number(0.05, 0.12)
        strap = on.limb((foot, floor_at(foot, base, rise)), (foot + lean, high), (width, width))
        shape = either(shape, where(on.chance(share), strap))
    round_ = on.limb(
        (on.number(0.25, 0.4), floor_at(on.number(0.3, 0.3), base, rise) - 0.5),
        (on.number(0.75, 0.9), floor_at(on.number(0.8, 0.8), base, rise) - on.number(0.4, 0.6)), (0.06, 0.06),
    )  # fmt: skip
    return either(shape, where(on.chance(0.5), round_)), 1 + on.grain(0.12)


def floor_at(u: Number, base: Number, rise: Number) -> Number:
    """The height of a sandal's sole at u."""
    return base - rise * ((u + 0.3) / 0.85).clamp(0, 1)


def sneaker(on: Sheet) -> Drawn:
    """The toe to the left, low, on a flat sole."""
    tall = on.number(0.65, 1.1)
    base = tall / 2
    upper = base - edge(
        on.u,
        [
            (-1.0, 0.2), (-0.85, 0.4 * tall), (-0.4, 0.52 * tall), (0.0, on.number(0.7, 1.0) * tall),
            (0.3, on.number(0.62, 0.85) * tall), (0.7, 0.8 * tall), (0.9, on.number(0.8, 1.05) * tall),
        ],
    )  # fmt: skip
    shape = both(on.v - upper, base - on.v, on.u + 0.98, edge(on.v, [(-0.5, 0.9), (0.3, 0.98)]) - on.u)
    sole = cover(on.v - base + on.number(0.1, 0.2))
    laces = line(torch.sin(torch.pi * 7 * (on.u + 0.3 * on.v)), 0.5) * (on.u > -0.5) * (on.u < 0.05)
    stripe = line(on.u - on.v - on.number(-0.1, 0.3), on.number(0.1, 0.25)) * on.chance(0.4)
    shade = 1 + on.number(-0.7, 0.6) * sole + on.number(-0.3, 0.3) * laces + on.number(-0.5, 0.4) * stripe
    return shape, shade * (1 + on.grain(0.06))


def bag(on: Sheet) -> Drawn:
    """A body with a handle above it, or none."""
    handled = on.chance(0.75)
    wide, reach = on.number(0.7, 1.0), on.number(0.3, 0.8)
    top = -0.9 + reach * handled + (1 - handled) * on.number(0.1, 0.5)
    end = torch.where(handled > 0, on.number(0.7, 0.98), -top)
    out = edge(on.v, [(top, wide - on.number(0.0, 0.25)), (end, wide)])
    body = both(
        out - on.u.abs(), on.v - top, end - on.v, 1.2 * wide + 0.6 - on.u.abs() - (on.v - end + 0.55).clamp(min=0)
    )
    across = on.number(0.3, 0.65)
    ring = on.number(0.04, 0.1) - on.disc(0.0, top, across, reach).abs()
    shape = either(body, where(handled, both(ring, top + 0.05 - on.v)))
    flap = line(on.v - top - on.number(0.2, 0.7), 0.09) * on.chance(0.6)
    clasp = cover(on.disc(0.0, top + on.number(0.2, 0.5), 0.1, 0.1)) * on.chance(0.5)
    shade = 1 - on.number(0.1, 0.5) * flap + on.number(-0.6, 0.6) * clasp
    return shape, shade * (1 + on.grain(0.08))


def ankle_boot(on: Sheet) -> Drawn:
    """The toe to the left, a shaft at the right, a heel below it."""
    top, base, front = on.number(-0.98, -0.6), on.number(0.75, 0.95), on.number(-0.2, 0.15)
    tall = base - top
    upper = base - edge(
        on.u,
        [
            (-1.0, 0.22), (-0.85, on.number(0.35, 0.5)), (front - 0.35, on.number(0.55, 0.75)),
            (front, 0.75 * tall), (front + 0.08, tall), (0.95, tall - on.number(-0.05, 0.15)),
        ],
    )  # fmt: skip
    heel, place = on.number(0.0, 0.4) * on.chance(0.7), on.number(0.3, 0.55)
    below = base - heel * edge(on.u, [(-0.35, 0.0), (place - 0.08, 1.0), (place, 0.0)])
    back = edge(on.v, [(top, on.number(0.75, 0.98)), (0.4, on.number(0.85, 0.98))])
    shape = both(on.v - upper, below - on.v, on.u + 0.98, back - on.u)
    sole = cover(on.v - base + on.number(0.08, 0.16)) * on.chance(0.6)
    cuff = line(on.v - top - on.number(0.1, 0.4), 0.1) * on.chance(0.4)
    shade = 1 - on.number(-0.3, 0.6) * sole - on.number(-0.3, 0.4) * cuff
    return shape, shade * (1 + on.grain(0.05))


GARMENTS: tuple[Callable[[Sheet], Drawn], ...] = (
    t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot,
)  # fmt: skip
"""In the order of Fashion-MNIST's classes."""


@dataclass(frozen=True)
class Clothes:
    """Fashion-MNIST's ten classes in rotation, (n, 1, 28, 28) in [0, 1], bright on black.

    folds  how deep the light and shade of folds is, as a share of the brightness
    grain  standard deviation of the fabric's noise
    """

    folds: float = 0.25
    grain: float = 0.04

    def __call__(self, n: int, seed: int, /) -> tuple[pen.Images, pen.Rows]:
        return pen.stream(n, seed, len(GARMENTS), self.draw)

    def draw(self, classes: pen.Rows, generator: torch.Generator) -> pen.Images:
        """One drawing of each of the given classes."""
        x = torch.empty(len(classes), 1, SIDE, SIDE)
        for number, garment in enumerate(GARMENTS):
            rows = torch.nonzero(classes == number)[:, 0]
            if len(rows):
                x[rows, 0] = self.sewn(garment, sheet(Dice(len(rows), generator)))
        return x

    def sewn(self, garment: Callable[[Sheet], Drawn], on: Sheet) -> Images:
        """The garment in some brightness, with folds, fabric and darker edges."""
        shape, shade = garment(on)
        bright = 0.2 + 0.75 * on.number(0.0, 1.0) ** 0.7
        rim = 1 - on.number(0.0, 0.35) * (1 - (shape / 0.12).clamp(0, 1))
        return (cover(shape) * (bright * shade * rim * on.folds(self.folds) + on.grain(self.grain))).clamp(0, 1)
