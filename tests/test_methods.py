"""Methods by name: a learner's training is set like its other parameters."""

from dataclasses import replace

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import Sharpened
from gamekeeper.methods import LEARNERS, InputSpec, describe, parse_attack, parse_defense, settable, training_parameters
from gamekeeper.training.fit import FAST, POSTERIOR

WORLD = InputSpec((1, 8, 8), 10)


def learner(text: str):
    return parse_attack(f"knockoff+{text}", WORLD).learner


def test_a_learners_training_is_set_beside_its_own_parameters():
    found = learner("sharpened:power=2,optimiser=adam,rate=0.001,epochs=5")
    assert found == Sharpened(2.0, replace(POSTERIOR, optimiser="adam", rate=0.001, epochs=5))


def test_a_short_training_is_one_word_away():
    assert learner("sharpened:fit=fast") == Sharpened(4.0, FAST)
    assert learner("sharpened:fit=fast,rate=0.2").fit == replace(FAST, rate=0.2)
    assert learner("sharpened:fit=usual") == Sharpened()
    with pytest.raises(BadConfig, match="sharpened:fit must be usual or fast"):
        learner("sharpened:fit=long")


@pytest.mark.parametrize("name", list(LEARNERS))
def test_every_learner_keeps_what_is_not_named(name):
    usual = LEARNERS[name]()
    changed = learner(f"{name}:rate=0.002")
    assert changed.fit.rate == 0.002
    assert changed.fit.batch == usual.fit.batch
    assert changed.fit.epochs == usual.fit.epochs
    assert learner(name) == usual


@pytest.mark.parametrize("name", list(LEARNERS))
def test_no_parameter_of_a_learner_has_the_name_of_one_of_its_training(name):
    assert not set(settable(LEARNERS[name])) & set(training_parameters(LEARNERS[name]))


def test_the_page_of_a_learner_lists_its_training():
    told = describe("fixmatch", "learner").parameters
    assert told["optimiser"] == "sgd or adam or adamw, default sgd"
    assert told["batch"] == "a whole number, default 64"
    assert "optimiser" not in describe("mad", "defense").parameters


def test_wrong_training_is_refused_in_a_sentence():
    with pytest.raises(BadConfig, match=r"soft:optimiser must be sgd or adam or adamw\. Got 'lion'"):
        learner("soft:optimiser=lion")
    with pytest.raises(BadConfig, match="positive rate"):
        learner("soft:rate=0")
    with pytest.raises(BadConfig, match=r"soft has no parameter 'optimizer'\. It takes: fit, epochs, .*optimiser"):
        learner("soft:optimizer=adam")
    with pytest.raises(BadConfig, match="mad has no parameter 'rate'"):
        parse_defense("mad:rate=0.1", WORLD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gce", "'gce' is a learner: write knockoff\\+gce"),
        ("labels_only", "is a wrapper: write knockoff"),
        ("mad", "'mad' is a defense"),
        ("knokoff", "Did you mean 'knockoff'"),
    ],
)
def test_a_name_of_another_kind_or_nearly_right_is_explained(text: str, message: str):
    with pytest.raises(BadConfig, match=message):
        parse_attack(text, InputSpec((1, 8, 8), 10))
