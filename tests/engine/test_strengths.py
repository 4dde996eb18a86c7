"""Which defenses are compared: sweeps, and all of them at a stated utility."""

from dataclasses import replace

import pytest
import torch

from gamekeeper.detectors.ood import SCORERS
from gamekeeper.engine import plan, strengths
from gamekeeper.engine.strengths import (
    ALL,
    Entry,
    ResolvedDefenses,
    UtilityLimit,
    as_before,
    entries,
    parse_utility,
    question,
    resolve_defenses,
    spent,
    strongest,
    swept,
)
from gamekeeper.errors import BadConfig
from gamekeeper.method_text import taken_apart
from gamekeeper.methods import DEFENSES, InputSpec, parse_defense
from gamekeeper.surfaces.cli import guarded
from gamekeeper.targets.builtin import digits, shipped, wine
from gamekeeper.targets.target import Target

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def target() -> Target:
    return digits()


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strengths, "SAMPLE", 100)


def quiet(doing: str) -> None:
    assert doing


def test_every_defense_there_is_takes_part():
    assert {taken_apart(entry.text).first.name for entry in entries()} == set(DEFENSES)
    assert {f"ood_gate:score={score},fpr={{}}" for score in SCORERS} <= {entry.text for entry in entries()}


def test_strengths_grow_and_each_is_one_the_defense_accepts():
    spec = InputSpec((1, 8, 8), 10)
    for entry in entries():
        assert ("{}" in entry.text) == bool(entry.strengths)
        numbers = [float(strength) for strength in entry.strengths]
        assert sorted(set(numbers), reverse=numbers[:1] > numbers[-1:]) == numbers
        for strength in entry.strengths:
            assert parse_defense(entry.text.format(strength), spec)


def test_a_sweep_is_one_defense_at_several_strengths():
    assert swept("mad") == ["mad"]
    assert swept("mad:eps=0.5/0.95") == ["mad:eps=0.5", "mad:eps=0.95"]
    assert swept("label+mad:norm=l1,eps=0.5/1,keep_top1=true+round") == [
        "label+mad:norm=l1,eps=0.5,keep_top1=true+round",
        "label+mad:norm=l1,eps=1,keep_top1=true+round",
    ]


@pytest.mark.parametrize("text", ["mad:eps=0.5/", "mad/label", "mad:eps=/0.5", "mad:eps=1/2+flatten:eps=1/2", "/"])
def test_what_is_no_sweep_is_refused(text: str):
    with pytest.raises(BadConfig, match="several strengths"):
        swept(text)


def test_a_utility_is_read_or_refused():
    assert parse_utility("all") == UtilityLimit("loss", 0.01)
    assert parse_utility("all:l1=0.5") == UtilityLimit("l1", 0.5)
    for wrong in ("all:kl=1", "all:loss", "all:loss=-1", "all:l1=3", "all:l1=nan"):
        with pytest.raises(BadConfig, match="utility"):
            parse_utility(wrong)


@pytest.mark.parametrize("utility", [UtilityLimit("l1", 0.35), UtilityLimit("loss", 0.02)])
@pytest.mark.parametrize(
    "entry", [e for e in entries() if e.text.startswith(("mad:eps={}", "flatten", "reverse", "round"))]
)
def test_the_strongest_setting_keeps_to_the_utility_and_the_next_one_does_not(
    entry: Entry, utility: UtilityLimit, target
):
    """By brute force over every strength."""
    costs = [spent(entry.text.format(s), utility, target, 0) for s in entry.strengths]
    within = [cost <= utility.most for cost in costs]
    assert within == sorted(within, reverse=True), "costs grow with the strength here"
    best = entry.text.format(entry.strengths[sum(within) - 1]) if any(within) else None
    assert strongest(entry, utility, target, 0) == best


def test_mads_mean_distance_is_its_strength_where_answers_are_sure(target):
    """||y~ - y||_1 = min(eps, 2 (1 - y_k)) for the vertex k: the largest step within 0.5 is 0.5."""
    assert (
        strongest(Entry("mad:eps={}", ("0.4", "0.5", "0.6")), UtilityLimit("l1", 0.5 + 1e-6), target, 0)
        == "mad:eps=0.5"
    )


def test_all_names_every_defense_once_and_says_who_is_left_out(target):
    found = resolve_defenses(["all:l1=0.5", "none", "mad:eps=0.1/0.2"], target, 0, quiet)
    assert found.defenses[:2] == ("none", "label")
    assert len(set(found.defenses)) == len(found.defenses)
    named = {text.partition(":")[0] for text in found.defenses} | {text.partition(" ")[0] for text in found.left_out}
    assert set(DEFENSES) <= named | {word.partition(":")[0] for text in found.left_out for word in text.split()}
    assert found.defenses[-2:] == ("mad:eps=0.1", "mad:eps=0.2")


def test_strengths_are_chosen_without_the_test_set(target):
    """Another test set, the same line-up."""
    other = replace(target, test=replace(target.test, x=torch.rand_like(target.test.x)))
    some = [entry for entry in entries() if entry.text.startswith(("mad", "random_noise"))]
    assert [strongest(e, UtilityLimit(), target, 0) for e in some] == [
        strongest(e, UtilityLimit(), other, 0) for e in some
    ]


def natural(target: Target, truth: bool = True) -> Target:
    """The target with 60 of the test inputs as the owner's natural inputs; fine here, since nothing is scored on the test set."""
    some = target.test.take(torch.arange(60))
    return replace(target, owner=replace(target.owner, natural=some.x, natural_truth=some.y if truth else None))


def test_strengths_are_chosen_on_natural_inputs_where_there_are_some(target):
    """`mad` above eps = 1 gives every wrong label: the loss is the accuracy on these inputs, and on no others."""
    given = natural(target)
    assert given.owner.natural_truth is not None
    assert given.owner.natural is not None
    right = (target.victim(given.owner.natural).y.argmax(1) == given.owner.natural_truth).double().mean()
    assert spent("mad:eps=1.5", UtilityLimit(), given, 0) == pytest.approx(float(right))
    fewer = replace(given, owner=replace(given.owner, x=given.owner.x[:50], truth=1 - given.owner.truth[:50]))
    assert spent("mad:eps=1.5", UtilityLimit(), fewer, 0) == spent("mad:eps=1.5", UtilityLimit(), given, 0)


def test_without_labels_every_changed_top_class_counts_as_lost(target):
    assert spent("mad:eps=1.5", UtilityLimit(), natural(target, truth=False), 0) == 1.0
    assert spent("flatten:eps=2", UtilityLimit(), natural(target, truth=False), 0) == 0.0


def test_other_natural_inputs_or_labels_ask_for_the_choice_anew(target):
    given = natural(target)
    kept = question(["all"], given, 0) | {"defenses": ["none"]}
    assert as_before(kept, ["all"], given, 0) is not None
    assert as_before(kept, ["all"], target, 0) is None
    assert as_before(kept, ["all"], natural(target, truth=False), 0) is None
    assert question(["all"], target, 0)["natural"] is None  # as in earlier runs, whose header has no such key


def test_users_of_mnist_lose_what_is_stated_but_for_noise(monkeypatch):
    """A model that is surer of its training inputs hides what a defense at eps = .95 costs: 1.5 points of the test set."""
    monkeypatch.setattr(strengths, "SAMPLE", 1_000)
    mnist = shipped("mnist")
    entry = Entry("constant_target:eps={}", ("0.4", "0.6", "0.8", "0.9", "0.95"))
    trained = replace(mnist, owner=replace(mnist.owner, natural=None, natural_truth=None))
    chosen, before = (strongest(entry, UtilityLimit(), one, 0) for one in (mnist, trained))
    users = replace(mnist, owner=replace(mnist.owner, natural=mnist.test.x, natural_truth=mnist.test.y))
    monkeypatch.setattr(strengths, "SAMPLE", 10_000)
    assert chosen
    assert before
    assert spent(chosen, UtilityLimit(), users, 0) < 0.01 + 3 * (0.01 / 1_000) ** 0.5
    assert spent(chosen, UtilityLimit(), users, 0) < spent(before, UtilityLimit(), users, 0)


def test_without_inputs_of_the_owners_strengths_cannot_be_chosen():
    bare = wine()
    bare = replace(bare, owner=replace(bare.owner, x=bare.owner.x[:0], truth=bare.owner.truth[:0]))
    with pytest.raises(BadConfig, match="owner's inputs"):
        resolve_defenses([ALL], bare, 0, quiet)
    assert resolve_defenses(["label"], bare, 0, quiet).defenses == ("label",)


def test_a_line_up_is_taken_up_again_for_the_very_same_question_only(target):
    kept = question(["all"], target, 0) | {"defenses": ["none", "label"], "left_out": ["edm is not"]}
    assert as_before(kept, ["all"], target, 0) == ResolvedDefenses(("none", "label"), ("edm is not",))
    assert as_before(kept, ["all:loss=0.02"], target, 0) is None
    assert as_before(kept, ["all"], target, 1) is None
    assert as_before(kept, ["all"], replace(target, digest="another"), 0) is None
    assert as_before(kept | {"version": "0.0.1"}, ["all"], target, 0) is None
    assert as_before({}, ["all"], target, 0) is None


def test_a_resumed_audit_does_not_choose_again(tmp_path, monkeypatch):
    run = [
        "audit",
        "wine",
        "--attack",
        "knockoff",
        "--defense",
        "label",
        "--defense",
        "topk:k=1/2",
        "--budget",
        "20",
        "--uniform",
        "0",
        "--quiet",
        "--out",
    ]
    assert guarded([*run, str(tmp_path)]) == 0
    monkeypatch.setattr(plan, "resolve_defenses", None)
    assert guarded([*run, str(tmp_path)]) == 0
