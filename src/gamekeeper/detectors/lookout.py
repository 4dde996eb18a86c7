"""Lookout: several detectors at work on one service, and what becomes of a client's standing.

It never changes an answer. What it remembers of a client lies in the client's memories: one for each detector, and the
standing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.detectors.features import taken
from gamekeeper.detectors.limits import Limits, holm
from gamekeeper.detectors.repeats import RepeatsWatch
from gamekeeper.service.memory import Memories
from gamekeeper.types import Batch, Model, Reply, Scores, Watch, answered

NO_SCORES = torch.empty(0, dtype=torch.float64)
STANDING, REPEATS = "standing", "repeats"


@dataclass(frozen=True, eq=False)
class Post:
    """One detector at work. Without limits it is evidence: it never raises an alarm."""

    watch: Watch
    limits: Limits | None = None


@dataclass
class Standing:
    """What is known of a client, in the order of the lookout's posts.

    seen      new queries that were answered
    p         each detector's least p-value so far, corrected for its looks; 1 at the start and for evidence
    alarmed   after which query each detector first raised an alarm; 0: never
    score     the last score that was a verdict; NaN: none yet
    """

    seen: int
    p: Float[Tensor, " d"]
    alarmed: Int[Tensor, " d"]
    score: Float[Tensor, " d"]


@dataclass(frozen=True, eq=False)
class Lookout:
    """Detectors by name, armed on one victim.

    victim   whose features are behind the answers
    repeats  hides repeats from detectors with limits: retries and frames of a video are not independent draws, and would
            raise alarms. Looks count new queries then. None: every query is shown
    """

    victim: Model
    posts: Mapping[str, Post]
    repeats: RepeatsWatch | None = None

    def fresh(self) -> Standing:
        d = len(self.posts)
        nothing = torch.full((d,), torch.nan, dtype=torch.float64)
        return Standing(0, torch.ones(d, dtype=torch.float64), torch.zeros(d, dtype=torch.int64), nothing)

    def look(self, x: Batch, clean: Reply, at: float, memories: Memories) -> Mapping[str, Tensor]:
        """Shows a request of one client to every detector: its scores. Updates the memories.

        Those of a detector with limits are after each row that is new, those of evidence after each answered row.

        clean  the victim's own answers, never those of a defense; rows without one are shown to nobody
        at     when the request arrived, in seconds since 1970; NaN if unknown
        """
        rows = answered(clean)
        if not bool(rows.all()):
            x, clean = x[rows], taken(self.victim, clean, rows)
        standing: Standing = memories.setdefault(STANDING, self.fresh())
        new = self._new(x, at, memories)
        whole, fewer = (x, clean), (x, clean) if bool(new.all()) else (x[new], taken(self.victim, clean, new))
        given: dict[str, Tensor] = {}
        for place, (name, post) in enumerate(self.posts.items()):
            if name not in memories:
                memories[name] = post.watch.fresh()
            shown, answers = whole if post.limits is None else fewer
            given[name] = post.watch.score(shown, answers, at, memories[name]) if len(shown) else NO_SCORES
            self._judge(place, post.limits, given[name], standing)
        standing.seen += int(new.sum())
        return given

    def _new(self, x: Batch, at: float, memories: Memories) -> Bool[Tensor, " n"]:
        if self.repeats is None or len(x) == 0:
            return torch.ones(len(x), dtype=torch.bool)
        if REPEATS not in memories:
            memories[REPEATS] = self.repeats.fresh()
        return self.repeats.new(x, at, memories[REPEATS])

    @staticmethod
    def _judge(place: int, limits: Limits | None, scores: Scores, standing: Standing) -> None:
        verdicts = scores[~scores.isnan()]
        if len(verdicts):
            standing.score[place] = verdicts[-1]
        if limits is None:
            return
        for look in limits.passed(standing.seen, standing.seen + len(scores)):
            query = limits.null.looks[look]
            p = limits.null.p(look, float(scores[query - standing.seen - 1]))
            standing.p[place] = min(float(standing.p[place]), p)
            if p <= limits.alpha and not standing.alarmed[place]:
                standing.alarmed[place] = query

    def alarms(self, memories: Memories) -> Mapping[str, int]:
        """The detectors that raised an alarm for a client, and after which query, the first one first."""
        standing: Standing = memories.get(STANDING) or self.fresh()
        first = dict(zip(self.posts, standing.alarmed.tolist(), strict=True))
        return dict(sorted(((name, query) for name, query in first.items() if query), key=lambda pair: pair[1]))

    def p_values(self, memories: Memories) -> Mapping[str, float]:
        """Of the detectors that have limits, by Holm: how likely an honest client is to look at least as suspicious."""
        standing: Standing = memories.get(STANDING) or self.fresh()
        p = dict(zip(self.posts, standing.p.tolist(), strict=True))
        return holm({name: p[name] for name, post in self.posts.items() if post.limits is not None})
