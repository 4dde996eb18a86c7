"""Joining: whatever the order of the lines, every request comes once, in order, with its answer."""

import json
import random

import pytest

from gamekeeper.logs import joining
from gamekeeper.logs.event import Position
from gamekeeper.logs.reading import events
from tests.logs.conftest import mapping

JOIN = {"id": "id", "kind": "kind", "request": "q", "response": "r"}
MAPPING = mapping(
    client="request.who",
    time={"field": "request.at", "format": "unix-s"},
    answer={"field": "response.y", "classes": 100},
    join=JOIN,
)


def request(number: int) -> dict[str, object]:
    return {"id": number, "kind": "q", "who": f"client {number}", "at": number}


def response(number: int) -> dict[str, object]:
    return {"id": number, "kind": "r", "y": number % 100}


def shuffled(count: int, reach: int, seed: int, lost: float = 0.0) -> list[str]:
    """Requests in order, answers up to `reach` lines before or behind theirs, some of them lost."""
    rng = random.Random(seed)
    lines = [(4.0 * i, request(i)) for i in range(count)]
    lines += [(4.0 * i + rng.uniform(-reach, reach), response(i)) for i in range(count) if rng.random() >= lost]
    return [json.dumps(line) for _, line in sorted(lines, key=lambda pair: pair[0])]


def seen(path, since: Position | None = None) -> list[tuple[object, ...]]:
    reading = events(path, MAPPING, since=since)
    return [
        (event.client, event.at, None if event.answers is None else int(event.answers.argmax()), event.position)
        for event in reading
    ]


@pytest.mark.parametrize("reach", [1, 10, 40])
def test_requests_come_in_order_each_with_its_answer(log, reach):
    rows = seen(log(*shuffled(60, reach, seed=reach)))
    assert [row[:3] for row in rows] == [(f"client {i}", float(i), i % 100) for i in range(60)]


@pytest.mark.parametrize("lost", [0.0, 0.2])
@pytest.mark.parametrize("reach", [1, 30])
def test_reading_goes_on_behind_any_joined_event(log, monkeypatch, reach, lost):
    monkeypatch.setattr(joining, "WINDOW", 30)
    path = log(*shuffled(40, reach, seed=7, lost=lost))
    rows = seen(path)
    assert [row[0] for row in rows] == [f"client {i}" for i in range(40)]
    assert lost or all(row[2] is not None for row in rows)
    for place, row in enumerate(rows):
        rest = seen(path, since=row[-1])
        assert [each[:3] for each in rest] == [each[:3] for each in rows[place + 1 :]]


def test_files_of_a_folder_are_joined_over_their_ends_and_reading_goes_on_between_them(tmp_path):
    """Every line a file, as KServe writes them to blob storage."""
    lines = shuffled(12, 8, seed=1)
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.json").write_text(line + "\n")
    rows = seen(tmp_path)
    assert [row[:3] for row in rows] == [(f"client {i}", float(i), i) for i in range(12)]
    for place, row in enumerate(rows):
        assert [each[:3] for each in seen(tmp_path, since=row[-1])] == [each[:3] for each in rows[place + 1 :]]


def test_a_request_without_an_answer_holds_up_the_others_only_for_a_while(log, monkeypatch):
    monkeypatch.setattr(joining, "WINDOW", 10)
    lines = [json.dumps(each) for i in range(30) for each in (request(i), response(i)) if (i, each["kind"]) != (3, "r")]
    path = log(*lines)
    reading = iter(events(path, MAPPING))
    assert [next(reading).at for _ in range(4)] == [0, 1, 2, 3]
    rows = seen(path)
    assert [row[2] for row in rows] == [i if i != 3 else None for i in range(30)]


def test_what_finds_no_other_half_is_counted(log, monkeypatch):
    monkeypatch.setattr(joining, "WINDOW", 4)
    lines = [request(0), *[response(i) for i in range(100, 110)], request(1), response(1), response(0)]
    reading = events(log(*map(json.dumps, lines)), MAPPING)
    assert [event.answers is None for event in reading] == [True, False]
    assert reading.tally.sentences()[-2:] == [
        "1 requests have no answer in the log.",
        "11 answers have no request in the log.",
    ]
    state = reading.tally.joining
    assert state is not None
    assert not state.queue
    assert not state.early
    assert not state.waiting
    assert not state.orphans


def test_an_id_that_is_used_again_takes_the_answers_in_turn(log):
    lines = [request(5), response(5), {**request(5), "at": 9}, {**response(5), "y": 7}]
    assert [row[1:3] for row in seen(log(*map(json.dumps, lines)))] == [(5.0, 5), (9.0, 7)]


def test_a_line_of_another_kind_is_named(log):
    lines = [json.dumps(each) for i in range(20) for each in (request(i), response(i))]
    reading = events(log(*lines, '{"kind": "explain", "id": 1}'), MAPPING)
    assert sum(1 for _ in reading) == 20
    (skipped,) = reading.tally.skipped.items()
    assert skipped[0] == "a line that is neither a request nor an answer"
    assert skipped[1].example == "line 41 of a.jsonl: its kind is explain"
