"""Replays: what a log comes to depends neither on where it is cut, nor on what is in memory, nor on a kill."""

import functools
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import orjson
import pytest
import torch

from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.links import Links
from gamekeeper.engine import replay_events, replay_run
from gamekeeper.engine.detection import transcript
from gamekeeper.engine.replay import Panel
from gamekeeper.engine.replay_client import MOMENTS, Record, last_verdicts
from gamekeeper.engine.replay_events import parts, passed
from gamekeeper.engine.replay_file import NAME
from gamekeeper.engine.replay_panel import bare_panel, calibration, panel
from gamekeeper.engine.replay_run import Job, run_replay
from gamekeeper.engine.scene import Scene, Setting, partial_scene
from gamekeeper.logs.event import Event, Position
from gamekeeper.logs.mapping import Mapping
from gamekeeper.replay_files import ALARMS, CLIENTS, HEADER, ReplayFiles
from gamekeeper.replay_rows import AlarmRow, ClientRow, ReplayHeader
from gamekeeper.targets.choice import Choice

DETECTORS = ("repeats", "prada:floor=0", "ood_share:score=mahalanobis", "mmd", "boundary")
MAPPING = Mapping.model_validate(
    {
        "client": "who",
        "time": {"field": "at", "format": "unix-s"},
        "input": {"field": "x", "kind": "base64"},
        "answer": {"field": "y"},
    }
)

FEW = ("noise", "steps a", "steps b")


@functools.cache
def demo() -> ModuleType:
    spec = spec_from_file_location("demo_log", Path(__file__).parents[2] / "examples" / "demo_log.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["demo_log"] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def mnist() -> Scene:
    return partial_scene(Setting(Choice("mnist"), DETECTORS, 0.1, looks=(20, 50)))


@functools.cache
def once() -> Panel:
    here = mnist()
    return panel(here, calibration(here, lambda doing: None).limits, {})


def armed() -> Panel:
    """With links that have seen nothing."""
    links = once().links
    assert links is not None
    return replace(once(), links=Links(links.onto, links.near, links.repeat, links.recipe))


@functools.cache
def clients() -> dict[str, Benign]:
    """Two honest clients, noise, letters, and two accounts of somebody who sends each letter from both, a step apart."""
    here = mnist()
    digits = here.unseen.rows(torch.randperm(2_000, generator=torch.Generator().manual_seed(0))[:180])
    letters = transcript("knockoff", 110, 0, here.setting, here)
    step = 0.1 * torch.randn((40, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    return {
        "honest": digits.rows(torch.arange(100)),
        "retries": digits.rows(torch.arange(100, 160).repeat_interleave(2)),
        "noise": Benign.of(here.target.victim, here.target.box.uniform(60, 0)),
        "letters": letters.rows(torch.arange(70)),
        "steps a": letters.rows(torch.arange(70, 110)),
        "steps b": Benign.of(here.target.victim, (letters.x[70:] + step).clamp(0, 1)),
    }


def lines(order: Iterable[tuple[str, int]], leave_out: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """Records of these queries, one a second."""
    records = []
    for at, (name, row) in enumerate(order):
        client = clients()[name]
        whole = orjson.loads(demo().line(float(at), name, client.x[row], client.clean.y[row]))
        record = {"at": whole["time"], "who": name, "x": whole["input"], "y": whole["answer"]}
        records.append({key: value for key, value in record.items() if key not in leave_out})
    return records


def in_turn(names: Sequence[str] = (), seed: int = 0) -> list[tuple[str, int]]:
    """The clients' queries, mixed, each client's in order."""
    senders = [name for name in names or clients() for _ in range(len(clients()[name]))]
    order = torch.randperm(len(senders), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = dict.fromkeys(senders, -1)
    turns = []
    for place in order:
        rows[senders[place]] += 1
        turns.append((senders[place], rows[senders[place]]))
    return turns


def written(folder: Path, records: Sequence[dict[str, object]]) -> Path:
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def job(log: Path, bare: bool = False, mapping: Mapping = MAPPING) -> Job:
    target = mnist().target
    return Job(
        log,
        mapping,
        "mine",
        None if bare else target.box,
        None if bare else 10,
        (),
        "" if bare else target.name,
        "" if bare else target.digest,
        0.1,
        1000,
    )


def quiet(name: str, done: int, whole: int) -> None:
    assert 0 <= done <= whole


def replayed(
    folder: Path, records: Sequence[dict[str, object]], watched: Panel | None = None, mapping: Mapping = MAPPING
) -> tuple[ReplayHeader, dict[str, ClientRow], list[AlarmRow]]:
    folder.mkdir(exist_ok=True)
    watched = watched or armed()
    header = run_replay(job(written(folder, records), watched.lookout is None, mapping), watched, folder, quiet)
    rows, alarms = ReplayFiles(folder).clients(), ReplayFiles(folder).alarms()
    assert not (folder / NAME).exists()
    return header, {row.client: row for row in rows}, alarms


def test_a_log_names_who_is_suspicious_first_and_says_why(tmp_path: Path):
    header, rows, alarms = replayed(tmp_path, lines(in_turn()))
    accused = {alarm.client for alarm in alarms if not alarm.members}
    assert {"noise", "letters"} <= accused
    assert "honest" not in accused
    assert set(list(rows)[: len(accused)]) == accused
    assert header.queries == sum(map(len, clients().values())) == sum(row.queries for row in rows.values())
    assert (header.clients, header.alarmed) == (6, len(accused))
    assert (header.first, header.last) == (0.0, header.queries - 1)
    assert rows["retries"].exact == 0.5
    assert rows["retries"].new == 60
    assert rows["steps a"].linked == ("steps b",)
    assert header.groups == (("steps a", "steps b"),)
    for row in rows.values():
        x = clients()[row.client].x.double()
        assert row.inputs["mean"] == pytest.approx(float(x.mean()))
        assert row.inputs["sd"] == pytest.approx(float(x.std(correction=0)))
        assert (row.inputs["low"], row.inputs["high"]) == (float(x.min()), float(x.max()))
        assert row.learnt is not None
        assert 1 <= len(row.history) <= MOMENTS
        assert [moment.query for moment in row.history] == sorted(moment.query for moment in row.history)
    assert (rows["honest"].learnt or 0) > (rows["noise"].learnt or 1)


def test_an_alarm_is_of_the_query_that_raised_it(tmp_path: Path):
    order = in_turn(["honest", "noise"])
    _, rows, alarms = replayed(tmp_path, lines(order))
    noise = [at for at, (name, _) in enumerate(order) if name == "noise"]
    for alarm in (alarm for alarm in alarms if alarm.client == "noise"):
        assert alarm.query in (20, 50)
        assert alarm.queries == alarm.query  # no query of theirs repeats another
        assert alarm.at == noise[alarm.query - 1]
        assert alarm.p <= alarm.alpha
        assert rows["noise"].alarmed[alarm.detector] == alarm.query
    assert len({alarm.id for alarm in alarms}) == len(alarms)


def test_linked_accounts_are_judged_as_one_client(tmp_path: Path):
    _, _, alarms = replayed(tmp_path / "two", lines(in_turn(["steps a", "steps b", "honest"])))
    together = [alarm for alarm in alarms if alarm.members]
    assert together
    assert all(alarm.members == ("steps a", "steps b") for alarm in together)
    order = in_turn(["steps a", "steps b", "honest"])
    records = [{**record, "who": str(record["who"]).removesuffix(" b").removesuffix(" a")} for record in lines(order)]
    _, one, _ = replayed(tmp_path / "one", records)
    assert {alarm.detector: alarm.query for alarm in together} == one["steps"].alarmed


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (CLIENTS, ALARMS, HEADER)}


class Killed(Exception):
    pass


HASHED = {"client": "who", "time": {"field": "at", "format": "unix-s"}, "input": {"field": "x", "kind": "hash"}}
CHILD = """
import sys
from pathlib import Path
from gamekeeper.engine.replay_panel import bare_panel
from gamekeeper.engine.replay_run import run_replay
from tests.engine.test_replay import hashed
folder = Path(sys.argv[1])
run_replay(hashed(folder.parent / "log.jsonl"), bare_panel(()), folder, lambda *_: print("part", flush=True), every=1)
"""


def hashed(log: Path) -> Job:
    return Job(log, Mapping.model_validate(HASHED), "mine", None, None, (), "", "", 0.1, 1_000)


@pytest.mark.slow
def test_a_process_that_is_killed_in_mid_run_comes_to_the_same_files(tmp_path: Path):
    """kill -9, with whatever the operating system and SQLite had written by then."""
    rows = range(60_000)
    log = written(tmp_path, [{"who": f"c{n * n % 307}", "at": n, "x": f"{n * n % 9_001:064x}"} for n in rows])
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", CHILD, str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(4)] == [b"part\n"] * 4
        child.kill()
    assert child.returncode != 0
    assert (tmp_path / "killed" / NAME).exists()
    assert not (tmp_path / "killed" / HEADER).exists()
    again: list[int] = []
    run_replay(hashed(log), bare_panel(()), tmp_path / "killed", lambda *_: again.append(1), every=1)
    assert len(again) < -(-len(rows) // replay_events.ROWS) - 1
    run_replay(hashed(log), bare_panel(()), tmp_path / "whole", quiet)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("after", [[3], [1, 4, 2]])
def test_a_replay_that_was_killed_comes_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: list[int]
):
    monkeypatch.setattr(replay_events, "ROWS", 20)
    log = written(tmp_path, [*lines(in_turn(FEW)), {"who": "nobody", "x": "!"}])
    (tmp_path / "whole").mkdir()
    run_replay(job(log), armed(), tmp_path / "whole", quiet, every=2)
    (tmp_path / "killed").mkdir()
    for parts_left in after:
        calls = iter(range(parts_left))

        def kill(name: str, done: int, whole: int, calls: Iterable[int] = calls) -> None:
            if next(iter(calls), None) is None:
                raise Killed

        with pytest.raises(Killed):
            run_replay(job(log), armed(), tmp_path / "killed", kill, every=2)
        assert (tmp_path / "killed" / NAME).exists()
        assert not (tmp_path / "killed" / HEADER).exists()
    run_replay(job(log), armed(), tmp_path / "killed", quiet, every=2)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert b"cannot be read" in files(tmp_path / "whole")[HEADER]


def test_what_lies_in_memory_and_what_in_the_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replay_events, "ROWS", 20)
    log = written(tmp_path, lines(in_turn(FEW)))
    for folder, most in ((tmp_path / "file", 1), (tmp_path / "memory", 100)):
        monkeypatch.setattr(replay_run, "MOST", most)
        folder.mkdir()
        run_replay(job(log), armed(), folder, quiet)
    assert files(tmp_path / "file") == files(tmp_path / "memory")


def test_where_a_log_is_cut_into_parts_changes_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = lines(in_turn(["noise", "steps a"]))
    _, whole, alarms = replayed(tmp_path / "whole", records)
    monkeypatch.setattr(replay_events, "ROWS", 3)
    _, single, again = replayed(tmp_path / "single", records)
    volatile = ("score", "per_hour", "exact", "near", "learnt", "inputs")
    plain = [[vars(alarm) | dict.fromkeys(volatile) for alarm in each] for each in (alarms, again)]
    assert plain[0] == plain[1]
    for name, row in whole.items():
        other = single[name]
        assert [(m.query, m.at) for m in row.history] == [(m.query, m.at) for m in other.history]
        for one, two in zip(row.history, other.history, strict=True):
            assert one.scores == pytest.approx(two.scores)
        for column in ("alarmed", "busiest", "per_hour", "exact", "near", "new"):
            assert getattr(row, column) == getattr(other, column)
        assert row.p == pytest.approx(other.p)


def test_other_clients_in_between_change_nothing(tmp_path: Path):
    _, mixed, _ = replayed(tmp_path / "mixed", lines(in_turn(["noise", "letters", "honest"], 1)))
    alone = [("letters", row) for row in range(len(clients()["letters"]))]
    _, single, _ = replayed(tmp_path / "alone", lines(alone))
    assert single["letters"].p == pytest.approx(mixed["letters"].p)
    assert single["letters"].alarmed == mixed["letters"].alarmed
    for one, two in zip(single["letters"].history, mixed["letters"].history, strict=True):
        assert one.scores == pytest.approx(two.scores)


def test_answers_that_are_missing_or_only_labels_are_the_targets_own(tmp_path: Path):
    order = in_turn(["noise", "honest"])
    _, logged, _ = replayed(tmp_path / "logged", lines(order))
    header, missing, _ = replayed(tmp_path / "missing", lines(order, ("y",)))
    labels = [
        {**record, "y": clients()[name].clean.y[row].argmax().item()}
        for record, (name, row) in zip(lines(order), order, strict=True)
    ]
    _, labelled, _ = replayed(tmp_path / "labels", labels)
    for rows in (missing, labelled):
        assert rows["noise"].alarmed == logged["noise"].alarmed
        assert rows["honest"].p == pytest.approx(logged["honest"].p)
    assert any("no answers" in note for note in header.notes)
    wrong = [{**record, "y": (torch.tensor(record["y"]).roll(1)).tolist()} for record in lines(order)]
    header, _, _ = replayed(tmp_path / "wrong", wrong)
    assert any("another class than the log" in note for note in header.notes)


def test_hashes_and_nothing_at_all_still_give_repeats_and_volume(tmp_path: Path):
    by_hash = Mapping.model_validate(
        {"client": "who", "time": {"field": "at", "format": "unix-s"}, "input": {"field": "h", "kind": "hash"}}
    )
    records: list[dict[str, object]] = [{"who": "a", "at": 60 * i, "h": f"{i // 2:08x}"} for i in range(10)]
    records += [dict[str, object](who="b", at=7_200) for _ in range(30)]
    header, rows, alarms = replayed(tmp_path, records, bare_panel(DETECTORS), by_hash)
    assert alarms == []
    assert (rows["a"].queries, rows["a"].exact, rows["a"].new, rows["a"].busiest) == (10, 0.5, 5, 10)
    assert rows["a"].per_hour == pytest.approx(10 / 0.15)
    assert (rows["b"].queries, rows["b"].exact, rows["b"].per_hour) == (30, None, None)
    assert list(rows) == ["b", "a"]
    assert "--target" in header.left_out["mmd"]
    assert "repeats" not in header.left_out
    assert any("no inputs" in note for note in header.notes)


def test_inputs_without_a_target_are_compared_exactly(tmp_path: Path):
    records = lines(in_turn(["retries"]))
    header, rows, _ = replayed(tmp_path, records, bare_panel(DETECTORS))
    assert (rows["retries"].exact, rows["retries"].new) == (0.5, 60)
    assert rows["retries"].inputs["high"] == 1.0
    assert set(header.left_out) == {*DETECTORS[1:], "learnt", "linked accounts"}


def test_hostile_names_stay_apart_and_are_written_down(tmp_path: Path):
    names = ["\x1b[2J", "a\nb", "", "‮x", "a" * 10_000, '{"client":1}', "ü"]
    records: list[dict[str, object]] = [{"who": name, "at": 1.0} for name in [*names, *["plain"] * 30]]
    log = written(tmp_path, records)
    with log.open("ab") as more:
        more.write(b'{"who": "\\ud800", "at": 1.0, "unused": NaN}\n')
    header = run_replay(job(log, bare=True), bare_panel(DETECTORS), tmp_path, quiet)
    rows = ReplayFiles(tmp_path).clients()
    assert header.clients == len({row.client for row in rows}) == 8
    assert {"\x1b[2J", "a\nb", "‮x"} <= {row.client for row in rows}


def test_a_part_ends_where_it_has_enough_rows_or_numbers(monkeypatch: pytest.MonkeyPatch):
    def event(n: int, width: int = 0) -> Event:
        return Event("a", math.nan, n, torch.zeros(n, width) if width else None, (), None, None, Position("f", 0, 1))

    monkeypatch.setattr(replay_events, "ROWS", 10)
    monkeypatch.setattr(replay_events, "VALUES", 100)
    assert [len(part) for part in parts([event(4)] * 7)] == [3, 3, 1]
    assert [len(part) for part in parts([event(1, 50)] * 5)] == [2, 2, 1]
    assert list(parts([])) == []


def test_no_answer_depends_on_what_shares_its_pass():
    victim, x = mnist().target.victim, mnist().unseen.x[:300]
    whole = passed(victim, x).y
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    assert torch.equal(passed(victim, x[order]).y, whole[order])
    assert torch.equal(passed(victim, x[7:8]).y, whole[7:8])


def test_a_history_is_short_and_even():
    record = Record()
    for n in [1, 7, 300, 1, 1_000, 64]:
        due = record.due(n)
        record.remember([record.queries + row + 1 for row in due], [0.0] * len(due), torch.zeros(len(due), 2))
        record.queries += n
    queries = record.moments[:, 0].tolist()
    assert MOMENTS // 2 <= len(queries) <= MOMENTS
    assert queries == [record.stride * (i + 1) for i in range(len(queries))]
    assert queries[-1] + record.stride > record.queries


def test_the_last_verdict_after_each_row():
    scores = {"a": torch.tensor([math.nan, 1.0, math.nan, 2.0]), "b": torch.tensor([5.0])}
    shown = {"a": torch.tensor([0, 2, 3, 6]), "b": torch.tensor([4])}
    before = torch.tensor([-1.0, math.nan], dtype=torch.float64)
    out = last_verdicts(scores, shown, [1, 2, 5, 6], before)
    assert out[:, 0].tolist() == [-1.0, 1.0, 1.0, 2.0]
    assert [math.isnan(value) for value in out[:, 1].tolist()] == [True, True, False, False]
