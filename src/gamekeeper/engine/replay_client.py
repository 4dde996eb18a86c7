"""What a replay remembers of one client besides what detectors do: volume, statistics of inputs, and a short history."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.repeats import RepeatsMemory, traffic
from gamekeeper.replay_rows import Moment
from gamekeeper.types import Batch

MOMENTS, STRIDE = 40, 5
"""Most moments of a history, and after how many queries the first comes; when they are too many, every second is dropped."""


def none() -> Tensor:
    return torch.empty(0, 0, dtype=torch.float64)


@dataclass
class Record:
    """Of one client.

    queries                inputs sent
    values, total, squares, low, high      of all numbers in their inputs: how many, sums and extremes
    stride                 queries between moments
    moments                (m, 2 + d): query, time and the scores of d detectors, oldest first
    """

    queries: int = 0
    values: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    stride: int = STRIDE
    moments: Tensor = field(default_factory=none)

    def note(self, x: Batch) -> None:
        """Inputs that came."""
        values = x.double()
        self.values += values.numel()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    @property
    def statistics(self) -> dict[str, float]:
        """Mean, standard deviation, and extremes; empty if there was no input."""
        if not self.values:
            return {}
        mean = self.total / self.values
        sd = math.sqrt(max(0.0, self.squares / self.values - mean**2))
        return {"mean": mean, "sd": sd, "low": self.low, "high": self.high}

    def due(self, n: int) -> list[int]:
        """Which of the next n queries, from 0, are moments."""
        first = self.stride - self.queries % self.stride - 1
        return list(range(first, n, self.stride))

    def remember(self, queries: Sequence[int], at: Sequence[float], scores: Float[Tensor, "m d"]) -> None:
        """Moments: how many queries had been sent, when, and each detector's last verdict (NaN: none yet)."""
        head = torch.tensor([list(map(float, queries)), list(at)], dtype=torch.float64).T.reshape(len(queries), 2)
        new = torch.cat([head, scores], 1)
        self.moments = torch.cat([self.moments, new]) if self.moments.numel() else new
        while len(self.moments) > MOMENTS:
            self.stride *= 2
            self.moments = self.moments[self.moments[:, 0] % self.stride == 0]

    def history(self, names: Sequence[str]) -> tuple[Moment, ...]:
        return tuple(
            Moment(
                int(query),
                known(at),
                {name: score for name, score in zip(names, scores, strict=True) if not math.isnan(score)},
            )
            for query, at, *scores in self.moments.tolist()
        )


def last_verdicts(
    scores: Mapping[str, Float[Tensor, " s"]],
    shown: Mapping[str, Int[Tensor, " s"]],
    rows: Sequence[int],
    before: Float[Tensor, " d"],
) -> Float[Tensor, "m d"]:
    """Each detector's last score that is a verdict, after each of these rows of a batch.

    scores  of each detector, in the order of the rows it was shown, `shown`, ascending
    before  its last verdict before the batch
    """
    out = before.repeat(len(rows), 1)
    ends = torch.tensor(rows)
    for place, (name, each) in enumerate(scores.items()):
        verdict = (~each.isnan()).nonzero()[:, 0]
        if not len(verdict):
            continue
        number = torch.searchsorted(shown[name][verdict], ends, right=True)
        out[number > 0, place] = each.double()[verdict[(number[number > 0] - 1)]]
    return out


def volume(memory: RepeatsMemory) -> dict[str, float | int | None]:
    """The columns of a row that tell volume, rate and repeats."""
    now = traffic(memory)
    return {
        "queries": now.queries,
        "per_hour": known(now.per_hour),
        "exact": known(now.exact),
        "near": known(now.near),
    }


def known(value: float) -> float | None:
    """None for a number that is not one."""
    return value if math.isfinite(value) else None
