"""Honest clients who are not like the average: what a detector's false alarms are counted on.

A kind draws the queries of one client from benign inputs. Kinds that change inputs ask the victim anew.
"""

from collections.abc import Callable, Mapping

import torch

from gamekeeper.data.shifts import Noisy, Shift, Thicker, suitable
from gamekeeper.detectors.calibrate import Benign
from gamekeeper.types import Domain

Kind = Callable[[Benign, int, int, Domain], Benign]
"""(benign inputs, how many queries, seed, the input domain) -> one client."""
FRAMES, FRAME_NOISE = 10, 0.02
"""Frames of a burst, and how much they differ: the standard deviation of the noise as a share of the range."""
HEAVY = 4
"""How many times as much a heavy user asks."""


def natural(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """Any inputs, none twice."""
    return benign.rows(torch.randperm(len(benign), generator=drawn(seed))[:n])


def heavy(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """The same, several times as many."""
    return natural(benign, HEAVY * n, seed, domain)


def some_classes(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """An uneven class mix: Dirichlet(1)."""
    return benign.mixed(n, 1.0, drawn(seed))


def few_classes(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """Mostly two or three classes: Dirichlet(.3)."""
    return benign.mixed(n, 0.3, drawn(seed))


def retries(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """Half of the queries repeat an earlier one: a client that times out and asks again."""
    generator = drawn(seed)
    fresh = torch.randperm(len(benign), generator=generator)
    rows: list[int] = []
    used = 0
    for again in (torch.rand(n, generator=generator) < 0.5).tolist():
        if again and rows:
            rows.append(rows[int(torch.randint(len(rows), (1,), generator=generator))])
        else:
            rows.append(int(fresh[used % len(fresh)]))
            used += 1
    return benign.rows(torch.tensor(rows))


def bursts(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """A camera: ten frames of each scene, which differ by noise."""
    scenes = natural(benign, -(-n // FRAMES), seed, domain).x.repeat_interleave(FRAMES, 0)[:n]
    return Benign.of(benign.victim, Noisy(FRAME_NOISE)(scenes, domain, seed))


def thick_pen(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """Somebody who writes with a thick pen."""
    return Benign.of(benign.victim, Thicker()(natural(benign, n, seed, domain).x, domain, seed))


def drift(benign: Benign, n: int, seed: int, domain: Domain) -> Benign:
    """A client whose inputs change while they ask: from none to a full shift that suits the domain."""
    x = natural(benign, n, seed, domain).x
    shift = suitable(x, domain)[0]
    later = torch.rand(len(x), generator=drawn(seed)) < torch.linspace(0, 1, len(x))
    shape = (-1, *[1] * (x.ndim - 1))
    return Benign.of(benign.victim, torch.where(later.view(shape), shift(x, domain, seed), x))


KINDS: Mapping[str, Kind] = {
    "natural": natural,
    "class mix Dirichlet(1)": some_classes,
    "class mix Dirichlet(.3)": few_classes,
    "retries": retries,
    "frame bursts": bursts,
    "thick strokes": thick_pen,
    "drift": drift,
    "heavy user": heavy,
}


def kinds(benign: Benign, domain: Domain) -> tuple[str, ...]:
    """The kinds of honest clients that make sense for inputs like these."""
    shifts: tuple[Shift, ...] = suitable(benign.x[:256], domain)
    needs: dict[str, bool] = {
        "drift": bool(shifts),
        "frame bursts": any(isinstance(shift, Noisy) for shift in shifts),
        "thick strokes": any(isinstance(shift, Thicker) for shift in shifts),
    }
    return tuple(name for name in KINDS if needs.get(name, True))


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
