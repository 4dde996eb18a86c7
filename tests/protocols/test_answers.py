"""Answers in any order and form: every row by its own class and input, or refused with the key to set."""

import json

import pytest
import torch

from gamekeeper.errors import Malformed
from gamekeeper.protocols.answers import answers, answers_at, entries, maps_at
from gamekeeper.protocols.json import Expected

NAMES = ("cat", "dog", "fox")
P = [[0.1, 0.7, 0.2], [0.6, 0.1, 0.3], [0.2, 0.3, 0.5]]


def read(document: object, path: str, labels: tuple[str, ...] | None = NAMES, n: int = 3, single: bool = False) -> list:
    expected = Expected(n, 3, labels)
    return answers_at(entries(json.loads(json.dumps(document)), path, expected, single), expected).tolist()


def best_first(row: list[float], most: int = 3) -> list[tuple[str, float]]:
    return sorted(zip(NAMES, row, strict=True), key=lambda pair: -pair[1])[:most]


def pairs(name: str = "label", score: str = "score", **more: object) -> list:
    return [[{name: label, score: value, **more} for label, value in best_first(row)] for row in P]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"p": pairs()}, "p"),
        ({"p": pairs()}, "p.*.*.score"),
        ({"p": pairs("className", "probability", rank=1)}, "p"),
        ({"p": pairs("Name", "Confidence")}, "p.*.*.Confidence"),
        ({"p": [{"scores": row} for row in pairs()]}, "p.*.scores"),
        ({"p": [{"scores": row} for row in pairs()]}, "p.*.scores.*.score"),
        ({"p": [best_first(row) for row in P]}, "p"),
        ({"p": [dict(best_first(row)) for row in P]}, "p"),
        ({"p": [{name.upper(): value for name, value in best_first(row)} for row in P]}, "p"),
        (
            {"p": [dict(zip(("names", "conf"), zip(*best_first(row), strict=True), strict=True)) for row in P]},
            "p.*.conf",
        ),
        ({"p": [dict(zip(("labels", "scores"), zip(*best_first(r), strict=True), strict=True)) for r in P]}, "p"),
        ({"p": [[f"{value}" for value in row] for row in P]}, "p"),
        ([pairs()[0], pairs()[1], pairs()[2]], "$"),
    ],
)
def test_scores_belong_to_the_class_that_is_named_beside_them(document: object, path: str):
    assert read(document, path) == P


def test_the_pairs_of_a_single_input():
    assert read({"p": pairs()[0]}, "p", n=1, single=True) == [P[0]]
    assert read({"p": pairs()[0]}, "p.*.score", n=1, single=True) == [P[0]]
    assert read({"p": {"names": ["fox", "cat"], "conf": [0.9, 0.1]}}, "p.conf", n=1, single=True) == [[0.1, 0.0, 0.9]]


def test_classes_left_out_score_zero():
    assert read({"p": [[{"label": "fox", "score": 0.9}]] * 3}, "p") == [[0.0, 0.0, 0.9]] * 3


def test_ids_of_classes_are_their_places_or_their_names():
    by_id = [[{"class_id": 2, "score": 0.7}, {"class_id": 0, "score": 0.3}]] * 3
    assert read(by_id, "$", None) == [[0.3, 0.0, 0.7]] * 3
    assert read(by_id, "$", ("2", "1", "0")) == [[0.7, 0.0, 0.3]] * 3
    assert read({"p": [1, 2, 3]}, "p", ("1", "2", "3")) == [0, 1, 2]
    assert read({"p": ["1", "2", "2"]}, "p", ("1", "2", "3")) == [0, 1, 1]
    assert read({"p": [1, 2, 1]}, "p", None) == [1, 2, 1]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"p": pairs()}, "p"),
        ({"p": pairs()}, "p.*.*.score"),
        ({"p": [dict(best_first(row)) for row in P]}, "p"),
        ({"p": ["cat", "dog", "dog"]}, "p"),
        ({"p": [{"names": list(NAMES), "conf": row} for row in P]}, "p.*.conf"),
    ],
)
def test_names_without_labels_are_refused_with_the_key_to_set(document: object, path: str):
    with pytest.raises(Malformed, match="`labels`"):
        read(document, path, None)


def test_an_object_whose_scores_the_path_does_not_reach_names_the_step():
    with pytest.raises(Malformed, match=r"`results\.\*\.scores`"):
        read({"p": [{"scores": row, "model": "m"} for row in P]}, "p")


ORDER = [2, 0, 1]


@pytest.mark.parametrize("key", ["index", "idx", "id", "input_index", "position", "row"])
@pytest.mark.parametrize("first", [0, 1, 1_000])
@pytest.mark.parametrize("text", [False, True])
def test_results_with_an_index_are_put_in_the_order_of_the_inputs(key: str, first: int, text: bool):
    numbered = [{key: str(first + at) if text else first + at, "p": P[at]} for at in ORDER]
    assert read({"r": numbered}, "r.*.p") == P


def test_an_input_missing_among_numbered_results_has_no_answer():
    rows = torch.tensor(read({"r": [{"index": at, "p": P[at]} for at in (2, 0)]}, "r.*.p"))
    assert torch.allclose(rows[[0, 2]], torch.tensor([P[0], P[2]]))
    assert rows[1].isnan().all()
    with pytest.raises(Malformed, match="set batch = 1"):
        read({"r": [{"p": P[0]}, {"p": P[1]}]}, "r.*.p")


def test_ids_that_say_nothing_of_the_order():
    rows = {"r": [{"id": f"a{at}", "p": P[at]} for at in (0, 1, 2)]}
    assert read(rows, "r.*.p") == P
    classes = {"r": [{"id": at, "p": P[at]} for at in (0, 1, 2)]}
    assert read(classes, "r.*.p") == P
    with pytest.raises(Malformed, match=r"`id` in an order that says nothing.*batch = 1"):
        read({"r": [{"id": at, "p": P[0]} for at in (70, 12, 55)]}, "r.*.p")


def test_an_id_that_may_be_the_class_is_refused():
    with pytest.raises(Malformed, match=r"numbers the inputs or the classes.*batch = 1"):
        read({"r": [{"id": c, "label": NAMES[c]} for c in (1, 0, 2)]}, "r.*.label")


def test_labels_with_a_gap_keep_the_others():
    rows = torch.tensor(read({"p": ["cat", None, "fox"]}, "p"))
    assert rows[[0, 2]].tolist() == [0.0, 2.0]
    assert rows[1].isnan()


def test_maps_follow_the_order_of_their_answers():
    document = {"r": [{"index": at, "p": P[at], "m": [[float(at)]]} for at in ORDER]}
    expected = Expected(3, 3, NAMES)
    y = answers_at(entries(document, "r.*.p", expected), expected)
    assert maps_at(entries(document, "r.*.m", expected), y, expected).flatten().tolist() == [0.0, 1.0, 2.0]


def test_two_scores_for_one_class_contradict_each_other():
    with pytest.raises(Malformed, match="two scores"):
        answers([[{"label": "cat", "score": 0.5}, {"label": "Cat", "score": 0.5}]], Expected(1, 3, NAMES))


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_a_percent_sign_is_a_hundredth_in_every_unit(unit: float):
    expected = Expected(1, 2, unit=unit)
    y = answers_at(entries({"p": [["97.3%", "2.7 %"]]}, "p", expected, False), expected)
    assert torch.allclose(y / unit, torch.tensor([[0.973, 0.027]], dtype=y.dtype))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"p": [["0,1", "0,7", "0,2"]]}, "p"),
        ({"p": [{"cat": "0,1", "dog": "0,7", "fox": "0,2"}]}, "p"),
        ({"p": [[{"label": "dog", "score": "0,7"}, {"label": "cat", "score": "0,3"}]]}, "p"),
        ({"p": [[["dog", "70,0 %"], ["cat", "30,0 %"]]]}, "p"),
        ({"p": [{"names": ["dog"], "conf": ["1,0"]}]}, "p.*.conf"),
    ],
)
def test_a_decimal_comma_is_refused_as_such(document: object, path: str):
    with pytest.raises(Malformed, match=r"holds the string '[\d,]+( %)?'; a number with a decimal point is needed"):
        read(document, path, n=1)


def test_text_with_a_comma_is_not_blamed_for_something_else():
    with pytest.raises(Malformed, match="names a class 'wolf, grey'"):
        read({"p": [["wolf, grey"]]}, "p", n=1)
