"""What a client's inputs look like in a few numbers, for whoever reads an alarm: no input can be computed from them."""

import math
from dataclasses import dataclass

from gamekeeper.types import Batch

HOUR = 3_600.0


@dataclass
class InputStatistics:
    """Of all inputs that a client was answered.

    queries      inputs
    first, last  when the first and the last came, in seconds since 1970
    numbers      of which all inputs together consist
    mean, squares  their mean, and the sum of their squared distances from it
    low, high    the least and the greatest of them
    """

    queries: int = 0
    first: float = math.inf
    last: float = -math.inf
    numbers: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, x: Batch, at: float) -> None:
        """More inputs, (n, ...), n of 1 or more, that came at a time. Chan, Golub, LeVeque (1983), eq. 2.1."""
        values = x.double()
        n, mean = values.numel(), float(values.mean())
        apart, both = mean - self.mean, self.numbers + n
        self.squares += float((values - mean).square().sum()) + apart**2 * self.numbers * n / both
        self.mean += apart * n / both
        self.numbers = both
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.queries += len(x)
        self.first, self.last = min(self.first, at), max(self.last, at)

    def as_scores(self) -> dict[str, float]:
        """Volume and distribution by name, for an event. Per hour: NaN unless two inputs came at different times."""
        hours = (self.last - self.first) / HOUR
        return {
            "queries": float(self.queries),
            "queries per hour": self.queries / hours if hours > 0 else math.nan,
            "input mean": self.mean,
            "input sd": math.sqrt(self.squares / self.numbers) if self.numbers else math.nan,
            "input low": self.low,
            "input high": self.high,
        }
