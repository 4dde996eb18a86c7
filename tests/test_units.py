"""Tables in natural units: what is sent is in the units of the data, what a thief computes with lies in the unit box."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gamekeeper.architectures import Mlp, Shift
from gamekeeper.attacks.boundary import Adaptive, LineSearch, Uniform
from gamekeeper.attacks.equation_solving import EquationSolving
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.lowd_meek import LowdMeek
from gamekeeper.data.dataset import Dataset
from gamekeeper.errors import BadConfig, BadQuery
from gamekeeper.models.network import TorchModel
from gamekeeper.service.oracles import Metered
from gamekeeper.targets.domains import ranges_of
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import boxed
from gamekeeper.tasks import Classify
from gamekeeper.types import Domain, Knowledge, Ranges, Reply
from gamekeeper.units import UnitBox, UnitMeter, in_natural_units, in_unit_box

RANGES = Ranges((0.0, -50.0, 1000.0), (1.0, 50.0, 5000.0))
UNITS = UnitBox(RANGES)
TASK = Classify(2)


def victim() -> TorchModel:
    """Logistic in natural units: each column matters as much as the others."""
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.03, -0.0008]]))
        net.bias.copy_(torch.tensor([0.0, 0.7]))
    return TorchModel(net, TASK)


class Recorder:
    """An oracle that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def __call__(self, x: torch.Tensor) -> Reply:
        self.asked.append(x)
        return victim()(x)


def thief(budget: int) -> tuple[Recorder, UnitMeter, Knowledge]:
    recorder, pool = Recorder(), RANGES.uniform(300, 1)
    meter = UnitMeter(Metered(recorder, budget, RANGES), UNITS, pool)
    return recorder, meter, Knowledge(UNITS.inside(pool), UNITS.box, TASK, Mlp((3,), 2), seeds=UNITS.inside(pool[:9]))


def test_ranges_are_a_domain_of_plain_values():
    assert isinstance(RANGES, Domain)
    assert hash(RANGES) == hash(eval(repr(RANGES)))
    assert RANGES.shape == (3,)
    assert str(RANGES) == "0 to 1, -50 to 50, 1000 to 5000"
    x = RANGES.uniform(2000, 0)
    RANGES.check(x)
    low, high = RANGES.ends
    torch.testing.assert_close((x.mean(0) - low) / (high - low), torch.full((3,), 0.5), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([[0.5, 60.0, 2000.0]], r"column 2 must lie in \[-50, 50\]; got 60 to 60"),
        ([[0.5, 0.0, float("nan")]], "column 3 must lie in"),
        ([[0.5, 0.0]], r"shape \(n, 3\); got \(1, 2\)"),
    ],
)
def test_what_lies_outside_is_refused_by_its_column(x: list[list[float]], said: str):
    with pytest.raises(BadQuery, match=said):
        RANGES.check(torch.tensor(x))


def test_ranges_of_a_pool_are_open():
    pool = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    found = ranges_of(pool)
    assert found == Ranges((1.0, 7.0), (3.0, 7.0), closed=False)
    found.check(torch.tensor([[-9.0, 1e9]]))
    assert (found.uniform(5, 0)[:, 1] == 7).all()
    with pytest.raises(BadQuery, match="column 1 must be finite"):
        found.check(torch.tensor([[torch.inf, 0.0]]))


def test_ends_that_are_no_ranges_are_refused():
    for low, high in [((1.0,), (0.0,)), ((0.0,), (1.0, 2.0)), ((), ()), ((0.0,), (float("inf"),))]:
        with pytest.raises(BadConfig, match="Ranges need"):
            Ranges(low, high)


def test_there_and_back():
    x = RANGES.uniform(50, 2)
    u = UNITS.inside(x)
    UNITS.box.check(u)
    torch.testing.assert_close(UNITS.natural(u), x)
    low, high = RANGES.ends
    assert torch.equal(UNITS.natural(torch.stack([torch.zeros(3), torch.ones(3)])), torch.stack([low, high]))


def test_what_a_thief_holds_is_asked_about_as_it_stands():
    """Rounding must not move a row past a threshold: trees split at the very values of the data."""
    pool = (torch.randint(0, 999, (200, 3)) / 7).float()
    units, recorder = UnitBox(ranges_of(pool)), Recorder()
    held = units.inside(pool)
    assert not torch.equal(units.natural(held), pool), "float32 alone does not bring every number back"
    meter = UnitMeter(Metered(recorder, 300, units.ranges), units, pool)
    Knockoff()(meter, Knowledge(held, units.box, TASK, Mlp((3,), 2)), 0)
    assert set(map(tuple, torch.cat(recorder.asked).tolist())) == set(map(tuple, pool.tolist()))


@pytest.mark.parametrize("querying", [Uniform(), LineSearch(), Adaptive()], ids=lambda each: type(each).__name__)
def test_questions_fill_the_ranges_of_the_columns(querying):
    recorder, meter, knows = thief(120)
    querying(meter, knows, 0)
    asked = UNITS.inside(torch.cat(recorder.asked))
    assert len(asked) == 120
    assert (asked.amin(0) < 0.1).all()
    assert (asked.amax(0) > 0.9).all()


def test_equation_solving_recovers_a_model_of_natural_units():
    recorder, meter, knows = thief(100)
    clone = in_natural_units(EquationSolving()(meter, knows, 0), UNITS)
    RANGES.check(torch.cat(recorder.asked))
    x = RANGES.uniform(200, 5)
    torch.testing.assert_close(clone(x).y.float(), victim()(x).y, atol=1e-4, rtol=0)


def test_lowd_meek_finds_the_boundary_of_natural_units():
    _, meter, knows = thief(400)
    clone = in_natural_units(LowdMeek()(meter, knows, 0), UNITS)
    x = RANGES.uniform(500, 5)
    assert (clone(x).y.argmax(1) == victim()(x).y.argmax(1)).double().mean() > 0.97


def test_a_network_keeps_its_gradients_both_ways():
    inside = in_unit_box(victim(), UNITS)
    assert isinstance(inside, TorchModel)
    u = UNITS.box.uniform(20, 3)
    torch.testing.assert_close(inside(u).y, victim()(UNITS.natural(u)).y)
    back = in_natural_units(inside, UNITS)
    x = RANGES.uniform(20, 4)
    torch.testing.assert_close(back(x).y, victim()(x).y)
    torch.testing.assert_close(
        Shift(torch.tensor([1.0]), torch.tensor([2.0]))(torch.tensor([[5.0]])), torch.tensor([[2.0]])
    )


def test_a_target_in_natural_units_is_boxed_for_its_thieves():
    digits = load_target("digits")
    assert boxed(digits) is digits
    wine = load_target("wine")
    raw = Dataset(RANGES.uniform(30, 0), torch.zeros(30, dtype=torch.long))
    empty = replace(wine.owner, x=torch.empty(0, 3), truth=torch.empty(0, dtype=torch.long))
    seen = boxed(replace(wine, victim=victim(), box=RANGES, test=raw, pool=Dataset(raw.x), owner=empty))
    seen.box.check(seen.test.x)
    torch.testing.assert_close(seen.victim(seen.test.x).y, victim()(raw.x).y)
