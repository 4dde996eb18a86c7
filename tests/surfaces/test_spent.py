"""What a run says that it was charged for."""

import pytest

from gamekeeper.engine.plan import Spending
from gamekeeper.surfaces.audit import spent_in_words


@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        (Spending(price=0.5), Spending(40, price=0.5), "30 for evaluation"),
        (
            Spending(price=0.5),
            Spending(40, unanswered=8, price=0.5),
            "; 8 more got no answer and may have been charged",
        ),
        (
            Spending(10, unanswered=3, price=0.5),
            Spending(50, unanswered=8, price=0.5),
            "; 8 more, in earlier runs 3 of them, got no answer and may have been charged",
        ),
        (
            Spending(10, unanswered=8, price=0.5),
            Spending(50, unanswered=8, price=0.5),
            "; 8 more, in earlier runs, got no answer and may have been charged",
        ),
    ],
)
def test_inputs_without_an_answer_are_not_said_to_be_of_this_run_if_earlier_ones_sent_them(
    before: Spending, after: Spending, end: str
):
    words = spent_in_words(after.since(before, thieves=10))
    assert words.startswith("sent to the API in this run: 40 inputs, 20.00 in money; 10 of them by thieves, 30 for")
    assert words.endswith(end)
