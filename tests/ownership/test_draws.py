"""Draws are uniform, the same everywhere, and of no one's choosing."""

import hmac
import itertools
from collections import Counter
from hashlib import sha256

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.draws import Draw, below

DIGEST = sha256(b"a claim").hexdigest()
DRAW = Draw(b"a public beacon of 2026", DIGEST)


def drawn(i: int) -> Draw:
    return Draw(i.to_bytes(16, "big"), DIGEST)


def test_a_draw_is_this_one_on_every_machine():
    """By the standard library alone, and as literal values."""
    fed = b"".join(len(each).to_bytes(8, "little") + each for each in (bytes.fromhex(DIGEST), b"rows"))
    key = hmac.new(DRAW.beacon, fed, "sha256").digest()
    first = hmac.new(key, bytes(8), "sha256").digest()
    second = hmac.new(key, bytes(7) + b"\1", "sha256").digest()
    expected = [int.from_bytes((first + second)[i : i + 8], "big") for i in range(0, 64, 8)]
    assert list(itertools.islice(DRAW.words("rows"), 8)) == expected
    assert DRAW.rows("rows", 10, 10).tolist() == [4, 3, 7, 9, 6, 2, 5, 1, 8, 0]
    assert DRAW.labels("labels", 10, 12).tolist() == [3, 0, 1, 3, 3, 9, 0, 6, 4, 7, 3, 4]


def test_permutations_are_uniform():
    """All 24 of four rows, over 4,800 beacons."""
    seen = Counter(tuple(drawn(i).rows("rows", 4, 4).tolist()) for i in range(4_800))
    assert set(seen) == set(itertools.permutations(range(4)))
    assert chisquare(list(seen.values())).pvalue > 0.001


def test_every_row_is_drawn_equally_often():
    seen = Counter(row for i in range(3_000) for row in drawn(i).rows("rows", 30, 7).tolist())
    assert sum(seen.values()) == 21_000
    assert chisquare([seen[row] for row in range(30)]).pvalue > 0.001


def test_labels_are_uniform_and_never_the_natural_one():
    natural = torch.arange(20_000) % 10
    labels = DRAW.other_labels("labels", 10, natural)
    assert not (labels == natural).any()
    assert chisquare(torch.bincount((labels - natural) % 10, minlength=10)[1:].tolist()).pvalue > 0.001
    assert chisquare(torch.bincount(DRAW.labels("more", 7, 20_000)).tolist()).pvalue > 0.001


def test_a_number_that_would_bias_is_passed_over():
    """Below 3: 2^64 is 1 modulo 3, so the highest word would favour 0."""
    assert below(3, iter([2**64 - 1, 2**64 - 2])) == 2
    assert below(2**64, iter([2**64 - 1])) == 2**64 - 1
    assert below(2**63 + 1, iter([2**63 + 1, 2**63])) == 2**63


@given(st.integers(1, 60), st.data())
def test_rows_differ_and_more_rows_begin_with_fewer(n, data):
    count = data.draw(st.integers(0, n))
    rows = DRAW.rows("rows", n, n).tolist()
    assert sorted(rows) == list(range(n))
    assert DRAW.rows("rows", n, count).tolist() == rows[:count]


def test_every_beacon_digest_and_use_is_a_draw_of_its_own():
    others = [Draw(DRAW.beacon, sha256(b"another").hexdigest()), Draw(DRAW.beacon + b".", DIGEST)]
    assert all(other.rows("rows", 100, 20).tolist() != DRAW.rows("rows", 100, 20).tolist() for other in others)
    assert DRAW.rows("a", 100, 20).tolist() != DRAW.rows("b", 100, 20).tolist()


def test_streams_do_not_agree_more_than_chance():
    """Labels of two claims under one beacon: 10,000 tosses of a ten-sided die."""
    other = Draw(DRAW.beacon, sha256(b"another").hexdigest())
    same = int((DRAW.labels("y", 10, 10_000) == other.labels("y", 10, 10_000)).sum())
    assert abs(same - 1_000) < 4 * 30


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(BadClaim, match="cannot be drawn of 3"):
        DRAW.rows("rows", 3, 4)
    with pytest.raises(BadClaim, match="16 bytes or more"):
        Draw(b"short", DIGEST)
    with pytest.raises(BadClaim, match="two classes"):
        DRAW.other_labels("y", 1, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(BadClaim, match="below 1"):
        DRAW.labels("y", 0, 1)
