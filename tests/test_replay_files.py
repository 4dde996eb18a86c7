"""The folder of a replayed log: what is written comes back, and decisions are only ever added."""

import dataclasses

import orjson
import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.replay_files import ReplayFiles, dismissed
from gamekeeper.replay_rows import AlarmRow, ClientRow, Moment, ReplayHeader, Review

HEADER = ReplayHeader(
    "0", "2026-11-29", "access.jsonl", "plain", "mnist", "ab12", 2, 900, 1, 0.001,
    first=1.0, ran={"mmd": "streams"}, left_out={"prada": "no inputs"}, notes=("2 lines skipped",), groups=(("a", "b"),),
)  # fmt: skip
CLIENT = ClientRow(
    "mal\x1b[31mlory", 600, 590, 0.0, 3600.0, 600.0, 500, 0.01, 0.02, {"mmd": 0.001}, {"mmd": 50}, 0.7, ("eve",),
    {"mean": 0.4}, (Moment(20, 1.0, {"mmd": 0.3}), Moment(50, None, {"mmd": 9.1})),
)  # fmt: skip
ALARM = AlarmRow("00ff", CLIENT.client, "mmd", 50, 0.0002, 9.1, 0.001, "streams", 51, 2.0, inputs={"mean": 0.4})
REVIEW = Review("00ff", CLIENT.client, "dismissed", "ann", "our own load test", 5.0)


def test_what_is_written_comes_back(tmp_path):
    files = ReplayFiles(tmp_path / "replay")
    files.write(HEADER, [CLIENT], [ALARM])
    assert files.header() == HEADER
    assert files.clients() == [CLIENT]
    assert files.alarms() == [ALARM]
    assert files.reviews() == []


def test_reviews_outlive_a_second_replay_and_a_line_cut_short(tmp_path):
    files = ReplayFiles(tmp_path)
    files.write(HEADER, [CLIENT], [ALARM])
    files.add(REVIEW)
    with files.review_lines.path.open("ab") as file:
        file.write(b'{"alarm":"torn')
    later = dataclasses.replace(REVIEW, decision="confirmed", at=6.0)
    files.add(later)
    files.write(HEADER, [], [])
    assert files.reviews() == [REVIEW, later]
    assert files.alarms() == []


def test_keys_of_a_later_version_are_ignored(tmp_path):
    files = ReplayFiles(tmp_path)
    files.write(HEADER, [CLIENT], [ALARM])
    for path in (tmp_path / "replay.json", tmp_path / "clients.jsonl", tmp_path / "alarms.jsonl"):
        path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"later": 1}) + b"\n")
    assert (files.header(), files.clients(), files.alarms()) == (HEADER, [CLIENT], [ALARM])


def test_a_folder_without_a_replay_says_what_to_give(tmp_path):
    with pytest.raises(BadConfig, match="Give the folder that `gamekeeper replay` wrote"):
        ReplayFiles(tmp_path).header()
    (tmp_path / "replay.json").write_bytes(b'{"version": "0"}')
    with pytest.raises(BadConfig, match="not the complete header"):
        ReplayFiles(tmp_path).header()


def test_only_clients_all_of_whose_alarms_were_dismissed_count_as_honest(tmp_path):
    files = ReplayFiles(tmp_path)
    alarms = [dataclasses.replace(ALARM, id=f"{i}", client=client) for i, client in enumerate("aabbcd")]
    files.write(HEADER, [], alarms)
    for alarm, decision in (("0", "dismissed"), ("1", "dismissed"), ("2", "dismissed"), ("4", "dismissed"), ("4", "confirmed"),
                            ("5", "confirmed"), ("5", "dismissed")):  # fmt: skip
        files.add(dataclasses.replace(REVIEW, alarm=alarm, decision=decision))
    assert dismissed(tmp_path) == {"a", "d"}  # b has an open alarm; the last word about c is confirmed


def test_a_decision_about_linked_accounts_is_about_all_of_them(tmp_path):
    files = ReplayFiles(tmp_path)
    group = dataclasses.replace(ALARM, id="g", client="a", members=("a", "b"))
    files.write(HEADER, [], [group, dataclasses.replace(ALARM, id="1", client="c")])
    files.add(dataclasses.replace(REVIEW, alarm="g", client="a"))
    files.add(dataclasses.replace(REVIEW, alarm="1", client="c"))
    assert files.alarms()[0] == group
    assert dismissed(tmp_path) == {"a", "b", "c"}
    files.add(dataclasses.replace(REVIEW, alarm="g", client="a", decision="confirmed"))
    assert dismissed(tmp_path) == {"c"}
