"""Partial Bayes: what a defense keeps is found again, what it throws away is not, and no secret of the run is used."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.baselines import ConstantTarget, Flatten
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.defenses.stateless import Stateless
from gamekeeper.defenses.truncate import Label, Round
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners import lookup_table
from gamekeeper.learners.distil import Soft
from gamekeeper.learners.lookup_table import (
    LookupTable,
    around,
    candidates,
    dirichlet,
    flat,
    known_defense,
    match,
    nearest,
    own_seed,
)
from gamekeeper.learners.partial_bayes import PartialBayes, sharpened
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Defense, Knowledge, Owner, Reply, Transfer

QUICK = Fit(epochs=5, least_steps=20, rate=0.1, batch=32)
BOX = Box((2,))
X = BOX.uniform(200, 0)
STUDENT = Mlp((2,), 4, (8,))


def posteriors(n: int, k: int = 4, seed: int = 3) -> Tensor:
    """From nearly certain to undecided."""
    return flat(k, n, np.random.default_rng(seed))


Y = posteriors(200)


def knows(*defenses: Defense) -> Knowledge:
    return Knowledge(X, BOX, Classify(4), STUDENT, defenses=defenses)


def answered(defense: Defense, y: Tensor = Y, seed: int = 7) -> Transfer:
    """What the owner's defense answers."""
    victim = TorchModel(fresh(STUDENT, 99), Classify(4))
    armed = defense.arm(victim, Owner(X[:0], torch.empty(0, dtype=torch.long), BOX, STUDENT), seed)
    return Transfer(X[: len(y)], armed.respond(X[: len(y)], Reply(y), armed.fresh()), len(y))


def error(recipe: PartialBayes, defense: Defense, y: Tensor = Y) -> float:
    """L1 between what is recovered and what was clean, mean over answers."""
    return float(distance(recipe.recover(answered(defense, y), knows(defense), 0), y, "l1").mean())


@dataclass(frozen=True)
class Same:
    """Changes nothing."""

    keeps_top1: bool = True

    def arm(self, victim, owner, seed):
        return Stateless(lambda y: y)


@dataclass(frozen=True)
class Softer:
    """The square root, renormalised: injective."""

    keeps_top1: bool = True

    def arm(self, victim, owner, seed):
        return Stateless(lambda y: y.sqrt() / y.sqrt().sum(1, keepdim=True))


@dataclass(frozen=True)
class Halves:
    """Rounds every entry to 0, 1/2 or 1 and does not renormalise: cells that cannot be told apart from inside."""

    keeps_top1: bool = False

    def arm(self, victim, owner, seed):
        return Stateless(lambda y: torch.round(2 * y) / 2)


def test_an_identity_gives_the_answers_back_within_the_resolution_of_the_table():
    recipe = PartialBayes(size=20_000)
    recovered = recipe.recover(answered(Same()), knows(Same()), 0)
    known = known_defense(answered(Same()), knows(Same()), 1, 0)
    looked_up = known.table(X, *candidates(Y, 20_000, 8.0, 0))
    resolution = match(Y, looked_up, True, 0.01)[1].clamp(min=0.01)
    assert distance(recovered, Y, "l1").mean() < 1.05 * resolution.mean()
    assert resolution.mean() < 0.04


def test_a_quantiser_gives_the_mean_of_its_cell_and_nothing_nearer():
    generator = np.random.default_rng(0)
    prior, truth = flat(3, 40_000, generator), flat(3, 300, generator)
    rounded = LookupTable(prior, torch.round(2 * prior) / 2)
    recovered, least = match(torch.round(2 * truth) / 2, rounded, False, 0.01)
    assert least.max() == 0
    for row, answer in zip(recovered, torch.round(2 * truth) / 2, strict=True):
        cell = prior[(rounded.answered == answer).all(1)]
        assert torch.allclose(row, cell.mean(0), atol=1e-5)


def test_more_candidates_help_against_an_injective_map_and_not_against_a_quantiser():
    small, large = PartialBayes(size=600), PartialBayes(size=30_000)
    assert error(large, Softer()) < 0.5 * error(small, Softer())
    assert error(large, Same()) < 0.4 * error(small, Same())
    assert error(large, Halves()) > 0.8 * error(small, Halves())


def test_mad_without_a_surrogate_is_undone():
    y = posteriors(200, 10)
    box_knows = Knowledge(X, BOX, Classify(10), Mlp((2,), 10, (8,)), defenses=(MAD(eps=0.95, surrogate="uniform"),))
    armed = MAD(eps=0.95, surrogate="uniform").arm(
        TorchModel(fresh(Mlp((2,), 10, (8,)), 1), Classify(10)),
        Owner(X[:0], torch.empty(0, dtype=torch.long), BOX, Mlp((2,), 10, (8,))),
        0,
    )
    given = armed.respond(X, Reply(y), None)
    recovered = PartialBayes(size=40_000).recover(Transfer(X, given, 200), box_knows, 0)
    assert distance(given.y, y, "l1").mean() > 0.9
    assert distance(recovered, y, "l1").mean() < 0.3


def test_the_seed_of_a_random_surrogate_is_guessed_from_the_answers():
    defense = MAD(eps=0.95)
    transfer = answered(defense)
    one, best = (
        distance(PartialBayes(8000, guesses=n).recover(transfer, knows(defense), 0), Y, "l1").mean() for n in (1, 16)
    )
    assert best < 0.3
    assert best < 0.6 * one


def test_the_thief_arms_with_no_seed_an_owner_would_take():
    seeds: list[int] = []

    @dataclass(frozen=True)
    class Noting:
        keeps_top1: bool = False
        noted: list[int] = field(default_factory=list, compare=False)

        def arm(self, victim, owner, seed):
            assert len(owner.x) == len(owner.truth) == 0
            seeds.append(seed)
            return Stateless(lambda y: torch.roll(y, seed % 4, 1))

    known_defense(Transfer(X, Reply(Y), 200), knows(Noting()), 5, 0)
    assert len(set(seeds)) == 5
    assert min(seeds) > 10_000
    assert own_seed(0, 1) != own_seed(1, 0)


def test_a_defense_without_a_seed_is_armed_twice_at_most():
    counted: list[int] = []

    @dataclass(frozen=True)
    class Counting:
        keeps_top1: bool = True

        def arm(self, victim, owner, seed):
            counted.append(seed)
            return Stateless(lambda y: y)

    known_defense(Transfer(X, Reply(Y), 200), knows(Counting()), 20, 0)
    assert len(counted) == 2


def test_a_defense_that_must_see_the_victim_or_its_data_is_refused_in_a_sentence():
    @dataclass(frozen=True)
    class Private:
        keeps_top1: bool = True

        def arm(self, victim, owner, seed):
            raise Unsuited("it needs training examples.")

    with pytest.raises(Unsuited, match=r"in the thief's own hands.*Private refused: it needs training examples\."):
        PartialBayes(100, fit=QUICK)(Transfer(X, Reply(Y), 200), knows(Private()), 0)


def test_defenses_are_chained_in_their_order():
    first, second = ConstantTarget(eps=0.5), Round(decimals=1)
    transfer = Transfer(X, answered(second, answered(first).reply.y).reply, 200)
    forth, back = (
        distance(PartialBayes(8000).recover(transfer, knows(*order), 0), Y, "l1").mean()
        for order in ((first, second), (second, first))
    )
    assert forth < 0.3
    assert forth < 0.7 * back


def test_memory_of_a_defense_with_one_is_one_new_client():
    @dataclass(frozen=True)
    class Remembering:
        keeps_top1: bool = True

        def arm(self, victim, owner, seed):
            return Memory()

    class Memory:
        def fresh(self):
            return []

        def respond(self, x, reply, memory):
            memory.append(len(x))
            return Reply(torch.full_like(reply.y, float(len(memory))))

    known = known_defense(Transfer(X, Reply(Y), 200), knows(Remembering()), 1, 0)
    clean, rows = candidates(Y, 2 * lookup_table.CHUNK + 1, 8.0, 0)
    assert known.table(X, clean, rows).answered[:, 0].unique().tolist() == [1.0, 2.0, 3.0]
    assert known.table(X, clean, rows).answered[0, 0] == 1.0


def test_candidates_are_answered_with_the_input_they_belong_to():
    @dataclass(frozen=True)
    class ByInput:
        keeps_top1: bool = False

        def arm(self, victim, owner, seed):
            return Echo()

    class Echo:
        def fresh(self):
            return None

        def respond(self, x, reply, memory):
            return Reply(x[:, :1].expand(-1, 4))

    known = known_defense(Transfer(X, Reply(Y), 200), knows(ByInput()), 1, 0)
    clean, rows = candidates(Y, 500, 8.0, 0)
    assert torch.equal(known.table(X, clean, rows).answered[:, 0], X[rows, 0])


def test_only_candidates_of_the_same_top_class_count_where_the_defense_keeps_it():
    rows = LookupTable(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([[0.7, 0.3], [0.6, 0.4]]))
    y = torch.tensor([[0.62, 0.38]])
    assert match(y, rows, True, 0.01)[0].tolist() == [[pytest.approx(0.9), pytest.approx(0.1)]]
    assert match(y, rows, False, 0.01)[0].tolist() == [[pytest.approx(0.4), pytest.approx(0.6)]]


def test_a_top_class_no_candidate_has_is_looked_up_in_the_whole_table():
    rows = LookupTable(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.7, 0.3]]))
    assert match(torch.tensor([[0.2, 0.8]]), rows, True, 0.01)[0].tolist() == [[pytest.approx(0.9), pytest.approx(0.1)]]


def test_chunks_change_nothing(monkeypatch):
    y = posteriors(150)
    prior = posteriors(3000, seed=8)
    whole = nearest(y, LookupTable(prior, prior.sqrt()), 0.05)
    slow = torch.stack(
        [prior[(near := (prior.sqrt() - row).abs().sum(1)) <= near.min().clamp(min=0.05)].mean(0) for row in y]
    )
    monkeypatch.setattr(lookup_table, "CELLS", 7 * 3000)
    chunked = match(y, LookupTable(prior, prior.sqrt()), False, 0.05)
    for recovered, least in (whole, chunked):
        assert torch.allclose(recovered, slow, atol=1e-5)
        assert torch.equal(least, torch.cdist(y, prior.sqrt(), p=1).amin(1))


def test_candidates_lie_round_the_answers_as_closely_as_the_concentration_says():
    y = torch.tensor([[0.5, 0.3, 0.2, 0.0]])
    near, rows = around(y, 20_000, 8.0, np.random.default_rng(0))
    assert torch.equal(rows, torch.zeros(20_000, dtype=torch.long))
    assert torch.allclose(near.mean(0), y[0], atol=2e-3)
    # a Dirichlet of concentration a has variance p (1 - p) / (a + 1)
    assert torch.allclose(near.var(0), y[0] * (1 - y[0]) / 33, rtol=0.05, atol=1e-6)


def test_every_answer_gets_as_many_candidates_and_every_row_is_a_posterior():
    clean, rows = candidates(Y, 1600, 8.0, 0)
    assert rows[:800].bincount().tolist() == [4] * 200
    assert torch.allclose(clean.sum(1), torch.ones(1600), atol=1e-5)
    assert clean.min() >= 0
    assert clean[800:].amax(1).min() < 0.4 < 0.999 < clean[800:].amax(1).max()


def test_gamma_variates_that_vanish_leave_a_uniform_row():
    assert dirichlet(np.zeros((1, 4)), np.random.default_rng(0)).tolist() == [[0.25] * 4]


def test_no_defense_known_is_the_soft_thief_bit_for_bit():
    transfer = Transfer(X, Reply(Y), 200)
    assert torch.equal(PartialBayes(fit=QUICK)(transfer, knows(), 0)(X).y, Soft(QUICK)(transfer, knows(), 0)(X).y)


def test_the_recovered_answers_are_what_is_learnt():
    clean = torch.softmax(20 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1), X[:, 0] - 0.5], 1), 1)
    transfer = answered(Flatten(eps=0.95), clean)
    fit = Fit(epochs=20, least_steps=300, rate=0.5, batch=32)
    recovered, soft = (
        distance(learner(transfer, knows(Flatten(eps=0.95)), 0)(X).y, clean, "l1").mean()
        for learner in (PartialBayes(4000, fit=fit), Soft(fit))
    )
    assert recovered < 0.3 * soft


def test_labels_are_recovered_as_the_mean_of_their_class():
    recovered = PartialBayes(4000).recover(answered(Label()), knows(Label()), 0)
    assert torch.equal(recovered.argmax(1), Y.argmax(1))
    assert len(recovered.unique(dim=0)) == 4


def test_no_answers_leave_the_student_untrained():
    nothing = Transfer(X[:0], Reply(Y[:0]), 0)
    assert PartialBayes(fit=QUICK)(nothing, knows(Label()), 0)(X).y.shape == (200, 4)


def test_parameters_out_of_range_are_refused():
    for wrong in ({"size": 3}, {"guesses": 0}, {"tolerance": 0.0}, {"concentration": -1.0}):
        with pytest.raises(BadConfig, match="PartialBayes needs"):
            PartialBayes(**wrong)


def test_a_table_of_many_classes_has_fewer_rows(monkeypatch):
    sizes: list[int] = []

    def counted(y: Tensor, table: LookupTable, keeps_top1: bool, tolerance: float):
        sizes.append(len(table.clean))
        return match(y, table, keeps_top1, tolerance)

    monkeypatch.setattr("gamekeeper.learners.partial_bayes.match", counted)
    monkeypatch.setattr("gamekeeper.learners.partial_bayes.MOST", 4 * 1000)
    for size in (900, 5000):
        PartialBayes(size).recover(Transfer(X, Reply(Y), 200), knows(Round(2)), 0)
    assert sizes == [450, 900, 500, 1000]


def test_sharpened_candidates_lie_between_the_answer_and_its_label():
    near, rows = sharpened(Y, 400, np.random.default_rng(0))
    assert torch.allclose(near.sum(1), torch.ones(400))
    assert rows.bincount().tolist() == [2] * 200
    clear = Y.topk(2).values.diff().neg()[:, 0] > 1e-6
    assert (near.argmax(1) == Y[rows].argmax(1))[clear[rows]].all()


def test_of_a_thousand_classes_the_top_one_is_recovered():
    k = 1000
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(30, k, generator=generator)
    logits[range(30), torch.randint(k, (30,), generator=generator)] += 10
    clean, student = logits.softmax(1), Mlp((2,), k, (8,))
    armed = ReverseSigmoid(beta=0.9).arm(
        TorchModel(fresh(student, 99), Classify(k)), Owner(X[:0], torch.empty(0, dtype=torch.long), BOX, student), 7
    )
    y = armed.respond(X[:30], Reply(clean), armed.fresh()).y
    informed = Knowledge(X, BOX, Classify(k), student, defenses=(ReverseSigmoid(beta=0.9),))
    recovered = PartialBayes(guesses=1).recover(Transfer(X[:30], Reply(y), 30), informed, 0)
    assert distance(y, clean, "l1").mean() > 1.6
    assert distance(recovered, clean, "l1").mean() < 1
