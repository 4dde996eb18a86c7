"""An ownership run on small digits: what is left of marks, who is accused, and that nothing is paid or done twice."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from gamekeeper.analysis.ownership import ruling, summarise
from gamekeeper.architectures import Mlp
from gamekeeper.data.dataset import Dataset
from gamekeeper.engine import dispute as disputes
from gamekeeper.engine.dispute import DisputeSetting, Parties, dispute, ensemble_learners, learner_of, parties, relearnt
from gamekeeper.engine.ownership import OwnershipCell, run_cell
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.procedures import hits
from gamekeeper.ownership_methods import FORGERIES, REMOVALS, parse_forgery, parse_removal, parse_scheme
from gamekeeper.ownership_rows import OwnershipRow, RowKind
from gamekeeper.surfaces.ownership import Disputes, run_ownership
from gamekeeper.targets.target import Target
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Model, Owner, Reply, Task
from tests.ownership.worlds import trained

BOX, K, STUDENT = Box((1, 8, 8)), 10, Mlp((1, 8, 8), 10, (64,))


@dataclass
class Counting:
    """Counts what is asked of a model."""

    model: Model
    queries: int = 0

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: torch.Tensor, /) -> Reply:
        self.queries += len(x)
        return self.model(x)


@dataclass(frozen=True)
class Small:
    """900 digits of the owner's, 450 natural ones, 300 to test with; a thief asks about blends."""

    name: str = "small"

    def load(self) -> Target:
        return small()


@cache
def small() -> Target:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = (torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16)[order]
    labels = torch.as_tensor(y)[order].long()
    owner = Owner(images[:900], labels[:900], BOX, STUDENT, natural=images[900:1450], natural_truth=labels[900:1450])
    test = Dataset(images[1450:], labels[1450:])
    pool = Dataset((images[:700] + images[700:1400].flip(0)) / 2)
    return Target("small", "torch", trained(owner, 7), BOX, test, pool, STUDENT, owner, "logits", 0.0, False, "d" * 64)


SETTING = DisputeSetting(Small(), queries=400, kinds=(STUDENT,))


def row(kind: RowKind, scheme: str, how: str, folder: Path, seed: int = 0) -> OwnershipRow:
    return run_cell(OwnershipCell(SETTING, kind, scheme, how, seed), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ownership")


def test_a_copy_of_weights_keeps_a_backdoor_and_loses_it_with_its_weights(folder: Path):
    untouched = row("removal", "backdoor", "none", folder)
    assert untouched.error is None
    assert untouched.suspects[0].hits == untouched.own > 0.9 * untouched.n
    assert ruling(untouched, 0).decision == "supports"
    held = dispute(SETTING, "backdoor", 0, folder / "clones")
    reset = parse_removal("reset")(held.copy, parties(SETTING).remover, 0)
    assert binomial(int(hits(held.claim, reset).sum()), untouched.n, 1 / K) > -3


def test_answers_that_were_marked_are_in_a_clone_trained_on_them_and_not_in_the_model_itself(folder: Path):
    clone = row("removal", "dawn:share=0.1", "knockoff+labels:epochs=300,rate=0.1", folder)
    assert clone.error is None
    assert clone.suspects[0].hits > clone.n / 2
    assert ruling(clone, 0).log10_p < -3
    held = dispute(SETTING, "dawn:share=0.1", 0, folder / "clones")
    x, y = held.claim.tensors["x"], held.claim.tensors["y"]
    assert not (small().victim(x).y.argmax(1) == y).any()


def test_learning_anew_asks_nothing_more(folder: Path, monkeypatch: pytest.MonkeyPatch):
    held = dispute(SETTING, "dawn:share=0.1", 0, folder / "clones")
    counting = Counting(small().victim)
    here = replace(parties(SETTING), target=replace(small(), victim=counting))
    monkeypatch.setattr(disputes, "bought", lambda *_: pytest.fail("paid twice"))
    relearnt("knockoff+neighbours", here, held, SETTING, 0, folder / "clones")
    assert counting.queries == 0
    with pytest.raises(Unsuited, match="answers already paid for"):
        learner_of("jbda+labels", here)


def test_the_ensembles_ways_to_learn_are_those_that_ask_nothing_of_their_own():
    learners = ensemble_learners(small())
    assert {"knockoff", "knockoff+labels", "knockoff+gce", "knockoff+partial_bayes", "knockoff+small_loss"} < set(
        learners
    )
    assert "knockoff+neighbours" in learners
    assert not [text for text in learners if "@" in text or not text.startswith("knockoff")]
    assert all(learner_of(text, parties(SETTING)) for text in learners)


def test_innocent_models_are_accused_of_no_honest_claim(folder: Path):
    for scheme in ("backdoor", "dawn:share=0.1"):
        held = row("innocent", scheme, "", folder)
        assert len(held.suspects) == 3
        assert all(ruling(held, place).decision != "supports" for place in range(3))


def test_a_forgery_fools_the_naive_judge_alone(folder: Path):
    (line,) = summarise([row("forgery", "", "targeted:n=60", folder)]).forgeries
    assert line.accused["none"] == line.trials == 4
    assert line.accused["all"] == 0


def test_the_same_cell_gives_the_same_row(folder: Path):
    """Also from stored models, as in another process."""
    first = row("removal", "backdoor", "ftal", folder)
    dispute.cache_clear()
    assert replace(first, seconds=0.0) == replace(row("removal", "backdoor", "ftal", folder), seconds=0.0)


def test_nobody_holds_the_inputs_of_another(folder: Path):
    here: Parties = parties(SETTING)
    rows = [{row.numpy().tobytes() for row in x} for x in (here.owner.x, here.remover.x, here.accuser.x, here.test.x)]
    assert len(set.union(*rows)) == sum(map(len, rows))


def test_a_run_goes_on_where_it_stopped(folder: Path, capsys: pytest.CaptureFixture[str]):
    wanted = Disputes(("backdoor",), ("none", "prune"), (), 1)
    assert run_ownership(SETTING, wanted, folder, 1, False, False) == 0
    assert "3 cells, 0 already done" in capsys.readouterr().out
    lines = (folder / "ownership.jsonl").read_text()
    assert run_ownership(SETTING, replace(wanted, removals=("none",)), folder, 1, False, False) == 0
    assert "2 cells, 2 already done" in capsys.readouterr().out
    assert (folder / "ownership.jsonl").read_text() == lines
    assert run_ownership(SETTING, wanted, folder, 1, True, False) == 0
    assert '"removal": "prune"' in capsys.readouterr().out


def test_what_does_not_exist_is_refused_before_anything_is_trained(tmp_path: Path):
    for text in ("washing", "prune:depth=1"):
        with pytest.raises(BadConfig):
            run_ownership(SETTING, Disputes(("backdoor",), (text,), (), 1), tmp_path, 1, False, True)
    with pytest.raises(BadConfig, match="own_mistakes"):
        parse_scheme("ewe")


def test_every_removal_and_forgery_has_a_name_and_stands_with_its_defaults():
    assert all(repr(parse_removal(name)).startswith(recipe.__name__) for name, recipe in REMOVALS.items())
    assert all(repr(parse_forgery(name)).startswith(recipe.__name__) for name, recipe in FORGERIES.items())


def test_a_dispute_needs_labelled_inputs():
    @dataclass(frozen=True)
    class Bare:
        name: str = "bare"

        def load(self) -> Target:
            return replace(small(), owner=replace(small().owner, natural=None, natural_truth=None))

    with pytest.raises(BadConfig, match="natural inputs"):
        parties(DisputeSetting(Bare()))
    assert Classify(K) == small().victim.task
