"""A linear classifier is recovered from its labels, each weight at a price that grows with the digits wanted."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, one_hot

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.formula_clones import Linear
from gamekeeper.attacks.lowd_meek import LowdMeek
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply

D = 20


class DefenseSummary:
    """Labels of w.x + b > 0, the boundary through the middle of the unit box."""

    def __init__(self, seed: int, zeros: int = 0, d: int = D):
        generator = torch.Generator().manual_seed(seed)
        self.w = torch.randn(d, generator=generator, dtype=torch.float64)
        self.w[:zeros] = 0
        self.b = -float(self.w @ (0.5 + 0.1 * torch.randn(d, generator=generator, dtype=torch.float64)))

    def __call__(self, x: torch.Tensor, /) -> Reply:
        return Reply(one_hot((x.double().flatten(1) @ self.w + self.b > 0).long(), 2).float())


def thief(box: Box, pool: torch.Tensor | None = None, classes: int = 2) -> Knowledge:
    pool = torch.empty(0, *box.shape) if pool is None else pool
    return Knowledge(pool, box, Classify(classes), Mlp(box.shape, classes))


def steal(line: DefenseSummary, eps: float = 1e-6, budget: int = 100_000, seed: int = 0) -> tuple[Linear, int]:
    box = Box((len(line.w),))
    gate = Metered(line, budget, box)
    return LowdMeek(eps)(gate, thief(box), seed), gate.spent


def direction(copy: Linear) -> torch.Tensor:
    return copy.weights[1] - copy.weights[0]


@pytest.mark.parametrize("seed", range(5))
def test_weights_and_bias_are_found_up_to_scale(seed: int):
    line = DefenseSummary(seed)
    copy, _ = steal(line, seed=seed)
    assert copy.caveats == ()
    assert cosine_similarity(direction(copy), line.w, dim=0) > 1 - 1e-11
    assert float(copy.bias[1] - copy.bias[0]) == pytest.approx(line.b / float(line.w.norm()), abs=1e-5)


def test_weights_that_are_zero_are_found_exactly_zero_and_no_others():
    line = DefenseSummary(0, zeros=3)
    copy, _ = steal(line)
    assert (direction(copy) == 0).nonzero().flatten().tolist() == [0, 1, 2]


def test_queries_grow_linearly_in_the_digits():
    line = DefenseSummary(1)
    cost = [steal(line, eps)[1] for eps in (1e-3, 1e-5, 1e-7, 1e-9)]
    growth = torch.tensor(cost).diff()
    # two digits are log2(100) = 6.6 bisections, for each of the features and for the boundary point
    assert (growth - D * 6.64).abs().max() <= D


def test_more_digits_come_nearer():
    line = DefenseSummary(2)
    lost = [1 - float(cosine_similarity(direction(steal(line, eps)[0]), line.w, dim=0)) for eps in (1e-1, 1e-3, 1e-5)]
    assert lost[0] > lost[1] > lost[2]


def test_a_feature_that_hardly_matters_beside_the_witness_is_still_measured():
    """One weight is a thousandth of the others: whichever feature is the witness, all ratios come out."""
    line = DefenseSummary(3)
    line.w[0] = 1e-3
    line.b = -float(line.w.sum() / 2)
    copy, _ = steal(line)
    w = direction(copy) / direction(copy).norm() * line.w.norm()
    assert float(w[0]) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("budget", [0, 1, 3, 17, 60, 150, 400])
def test_the_budget_is_kept_and_more_of_it_steals_no_less(budget: int):
    line = DefenseSummary(4)
    copy, spent = steal(line, budget=budget)
    assert spent <= budget
    assert copy.caveats == ("cut-short",)
    assert torch.isfinite(copy(Box((D,)).uniform(10, 0)).y).all()


def test_a_budget_for_some_features_finds_these_to_full_precision():
    line = DefenseSummary(4)
    copy, spent = steal(line, budget=300)
    known = direction(copy) != 0
    assert spent <= 300
    assert 5 < known.sum() < D
    assert copy.caveats == ("cut-short",)
    assert cosine_similarity(direction(copy)[known], line.w[known], dim=0) > 1 - 1e-9


def test_the_pool_shows_a_class_that_random_inputs_do_not():
    line = DefenseSummary(5)
    line.b = -float(line.w.clamp(min=0).sum()) + 0.05 * float(line.w.norm())  # positive in one corner only
    box = Box((D,))
    corner = (line.w > 0).double()[None]
    copy = LowdMeek()(Metered(line, 5000, box), thief(box, corner), 0)
    assert cosine_similarity(direction(copy), line.w, dim=0) > 1 - 1e-9


def test_a_class_never_seen_gives_a_copy_that_always_says_the_other():
    line = DefenseSummary(6)
    line.b = 1e6
    box = Box((D,))
    copy = LowdMeek()(Metered(line, 50, box), thief(box), 0)
    assert (copy(box.uniform(20, 1)).y.argmax(1) == 1).all()


def test_the_finest_eps_ends_where_float64_does():
    """A boundary a hair from the end of the box has no room for a finer bracket; the budget is not spent on one."""
    line = DefenseSummary(8, d=2)
    line.w, line.b = torch.tensor([1.0, 1.0], dtype=torch.float64), -2.0 + 1e-9
    box, corner = Box((2,)), torch.ones(1, 2, dtype=torch.float64)
    gate = Metered(line, 5000, box)
    copy = LowdMeek(1e-12)(gate, thief(box, corner), 0)
    assert gate.spent < 300
    assert cosine_similarity(direction(copy), line.w, dim=0) > 1 - 1e-9


def test_images_in_another_range_are_no_different():
    line = DefenseSummary(7, d=16)
    line.b = 0.3
    box = Box((1, 4, 4), -1.0, 1.0)
    transcript = Transcript(line)
    copy = LowdMeek()(Metered(transcript, 5000, box), thief(box), 0)
    assert cosine_similarity(direction(copy), line.w, dim=0) > 1 - 1e-11
    x = box.uniform(500, 3)
    assert torch.equal(copy(x).y.argmax(1), line(x).y.argmax(1))


def test_only_two_classes_can_be_stolen_so():
    box = Box((D,))
    gate = Metered(DefenseSummary(0), 100, box)
    with pytest.raises(Unsuited, match="two classes"):
        LowdMeek()(gate, thief(box, classes=3), 0)
    assert gate.spent == 0


def test_an_eps_beyond_float64_is_refused():
    with pytest.raises(BadConfig, match="eps"):
        LowdMeek(1e-13)
