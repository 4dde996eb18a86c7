"""Scores of likeness: closed forms, slow twins, thresholds that keep their promise, and which side is benign."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.data import batteries
from gamekeeper.detectors.features import Tap, tapped
from gamekeeper.detectors.ood import (
    Calibrated,
    Energy,
    Gaussians,
    Knn,
    Mahalanobis,
    Msp,
    Odin,
    OodClassifier,
    Score,
    Scorer,
    calibrated,
    energy,
    msp,
    odin,
)  # fmt: skip
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.targets.builtin import shipped
from gamekeeper.targets.target import Target
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Batch, Box, Model, Owner, Posterior, Reply

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=1, least_steps=0, rate=0.02)
SCORERS: list[Scorer] = [Msp(), Odin(), Energy(), Mahalanobis(), Knn(), OodClassifier(QUICK)]
ELSEWHERE: list[Scorer] = [Mahalanobis("flat"), Knn(scaled=False)]
"""At other layers; these cannot tell clothes from digits, which is why no single score serves."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@functools.cache
def mnist() -> Target:
    target = shipped("mnist")
    mine = target.owner
    small = Owner(mine.x[:400], mine.truth[:400], mine.box, mine.architecture, batteries.load("fashion-train").x[:400])
    return replace(target, owner=small)


class Mute:
    """A victim whose weights are not on offer."""

    task = Classify(3)

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(torch.full((len(x), 3), 1 / 3))


def auroc(high: Tensor, low: Tensor) -> float:
    """How often a number of `high` is above one of `low`, ties counted half."""
    difference = high[:, None] - low
    return float(((difference > 0) + 0.5 * (difference == 0)).double().mean())


def test_odin_without_step_and_temperature_is_msp():
    net, x = fresh(Mlp((5,), 4), 0), draw(20, 5)
    torch.testing.assert_close(odin(net, x, 1.0, 0.0), msp(torch.softmax(net(x).double(), 1)))


def test_odin_of_a_linear_network_moves_each_input_along_the_sign_of_its_gradient():
    net, x, t, e = nn.Linear(3, 2, bias=False), draw(6, 3), 10.0, 0.05
    w = net.weight.detach()
    top = net(x).argmax(1)
    # d/dx log softmax_top = (w_top - w_other) (1 - p_top) / T, whose sign is that of w_top - w_other
    moved = x + e * (w[top] - w[1 - top]).sign()
    expected = torch.softmax((moved @ w.T).double() / t, 1).amax(1)
    torch.testing.assert_close(odin(net, x, t, e), expected, atol=1e-8, rtol=0)


def test_a_constant_added_to_the_logits_moves_energy_by_itself_and_the_others_not():
    net = fresh(Mlp((5,), 4), 0)
    raised = fresh(Mlp((5,), 4), 0)
    with torch.no_grad():
        raised.get_submodule("head").bias += 3.0  # pyright: ignore
    x = draw(20, 5)
    torch.testing.assert_close(odin(net, x, 1000.0, 0.01), odin(raised, x, 1000.0, 0.01), atol=1e-8, rtol=0)
    torch.testing.assert_close(energy(raised(x)) - energy(net(x)), torch.full((20,), 3.0).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(energy(net(x), 5.0), 5 * torch.logsumexp(net(x).double() / 5, 1))


def test_mahalanobis_is_the_quadratic_form_of_the_shared_covariance():
    f, truth = draw(300, 4).double() @ draw(4, 4, seed=1).double(), torch.arange(300) % 3
    f = f + truth[:, None] * 2.0
    means = [f[truth == c].mean(0) for c in range(3)]
    centred = torch.stack([row - means[int(c)] for row, c in zip(f, truth, strict=True)])
    covariance = centred.T @ centred / 300
    covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(4)
    inverse, probe = torch.linalg.inv(covariance), draw(10, 4, seed=2).double()
    slow = [max(-float((row - m) @ inverse @ (row - m)) for m in means) for row in probe]
    torch.testing.assert_close(Gaussians.of(f, truth).score(probe), torch.tensor(slow).double(), atol=1e-6, rtol=1e-6)


def test_mahalanobis_bears_features_that_never_move():
    f = torch.cat([draw(50, 3), torch.zeros(50, 4)], 1)
    assert torch.isfinite(Gaussians.of(f, torch.arange(50) % 2).score(f + 1)).all()


def test_knn_of_scaled_features_sees_the_angle_alone():
    net = nn.Linear(2, 3)  # what enters the last linear layer is the input itself
    owner = Owner(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), Box((2,)), Mlp((2,), 3))
    x = torch.tensor([[5.0, 0.0], [3.0, 3.0]])
    score = Knn(k=1).fit(TorchModel(net, Classify(3)), owner, 0)
    torch.testing.assert_close(
        score(x, Reply(x)), torch.tensor([0.0, -((2 - 2**0.5) ** 0.5)]).double(), atol=1e-6, rtol=0
    )
    plain = Knn(k=1, scaled=False).fit(TorchModel(net, Classify(3)), owner, 0)
    torch.testing.assert_close(plain(x, Reply(x)), torch.tensor([-4.0, -(13**0.5)]).double())


def test_the_layers_features_are_those_of_the_network():
    net, x = fresh(LeNet((1, 20, 20), 4), 0).eval(), draw(3, 1, 20, 20)
    victim = TorchModel(net, Classify(4))
    body = net.get_submodule("body")
    torch.testing.assert_close(Tap(victim, "penultimate")(x), body(x))
    torch.testing.assert_close(Tap(victim, "flat")(x), body[:7](x))  # pyright: ignore
    torch.testing.assert_close(Tap(victim, "conv")(x), body[:4](x).mean((2, 3)))  # pyright: ignore
    assert torch.equal(Tap(victim, "logits")(x), victim.logits(x))


def test_several_taps_are_one_pass_and_leave_no_hook():
    net, x = fresh(LeNet((1, 20, 20), 4), 0).eval(), draw(3, 1, 20, 20)
    taps = [Tap(TorchModel(net, Classify(4)), layer) for layer in ("conv", "flat", "flat", "logits")]
    alone, passes = [tap(x) for tap in taps], []
    counter = net.register_forward_hook(lambda *_: passes.append(1))
    together = tapped(taps, x)
    counter.remove()
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert len(passes) == 1
    assert not any(module._forward_hooks for module in net.modules())


def test_a_threshold_flags_at_most_the_share_it_states():
    benign = Calibrated(lambda x, reply: x, torch.arange(1.0, 100.0).double())  # 99 held out
    assert benign.threshold(0.0) == float("-inf")
    assert benign.threshold(0.009) == float("-inf")  # no benign input of 99 can stand for less than 1 %
    assert benign.threshold(0.01) == 1.0
    assert benign.threshold(0.05) == 5.0
    assert benign.threshold(1.0) == float("inf")


def test_p_values_are_at_most_fpr_exactly_where_it_flags():
    benign = Calibrated(lambda x, reply: x, draw(199).double().sort().values)
    scores = torch.cat([draw(500, seed=1).double(), benign.benign])
    p = benign.p_values(scores)
    for fpr in (0.005, 0.01, 0.1, 0.5, 0.995):
        assert torch.equal(scores < benign.threshold(fpr), p <= fpr + 1e-12)


def test_of_fresh_benign_inputs_the_stated_share_is_flagged():
    """Averaged over many draws of the held-out inputs, since one draw's share wanders around fpr."""
    fpr, m, flagged = 0.05, 199, []
    for seed in range(300):
        both = draw(m + 200, seed=seed).double()
        threshold = Calibrated(lambda x, reply: x, both[:m].sort().values).threshold(fpr)
        flagged.append((both[m:] < threshold).double().mean())
    mean, error = torch.stack(flagged).mean(), torch.stack(flagged).std() / 300**0.5
    assert abs(mean - fpr) < 4 * error


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_digits_score_above_what_is_no_digit_and_like_other_digits(scorer: Scorer):
    target = mnist()
    found = calibrated(scorer, target.victim, target.owner, 0)
    test, strange = target.test.x[:600], batteries.load("fashion-train").x[800:1400]
    benign, other = (found.score(x, target.victim(x)) for x in (test, strange))
    assert auroc(benign, other) > 0.85
    same = auroc(benign[:300], benign[300:])
    assert abs(same - 0.5) < 3 * (1 / (6 * 300)) ** 0.5  # the standard error of the Mann-Whitney statistic
    assert benign.shape == (600,)
    assert benign.dtype == torch.float64


@pytest.mark.parametrize("scorer", SCORERS + ELSEWHERE, ids=repr)
def test_a_score_does_not_depend_on_the_neighbours(scorer: Scorer):
    target = mnist()
    score = scorer.fit(target.victim, target.owner, 0)
    x = torch.cat([target.test.x[:4], target.pool.x[:4]])
    rows = [score(x[i : i + 1], target.victim(x[i : i + 1])) for i in range(8)]
    torch.testing.assert_close(score(x, target.victim(x)), torch.cat(rows), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_what_it_holds_out_it_is_not_fitted_on_and_again_is_the_same(scorer: Scorer):
    target = mnist()
    seen: list[Batch] = []

    class Watched:
        def fit(self, victim: Model, owner: Owner, seed: int) -> Score:
            seen.append(owner.x)
            return lambda x, reply: (seen.append(x), msp(reply.y))[1]

    calibrated(Watched(), target.victim, target.owner, 3)
    fitted, held = seen
    assert len(fitted) + len(held) == 400
    assert not {row.numpy().tobytes() for row in fitted} & {row.numpy().tobytes() for row in held}
    one, two = (calibrated(scorer, target.victim, target.owner, 3).benign for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("scorer", [s for s in SCORERS if not isinstance(s, Msp | OodClassifier)], ids=repr)
def test_without_the_network_there_is_no_such_score(scorer: Scorer):
    owner = Owner(draw(8, 4), torch.arange(8) % 3, Box((4,)), Mlp((4,), 3))
    with pytest.raises(Unsuited, match="Use msp, which needs answers only"):
        scorer.fit(Mute(), owner, 0)


def test_what_a_score_cannot_do_without_is_named():
    owner = Owner(draw(8, 4), torch.arange(8) % 3, Box((4,)), Mlp((4,), 3))
    with pytest.raises(Unsuited, match="--auxiliary"):
        OodClassifier().fit(Mute(), owner, 0)
    ends_in_softmax = TorchModel(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), Classify(3), "probabilities")
    with pytest.raises(Unsuited, match="logits"):
        Energy().fit(ends_in_softmax, owner, 0)
    with pytest.raises(Unsuited, match="at least 2 of the owner's inputs"):
        calibrated(Msp(), Mute(), replace(owner, x=owner.x[:0], truth=owner.truth[:0]), 0)
    for wrong in (lambda: Knn(k=0), lambda: Odin(temperature=0.0), lambda: Energy(temperature=-1.0)):
        with pytest.raises(BadConfig):
            wrong()


def test_msp_reads_the_answer_and_nothing_else():
    y: Posterior = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    torch.testing.assert_close(Msp().fit(Mute(), mnist().owner, 0)(y, Reply(y)), torch.tensor([0.8, 0.5]).double())
