"""Calibration holds on inputs it never saw, and a lookout does with requests what its parts do with rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.detectors.calibrate import (
    Benign,
    at_looks,
    bootstrap,
    limits_at_looks,
    limits_from_inputs,
    limits_of_counts,
)
from gamekeeper.detectors.limits import LOOKS, Backing, BetaBinomial, Binomial, Limits, Ranked
from gamekeeper.detectors.lookout import Lookout, Post, Standing
from gamekeeper.errors import Unsuited
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Reply, Scores


@dataclass
class Seen:
    n: int
    total: float


@dataclass(frozen=True)
class Flags:
    """Counts inputs above a limit."""

    above: float

    def fresh(self) -> Seen:
        return Seen(0, 0.0)

    def flags(self, x: Batch, clean: Reply) -> Bool[Tensor, " n"]:
        return x[:, 0] > self.above

    def score(self, x: Batch, clean: Reply, at: float, memory: Seen) -> Scores:
        counts = memory.total + self.flags(x, clean).double().cumsum(0)
        memory.n, memory.total = memory.n + len(x), float(counts[-1])
        return counts


@dataclass(frozen=True)
class Mean:
    """How far the mean of a client's inputs lies above zero, in standard errors; no verdict before the tenth."""

    def fresh(self) -> Seen:
        return Seen(0, 0.0)

    def score(self, x: Batch, clean: Reply, at: float, memory: Seen) -> Scores:
        n = memory.n + torch.arange(1, len(x) + 1)
        sums = memory.total + x[:, 0].double().cumsum(0)
        memory.n, memory.total = int(n[-1]), float(sums[-1])
        return torch.where(n < 10, torch.nan, sums / n.sqrt())


class Victim:
    task = Classify(2)

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(torch.stack([(x[:, 0] > 0).double(), (x[:, 0] <= 0).double()], 1))


def normal(n: int, seed: int) -> Benign:
    return Benign.of(Victim(), torch.randn(n, 1, generator=torch.Generator().manual_seed(seed)))


def rate(watch: Flags | Mean, limits: Limits, clients: int, seed: int) -> float:
    """The share of fresh clients of 100 queries who alarm."""
    lookout = Lookout(Victim(), {"it": Post(watch, limits)})
    alarmed = 0
    for client in normal(100 * clients, seed).clients(100):
        memories: dict[str, object] = {}
        lookout.look(client.x, client.clean, math.nan, memories)
        alarmed += bool(lookout.alarms(memories))
    return alarmed / clients


@pytest.mark.parametrize("watch", [Flags(1.5), Mean()])
def test_limits_hold_for_clients_of_fresh_inputs(watch: Flags | Mean):
    limits = limits_from_inputs(watch, normal(8_000, 0), 0.05, 0, (20, 50, 100), streams=400)
    assert rate(watch, limits, 600, 1) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert limits.backing.clients == 40  # 4,000 inputs that had no part in the null, 100 each


def test_a_thief_alarms_and_the_standing_says_when():
    watch = Mean()
    lookout = Lookout(
        Victim(), {"it": Post(watch, limits_from_inputs(watch, normal(4_000, 0), 0.01, 0, (20, 50, 100)))}
    )
    memories: dict[str, object] = {}
    x = 1.5 + torch.randn(100, 1, generator=torch.Generator().manual_seed(5))
    lookout.look(x, Victim()(x), math.nan, memories)
    assert lookout.alarms(memories) == {"it": 20}
    assert lookout.p_values(memories)["it"] <= 0.01


def test_requests_may_be_cut_anywhere_and_stored_in_between():
    benign = normal(4_000, 0)
    watches = {"flags": Flags(1.5), "mean": Mean()}
    lookout = Lookout(
        Victim(), {n: Post(w, limits_from_inputs(w, benign, 0.05, 0, (20, 50))) for n, w in watches.items()}
    )
    x = 0.4 + torch.randn(60, 1, generator=torch.Generator().manual_seed(3))
    whole: dict[str, object] = {}
    expected = lookout.look(x, Victim()(x), math.nan, whole)
    parts: dict[str, object] = {}
    pieces = []
    for part in x.split(7):
        pieces.append(lookout.look(part, Victim()(part), math.nan, parts))
        kinds = {"standing": Standing, "flags": Seen, "mean": Seen}
        parts = {name: unpacked(kinds[name], packed(memory)) for name, memory in parts.items()}
    for name in watches:
        assert torch.equal(torch.cat([piece[name] for piece in pieces]).nan_to_num(), expected[name].nan_to_num())
    assert lookout.alarms(parts) == lookout.alarms(whole)
    assert lookout.p_values(parts) == lookout.p_values(whole)


def test_evidence_never_alarms_and_unanswered_rows_are_not_shown():
    lookout = Lookout(Victim(), {"it": Post(Flags(-9.0))})
    memories: dict[str, object] = {}
    clean = Victim()(torch.zeros(30, 1))
    clean.y[3] = torch.nan
    assert len(lookout.look(torch.zeros(30, 1), clean, math.nan, memories)["it"]) == 29
    assert lookout.look(torch.zeros(1, 1), Reply(torch.full((1, 2), torch.nan)), math.nan, memories)["it"].shape == (0,)
    assert lookout.alarms(memories) == {}
    assert lookout.p_values(memories) == {}
    assert lookout.alarms({}) == {}


def from_clients(clients: list[Scores], alpha: float, looks: tuple[int, ...] = LOOKS) -> Limits:
    return limits_at_looks(torch.stack([at_looks(each, looks) for each in clients]), alpha, looks)


def flag_counts(clients: int, length: int, rate: float, overdispersion: float, seed: int) -> Tensor:
    """Running counts of flags of clients whose own rates are drawn from a beta distribution."""
    numbers = np.random.default_rng(seed)
    spread = 1 / overdispersion - 1
    rates = numbers.beta(rate * spread, (1 - rate) * spread, (clients, 1))
    return torch.from_numpy((numbers.random((clients, length)) < rates).cumsum(1).astype(np.float64))


def test_limits_of_counts_allow_for_clients_who_differ():
    """Of 400 clients the rank would need 499; a binomial null would alarm on many of those with a thick pen."""
    looks, alpha = (20, 50, 100), 0.002
    counts = flag_counts(400, 100, 0.03, 0.1, 0)[:, [look - 1 for look in looks]]
    null = limits_of_counts(counts, alpha, looks).null
    assert isinstance(null, BetaBinomial)
    assert null.overdispersion == pytest.approx(0.1, abs=0.03)
    fresh = flag_counts(4_000, 100, 0.03, 0.1, 1)[:, 99].tolist()
    assert sum(null.p(2, each) <= alpha for each in fresh) <= 3 * alpha * 4_000
    plain = Binomial(looks, null.rate)
    assert sum(plain.p(2, each) <= alpha for each in fresh) > 3 * alpha * 4_000


def test_counts_of_clients_who_are_alike_have_a_binomial_null_and_few_clients_are_ranked():
    looks = (20, 50, 100)
    every = torch.zeros(40, 3, dtype=torch.float64)
    every[::2] = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    alike = limits_of_counts(every, 0.001, looks)
    assert isinstance(alike.null, Binomial)
    assert 20 / 4_000 < alike.null.rate < 2 * 20 / 4_000
    assert alike.backing == Backing("clients", 0, 40, 0)
    with pytest.raises(Unsuited, match="null of 999 honest clients"):
        limits_of_counts(every[:20], 0.001, looks)
    short = every.clone()
    short[:, 2] = torch.nan
    assert limits_of_counts(short, 0.001, looks).null.looks == (20, 50)


def test_too_little_to_calibrate_with_is_said():
    with pytest.raises(Unsuited, match="at least 160 benign inputs"):
        limits_from_inputs(Mean(), normal(100, 0), 0.05, 0)
    with pytest.raises(Unsuited, match="null of 999 honest clients"):
        from_clients([torch.arange(30.0)] * 40, 0.001)
    with pytest.raises(Unsuited, match="no client came as far"):
        from_clients([torch.arange(5.0)] * 40, 0.1)


def test_real_clients_rank_a_client_among_themselves():
    clients = [client.scores(Mean()) for client in normal(20_000, 0).clients(100)]
    limits = from_clients(clients, 0.05, (20, 50, 100, 250))
    assert limits.null.looks == (20, 50, 100)
    assert limits.backing == Backing("clients", 0, 200, 10)
    assert rate(Mean(), limits, 600, 9) <= 0.05 + 3 * math.sqrt(2 * 0.05 * 0.95 / 200)


def test_a_detector_without_a_verdict_at_first_is_ranked_at_the_looks_where_it_has_one():
    clients = [torch.cat([torch.full((10,), torch.nan), torch.arange(10.0) + place]) for place in range(40)]
    limits = from_clients(clients, 0.1, (5, 15, 20, 50))
    assert limits.null.looks == (5, 15, 20)
    assert limits.null.p(0, 1e9) == 1.0
    assert limits.null.p(1, 4.0 + 40) == 1 / 41
    assert limits.null.p(1, 4.0 + 19.5) == pytest.approx(0.5, abs=0.02)


def test_a_null_has_uneven_class_mixes_unless_the_watch_says_otherwise():
    benign = normal(4_000, 0)

    def lowest(concentrations: tuple[float, ...]) -> float:
        """The rarer class's share in the most uneven of some clients."""
        shares = [float(each.clean.y[:, 0].mean()) for each in benign.streams(30, 100, 0, concentrations)]
        return min(min(share, 1 - share) for share in shares)

    assert lowest((math.inf,)) > 0.3
    assert lowest((math.inf, 0.3)) < 0.1
    keys = [row_keys(each.x) for each in benign.streams(6, 100, 0)]
    assert all(len(set(each)) == len(each) for each in keys)


def test_streams_drawn_from_few_inputs_vary_as_clients_of_other_inputs_do():
    """A sample of 400 has a mean of its own. Streams of 100 that are drawn from it without more ado know nothing of that."""
    clients, looks = (
        torch.stack([at_looks(c.scores(Mean()), (50, 100)) for c in normal(50_000, 9).clients(100)]),
        (50, 100),
    )

    def alarms(draw: Callable[[Benign, int], Iterator[Benign]]) -> float:
        """The share of new clients who alarm at 1 in 50, over 60 samples that limits were made from."""
        share = 0.0
        for seed in range(60):
            null = Ranked.of(
                torch.stack([at_looks(c.scores(Mean()), looks) for c in draw(normal(400, seed), seed)]), looks
            )
            share += (
                sum(min(null.p(i, s) for i, s in enumerate(c)) <= 0.02 for c in clients.tolist()) / len(clients) / 60
            )
        return share

    assert alarms(lambda benign, seed: benign.streams(100, 100, seed, (math.inf,))) > 0.035
    assert alarms(lambda benign, seed: benign.streams(100, 100, seed, (math.inf,), bootstrap)) < 0.025


def test_a_file_sorted_by_class_is_noticed():
    benign = normal(1_000, 0)
    assert not benign.by_class
    assert benign.rows(benign.x[:, 0].argsort()).by_class


def test_scores_at_looks():
    assert at_looks(torch.arange(1.0, 4.0), (1, 3, 4)).tolist()[:2] == [1.0, 3.0]
    assert at_looks(torch.arange(1.0, 4.0), (1, 3, 4))[2].isnan()
    assert at_looks(torch.empty(0), (1,)).isnan().all()


def test_an_alarm_is_a_p_value_of_at_most_alpha():
    null = Binomial((20,), 0.01)
    lookout = Lookout(Victim(), {"it": Post(Flags(0.0), Limits(null, 0.01, Backing("binomial", 1, 1)))})
    for flagged in range(6):
        x = torch.cat([torch.ones(flagged, 1), -torch.ones(20 - flagged, 1)])
        memories: dict[str, object] = {}
        lookout.look(x, Victim()(x), math.nan, memories)
        assert bool(lookout.alarms(memories)) == (null.p(0, float(flagged)) <= 0.01)


def test_a_client_who_behaves_well_at_first_is_noticed_in_a_later_window():
    watch = Mean()
    limits = limits_from_inputs(watch, normal(4_000, 0), 0.01, 0, (20, 50))
    lookout = Lookout(Victim(), {"it": Post(watch, limits), "evidence": Post(Flags(0.0))})
    assert lookout.window == 50
    x = torch.cat([normal(120, 3).x, 1.5 + normal(80, 4).x])
    whole: dict[str, object] = {}
    given = lookout.look(x, Victim()(x), math.nan, whole)
    assert lookout.alarms(whole)["it"] in (150, 170)  # the window that began at 100 is half honest
    assert len(given["it"]) == len(given["evidence"]) == 200
    assert torch.equal(
        given["it"][100:120].nan_to_num(), watch.score(x[100:120], Reply(x), math.nan, Seen(0, 0.0)).nan_to_num()
    )
    parts: dict[str, object] = {}
    for part in x.split(33):
        lookout.look(part, Victim()(part), math.nan, parts)
    assert packed(parts["standing"]) == packed(whole["standing"])
    assert parts["it"] == whole["it"] == Seen(0, 0.0)
    assert isinstance(parts["evidence"], Seen)
    assert parts["evidence"].n == 200
