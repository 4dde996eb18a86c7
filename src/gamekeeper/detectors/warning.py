"""Extraction warning: how much has this client learnt? A risk meter that runs in the background, never an alarm.

Source      Kesarwani, Mukhoty, Arya, Mehta, "Model extraction warning in MLaaS paradigm" (ACSAC 2018), which measures it for
            decision trees (`tree_warning.py`); the form for any model is ours
Equations   (a - g) / (1 - g), where a is how often a cheap surrogate that is fitted on what the client saw gives the
            victim's class for held-out natural inputs, and g how often the best constant guess does
Assumes     inputs like a user's (`Owner.natural`, else the training inputs, on which the victim is surer)
Deviations  the surrogate is logistic regression on the input of the victim's first linear layer, projected on 64 directions;
            of a victim whose network is not available, on the input itself, where it falls well behind a thief's
            network. It learns from labels alone. Of a client with more different queries than `most`, an even sample
            counts
Keeps       for each client up to `most` rows of 64 numbers; no answer is changed

A heavy honest user learns much, too: the score says what a client could have copied by now, not that they did. Of
clients who work together it is the score of the union: `status(merged(memories))`. A thief has other means than the
surrogate, so the score compares clients; it is no bound on any of them. Of noise a thief learns less than it says, since
the victim's features, which the surrogate is given, are what noise cannot teach.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from gamekeeper.detectors.features import Features, Tap, tap
from gamekeeper.detectors.limits import LOOKS
from gamekeeper.detectors.projection import Projection
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.estimators import one_thread
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import needs_inputs
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

Status = Callable[[Features, Tensor], float]
"""From inputs or features (n, d) and the victim's classes of them (n,) to what can be learnt from them, in [0, 1]."""
Reader = Callable[[Batch, Reply], Features]
DIMS = 64


# pure functions


def renumbered(labels: Int[Tensor, " n"], others: Int[Tensor, " m"]) -> tuple[Tensor, Tensor]:
    """Both with classes numbered as they first occur in `labels`; -1 for one that does not occur there.

    What is fitted then does not depend on how the victim numbers its classes.
    """
    number = {label: place for place, label in enumerate(dict.fromkeys(labels.tolist()))}
    first, second = (torch.tensor([number.get(label, -1) for label in each.tolist()]) for each in (labels, others))
    return first, second


def above_guessing(agreement: float, guess: float) -> float:
    """(agreement - guess) / (1 - guess), at least 0: nothing learnt is 0, a perfect copy is 1."""
    return min(1.0, max(0.0, (agreement - guess) / (1 - guess)))


@dataclass(frozen=True, eq=False)
class Fidelity:
    """How well a surrogate that is fitted on answers predicts the victim's classes of held-out natural inputs.

    penalty  inverse strength of the logistic regression's penalty
    """

    held: Float[Tensor, "r d"]
    classes: Int[Tensor, " r"]
    penalty: float = 1.0

    def __call__(self, f: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
        """The status of whoever saw these answers. Put those of clients who work together one after the other."""
        from sklearn.linear_model import LogisticRegression

        seen, classes = renumbered(labels, self.classes)
        if len(seen) == 0 or int(seen.max()) == 0:
            return 0.0  # fewer than two classes: no better than a constant guess
        options: dict[str, Any] = {"C": self.penalty, "max_iter": 100}
        surrogate: Any = LogisticRegression(**options)
        with one_thread():
            guess = surrogate.fit(f.numpy(), seen.numpy()).predict(self.held.numpy())
        agreement = float((torch.from_numpy(guess) == classes).double().mean())
        return above_guessing(agreement, self.guess)

    @property
    def guess(self) -> float:
        """How often the best constant guess agrees with the victim."""
        return float(torch.unique(self.classes, return_counts=True)[1].max()) / len(self.classes)


# what a client saw


@dataclass
class Seen:
    """How many queries a client sent, and an even sample of the different ones, in the order of their keys.

    keys    int64 (m,), ascending: pseudo-random numbers made from the input alone
    rows    float32 (m, d), inputs or features; labels: int64 (m,), the victim's classes
    """

    queries: int
    keys: Tensor
    rows: Tensor
    labels: Tensor


def keys_of(x: Shaped[Tensor, "n ..."], seed: int) -> Int[Tensor, " n"]:
    """A pseudo-random number for each input, equal for equal float32 inputs, whatever else is in the batch."""
    bits = (x.flatten(1).float() + 0.0).view(torch.int32).long()
    draw = partial(torch.randint, -(2**62), 2**62, generator=torch.Generator().manual_seed(seed))
    odd, by, then = draw((bits.shape[1],)) * 2 + 1, draw(()) * 2 + 1, draw(()) * 2 + 1
    mixed = (bits * odd).sum(1)  # modulo 2**64, as are all products here
    for factor in (by, then):
        mixed = (mixed ^ (mixed >> 32 & 2**32 - 1)) * factor
    return mixed ^ (mixed >> 32 & 2**32 - 1)


def joined(parts: Sequence[Seen], most: int) -> Seen:
    """All of them as one client's: of the different inputs, the `most` with the smallest keys.

    A sample that is the same in whichever order the queries came, and whoever sent them.
    """
    queries = sum(part.queries for part in parts)
    first, *others = parts
    if len(first.keys) == most and all(bool((part.keys > first.keys[-1]).all()) for part in others):
        return replace(first, queries=queries)  # nobody is among the smallest: most queries of a heavy client
    keys = torch.cat([part.keys for part in parts])
    order = keys.argsort(stable=True)
    new = torch.ones(len(keys), dtype=torch.bool)
    new[1:] = keys[order][1:] != keys[order][:-1]
    chosen = order[new][:most]
    rows, labels = torch.cat([part.rows for part in parts]), torch.cat([part.labels for part in parts])
    return Seen(queries, keys[chosen], rows[chosen], labels[chosen])


@dataclass(frozen=True, eq=False)
class Learnt:
    """The watch: the status of what a client saw after each of a few looks; NaN in between.

    read    the rows to remember of inputs and their clean answers, (n, width)
    """

    read: Reader
    width: int
    of: Status
    seed: int
    most: int
    looks: tuple[int, ...]

    def fresh(self) -> Seen:
        none = torch.empty(0, dtype=torch.int64)
        return Seen(0, none, torch.empty(0, self.width), none)

    def score(self, x: Batch, clean: Reply, at: float, memory: Seen) -> Scores:
        whole = Seen(len(x), keys_of(x, self.seed), self.read(x, clean), clean.y.argmax(1))
        scores = torch.full((len(x),), torch.nan, dtype=torch.float64)
        now, start = memory, 0
        ends = [look - memory.queries for look in self.looks if 0 < look - memory.queries <= len(x)]
        for end in ends:
            now = joined([now, cut(whole, start, end)], self.most)
            scores[end - 1] = self.status(now)
            start = end
        now = joined([now, cut(whole, start, len(x))], self.most)
        memory.queries, memory.keys, memory.rows, memory.labels = now.queries, now.keys, now.rows, now.labels
        return scores

    def status(self, memory: Seen) -> float:
        """How much can be learnt from what is remembered, in [0, 1]: of one client, or of several merged."""
        return self.of(memory.rows, memory.labels)

    def merged(self, memories: Sequence[Seen]) -> Seen:
        return joined([self.fresh(), *memories], self.most)


def cut(seen: Seen, start: int, end: int) -> Seen:
    """The queries from start to end of a batch."""
    part = slice(start, end)
    return Seen(end - start, seen.keys[part], seen.rows[part], seen.labels[part])


# recipes


def held_out(victim: Model, owner: Owner, most: int, seed: int, method: str) -> tuple[Batch, Reply]:
    """At most so many inputs like a user's, with the victim's answers. Raises Unsuited without two classes among them."""
    natural = owner.x if owner.natural is None or len(owner.natural) == 0 else owner.natural
    if len(natural) == 0:
        needs_inputs(owner, f"{method} checks a copy on")
    order = torch.randperm(len(natural), generator=torch.Generator().manual_seed(seed))
    held = natural[order[:most]]
    reply = victim(held)
    if len(reply.y.argmax(1).unique()) < 2:
        raise Unsuited(
            f"{method} needs natural inputs of at least 2 of the victim's classes; it gives all {len(held)} the same one."
            " Give the target more of them in data.natural."
        )
    return held, reply


def whole(counts: Sequence[int], name: str) -> None:
    if min(counts, default=0) < 1:
        raise BadConfig(f"The numbers of {name} must be whole and at least 1. Got {', '.join(map(str, counts))}.")


@dataclass(frozen=True)
class ExtractionWarning:
    """How much a client can have learnt of any model: how faithful a cheap copy is that is fitted on their answers.

    most   of a client's different queries, so many are remembered
    held   natural inputs that a copy is checked on, at most
    looks  queries after which it is checked
    """

    most: int = 2_000
    held: int = 1_000
    looks: tuple[int, ...] = LOOKS

    def __post_init__(self) -> None:
        whole([self.most, self.held, *self.looks], "ExtractionWarning")

    def arm(self, victim: Model, owner: Owner, seed: int) -> Learnt:
        x, reply = held_out(victim, owner, self.held, seed, "ExtractionWarning")
        read = reader(victim, x if len(owner.x) == 0 else owner.x)
        held = read(x, reply)
        return Learnt(read, held.shape[1], Fidelity(held, reply.y.argmax(1)), seed, self.most, self.looks)


@dataclass(frozen=True, eq=False)
class Projected:
    """Rows of a few numbers: the features behind an answer, or the input where there is no tap, projected."""

    tap: Tap | None
    onto: Projection

    def __call__(self, x: Batch, reply: Reply) -> Features:
        return self.onto(x if self.tap is None else self.tap.behind(x, reply))


def reader(victim: Model, x: Batch) -> Reader:
    """What is learnt from: a thief's network learns features much like the victim's, so these are the better stand-in."""
    if isinstance(victim, TorchModel) and any(isinstance(module, nn.Linear) for module in victim.net.modules()):
        features = tap(victim, "ExtractionWarning", "flat")
        return Projected(features, Projection.principal(features(x), DIMS))
    return Projected(None, Projection.inputs(x, DIMS))
