"""The mean gap against the kernel it approximates, its mean of 0 for benign clients, and class mixes, which are no thefts."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gamekeeper.data import batteries
from gamekeeper.detectors.benign import class_means, parted
from gamekeeper.detectors.mmd import MMD, Fourier, MeanGap, Reference, Sums, drawn_from
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Batch, Reply
from tests.detectors.counted import adds_up, mnist, renamed, scored, small


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@functools.cache
def armed(by_class: bool) -> MeanGap:
    return MMD(by_class=by_class).arm(mnist()[0], mnist()[1].owner, 0)


def test_random_features_approximate_a_gaussian_kernel():
    f = draw(40, 6)
    width = torch.pdist(f).median()
    z = Fourier.of(f, 20_000, 0)(f)
    kernel = torch.exp(-torch.cdist(f, f).square() / (2 * width**2))
    torch.testing.assert_close(z @ z.T, kernel, rtol=0, atol=0.05)


def test_statistic_of_three_queries_by_hand():
    """d = (1, 0), (1, 1), (0, 1), classes 0, 0, 1, covariances diag(1/2, 0) and diag(0, 1), references of 4 and 2 inputs."""
    reference = Reference(torch.zeros(2, 2), draw(2), draw(2, 2), torch.tensor([4, 2]))
    reference = replace(
        reference, traces=torch.tensor([0.5, 1.0]).double(), overlap=torch.tensor([[0.25, 0], [0, 1.0]]).double()
    )
    totals, counts = torch.tensor([[1.0, 0], [2, 1], [2, 2]]).double(), torch.tensor([[1, 0], [2, 0], [2, 1]])
    one, two, three = 1 + 1 / 4, 1 + 2 / 4, (2 / 3 * (1 + 2 / 4), 1 / 3 * (1 + 1 / 2))
    slow = [
        (1 - one / 2) / (2 * one**2 / 4) ** 0.5,
        (5 / 2 - two / 2) / (2 * two**2 / 4) ** 0.5,
        (8 / 3 - three[0] / 2 - three[1]) / (2 * (three[0] ** 2 / 4 + three[1] ** 2)) ** 0.5,
    ]
    torch.testing.assert_close(reference.statistic(totals, counts), torch.tensor(slow, dtype=torch.float64))


def test_reference_by_class_and_for_classes_without_inputs():
    z, classes = draw(30, 4), torch.arange(30) % 3
    classes[0] = 4  # alone in its class
    got = Reference.of(z, classes, 5)
    for c in (0, 1, 2):
        rows = z[classes == c]
        torch.testing.assert_close(got.means[c], rows.mean(0))
        torch.testing.assert_close(got.traces[c], rows.var(0).sum())
        torch.testing.assert_close(got.overlap[c, 0], torch.trace(rows.T.cov() @ z[classes == 0].T.cov()))
        assert got.sizes[c] == len(rows)
    for c in (3, 4):
        torch.testing.assert_close(got.means[c], z.mean(0))
        torch.testing.assert_close(got.traces[c], z.var(0).sum())
        assert got.sizes[c] == 30
    assert torch.equal(class_means(z, classes, 5)[0], got.means)


def test_benign_clients_score_0_on_average_with_deviation_1():
    """Whatever their class mix and the draw of the reference."""
    generator = torch.Generator().manual_seed(0)
    centres, scores = draw(3, 8, seed=3), []
    for _ in range(1_000):
        classes = torch.randint(3, (300,), generator=generator)
        z = centres[classes] + torch.randn((300, 8), generator=generator, dtype=torch.float64) * (1 + classes[:, None])
        reference = Reference.of(z, classes, 3)
        mine = (torch.rand(20, generator=generator) < 0.9).long()
        d = centres[mine] + torch.randn((20, 8), generator=generator, dtype=torch.float64) * (1 + mine[:, None])
        total = (d - reference.means[mine]).sum(0, keepdim=True)
        scores.append(reference.statistic(total, torch.bincount(mine, minlength=3)[None]))
    got = torch.cat(scores)
    assert abs(float(got.mean())) < 3 * float(got.std()) / len(got) ** 0.5
    assert 0.9 < float(got.std()) < 1.1


@pytest.mark.parametrize("by_class", [True, False])
def test_adds_up(by_class: bool):
    victim, target = mnist()
    x = torch.cat([target.pool.x[:30], target.test.x[:30]])
    adds_up(armed(by_class), x, victim(x), 1e-5)  # features of one query and of many are projected in another order


def test_slow_twin():
    victim, target = mnist()
    watch, x = armed(True), target.pool.x[:25]
    reply = victim(x)
    z, c = watch.fourier(watch.features(x)), reply.y.argmax(1)
    _, benign = parted("MMD", target.owner, 0)
    theirs, top = watch.fourier(watch.features(benign)), victim(benign).y.argmax(1)
    spreads, slow = [theirs[top == e].T.cov() for e in range(10)], []
    for n in range(1, 26):
        gap = n * (z[:n] - watch.reference.means[c[:n]]).mean(0).square().sum()
        weights = [
            float((c[:n] == e).sum()) / n * (1 + float((c[:n] == e).sum() / watch.reference.sizes[e]))
            for e in range(10)
        ]
        covariance = sum(w * spread for w, spread in zip(weights, spreads, strict=True))
        slow.append((gap - torch.trace(covariance)) / (2 * torch.trace(covariance @ covariance)).sqrt())
    got = scored(watch, x, reply, [25], watch.fresh())
    torch.testing.assert_close(got, torch.stack(slow), rtol=1e-5, atol=1e-5)


def test_memory_is_bounded_and_says_which_classes():
    memory = armed(True).fresh()
    assert isinstance(memory, Sums)
    assert memory.total.shape == (128,)
    assert memory.counts.shape == (10,)
    assert armed(False).fresh().counts.shape == (1,)
    assert str(armed(True).basis) == "2,000 natural inputs"


def clients(watch: MeanGap, x: Batch, reply: Reply, rows: Tensor) -> Tensor:
    """The score of each client, who sends the given rows, after their last query."""
    victim = mnist()[0]
    scores = [watch.score(x[r], victim.take(reply, r), 0.0, watch.fresh())[-1] for r in rows]
    return torch.stack(scores)


def test_an_uneven_class_mix_is_a_theft_only_to_the_plain_form():
    victim, target = mnist()
    rest, _ = parted("MMD", target.owner, 0)
    assert rest.natural is not None
    x, generator = rest.natural, torch.Generator().manual_seed(0)
    armed(True), armed(False)
    reply = victim(x)
    even = torch.randint(len(x), (300, 100), generator=generator)
    mix = torch.distributions.Dirichlet(torch.ones(10))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shares = mix.sample((100,))
    top = reply.y.argmax(1)
    uneven = torch.stack(
        [torch.multinomial(s[top] / torch.bincount(top)[top], 100, True, generator=generator) for s in shares]
    )
    letters = target.pool.x[:100]
    for by_class, least, most in ((False, 60, 100), (True, 0, 2)):
        watch = armed(by_class)
        limit = clients(watch, x, reply, even).quantile(0.997)
        alarms = int((clients(watch, x, reply, uneven) > limit).sum())
        assert least <= alarms <= most
        assert watch.score(letters, victim(letters), 0.0, watch.fresh())[-1] > limit


def test_names_of_classes_do_not_matter():
    victim, target = mnist()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    other, owner = renamed(order), small()
    x = target.pool.x[:30]
    one, two = MMD().arm(victim, owner, 0), MMD().arm(other, replace(owner, truth=order.argsort()[owner.truth]), 0)
    a, b = one.score(x, victim(x), 0.0, one.fresh()), two.score(x, other(x), 0.0, two.fresh())
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_needs():
    victim, target = mnist()
    with pytest.raises(BadConfig, match="dim"):
        MMD(dim=0)
    with pytest.raises(Unsuited, match="natural inputs"):
        MMD().arm(victim, replace(target.owner, natural=batteries.load("mnist-natural").x[:1], natural_truth=None), 0)


def test_the_features_are_the_owners_secret_where_there_is_one():
    one, other = bytes(32), bytes([1] * 32)
    assert drawn_from(None, 3) == surrogate_seed("MMD", 3)  # audits without a secret stay as they were
    assert len({drawn_from(each, seed) for each in (None, one, other) for seed in (3, 4)}) == 6
    assert drawn_from(one, 3) == drawn_from(one, 3) < 2**63
