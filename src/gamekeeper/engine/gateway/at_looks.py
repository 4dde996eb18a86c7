"""What detectors say of a client at their looks: written into the events of answers, for limits that rest on real clients.

{"mmd": 3.1, "mmd@50": 2.7}    the last verdict, and the score after the client's 50th new query
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.detectors.lookout import Looked, Lookout

AT = "@"
"""Between a detector and a look, in the name of a score."""


def scores_at_looks(lookout: Lookout, looked: Looked, seen: int) -> dict[str, float]:
    """The scores at the looks that a request passed, of every detector with limits; NaN is no verdict.

    seen  new queries of the client's window before the request
    """
    scores: dict[str, float] = {}
    for name, post in lookout.posts.items():
        if post.limits is None:
            continue
        for start in range(-seen, len(looked.new), lookout.window):  # where each window begins among the new rows
            passed = [look for look in post.limits.null.looks if 0 < start + look <= len(looked.new)]
            scores |= {f"{name}{AT}{look}": float(looked.scores[name][start + look - 1]) for look in passed}
    return scores


@dataclass
class FirstWindow:
    """What detectors said at the looks of a client's first window that was recorded from its beginning.

    reached  how many looks it came to; done: whether another window has begun
    """

    scores: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])
    reached: int = 0
    done: bool = False

    def add(self, event: Mapping[str, float], looks: Sequence[int]) -> None:
        """The scores of one answer. All looks are passed in their order, so what does not go on is another window's."""
        passed = {place: score for name, score in event.items() if (place := parsed(name)) is not None}
        new = {look for _, look in passed}
        if self.done or not new:
            return
        self.done = self.reached > 0 and looks[0] in new
        while self.reached < len(looks) and looks[self.reached] in new:
            here = looks[self.reached]
            self.scores |= {place: score for place, score in passed.items() if place[1] == here}
            self.reached += 1

    def row(self, name: str, looks: Sequence[int]) -> Float[Tensor, " looks"]:
        """One detector's scores; NaN where there is none."""
        return torch.tensor([self.scores.get((name, look), math.nan) for look in looks], dtype=torch.float64)


def parsed(name: str) -> tuple[str, int] | None:
    """Detector and look in the name of a score at a look; None for another score."""
    detector, at, look = name.rpartition(AT)
    return (detector, int(look)) if at and look.isascii() and look.isdecimal() else None
