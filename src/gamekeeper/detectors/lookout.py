"""Lookout: several detectors at work on one service, and what becomes of a client's standing.

It never changes an answer. What it remembers of a client lies in the client's memories: one for each detector, and the
standing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.detectors.features import taken
from gamekeeper.detectors.limits import Limits, holm
from gamekeeper.detectors.repeats import RepeatsWatch
from gamekeeper.service.memory import Memories
from gamekeeper.types import Batch, Model, Reply, Watch, answered

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

    seen      new queries that were answered, in this window
    before    those of earlier windows
    p         each detector's least p-value in any window, corrected for its looks; 1 at the start and for evidence
    alarmed   after which new query each detector first raised an alarm; 0: never
    score     the last score that was a verdict; NaN: none yet
    """

    seen: int
    before: int
    p: Float[Tensor, " d"]
    alarmed: Int[Tensor, " d"]
    score: Float[Tensor, " d"]


@dataclass(frozen=True, eq=False)
class Looked:
    """What became of a request.

    scores  of every detector
    rows    of which rows of the request these scores are, ascending
    new     the rows that were answered and are new: those that detectors with limits are shown
    """

    scores: Mapping[str, Tensor]
    rows: Mapping[str, Int[Tensor, " s"]]
    new: Int[Tensor, " r"]


@dataclass(frozen=True, eq=False)
class Lookout:
    """Detectors by name, armed on one victim.

    A client is judged in windows of as many new queries as the last look of any limits: then detectors with limits forget
    what they saw. So a memory is bounded, a thief gains nothing by behaving well at first, and the false alarms that limits
    aim at are those of one window.

    victim   whose features are behind the answers
    repeats  hides repeats from detectors with limits: retries and frames of a video are not independent draws, and would
             raise alarms. Looks count new queries then. None: every query is shown
    """

    victim: Model
    posts: Mapping[str, Post]
    repeats: RepeatsWatch | None = None

    @cached_property
    def window(self) -> int:
        """New queries after which detectors with limits start anew; 0 if there is none."""
        return max((post.limits.null.looks[-1] for post in self.posts.values() if post.limits is not None), default=0)

    def fresh(self) -> Standing:
        d = len(self.posts)
        nothing = torch.full((d,), torch.nan, dtype=torch.float64)
        return Standing(0, 0, torch.ones(d, dtype=torch.float64), torch.zeros(d, dtype=torch.int64), nothing)

    def look(self, x: Batch, clean: Reply, at: float, memories: Memories) -> Mapping[str, Tensor]:
        """Shows a request of one client to every detector: its scores. Updates the memories.

        See `looked`.
        """
        return self.looked(x, clean, at, memories).scores

    def looked(self, x: Batch, clean: Reply, at: float, memories: Memories) -> Looked:
        """Shows a request of one client to every detector, and says which rows each was shown. Updates the memories.

        Scores of a detector with limits are after each row that is new, those of evidence after each answered row.

        clean  the victim's own answers, never those of a defense; rows without one are shown to nobody
        at     when the request arrived, in seconds since 1970; NaN if unknown
        """
        places = answered(clean).nonzero()[:, 0]
        if len(places) < len(x):
            x, clean = x[places], taken(self.victim, clean, places)
        if STANDING not in memories:
            memories[STANDING] = self.fresh()
        standing: Standing = memories[STANDING]
        new = self._new(x, at, memories)
        given = {name: self._score(name, x, clean, at, memories) for name in self.posts if not self._limited(name)}
        fresh = new.nonzero()[:, 0]
        for part in self._parts(fresh, standing):
            whole = part.shape[0] == x.shape[0]
            mine, answers = (x, clean) if whole else (x[part], taken(self.victim, clean, part))
            scores = {
                name: self._score(name, mine, answers, at, memories) for name in self.posts if self._limited(name)
            }
            self._judge(scores, standing)
            given |= {name: torch.cat([given[name], each]) if name in given else each for name, each in scores.items()}
            if standing.seen == self.window:
                self._start_anew(memories, standing)
        self._note(given, standing)
        scores = {name: given.get(name, NO_SCORES) for name in self.posts}
        shown = places[fresh]
        return Looked(scores, {name: shown if self._limited(name) else places for name in self.posts}, shown)

    def _limited(self, name: str) -> bool:
        return self.posts[name].limits is not None

    def _new(self, x: Batch, at: float, memories: Memories) -> Bool[Tensor, " n"]:
        if self.repeats is None or len(x) == 0:
            return torch.ones(len(x), dtype=torch.bool)
        if REPEATS not in memories:
            memories[REPEATS] = self.repeats.fresh()
        return self.repeats.new(x, at, memories[REPEATS])

    def _parts(self, rows: Int[Tensor, " r"], standing: Standing) -> list[Tensor]:
        """The new rows of a request, cut where a window ends."""
        if not self.window:
            standing.seen += len(rows)
            return []
        left = self.window - standing.seen
        return [part for part in (rows[:left], *rows[left:].split(self.window)) if len(part)]

    def _score(self, name: str, x: Batch, clean: Reply, at: float, memories: Memories) -> Tensor:
        watch = self.posts[name].watch
        if name not in memories:
            memories[name] = watch.fresh()
        return watch.score(x, clean, at, memories[name]) if len(x) else NO_SCORES

    def _judge(self, scores: Mapping[str, Tensor], standing: Standing) -> None:
        """Looks at new scores of every detector with limits, inside one window."""
        n = max(len(each) for each in scores.values())
        for place, (name, post) in enumerate(self.posts.items()):
            if post.limits is None:
                continue
            for look in post.limits.passed(standing.seen, standing.seen + n):
                query = post.limits.null.looks[look]
                p = post.limits.null.p(look, float(scores[name][query - standing.seen - 1]))
                standing.p[place] = min(float(standing.p[place]), p)
                if p <= post.limits.alpha and not standing.alarmed[place]:
                    standing.alarmed[place] = standing.before + query
        standing.seen += n

    def _start_anew(self, memories: Memories, standing: Standing) -> None:
        for name in self.posts:
            if self._limited(name):
                memories[name] = self.posts[name].watch.fresh()
        standing.before += standing.seen
        standing.seen = 0

    def _note(self, given: Mapping[str, Tensor], standing: Standing) -> None:
        for place, name in enumerate(self.posts):
            verdicts = [score for score in given.get(name, NO_SCORES).tolist() if not math.isnan(score)]
            if verdicts:
                standing.score[place] = verdicts[-1]

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
