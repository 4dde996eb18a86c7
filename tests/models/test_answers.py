"""What a target declares: exact posteriors for every kind, and every wrong declaration met with the right one."""

import pytest
import torch
from torch import Tensor

from gamekeeper.errors import BadConfig, Malformed, Misdeclared
from gamekeeper.models.answers import Answers, Kind

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [-4.0, 1.0, 1.0], [0.3, -0.2, 0.1]])
POSTERIORS = LOGITS.softmax(1)
ROUNDED = (POSTERIORS * 100).round() / 100
TOP1 = POSTERIORS * (POSTERIORS.amax(1, keepdim=True) == POSTERIORS)
CLASSES = torch.tensor([0, 2, 1, 0])
ONE_HOT = torch.eye(3)[CLASSES]


def test_logits_become_their_softmax():
    assert torch.equal(Answers("logits", 3).posterior(LOGITS, 4), torch.softmax(LOGITS, 1))


def test_float64_logits_stay_float64():
    y = Answers("logits", 3).posterior(LOGITS.double(), 4)
    assert y.dtype == torch.float64
    assert torch.equal(y, torch.softmax(LOGITS.double(), 1))


def test_half_precision_logits_become_float32():
    y = Answers("logits", 3).posterior(LOGITS.bfloat16(), 4)
    assert torch.equal(y, torch.softmax(LOGITS.bfloat16().float(), 1))


def test_a_logit_of_minus_infinity_rules_a_class_out():
    raw = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert Answers("logits", 3).posterior(raw, 1).tolist() == [[0.5, 0.5, 0.0]]


def test_probabilities_pass_unchanged():
    assert torch.equal(Answers("probabilities", 3).posterior(POSTERIORS, 4), POSTERIORS)


def test_float64_probabilities_stay_float64():
    y = Answers("probabilities", 3).posterior(POSTERIORS.double(), 4)
    assert y.dtype == torch.float64


def test_rounded_probabilities_are_accepted_as_they_are():
    off = (ROUNDED.sum(1) - 1).abs().max()
    assert 0.005 < off < 0.02, "the case must need the tolerance"
    assert torch.equal(Answers("probabilities", 3).posterior(ROUNDED, 4), ROUNDED)


def test_entries_a_rounding_error_outside_are_clipped():
    raw = torch.tensor([[1.00005, -0.00005, 0.0]])
    assert Answers("probabilities", 3).posterior(raw, 1).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("raw", [CLASSES, CLASSES[:, None], CLASSES.float(), CLASSES.int(), ONE_HOT, ONE_HOT.bool()])
def test_labels_in_every_form_become_one_hot(raw: Tensor):
    y = Answers("labels", 3).posterior(raw, 4)
    assert y.dtype == torch.float32
    assert torch.equal(y, ONE_HOT)


def test_truncated_posteriors_pass_unchanged():
    assert torch.equal(Answers("top-k", 3).posterior(TOP1, 4), TOP1)


def test_posteriors_are_detached():
    raw = LOGITS.clone().requires_grad_()
    assert not Answers("logits", 3).posterior(raw, 4).requires_grad


WRONG: list[tuple[Kind, Tensor, str]] = [
    ("logits", POSTERIORS, 'declare answers = "probabilities"'),
    ("logits", ONE_HOT, 'declare answers = "labels"'),
    ("probabilities", LOGITS, 'declare answers = "logits"'),
    ("probabilities", TOP1, 'looks like top-k: declare answers = "top-k"'),
    ("probabilities", CLASSES, 'declare answers = "labels"'),
    ("logits", CLASSES.float(), 'declare answers = "labels"'),
    ("top-k", POSTERIORS, 'declare answers = "probabilities"'),
    ("top-k", LOGITS, 'declare answers = "logits"'),
    ("labels", POSTERIORS, 'declare answers = "probabilities"'),
    ("labels", TOP1, 'declare answers = "top-k"'),
    ("labels", LOGITS, 'declare answers = "logits"'),
]


@pytest.mark.parametrize(("kind", "raw", "advice"), WRONG)
def test_a_wrong_declaration_names_the_right_one(kind: Kind, raw: Tensor, advice: str):
    with pytest.raises(Malformed, match=advice) as caught:
        Answers(kind, 3).posterior(raw, 4)
    assert f"declared to answer {kind} over 3 classes" in str(caught.value)


@pytest.mark.parametrize("kind", ["probabilities", "logits", "labels", "top-k"])
def test_a_wrong_declaration_is_found_beside_a_broken_row(kind: Kind):
    wrong = {"probabilities": LOGITS, "logits": POSTERIORS, "labels": POSTERIORS, "top-k": POSTERIORS}[kind].clone()
    wrong[1] = torch.nan
    with pytest.raises(Malformed, match="declare answers"):
        Answers(kind, 3).posterior(wrong, 4)


@pytest.mark.parametrize(
    ("kind", "raw"), [("probabilities", POSTERIORS), ("logits", LOGITS), ("top-k", TOP1), ("labels", ONE_HOT)]
)
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_broken_row_becomes_nan_and_the_others_stay(kind: Kind, raw: Tensor, broken: float):
    raw = raw.clone()
    raw[2, 1] = broken
    y = Answers(kind, 3).posterior(raw, 4)
    assert y[2].isnan().all()
    rest = torch.tensor([0, 1, 3])
    assert torch.equal(y[rest], Answers(kind, 3).posterior(raw[rest], 3))


def test_a_label_that_is_nan_becomes_a_row_of_nan():
    y = Answers("labels", 3).posterior(torch.tensor([1.0, torch.nan]), 2)
    assert y[0].tolist() == [0.0, 1.0, 0.0]
    assert y[1].isnan().all()


def test_a_batch_of_broken_rows_only_is_left_to_the_caller():
    assert Answers("probabilities", 3).posterior(torch.full((2, 3), torch.nan), 2).isnan().all()


def test_another_number_of_classes_is_refused_with_what_came():
    with pytest.raises(Malformed, match=r"shape \(4, 3\) where \(4, 5\) was expected. Declare classes = 3"):
        Answers("logits", 5).posterior(LOGITS, 4)


def test_another_number_of_answers_is_refused():
    with pytest.raises(Malformed, match="gave 4 answers to 5 inputs"):
        Answers("logits", 3).posterior(LOGITS, 5)


@pytest.mark.parametrize("raw", [torch.tensor(1.0), LOGITS[None], LOGITS.to(torch.complex64)])
def test_another_form_of_answer_is_refused(raw: Tensor):
    with pytest.raises(Malformed, match="declared to answer logits"):
        Answers("logits", 3).posterior(raw, 4)


def test_a_single_score_is_refused_with_what_to_do():
    with pytest.raises(Malformed, match="one column per class"):
        Answers("probabilities", 2).posterior(torch.tensor([[0.2], [0.9]]), 2)


@pytest.mark.parametrize(("raw", "met"), [([0, 3, 1], "0 to 3"), ([-1, 0, 1], "-1 to 1")])
def test_labels_outside_the_classes_are_refused(raw: list[int], met: str):
    with pytest.raises(Malformed, match=rf"{met} \(they count from 0 to 2\)"):
        Answers("labels", 3).posterior(torch.tensor(raw), 3)


def test_fractions_are_no_labels():
    with pytest.raises(Malformed, match=r"fractions such as 0\.5"):
        Answers("labels", 3).posterior(torch.tensor([0.5, 1.0]), 2)


def test_independent_scores_fit_no_declaration():
    sigmoids = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.9, 0.3]])
    for kind in ("probabilities", "top-k", "labels"):
        with pytest.raises(Malformed, match="No declaration fits"):
            Answers(kind, 3).posterior(sigmoids, 2)


def test_a_sum_just_beyond_the_tolerance_is_refused():
    Answers("probabilities", 2).posterior(torch.tensor([[0.5, 0.481]]), 1)
    with pytest.raises(Malformed, match=r"sum to 0\.979"):
        Answers("probabilities", 2).posterior(torch.tensor([[0.5, 0.479]]), 1)


@pytest.mark.parametrize("classes", [0, 1, -3])
def test_fewer_than_two_classes_are_refused(classes: int):
    with pytest.raises(BadConfig, match="at least 2"):
        Answers("logits", classes)


FLOORED = (POSTERIORS * 100).floor() / 100
BYTES = (POSTERIORS * 255).round() / 256
TOP2 = POSTERIORS.where(POSTERIORS.amin(1, keepdim=True) != POSTERIORS, 0)


@pytest.mark.parametrize(
    ("raw", "advice"),
    [(FLOORED, "probabilities"), (BYTES, "probabilities"), (ROUNDED, "probabilities"), (TOP2, "top-k")],
)
def test_an_inexact_posterior_is_not_taken_for_logits_by_its_first_row(raw: Tensor, advice: str):
    with pytest.raises(Malformed, match=f'declare answers = "{advice}"'):
        Answers("logits", 3).posterior(raw[:1], 1, first=True)


def test_many_rows_that_are_inexact_posteriors_are_not_taken_for_logits():
    raw = (torch.softmax(3 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), 1) * 255).round() / 256
    with pytest.raises(Malformed, match='declare answers = "probabilities"'):
        Answers("logits", 3).posterior(raw, 200)


def test_logits_of_inputs_close_to_each_other_may_look_like_a_posterior():
    raw = torch.stack([torch.full((100,), 0.95), torch.linspace(0.0, 0.03, 100)], 1)
    assert torch.equal(Answers("logits", 2).posterior(raw, 100), torch.softmax(raw, 1))


def test_the_first_scores_after_a_sigmoid_are_not_taken_for_logits():
    sigmoids = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).sqrt()
    with pytest.raises(Malformed, match="after a sigmoid"):
        Answers("logits", 3).posterior(sigmoids, 20, first=True)


def test_votes_of_a_forest_are_refused_with_their_number_and_not_called_logits():
    votes = torch.tensor([[249, 27, 24], [300, 0, 0], [10, 150, 140], [80, 100, 120]])
    for rows in (votes[:1], votes):
        with pytest.raises(Malformed, match=r'declare answers = "probabilities", and unit = 300 in \[http\]'):
            Answers("probabilities", 3).posterior(rows, len(rows), first=True)
    with pytest.raises(Misdeclared, match=r"each row sums to 300, as counts and votes do.* unit = 300"):
        Answers("logits", 3).posterior(votes, 4, first=True)
    for logits in (votes[:1], votes[:1].expand(8, 3), votes + torch.arange(4)[:, None]):
        Answers("logits", 3).posterior(logits, len(logits), first=True)  # whole logits of one input, or with other sums


@pytest.mark.parametrize(("rows", "spread"), [([[0.5, 0.25]], "0.75"), ([[0.5, 0.25], [0.5, 0.1]], "0.6 to 0.75")])
def test_a_sum_is_named_once_where_all_rows_have_it(rows: list[list[float]], spread: str):
    with pytest.raises(Malformed, match=f"rows sum to {spread} instead of 1"):
        Answers("probabilities", 2).posterior(torch.tensor(rows), len(rows))


@pytest.mark.parametrize("kind", ["probabilities", "logits", "top-k"])
@pytest.mark.parametrize("unit", [100, 255, 1000])
def test_scores_in_another_unit_are_refused_with_the_unit(kind: Kind, unit: int):
    for raw in (unit * POSTERIORS, (unit * POSTERIORS).round()):
        with pytest.raises(Malformed, match=f'declare answers = "probabilities", and unit = {unit} in'):
            Answers(kind, 3).posterior(raw[:1], 1, first=True)
