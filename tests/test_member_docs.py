"""What a thief is worth: their lead over all others, and what the worst case loses without them."""

import pytest
from member_docs import Worth, worth

RUN = {
    "none": {"soft": 0.8, "labels": 0.7, "knowing": 0.8},
    "gate": {"soft": 0.5, "labels": 0.4},
    "lies": {"soft": 0.2, "labels": 0.3, "knowing": 0.6},
}


def test_a_thief_is_worth_their_lead_and_what_the_smallest_row_loses_without_them():
    # behind the gate they take no part: two rows, of which they lead one by 30 points; the gate stays the smallest until they go
    found = worth(RUN, {"knowing"})
    assert found is not None
    assert (found.rows, found.ahead) == (2, 1)
    assert found.most == pytest.approx(0.3)
    assert found.falls == pytest.approx(0.5 - 0.3)


def test_a_tie_is_worth_nothing():
    assert worth({"none": {"soft": 0.8, "tempered": 0.8}}, {"tempered"}) == Worth(1, 0, 0.0, 0.0)


def test_a_group_is_compared_with_the_rest_and_nobody_with_themselves():
    both = worth(RUN, {"soft", "labels"})
    assert both is None  # nobody else was there behind the gate
    found = worth({name: RUN[name] for name in ("none", "lies")}, {"soft", "labels"})
    assert found is not None
    assert (found.rows, found.ahead, found.most) == (2, 0, 0.0)
    assert worth(RUN, {"nobody"}) is None
