"""Answers may leave at steps of time, so that the clock says less of how they were made."""

import time

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.surfaces.gateway.settings import ServerSettings
from tests.surfaces.gateway.live import answered, question, serving


def test_answers_leave_at_multiples_of_a_step():
    with serving(answer_step=0.2) as live:
        answered(live, question(live))
        taken = []
        for _ in range(4):
            start = time.monotonic()
            assert answered(live, question(live)).status == 200
            taken.append(time.monotonic() - start)
    assert min(taken) >= 0.2
    assert min(taken) < 0.39


def test_a_step_is_a_second_at_most():
    with pytest.raises(BadConfig, match="`answer_step` must be 0 to 1 seconds"):
        ServerSettings(answer_step=2.0)
