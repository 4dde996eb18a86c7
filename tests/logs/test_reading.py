"""Reading a log: every request is an event or is counted, and reading goes on exactly where it stopped."""

import gzip
import json
import math
import random
import tracemalloc
from pathlib import Path

import pytest
import torch

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Event, Position, position, shown
from gamekeeper.logs.reading import Reading, Tolerance, events
from gamekeeper.types import Box
from tests.logs.conftest import mapping

TIMES = {"field": "at", "format": "unix-s"}


def plain(event: Event) -> tuple[object, ...]:
    """What can be compared of an event."""
    tensors = [None if t is None else t.tolist() for t in (event.inputs, event.answers)]
    return (event.client, str(event.at), event.n, *tensors, event.hashes, event.size, event.position)


def test_an_event_says_what_the_line_says(log):
    path = log('{"who": 7, "at": 3, "x": [[0.5, 0.25], [0, 1]], "y": [[0.9, 0.1], [0.5, 0.5]], "bytes": "12"}')
    (event,) = events(path, mapping(time=TIMES, input={"field": "x"}, answer={"field": "y"}, size="bytes"), Box((2,)))
    assert (event.client, event.at, event.n, event.size) == ("7", 3.0, 2, 12)
    assert torch.equal(event.inputs, torch.tensor([[0.5, 0.25], [0.0, 1.0]]))
    assert torch.equal(event.answers, torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64))
    assert event.position == Position("a.jsonl", path.stat().st_size, 2)


def many(count: int, rng: random.Random) -> list[str]:
    """Lines of which some are long, some blank and one is broken."""
    lines = [json.dumps({"who": f"ü{i % 7}", "at": i, "noise": "x" * rng.randrange(200)}) for i in range(count)]
    return [*lines[:5], "", "{broken", *lines[5:]]


def as_csv(count: int, rng: random.Random) -> list[str]:
    rows = [f'ü{i % 7},{i},"{"x" * rng.randrange(50)}\n{i}"' for i in range(count)]
    return ["who,at,noise", *rows[:5], "", "broken", *rows[5:]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("lines", [many, as_csv])
def test_reading_goes_on_behind_any_event(tmp_path, packed, lines):
    for name in ("one", "two"):
        text = ("\n".join(lines(30, random.Random(name))) + "\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)
    seen = [plain(event) for event in events(tmp_path, mapping(time=TIMES))]
    assert len(seen) == 60
    assert len({row[-1] for row in seen}) == 60
    for place, row in enumerate(seen):
        since = position(str(row[-1]))
        assert [plain(event) for event in events(tmp_path, mapping(time=TIMES), since=since)] == seen[place + 1 :]


def test_reading_goes_on_in_a_file_that_has_grown(log):
    first, second = '{"who": "a"}', '{"who": "b"}'
    path = log(first)
    (event,) = events(path, mapping())
    log(first, second)
    assert [e.client for e in events(path, mapping(), since=event.position)] == ["b"]
    with pytest.raises(BadConfig, match=r"no file other\.jsonl"):
        events(path, mapping(), since=Position("other.jsonl", 0, 1))


@pytest.mark.parametrize("text", ["", "1:2:a", "1:-2:0:a", "1:2:0:", "x:2:0:a"])
def test_a_position_is_what_was_printed(text):
    assert position("12:3:0:a:b.jsonl") == Position("a:b.jsonl", 12, 3)
    with pytest.raises(BadConfig, match="reads like"):
        position(text)


def test_everything_skipped_is_counted_with_the_line_of_the_first(log):
    good = ['{"who": "a", "at": 1, "x": [1, 0]}'] * 40
    path = log(*good, "{", '{"at": 1}', '{"who": ["b"]}', '{"who": "c", "at": "noon"}', "{{", '{"who": "a"}')
    reading = events(path, mapping(time=TIMES, input={"field": "x"}), Box((2,)), tolerance=Tolerance(unreadable=0.2))
    assert sum(1 for _ in reading) == 41
    assert {kind: each.count for kind, each in reading.tally.skipped.items()} == {
        "a line that is not JSON": 2,
        "a record without a client": 2,
        "a time that cannot be read": 1,
    }
    text = "\n".join(reading.tally.sentences())
    assert "2 skipped: a line that is not JSON; the first is line 41 of a.jsonl" in text
    assert "1 of 41 requests have no time in the log." in text
    assert "41 of 41 requests have no answers in the log." in text


@pytest.mark.parametrize(("bad", "count"), [(11, 99), (1, 9), (200, 1800)])
def test_more_than_a_tenth_unreadable_is_an_error_and_a_tenth_is_not(log, bad, count):
    good, broken = ['{"who": "a"}'] * count, ["{"] * bad
    assert len(list(events(log(*good, *broken), mapping()))) == count
    with pytest.raises(BadConfig, match=rf"{bad + 1} of {bad + count + 1:,} records .* not JSON \(line {count + 1} "):
        list(events(log(*good, *broken, "{"), mapping()))


def test_reading_stops_early_when_the_mapping_is_wrong(log):
    reading = events(
        log(*['{"who": "a", "status": 404}', '{"name": "a", "status": 200}'] * 5000), mapping(filter={"status": 200})
    )
    with pytest.raises(BadConfig, match="without a client"):
        list(reading)
    assert reading.tally.filtered <= 1001
    assert reading.progress[0] < reading.progress[1]


def test_the_few_lines_behind_a_position_are_not_judged(log):
    path = log(*['{"who": "a"}'] * 50, "{", '{"who": "b"}')
    *_, before, _ = (event.position for event in events(path, mapping()))
    assert [event.client for event in events(path, mapping(), since=before)] == ["b"]


def test_a_last_line_that_is_still_being_written_is_not_held_against_the_log(log):
    reading = events(log(b'{"who": "a"}\n{"who": "b'), mapping())
    assert [event.client for event in reading] == ["a"]
    assert (
        reading.tally.sentences()[0]
        == "Files that end inside a line, which was not read: 1; the first is line 2 of a.jsonl."
    )


def test_of_a_truncated_gzip_log_the_beginning_is_read_and_that_is_said(log):
    noise = random.Random(0)
    lines = b"".join(b'{"who": "%d"}\n' % noise.getrandbits(64) for _ in range(5000))
    reading = events(log(gzip.compress(lines)[:-4000]), mapping())
    count = sum(1 for _ in reading)
    assert 3000 < count < 5000
    assert any("a.jsonl is damaged or cut off" in sentence for sentence in reading.tally.sentences())


def test_a_line_of_100_mb_is_refused_by_its_number_in_bounded_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"who": "a"}\n' * 20 + b'{"who": "')
        for _ in range(100):
            file.write(b"a" * 2**20)
        file.write(b'"}\n{"who": "b"}\n')
    tracemalloc.start()
    reading = events(path, mapping())
    assert [event.client for event in reading][-1] == "b"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (skipped,) = reading.tally.skipped.values()
    assert skipped.example.startswith("line 21 of a.jsonl: it has 104,857,")
    assert peak < 64 * 2**20
    assert reading.progress == (path.stat().st_size,) * 2


def test_clients_cost_no_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"who": "client {i}", "at": {i}}}\n' for i in range(1500)))
    peaks: list[int] = []
    tracemalloc.start()
    for place, _ in enumerate(events(path, mapping(time=TIMES)), 1):
        if place % 500 == 0:
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[-1] - peaks[0] < 20_000  # ten bytes for each of the clients in between


def test_progress_reaches_the_end(log):
    path = log(*['{"who": "a"}'] * 1000)
    reading = events(path, mapping())
    seen = [reading.progress[0] for _ in reading]
    assert seen == sorted(seen)
    assert reading.progress == (path.stat().st_size, path.stat().st_size)


def test_filters_compare_text_and_know_a_star(log):
    lines = [
        '{"who": "a", "s": 200, "r": "POST /v2"}',
        '{"who": "b", "s": "200", "r": "GET /"}',
        '{"who": "c", "r": "POST /"}',
    ]
    path = log(*lines * 5)
    assert {e.client for e in events(path, mapping(filter={"s": "*"}))} == {"a", "b"}
    assert {e.client for e in events(path, mapping(filter={"s": [200, 201]}))} == {"a", "b"}
    assert {e.client for e in events(path, mapping(filter={"r": "POST *"}))} == {"a", "c"}


def test_mixed_zones_are_one_time(log):
    texts = ["2024-02-01T12:00:00Z", "2024-02-01T13:00:01+01:00", "2024-02-01T12:00:02", "2024-02-01T06:30:03-05:30"]
    reading = events(log(*[json.dumps({"who": "a", "at": text}) for text in texts]), mapping(time={"field": "at"}))
    assert [event.at - 1706788800 for event in reading] == [0, 1, 2, 3]
    assert reading.tally.sentences()[-1] == "Times without a zone were taken as UTC."


def test_names_are_shown_on_one_line_and_stay_different():
    names = ["a", "a\n", "a\\n", "a\x1b[31m", "a\u202eb", "a\0", "a\ud800", "é", "a b", "\u00a0"]
    assert len({shown(name) for name in names}) == len(names)
    assert all(shown(name).isprintable() for name in names)
    assert shown("a\x1b[31m") == "a\\x1b[31m"
    assert shown("a" * 100) == "a" * 80 + "…"


def test_long_names_are_shortened_but_stay_different(log):
    path = log(json.dumps({"who": "a" * 5000}), json.dumps({"who": "a" * 5001}), json.dumps({"who": "a" * 256}))
    first, second, third = (event.client for event in events(path, mapping()))
    assert first != second
    assert max(map(len, (first, second, third))) <= 256
    assert third == "a" * 256


def test_a_log_of_nothing_has_no_events(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "blank").write_text("\n\n")
    assert list(events(tmp_path, mapping())) == []


def test_an_abandoned_reading_closes_its_file(log):
    reading: Reading = events(log(*['{"who": "a"}'] * 100), mapping())
    for _ in reading:
        break
    assert reading._file is not None
    assert reading._file.raw.closed


def test_a_record_without_inputs_counts_as_many_as_it_says(log):
    path = log('{"who": "a", "rows": 5}', '{"who": "a", "rows": "x"}', '{"who": "a"}')
    assert [event.n for event in events(path, mapping(count="rows"))] == [5, 1, 1]
    assert all(math.isnan(event.at) for event in events(path, mapping()))


def test_a_folder_mixes_formats_and_packing(tmp_path: Path):
    (tmp_path / "1.csv").write_text("who,at\nann,1\n")
    (tmp_path / "2.jsonl").write_bytes(gzip.compress(b'{"who": "bob", "at": 2}\n'))
    assert [(e.client, e.at) for e in events(tmp_path, mapping(time=TIMES))] == [("ann", 1.0), ("bob", 2.0)]
