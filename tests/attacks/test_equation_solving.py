"""Logistic and softmax regression are recovered exactly at d + 1 queries, and another link is noticed."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import one_hot

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.attacks.equation_solving import EquationSolving, step
from gamekeeper.attacks.formula_clones import Linear
from gamekeeper.defenses.truncate import round_off, top_k
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply

D = 40
PLAIN, BOX = EquationSolving(), Box((D,))


def victim(k: int, seed: int = 0, d: int = D, sharp: float = 6.0, link: str = "softmax") -> Linear:
    """Scores of some units' spread over the unit box, undecided near its middle."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(k, d, generator=generator, dtype=torch.float64) * sharp / d**0.5
    bias = -weights.sum(1) / 2 + 0.3 * torch.randn(k, generator=generator, dtype=torch.float64)
    return Linear(weights, bias, Classify(k), link)


def steal(oracle, k: int, budget: int, recipe=PLAIN, seed: int = 0, box: Box = BOX):
    gate = Metered(oracle, budget, box)
    knows = Knowledge(torch.empty(0, *box.shape), box, Classify(k), Mlp(box.shape, k))
    copy = recipe(gate, knows, seed)
    assert gate.spent <= budget
    return copy, gate.spent


def off(copy, true: Linear) -> float:
    """Largest error of weights and bias, both with mean 0 over classes."""
    unknowns = [torch.cat([m.weights, m.bias[:, None]], 1) for m in (copy, true)]
    first, second = (u - u.mean(0) for u in unknowns)
    return float((first - second).abs().max())


def unlike(copy, true) -> float:
    """R_unif: the share of 10,000 uniform inputs with another label."""
    x = BOX.uniform(10_000, 99)
    return float((copy(x).y.argmax(1) != true(x).y.argmax(1)).double().mean())


def through(true, change):
    return lambda x: Reply(change(true(x).y))


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_are_exact_at_d_plus_1_queries_and_not_at_d(k: int, seed: int):
    true = victim(k, seed)
    copy, spent = steal(true, k, D + 1, seed=seed)
    short, _ = steal(true, k, D, seed=seed)
    assert spent == D + 1
    assert off(copy, true) < 1e-6 < 1e-2 < off(short, true)
    assert (copy.caveats, short.caveats) == ((), ("cut-short",))
    assert unlike(copy, true) == 0


@pytest.mark.parametrize("k", [2, 10])
def test_the_total_variation_is_below_the_papers(k: int):
    true = victim(k, 3)
    copy, _ = steal(true, k, D + 1)
    x = BOX.uniform(10_000, 99)
    assert float((copy(x).y - true(x).y).abs().sum(1).mean() / 2) < 1e-9


def test_no_more_than_d_plus_1_and_the_checks_are_spent_of_a_large_budget():
    assert steal(victim(3), 3, 10_000)[1] == D + 1 + 10
    assert steal(victim(3), 3, 10_000, EquationSolving(checks=0))[1] == D + 1


def test_permuting_classes_permutes_the_solution():
    true, order = victim(4), torch.tensor([2, 0, 3, 1])
    copy, _ = steal(true, 4, D + 1)
    permuted, _ = steal(through(true, lambda y: y[:, order]), 4, D + 1)
    torch.testing.assert_close(permuted.weights, copy.weights[order], atol=1e-9, rtol=0)
    torch.testing.assert_close(permuted.bias, copy.bias[order], atol=1e-9, rtol=0)


def test_a_victim_with_two_columns_swapped_is_not_matched():
    """A solution kept from another victim would be."""
    true = victim(2)
    swapped = Linear(true.weights[:, [1, 0, *range(2, D)]], true.bias, true.task)
    first, second = steal(true, 2, D + 1)[0], steal(swapped, 2, D + 1)[0]
    assert off(first, true) < 1e-6
    assert off(second, swapped) < 1e-6
    assert off(second, true) > 1e-2


def test_the_solution_has_mean_zero_over_classes():
    copy, _ = steal(victim(5), 5, D + 1)
    assert float(copy.weights.mean(0).abs().max()) < 1e-9


def test_images_in_another_range_are_no_different():
    box = Box((1, 4, 4), -1.0, 3.0)
    true = victim(3, d=16, sharp=1.0)
    transcript = Transcript(true)
    copy, _ = steal(transcript, 3, 17, box=box)
    assert off(copy, true) < 1e-6
    assert transcript.seen(1)[0].shape == (1, 1, 4, 4)


@pytest.mark.parametrize("k", [2, 5])
def test_saturated_answers_are_asked_again_nearer_the_centre(k: int):
    true = victim(k, sharp=400)
    copy, spent = steal(true, k, 1000)
    assert D + 1 < spent < 4 * D
    assert off(copy, true) / 400 < 1e-6


def test_a_float32_network_is_stolen_to_float32():
    true = TorchModel(fresh(Mlp((D,), 3, ()), 0), Classify(3))
    copy, _ = steal(lambda x: true(x.float()), 3, 1000)
    x = BOX.uniform(1000, 1)
    assert float((copy(x).y - true(x).y).abs().max()) < 1e-5


@pytest.mark.parametrize("decimals", [5, 4])
def test_four_and_five_decimals_have_no_effect_with_five_times_the_queries(decimals: int):
    true = victim(2)
    copy, spent = steal(through(true, lambda y: y.round(decimals=decimals)), 2, 1000)
    assert spent == 5 * (D + 1)
    assert unlike(copy, true) < 5e-4


def test_fewer_decimals_hurt_more_and_d_plus_1_queries_most():
    true = victim(2)

    def lost(decimals: int, budget: int) -> float:
        return unlike(steal(through(true, lambda y: y.round(decimals=decimals)), 2, budget)[0], true)

    exact, full = ([lost(decimals, budget) for decimals in (5, 3, 2)] for budget in (D + 1, 5 * (D + 1)))
    assert exact == sorted(exact)
    assert full == sorted(full)
    assert exact[2] > 0.1
    assert 5e-4 < full[2] < 0.02
    assert all(f <= e for f, e in zip(full, exact, strict=True))


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rounding_is_found_even_after_rows_were_renormalised(k: int, decimals: int, dtype: torch.dtype):
    y = victim(k)(BOX.uniform(50, 1)).y.to(dtype)
    assert step(round_off(y, decimals)) == step(y.round(decimals=decimals)) == 10.0**-decimals


def test_exact_answers_are_not_taken_for_rounded_ones():
    assert step(victim(10)(BOX.uniform(50, 1)).y) == 0
    assert step(victim(2)(BOX.uniform(50, 1)).y) == 0


def test_answers_truncated_to_three_classes_are_solved_with_more_queries():
    true = victim(6)
    copy, spent = steal(through(true, lambda y: top_k(y, 3)), 6, 5000)
    assert spent > D + 11
    assert off(copy, true) < 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_vs_rest_is_told_from_softmax(seed: int):
    true = victim(5, seed, link="one-vs-rest")
    with pytest.raises(Unsuited, match="another link"):
        steal(true, 5, 1000, seed=seed)


def test_one_vs_rest_is_told_from_softmax_when_rounded():
    true = victim(5, link="one-vs-rest")
    with pytest.raises(Unsuited, match="another link"):
        steal(through(true, lambda y: y.round(decimals=3)), 5, 1000)


def test_labels_are_refused_after_a_few_queries():
    def labels(y: Tensor) -> Tensor:
        return one_hot(y.argmax(1), 3).double()

    gate = Metered(through(victim(3), labels), 1000, BOX)
    with pytest.raises(Unsuited, match="probabilities"):
        EquationSolving()(gate, Knowledge(torch.empty(0, D), BOX, Classify(3), Mlp((D,), 3)), 0)
    assert gate.spent < 100


@pytest.mark.parametrize("budget", [0, 1, 7, 20])
def test_a_budget_too_small_gives_a_posterior_all_the_same(budget: int):
    copy, spent = steal(victim(3), 3, budget)
    assert spent == budget
    y = copy(BOX.uniform(10, 0)).y
    torch.testing.assert_close(y.sum(1), torch.ones(10, dtype=torch.float64))


def test_nonsense_is_refused():
    with pytest.raises(BadConfig, match="oversample"):
        EquationSolving(oversample=0)


@pytest.mark.parametrize("k", [2, 3])
def test_logistic_regression_of_scikit_learn_is_recovered(k: int):
    box = Box((6,), -2.0, 2.0)
    x = box.uniform(500, 0).double()
    truth = (x[:, :k] + 0.5 * torch.randn(500, k, generator=torch.Generator().manual_seed(0))).argmax(1)
    fitted = LogisticRegression().fit(x.numpy(), truth.numpy())
    copy, spent = steal(SklearnModel(fitted, Classify(k)), k, 7, box=box)
    coefficients = torch.from_numpy(fitted.coef_)
    true = torch.cat([-coefficients / 2, coefficients / 2]) if k == 2 else coefficients
    assert spent == 7
    torch.testing.assert_close(copy.weights, true - true.mean(0), atol=1e-8, rtol=0)
