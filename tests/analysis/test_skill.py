"""Better than guessing or not: models whose skill is known."""

import numpy as np
import pytest

from gamekeeper.analysis.skill import area, balanced_accuracy, of_every_class, skill


def posteriors(top: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[top] * 0.8 + 0.2 / classes


def labels(n: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(classes, size=n)


def mostly(truth: np.ndarray, right: float, classes: int) -> np.ndarray:
    """Answers of which about that share are right."""
    draw = np.random.default_rng(1)
    return np.where(draw.random(len(truth)) < right, truth, draw.integers(classes, size=len(truth)))


def test_balanced_accuracy_and_area_by_hand():
    assert balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])) == 0.75
    assert balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 2])) == 0.5
    assert area(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])) == 0.875


@pytest.mark.parametrize("classes", [2, 3, 10, 50])
def test_a_model_that_knows_something_is_better_and_one_that_guesses_is_not(classes: int):
    truth = labels(400, classes)
    assert skill(posteriors(mostly(truth, 0.5, classes), classes), truth).sound
    assert not skill(posteriors(mostly(truth, 0.0, classes), classes), truth).better


def test_a_constant_answer_is_never_better_however_often_it_is_right():
    truth = np.array([0] * 990 + [1] * 10)
    met = skill(posteriors(np.zeros(1000, dtype=int), 2), truth)
    assert (met.accuracy, met.balanced, met.answered, met.better) == (0.99, 0.5, (0,), False)


def test_two_classes_may_be_told_apart_by_score_alone():
    """A model of fraud seldom says fraud, yet its probabilities rank inputs."""
    truth = (np.arange(1000) % 20 == 0).astype(int)
    score = np.clip(0.1 + 0.2 * truth + np.random.default_rng(0).normal(0, 0.05, 1000), 0, 0.49)
    met = skill(np.stack([1 - score, score], 1), truth)
    assert met.balanced == 0.5
    assert met.auc is not None
    assert met.auc > 0.95
    assert met.sound


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1), (1, 0, 2, 3), (3, 1, 2, 0, 4, 5, 6, 7, 8, 9)])
def test_another_order_of_the_classes_is_recognised_even_if_some_are_right(order: tuple[int, ...]):
    truth = labels(400, len(order))
    met = skill(posteriors(np.argsort(order)[mostly(truth, 0.95, len(order))], len(order)), truth)
    if met.accuracy < 0.75:
        assert (met.order, met.sound) == (order, False)
        assert met.reordered > 0.9
    else:  # two of ten classes changed places: balanced accuracy gains no more than REORDERED
        assert met.better


@pytest.mark.parametrize("classes", [2, 3, 20, 100])
def test_guesses_have_no_order(classes: int):
    truth = labels(200, classes)
    for seed in range(20):
        assert skill(posteriors(labels(200, classes, seed + 1), classes), truth).order is None


def test_a_test_set_of_one_class_shows_nothing():
    assert not skill(posteriors(np.ones(50, dtype=int), 2), np.ones(50, dtype=int)).better


def test_a_sample_has_something_of_every_class():
    truth = np.array([0] * 900 + [1] * 95 + [2] * 5)
    some = of_every_class(truth, 60)
    assert np.bincount(truth[some]).tolist() == [28, 27, 5]
    assert len(set(some.tolist())) == 60
    assert of_every_class(truth, 5_000).tolist() == list(range(1000))
