"""Alarms are listed, decided about once and for good on paper, and given to a SIEM."""

import json
from dataclasses import replace

import pytest

from gamekeeper.replay_files import ReplayFiles, dismissed
from gamekeeper.surfaces.cli import guarded
from gamekeeper.surfaces.ocsf import finding
from gamekeeper.surfaces.review import shortened
from tests.surfaces import replayed

MINE = ("--by", "ann", "--why", "our own load test")


@pytest.fixture
def folder(tmp_path):
    ReplayFiles(tmp_path / "replay").write(replayed.header(), replayed.clients(), replayed.alarms())
    return str(tmp_path / "replay")


def test_a_dismissal_is_written_down_and_its_client_is_honest_to_the_next_calibration(folder, tmp_path, capsys):
    assert guarded(["review", folder]) == 0
    listed = capsys.readouterr().out
    assert "4 of 4 alarms are open." in listed
    assert "\x1b" not in listed  # the name of a client is not a command to the terminal
    assert guarded(["review", folder, "d4c3", "--dismiss", *MINE]) == 0
    said = capsys.readouterr().out
    assert "dismissed: alarm d4c3 of load-test." in said
    assert "3 of 4 alarms are open." in said
    files = ReplayFiles(tmp_path / "replay")
    row = files.reviews()[0]
    assert (row.alarm, row.client, row.decision, row.by, row.reason) == (
        "d4c3",
        "load-test",
        "dismissed",
        "ann",
        MINE[3],
    )
    assert dismissed(files.folder) == {"load-test"}
    assert "our own load test" in (files.folder / "replay.html").read_text()
    assert guarded(["review", folder]) == 0
    assert "d4c3" not in capsys.readouterr().out


def test_the_last_decision_counts_and_the_first_stays_on_paper(folder, tmp_path):
    assert guarded(["review", folder, "d4c3", "--dismiss", *MINE]) == 0
    before = (tmp_path / "replay/reviews.jsonl").read_bytes()
    assert guarded(["review", folder, "d4", "--confirm", *MINE]) == 0  # the beginning of an id will do
    assert (tmp_path / "replay/reviews.jsonl").read_bytes().startswith(before)
    assert dismissed(tmp_path / "replay") == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d4c3", *MINE], "got neither"),
        (["d4c3", "--confirm", "--dismiss", *MINE], "got both"),
        (["d4c3", "--confirm", "--by", "ann"], "needs --by, who decided, and --why"),
        (["--confirm", *MINE], "needs the id of an alarm, or --client"),
        (["b2e1", "--client", "mallory", "--confirm", *MINE], "needs the id of an alarm, or --client"),
        (["--client", "ann", "--confirm", *MINE], "client 'ann' has no open alarm"),
        (["zz", "--confirm", *MINE], "there is no alarm 'zz'"),
        (["", "--confirm", *MINE], "there is no alarm ''"),
    ],
)
def test_half_a_decision_is_none(folder, tmp_path, capsys, arguments, message):
    assert guarded(["review", folder, *arguments]) == 4
    assert message in capsys.readouterr().err
    assert not (tmp_path / "replay/reviews.jsonl").exists()


def test_alarms_are_lines_of_json_with_their_decision(folder, capsys):
    guarded(["review", folder, "d4c3", "--dismiss", *MINE])
    capsys.readouterr()
    assert guarded(["alarms", folder]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["a1f0", "b2e1", "c3d2", "d4c3"]
    assert rows[0]["client"] == replayed.EVIL  # JSON holds the name as it is
    assert (rows[0]["review"], rows[3]["review"]["decision"]) == (None, "dismissed")
    assert guarded(["alarms", folder, "--format", "xml"]) == 4


def test_findings_have_what_the_schema_requires_of_them(folder, capsys):
    guarded(["review", folder, "d4c3", "--dismiss", *MINE])
    guarded(["review", folder, "b2e1", "--confirm", *MINE])
    capsys.readouterr()
    assert guarded(["alarms", folder, "--format", "ocsf"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for event in events:
        assert (event["class_uid"], event["category_uid"], event["metadata"]["version"]) == (2004, 2, "1.3.0")
        assert event["type_uid"] == 200_400 + event["activity_id"]
        assert isinstance(event["time"], int)
        assert event["severity_id"] == 3
        assert event["metadata"]["product"]["vendor_name"]
        assert event["finding_info"]["uid"]
        assert event["evidences"][0]["actor"]["user"]["name"]
    assert [(e["activity_id"], e["status_id"]) for e in events] == [(1, 1), (2, 99), (1, 1), (3, 3)]
    # OWASP AISVS C11.5.2: principal, volume, statistics of the inputs
    evidence = events[1]["evidences"][0]
    assert evidence["actor"]["user"]["name"] == "mallory"
    assert (evidence["data"]["queries"], evidence["data"]["inputs"]["mean"]) == (53, 0.131)
    assert events[1]["start_time"] == round(1_000 * (replayed.START + 40 * 53))
    assert events[0]["time"] == 1_795_910_400_000  # 2026-11-29 in UTC


def test_what_the_log_does_not_know_is_not_in_the_finding():
    alarm = replace(replayed.alarms()[0], at=None, learnt=None, per_hour=None)
    event = finding(alarm, replayed.header(date="2026-11-29T01:00:00+01:00"), None)
    assert "start_time" not in event
    assert "learnt" not in event["evidences"][0]["data"]
    assert event["time"] == 1_795_910_400_000


def test_all_open_alarms_of_a_client_can_be_decided_about_at_once(folder, tmp_path, capsys):
    files = ReplayFiles(tmp_path / "replay")
    files.write(replayed.header(), replayed.clients(), [*replayed.alarms(), replayed.together()])
    assert guarded(["review", folder, "b2e1", "--confirm", *MINE]) == 0
    assert guarded(["review", folder, "--client", "mallory", "--dismiss", *MINE]) == 0
    assert [(row.alarm, row.decision) for row in files.reviews()] == [("b2e1", "confirmed"), ("c3d2", "dismissed")]
    assert "3 of 5 alarms are open." in capsys.readouterr().out  # one of them of two accounts together


def test_shown_ids_tell_alarms_apart():
    assert shortened(["abcdefgh", "abcdefzz", "b"]) == {"abcdefgh": "abcdefg", "abcdefzz": "abcdefz", "b": "b"}
    assert shortened(["same", "same"]) == {"same": "same"}
