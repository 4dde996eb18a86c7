"""Templates, paths and rows of JSON: every answer is read or refused."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import Malformed
from gamekeeper.protocols.answers import answers
from gamekeeper.protocols.json import Quote, encode_template, parse, pick
from tests.protocols.examples import EXPECTED, JSONISH

pytestmark = pytest.mark.thorough


def test_template_takes_the_batch():
    x = torch.tensor([[0.5, 0.25], [0.0, 1.0]])
    sent = encode_template({"a": [1, {"rows": "$INPUTS"}], "b": "text"}, x)
    assert json.loads(sent) == {"a": [1, {"rows": [[0.5, 0.25], [0.0, 1.0]]}], "b": "text"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("results.*.scores", [[1], [2]]),
        ("results.1.scores", [2]),
        ("results.*.scores.0", [1, 2]),
        ("meta.7", "seven"),
        ("$", ...),
    ],
)
def test_paths(path: str, found: object):
    document = {"results": [{"scores": [1]}, {"scores": [2]}], "meta": {"7": "seven"}}
    assert pick(document, path, Quote()) == (document if found is ... else found)


def test_missing_step_is_named():
    with pytest.raises(Malformed, match=r"no `score` \(in the path `results.\*.score`\); it has an object with scores"):
        pick({"results": [{"scores": [1]}]}, "results.*.score", Quote())


@settings(max_examples=80, deadline=None)
@given(JSONISH | st.lists(st.lists(JSONISH, max_size=3), min_size=2, max_size=2))
def test_any_rows_are_read_or_refused(values: object):
    try:
        answer = answers(values, EXPECTED)
    except Malformed:
        return
    assert answer.shape in [(2,), (2, 3)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(body: bytes):
    message = ""
    try:
        parse(body, Quote())
    except Malformed as error:
        message = str(error)
    assert message.isprintable()
