"""Our FGSM, I-FGSM and PGD against foolbox's, input by input. Needs the `bench` extra."""

import warnings

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.follow_on.evasion import Craft, away, fgsm, towards
from gamekeeper.types import Box

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a library last released in 2024
    foolbox = pytest.importorskip("foolbox", reason="foolbox is in the `bench` extra: pip install gamekeeper[bench]")

BOX, EPS = Box((1, 8, 8)), 0.1
NET = fresh(Mlp(BOX.shape, 4, (32,)), 0).eval()
X = BOX.uniform(60, 1)
Y = NET(X).argmax(1)
THEIRS = {
    "fgsm": (fgsm(EPS), foolbox.attacks.LinfFastGradientAttack(random_start=False)),
    "ifgsm": (
        Craft(EPS, 10, 1 / 10),
        foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=EPS / 10, steps=10, random_start=False),
    ),
    "pgd from the input": (
        Craft(EPS, 20, 0.125),
        foolbox.attacks.LinfProjectedGradientDescentAttack(rel_stepsize=0.125, steps=20, random_start=False),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", THEIRS)
def test_the_same_inputs_come_out(name):
    ours, theirs = THEIRS[name]
    model = foolbox.PyTorchModel(NET, bounds=(0, 1), device="cpu")
    found, _, _ = theirs(model, X, foolbox.criteria.Misclassification(Y), epsilons=EPS)
    assert torch.allclose(away(NET, X, Y, ours, BOX), found, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_towards_a_class_the_same_inputs_come_out():
    ours, theirs = THEIRS["ifgsm"]
    wanted = (Y + 1) % 4
    model = foolbox.PyTorchModel(NET, bounds=(0, 1), device="cpu")
    found, _, _ = theirs(model, X, foolbox.criteria.TargetedMisclassification(wanted), epsilons=EPS)
    assert torch.allclose(towards(NET, X, wanted, ours, BOX), found, atol=1e-5)
