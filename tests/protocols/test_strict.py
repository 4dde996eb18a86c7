"""JSON from strangers: what the standard library's reader would call ambiguous is refused, before it costs memory."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.strict import (
    EXACT,
    NUMERIC,
    Most,
    counts,
    doubles,
    flat,
    number_table,
    parse_strictly,
    without_last_list,
    without_strings,
)

KEYS = st.sampled_from(["a", "b", ":", '"', "\\", '\\"', "{", "é", ""])
MOST = Most(100, 100, 100)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def text(pairs: list[tuple[str, Any]], ascii_only: bool) -> str:
    """An object whose names may repeat."""
    inside = (f"{json.dumps(k, ensure_ascii=ascii_only)} : {json.dumps(v, ensure_ascii=ascii_only)}" for k, v in pairs)
    return "{" + ", ".join(inside) + "}"


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise KeyError
    return dict(pairs)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.booleans(), st.booleans())
def test_a_name_given_twice_is_seen_as_by_the_slow_reader(pairs: list[tuple[str, Any]], ascii_only: bool, deeper: bool):
    body = text(pairs, ascii_only)
    body = f'{{"x": [1, [{body}, 2.5]], "y": {{}}}}' if deeper else body
    try:
        slow = json.loads(body, object_pairs_hook=unique)
    except KeyError:
        with pytest.raises(BadRequest, match="same name twice"):
            parse_strictly(body.encode(), MOST)
        return
    assert parse_strictly(body.encode(), MOST).value == slow


def test_an_escaped_name_is_the_same_name():
    with pytest.raises(BadRequest, match="same name twice"):
        parse_strictly(rb'{"a": 1, "\u0061": 2}', MOST)
    with pytest.raises(BadRequest, match="same name twice"):
        parse_strictly(b'{"a": {"b": 1}, "c": [%s {"b": 1, "b": 2}], "a": 3}' % (b"0," * 50), MOST)


@given(st.text(alphabet='a:"\\{[é\n'))
def test_what_stands_in_strings_is_not_counted(inside: str):
    assert without_strings(json.dumps({inside: [inside]}).encode()) == b"{: []}"


@pytest.mark.parametrize("length", [0, 7, 3000])
def test_characters_are_counted_alike_in_short_and_long_texts(length: int):
    text = b'{"a":[[,"' + b"[,,:" * length
    assert counts(text, "[{:,") == [2 + length, 1, 1 + length, 1 + 2 * length]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "must be JSON"),
        (b"[1]", 400, "JSON object; got a list of 1"),
        (b"null", 400, "JSON object; got null"),
        (b'{"a": NaN}', 400, "without NaN"),
        (b'{"a": Infinity}', 400, "without NaN"),
        (b'{"a": 1e999}', 400, "must be JSON"),
        (b'{"a": 1' + b"0" * 400 + b"}", 400, "must be JSON"),
        (b'{"a": "\xff"}', 400, "UTF-8"),
        (b'{"a": "\\ud800"}', 400, "must be JSON"),
        (b"\xef\xbb\xbf{}", 400, "must be JSON"),
        ('{"a": 1}'.encode("utf-16"), 400, "must be JSON"),
        (b"{} {}", 400, "must be JSON"),
        (b'{"a": [1, 2', 400, "must be JSON"),
        (b'{"a": "x', 400, "must be JSON"),
        (b'{"a": ' + b"[" * 51 + b"]" * 51 + b"}", 413, "more than 50 lists"),
        (b'{"a": [' + b"{}," * 60 + b"{}]}", 413, "more than 50 keys and objects"),
        (json.dumps({str(i): 1 for i in range(51)}).encode(), 413, "more than 50 keys"),
        (json.dumps({"a": [""] * 200}).encode(), 413, "quotation marks"),
        (json.dumps({"a": [0] * 252}).encode(), 413, "more than 250 values"),
    ],
)
def test_what_is_not_a_request(body: bytes, status: int, message: str):
    with pytest.raises(BadRequest, match=message) as error:
        parse_strictly(body, Most(100, 50, 50))
    assert error.value.status == status


def test_brackets_are_counted_before_they_are_parsed():
    bodies = (
        b'{"a":[' + b"[]," * 300_000 + b"1]}",
        b'{"a":[' + b'"",' * 300_000 + b"1]}",
        b'{"a":[' + b"1," * 300_000 + b"1]}",
        b'{"a":' + b"[" * 1_000_000,
    )
    for body in bodies:
        tracemalloc.start()
        with pytest.raises(BadRequest, match="more than"):
            parse_strictly(body, Most(1000, 1000, 1000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * len(body) + 100_000


def test_a_deep_document_is_refused_by_its_depth():
    deep = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(BadRequest, match="depth limit"):
        parse_strictly(deep, Most(10, 1_000_000, 10))


# --- numbers


def test_nested_lists_are_read_in_row_major_order():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(number_table(x.tolist(), (2, 3, 4), "x"), x.ravel())


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3]],
        [[1, 2], 3],
        [[1, 2]],
        [[1, 2], [3, 4], [5, 6]],
        [[1, 2], [3, 4, 5]],
        [[1, 2], {"a": 1, "b": 2}],
        [[1, 2], "34"],
        None,
        {},
        5,
        [],
        [[], []],
    ],
)
def test_ragged_lists_are_refused(value: object):
    with pytest.raises(BadRequest, match=r"x must be lists of shape \[2, 2\]; got .* where a list of 2 belongs"):
        flat(value, (2, 2), "x")


@pytest.mark.parametrize("odd", [True, False, None, "0.5", [1], {}])
def test_what_is_no_number_is_refused_among_numbers(odd: object):
    with pytest.raises(BadRequest, match="numbers only; got"):
        doubles([0.5, 1, odd], "x")


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_beyond_the_exact_ones_are_refused(sign: int):
    assert doubles([sign * EXACT, 0.5], "x").tolist() == [sign * EXACT, 0.5]
    for large in (EXACT + 1, EXACT + 2, 2**63, 2**64 - 1, 1e300):
        with pytest.raises(BadRequest, match=r"between -2\^53 and 2\^53"):
            doubles([0.5, sign * large], "x")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2], "b": [3, 4]}',
        '{"a": "[1, 2]", "b": 1}',
        '{"a": "x[", "b": "]"}',
        '{"a": ["b", {"c": [1]}], "d": [true]}',
        '{"a": [[1, 2], [3]], "b": "\\\\\\"[", "c": [4, 5]}',
        '{"a": [], "b": ":,[1,2],{"}',
        '{"a": 1}',
    ],
)
def test_what_a_list_of_numbers_holds_changes_no_count(text: str):
    body = text.encode()
    for each in (body, body.replace(b" ", b"")):
        short = without_last_list(each).translate(None, NUMERIC)
        assert counts(without_strings(short), "[{:tf") == counts(without_strings(each), "[{:tf")
        assert short.count(b'"') == each.count(b'"')
        assert parse_strictly(each, MOST).booleans == ("true" in text)
