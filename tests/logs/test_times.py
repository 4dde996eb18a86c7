"""Times: every spelling of one moment is one number."""

import math

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Unusable
from gamekeeper.logs.times import Clock, time_format

MOMENT = 1706790896.25  # 2024-02-01 12:34:56.25 UTC


@pytest.mark.parametrize(
    ("value", "pattern", "naive"),
    [
        (1706790896.25, "unix-s", False),
        ("1706790896.25", "unix-s", False),
        (1706790896250, "unix-ms", False),
        (1706790896250000, "unix-us", False),
        (1706790896250000000, "unix-ns", False),
        ("1706790896250000000", "unix-ns", False),
        ("2024-02-01T12:34:56.25Z", "iso8601", False),
        ("2024-02-01T12:34:56.250000000Z", "iso8601", False),  # Go's nanoseconds
        ("2024-02-01 12:34:56.25+00:00", "iso8601", False),
        ("2024-02-01T13:34:56.25+01:00", "iso8601", False),
        ("2024-01-31T23:04:56.25-1330", "iso8601", False),
        ("2024-02-01T12:34:56.25", "iso8601", True),
        ("01/Feb/2024:18:04:56.25 +0530", "%d/%b/%Y:%H:%M:%S.%f %z", False),
        ("2024/02/01 12.34.56,25", "%Y/%m/%d %H.%M.%S,%f", True),
    ],
)
def test_every_spelling_of_one_moment_is_one_number(value, pattern, naive):
    clock = Clock(tolerance=0.0)
    assert clock.seconds(value, time_format(pattern)) == MOMENT
    assert clock.naive == naive
    assert clock.sentences() == (["Times without a zone were taken as UTC."] if naive else [])


@pytest.mark.parametrize(
    ("value", "pattern", "words"),
    [
        (1706790896250, "unix-s", "is it unix-ms"),
        (1706790896250000000, "unix-ms", "is it unix-ns"),
        (True, "unix-s", "not a number"),
        ("nan", "unix-s", "between"),
        ("1e999", "unix-s", "between"),
        (10**400, "unix-s", "not a number"),
        ("yesterday\x1b[0m", "iso8601", "x1b"),
        ("2024-02-30T00:00:00Z", "iso8601", "day"),
        ("9999-12-31T23:59:59Z", "iso8601", "between"),
    ],
)
def test_what_is_no_time_is_named(value, pattern, words):
    with pytest.raises(Unusable, match=words):
        Clock(tolerance=0.0).seconds(value, pattern)


def test_a_clock_that_goes_back_is_counted_up_to_the_tolerance():
    clock = Clock(tolerance=10.0)
    for at in [0.0, 20.0, 12.0, math.nan, 11.0, 25.0]:
        clock.notice(at, "a", 1)
    assert (clock.back, clock.furthest, clock.overlaps) == (2, 9.0, 0)
    with pytest.raises(BadConfig, match="line 7 of a: the time lies 11 s before"):
        clock.notice(14.0, "a", 7)
    clock.notice(-1000.0, "b", 1)  # another file may begin before this one ends; that is said
    clock.notice(-999.0, "b", 2)
    assert (clock.back, clock.overlaps) == (3, 1)


def test_a_format_is_one_of_those_there_are():
    with pytest.raises(ValueError, match="unix-s, unix-ms"):
        time_format("epoch")
