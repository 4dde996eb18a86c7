"""Inputs without an answer: a share above 1 % is a flag, and they hide no other flag."""

import pytest
import torch

from gamekeeper.engine.run import of_answers


@pytest.mark.parametrize(("silent", "expected"), [(0, []), (2, []), (3, ["unanswered"])])
def test_more_than_one_percent_without_an_answer_is_a_flag(silent: int, expected: list[str]):
    y = torch.eye(2).repeat(100, 1)
    y[:silent] = torch.nan
    assert of_answers(y, "posterior") == expected


def test_an_input_without_an_answer_does_not_hide_that_the_others_say_one_class():
    y = torch.tensor([[0.9, 0.1]]).repeat(200, 1)
    y[7] = torch.nan
    assert of_answers(y, "posterior") == ["one-class-answers"]
