"""Membership inference: exact small cases, a network that learnt by heart, and networks that learnt nothing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.errors import BadConfig
from gamekeeper.follow_on.membership import SCORES, auc, caught, confidence, entropy, loss
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Box

BOX, CLASSES = Box((20,)), 4
few = st.lists(st.integers(0, 5), min_size=1, max_size=30)


def drawn(n: int, seed: int):
    """Inputs, and classes that have nothing to do with them."""
    return BOX.uniform(n, seed), torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(members=few, others=few)
def test_auc_is_the_mann_whitney_statistic_with_ties_counted_half(members, others):
    found = auc(torch.tensor(members).double(), torch.tensor(others).double()).value
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in members for b in others]
    assert found == pytest.approx(sum(pairs) / len(pairs))
    assert found == pytest.approx(mannwhitneyu(members, others, method="asymptotic").statistic / len(pairs))
    truth = [1] * len(members) + [0] * len(others)
    assert found == pytest.approx(roc_auc_score(truth, members + others))
    turned = auc(torch.tensor(others).double(), torch.tensor(members).double()).value
    assert turned == pytest.approx(1 - found)


def test_the_interval_of_the_auc_holds_the_truth_as_often_as_it_says():
    """Members N(0.5, 1), others N(0, 1): the AUC is Phi(0.5 / sqrt 2)."""
    generator = torch.Generator().manual_seed(0)
    truth = 0.5 * (1 + math.erf(0.5 / math.sqrt(2) / math.sqrt(2)))
    inside = 0
    for _ in range(400):
        rate = auc(0.5 + torch.randn(80, generator=generator).double(), torch.randn(120, generator=generator).double())
        inside += rate.low <= truth <= rate.high
    assert 0.91 < inside / 400 < 0.98


def test_caught_counts_members_above_the_one_in_a_hundred():
    others = torch.arange(200).double()  # two of 200 may be accused: 198 and 199
    members = torch.tensor([197.0, 197.5, 198.5, 300.0]).double()
    found = caught(members, others)
    assert (found.value, found.n) == (0.75, 4)
    assert caught(torch.full((10,), 199.0).double(), torch.full((200,), 199.0).double()).value == 0


@settings(max_examples=40, deadline=None)
@given(members=few, others=few, wrongly=st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_caught_is_the_best_threshold_of_all(members, others, wrongly):
    best = max(
        sum(m > t for m in members) / len(members)
        for t in [-math.inf, *others, *members]
        if sum(o > t for o in others) <= wrongly * len(others) + 1e-9
    )
    assert caught(torch.tensor(members).double(), torch.tensor(others).double(), wrongly).value == pytest.approx(best)


def test_scores_by_hand():
    y = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    truth = torch.tensor([0, 2])
    assert loss(y, truth).tolist() == pytest.approx([math.log(0.7), math.log(0.1)], rel=1e-5)
    assert confidence(y, truth).tolist() == pytest.approx([0.7, 0.8])
    by_hand = [
        0.3 * math.log(0.7) + 0.2 * math.log(0.8) + 0.1 * math.log(0.9),
        0.9 * math.log(0.1) + 0.1 * math.log(0.9) + 0.8 * math.log(0.2),
    ]
    assert entropy(y, truth).tolist() == pytest.approx(by_hand, rel=1e-5)
    sure = torch.eye(3)
    right, wrong = entropy(sure, torch.arange(3)), entropy(sure, torch.tensor([1, 2, 0]))
    assert right.tolist() == [0, 0, 0]
    assert wrong.isfinite().all()
    assert wrong.max() < -20


@pytest.fixture(scope="module")
def parrot():
    """A network that knows 100 random labels by heart, with them and 100 others."""
    (x, y), (other, z) = drawn(100, 1), drawn(100, 2)
    net = fresh(Mlp(BOX.shape, CLASSES, (256,)), 0)
    recipe = Fit(epochs=300, rate=0.2, decay=0.0)
    model = TorchModel(fit(net, x, y, torch.nn.functional.cross_entropy, recipe, 0), Classify(CLASSES))
    assert (model(x).y.argmax(1) == y).double().mean() > 0.98
    return (model(x).y, y), (model(other).y, z)


@pytest.mark.parametrize(("score", "least"), [(loss, 0.9), (entropy, 0.9), (confidence, 0.7)])
def test_a_network_that_learnt_random_labels_by_heart_betrays_its_members(score, least, parrot):
    members, others = parrot
    found = auc(score(*members), score(*others))
    assert found.value > least
    assert found.low > 0.6
    if score is not confidence:  # a quarter of the others' labels are as the network says, by chance
        assert caught(score(*members), score(*others), 0.3).value > 0.95


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_an_untrained_network_betrays_nothing(score):
    (x, y), (other, z) = drawn(1_000, 3), drawn(1_000, 4)
    model = TorchModel(fresh(Mlp(BOX.shape, CLASSES), 1).eval(), Classify(CLASSES))
    scores = score(model(x).y, y), score(model(other).y, z)
    error = math.sqrt((2 * 1_000 + 1) / (12 * 1_000 * 1_000))  # of the Mann-Whitney statistic when nothing differs
    assert abs(auc(*scores).value - 0.5) < 3 * error
    assert caught(*scores).value < 0.01 + 3 * math.sqrt(2 * 0.01 * 0.99 / 1_000)


def test_nobody_to_compare_with_is_an_error():
    with pytest.raises(BadConfig, match="Got 0 and 3"):
        auc(torch.empty(0).double(), torch.zeros(3).double())
    with pytest.raises(BadConfig, match="Got 3 and 0"):
        caught(torch.zeros(3).double(), torch.empty(0).double())
