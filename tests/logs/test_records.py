"""Records: rows of CSV as `csv` reads a whole file, and a quote that is not closed costs one line."""

import csv
import io
from pathlib import Path

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import Record, Unreadable
from gamekeeper.logs.lines import opened
from gamekeeper.logs.records import combined_fields, records

TABLE = [["who", "text"], ["ann", 'a "quoted"\nvalue, on\n\nfour lines'], ["", ""], ["bob", "ü,;"], ["eve", "\n"]]


def read(path: Path, kind: str, offset: int = 0, line: int = 1, limit: int = 2**20) -> list[Record | Unreadable]:
    with opened(path) as file:
        return list(records(file, kind, offset, line, limit))


def written(rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def test_rows_of_csv_over_several_lines_are_as_the_csv_module_reads_them(log):
    path = log(b"\xef\xbb\xbf" + written(TABLE))
    found = read(path, "csv")
    assert [list(record.fields.values()) for record in found] == TABLE[1:]
    assert [record.line for record in found] == [2, 6, 7, 8]
    for place, record in enumerate(found):
        assert read(path, "csv", record.next.offset, record.next.line) == found[place + 1 :]


def test_behind_a_quote_that_is_never_closed_nothing_is_taken_for_a_row(log):
    found = read(log("who,text", "ann,1", 'bob,"open', "eve,1", "", "dan,3"), "csv")
    assert found[0].fields["who"] == "ann"
    (rest,) = found[1:]
    assert isinstance(rest, Unreadable)
    assert (rest.kind, rest.line, rest.count) == ("a quote that is not closed", 3, 4)
    assert "3 lines, was not read" in rest.detail


@pytest.mark.parametrize("inside", ["\n".join(["root,1"] * 50), "x" * 150 + "\nroot,1\n", 'x""' * 50 + "\nroot,1\n"])
def test_a_row_that_is_too_long_is_passed_over_whole_whatever_its_text_looks_like(log, inside):
    path = log("who,text", "ann,1", f'eve,"{inside}"', "bob,2")
    found = read(path, "csv", limit=100)
    assert [each.fields["who"] for each in found if isinstance(each, Record)] == ["ann", "bob"]
    (skipped,) = (each for each in found if isinstance(each, Unreadable))
    assert (skipped.kind, skipped.line) == ("a line that is too long", 3)
    assert [each.fields["who"] for each in read(path, "csv", found[1].next.offset, found[1].next.line, limit=100)] == [
        "bob"
    ]


def test_rows_with_too_few_or_too_many_values_are_named(log):
    found = read(log("who,text", "ann", "bob,1,2", "eve,1"), "csv")
    assert [each.line for each in found if isinstance(each, Unreadable)] == [2, 3]
    assert "1 values for 2 columns" in found[0].detail


@pytest.mark.parametrize("head", ["who,who", "who,", '"who', "1"])
def test_csv_needs_names(log, head):
    if head == "1":
        assert read(log("1", "2"), "csv")[0].fields == {"1": "2"}
        return
    with pytest.raises(BadConfig, match="different name for each column"):
        read(log(head, "a,b"), "csv")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"who": "a"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"x": NaN, "y": ' + b"[" * 100_000, "too deeply nested"),
        (b'{"who": "a\0b"}', "NUL bytes"),
        (b"7", "int"),
        (b'[{"who": "a"}]', "jq"),
        (b'{"who": "\xff"}', "not JSON"),
        (b"\x1b[31m{", "x1b"),
    ],
)
def test_what_is_wrong_with_a_line_is_one_clean_sentence(log, line, words):
    (found,) = read(log(line + b"\n"), "jsonl")
    sentence = f"{found.kind}: {found.detail}"
    assert words in sentence
    assert sentence.isprintable()
    assert len(sentence) < 300


def test_the_last_of_two_equal_keys_counts_and_nan_is_read(log):
    (found,) = read(log('{"who": "a", "who": "b", "x": NaN, "y": -Infinity}'), "jsonl")
    assert found.fields["who"] == "b"
    assert str(found.fields["x"]), str(found.fields["y"]) == ("nan", "-inf")


def test_a_name_cannot_pretend_to_be_the_rest_of_the_line():
    user = r"bob [01/Jan/2001:00:00:00 +0000] \x22GET / HTTP/1.1\x22 200 1"
    fields = combined_fields(f'10.0.0.1 - {user} [29/Nov/2026:09:09:09 +0000] "GET /x HTTP/1.1" 401 5 "-" "-"'.encode())
    assert (fields["status"], fields["request"]) == ("401", "GET /x HTTP/1.1")
    assert fields["remote_user"] == 'bob [01/Jan/2001:00:00:00 +0000] "GET / HTTP/1.1" 200 1'
