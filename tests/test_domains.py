"""A domain of the user's own, which is no box: what needs no range works with it, and the rest refuses before a query."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import nn

from gamekeeper.attacks.boundary import Adaptive, LineSearch, Uniform
from gamekeeper.attacks.equation_fitting import EquationFitting
from gamekeeper.attacks.equation_solving import EquationSolving
from gamekeeper.attacks.jbda import Jbda, JbSelf, JbTopk
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.knockoff_adaptive import KnockoffAdaptive
from gamekeeper.attacks.lowd_meek import LowdMeek
from gamekeeper.attacks.prada_attacks import Color, NFgsm, NIFgsm, TRnd
from gamekeeper.attacks.relu_reconstruction import ReluReconstruction
from gamekeeper.attacks.swift_thief import SwiftThief
from gamekeeper.attacks.theft import Theft
from gamekeeper.attacks.tree_paths import TreePaths
from gamekeeper.attacks.tree_top_down import TreeTopDown
from gamekeeper.defenses import MAD, Label, Round
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.errors import BadQuery, Unsuited
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.models.network import TorchModel
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.targets.choice import Choice, header_entry, public
from gamekeeper.targets.load import load_target
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Defense, Domain, Knowledge, Owner, need_box

TASK = Classify(2)


@dataclass(frozen=True)
class Words:
    """Lines of small letters, as rows of bytes."""

    length: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    def check(self, x: torch.Tensor) -> None:
        if x.dtype != torch.uint8 or x.ndim != 2 or x.shape[1] != self.length or len(x) == 0:
            raise BadQuery(f"inputs must be {self.length} bytes each; got {x.dtype} {tuple(x.shape)}.")
        if not ((x >= ord("a")) & (x <= ord("z"))).all():
            raise BadQuery("inputs must be small letters.")

    def uniform(self, n: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(ord("a"), ord("z") + 1, (n, self.length), generator=generator, dtype=torch.uint8)


@dataclass(frozen=True)
class Columns:
    """Tables whose columns have ranges of their own."""

    ends: tuple[tuple[float, float], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.ends),)

    def check(self, x: torch.Tensor) -> None:
        low, high = torch.tensor(self.ends).T
        if not (x.ndim == 2 and len(x) and ((x >= low) & (x <= high)).all()):
            raise BadQuery(f"the columns must lie in {self.ends}.")

    def uniform(self, n: int, seed: int) -> torch.Tensor:
        low, high = torch.tensor(self.ends).T
        return torch.lerp(low, high, torch.rand((n, len(self.ends)), generator=torch.Generator().manual_seed(seed)))


class Reader(nn.Module):
    """A linear model of bytes (inputs = 0), which may come as floats, or of numbers."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.reads_letters, self.letters = inputs == 0, nn.Embedding(256, 4)
        self.head = nn.Linear(inputs or 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.letters(x.long()).mean(1) if self.reads_letters else x)


@dataclass(frozen=True)
class Recipe:
    inputs: int

    def __call__(self) -> nn.Module:
        return Reader(self.inputs)


WORDS, TABLE = Words(6), Columns(((0.0, 1.0), (-5.0, 5.0), (100.0, 200.0)))
STUDENTS = {WORDS: Recipe(0), TABLE: Recipe(3)}
every = pytest.mark.parametrize("domain", [WORDS, TABLE], ids=["words", "columns"])


@cache
def victim(domain: Domain) -> TorchModel:
    torch.manual_seed(0)
    return TorchModel(STUDENTS[domain]().eval(), TASK)


def thief(domain: Domain) -> Knowledge:
    return Knowledge(domain.uniform(200, 1), domain, TASK, STUDENTS[domain], seeds=domain.uniform(10, 2))


def meter(domain: Domain, budget: int, *defenses: Defense) -> Metered:
    owner = Owner(domain.uniform(50, 3), torch.zeros(50, dtype=torch.long), domain, STUDENTS[domain])
    armed = [defense.arm(victim(domain), owner, 0) for defense in defenses]
    return Metered(Service(victim(domain), armed).open("thief"), budget, domain)


@every
def test_a_domain_is_known_by_what_it_can_do(domain: Domain):
    assert isinstance(domain, Domain)
    assert isinstance(Box((2,)), Domain)
    assert domain.uniform(3, 0).shape == (3, *domain.shape)
    assert str(domain) in public(domain)
    assert "range [0, 1]" in public(Box((2,)))


QUICK = Fit(epochs=2, least_steps=20)


@every
@pytest.mark.parametrize("querying", [Knockoff(), KnockoffAdaptive(), Uniform()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("learner", [Labels(QUICK), Soft(QUICK)], ids=lambda each: type(each).__name__)
def test_thieves_who_draw_from_a_pool_or_from_the_domain_steal_in_any(domain: Domain, querying, learner):
    gate = meter(domain, 120)
    knows = thief(domain)
    if isinstance(querying, KnockoffAdaptive):
        knows = Knowledge(knows.pool, domain, TASK, knows.student, groups=torch.arange(200) % 4)
    clone = Theft(querying, learner)(gate, knows, seed=0)
    assert gate.left == 0
    assert clone(domain.uniform(30, 9)).y.shape == (30, 2)


@every
@pytest.mark.parametrize("defense", [Label(), Round(1), MAD(eps=0.5)], ids=lambda each: type(each).__name__)
def test_defenses_that_change_answers_only_stand_before_any_domain(domain: Domain, defense: Defense):
    x = domain.uniform(20, 4)
    reply, clean = meter(domain, 20, defense)(x), victim(domain)(x)
    if defense.keeps_top1:
        assert torch.equal(reply.y.argmax(1), clean.y.argmax(1))


@every
def test_the_meter_refuses_what_lies_outside_the_domain(domain: Domain):
    gate = meter(domain, 20)
    with pytest.raises(BadQuery):
        gate(torch.full((2, *domain.shape), 0.5) - 1000)
    assert gate.spent == 0


NEED_A_BOX = [
    Jbda(), JbSelf(), JbTopk(), NFgsm(), NIFgsm(), TRnd(), Color(), LineSearch(), Adaptive(),
    EquationFitting(), EquationSolving(), LowdMeek(), ReluReconstruction(), TreePaths(), TreeTopDown(),
]  # fmt: skip


@every
@pytest.mark.parametrize("attack", NEED_A_BOX, ids=lambda each: type(each).__name__)
def test_an_attack_that_needs_a_range_refuses_before_it_asks(domain: Domain, attack):
    gate = meter(domain, 50)
    with pytest.raises(
        Unsuited, match=rf"{type(attack).__name__} needs inputs from a box.* domain is {type(domain).__name__}"
    ):
        attack(gate, thief(domain), 0)
    assert gate.spent == 0


@dataclass(frozen=True)
class Pictures(Columns):
    """Images, for the attack that asks first whether inputs are such."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, 1, len(self.ends))


def test_swift_thief_needs_images_from_a_box():
    domain = Pictures(TABLE.ends)
    gate = Metered(victim(TABLE), 50, domain)
    knows = Knowledge(torch.zeros(20, *domain.shape), domain, TASK, STUDENTS[TABLE])
    with pytest.raises(Unsuited, match="SwiftThief needs inputs from a box"):
        SwiftThief()(gate, knows, 0)
    assert gate.spent == 0


def test_an_audit_says_the_domain_and_refuses_what_needs_a_range_at_the_start():
    target = replace(load_target("digits"), box=WORDS)
    assert header_entry(target)["domain"] == str(WORDS)
    audit = Audit(Choice("digits"), ["knockoff"], ["none"], [10], [0], follow_on=True)
    with pytest.raises(Unsuited, match="--follow-on needs inputs from a box"):
        expand(audit, target)


def test_a_box_passes_through_unchanged():
    box = Box((2,), -1.0, 3.0)
    assert need_box(box, "anything") is box
