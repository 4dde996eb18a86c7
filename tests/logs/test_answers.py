"""Answers: every spelling of two answers is the same rows."""

import json
import math

import pytest
import torch

from gamekeeper.logs.answers import AnswerReader
from gamekeeper.logs.event import Unusable
from gamekeeper.logs.mapping import AnswerTable

Y = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], dtype=torch.float64)
NAMES = ("cat", "dog", "fox")


def read(value, n: int | None = 2, classes: int | None = 3, names: tuple[str, ...] = NAMES, **keys):
    table = AnswerTable.model_validate({"field": "y", **keys})
    return AnswerReader(table, classes, names)({"y": value}, n)


@pytest.mark.parametrize("n", [2, None])
@pytest.mark.parametrize(
    "value",
    [
        Y.tolist(),
        Y.flatten().tolist(),
        json.dumps(Y.tolist()),
        [dict(zip(NAMES, row, strict=True)) for row in Y.tolist()],
        [[{"label": name, "score": score} for name, score in zip(NAMES, row, strict=True)] for row in Y.tolist()],
    ],
)
def test_every_spelling_of_two_posteriors_is_the_same(value, n):
    assert torch.equal(read(value, n), Y)


def test_one_answer_needs_no_list_around_it():
    assert torch.equal(read(Y[0].tolist(), 1), Y[:1])
    assert torch.equal(read(dict(zip(NAMES, Y[0].tolist(), strict=True)), 1), Y[:1])
    assert torch.equal(read("dog", 1), torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64))
    assert torch.equal(read([{"label": "dog", "score": 0.7}, {"label": "fox", "score": 0.2}], 1)[0, 1:], Y[0, 1:])


@pytest.mark.parametrize("value", [[1, 2], [1.0, 2.0], ["dog", "fox"], [[1], [2]], "[1, 2]"])
def test_labels_are_one_hot(value):
    assert torch.equal(read(value), torch.tensor([[0, 1, 0], [0, 0, 1]], dtype=torch.float64))


def test_a_missing_answer_among_others_is_nan():
    y = read([Y[0].tolist(), None])
    assert torch.equal(y[0], Y[0])
    assert y[1].isnan().all()
    labels = read(["dog", None])
    assert labels[0].tolist() == [0, 1, 0]
    assert labels[1].isnan().all()


def test_logits_are_declared_and_become_probabilities():
    assert torch.allclose(read((Y.log() + 3).tolist(), form="logits"), Y)
    with pytest.raises(Unusable, match='form = "logits"'):
        read((Y.log() + 3).tolist())


def test_the_number_of_classes_is_that_of_the_probabilities_where_nothing_says():
    assert torch.equal(read(Y.tolist(), classes=None, names=()), Y)
    with pytest.raises(Unusable, match="labels need the number of classes"):
        read([1, 2], classes=None, names=())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[0.5, 0.5]] * 2, "3"),
        ([[0.9, 0.9, 0.9]] * 2, "probabilities lie in 0 to 1"),
        ([[-0.5, 0.5, 0.9]] * 2, "probabilities lie in 0 to 1"),
        ([Y[0].tolist()], "2 inputs have 1 answers"),
        ([3, 0], "labels must be 0 to 2"),
        ([0.5, 0.25], "not a whole one"),
        (["cow\x1b", "cow"], "cow"),
    ],
)
def test_what_is_no_answer_is_named(value, words):
    with pytest.raises(Unusable, match=words) as error:
        read(value)
    assert str(error.value).isprintable()


def test_no_answer_is_none():
    assert read(None) is None


def test_a_row_with_nan_is_no_answer():
    y = read([[math.nan, 0.5, 0.5], Y[0].tolist()])
    assert not y[0].isfinite().all()
    assert torch.equal(y[1], Y[0])
