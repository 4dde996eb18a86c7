"""Rows of a log that a replay gets through in a second of CPU time: 20 clients with 1,000 queries each, one a row, in turn.
No two queries are the same.

Everything is counted: reading the file, what is remembered of clients, commits, and the files at the end; not arming the
detectors. One thread. Four logs of the built-in mnist model:

    volume     neither inputs nor answers
    hashes     a hash of each input: exact repeats
    no pass    inputs (in base64) and answers: repeats exact and near, and PRADA; nothing that needs the model's features
    detectors  the same, shown to all default detectors, to the meter of what clients have learnt, and to the search for linked
               accounts. Features take a pass of the model over every input, which is part of it
"""

import base64
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import orjson
import torch

from gamekeeper.data import batteries
from gamekeeper.engine.replay import Panel
from gamekeeper.engine.replay_panel import bare_panel, calibration, panel
from gamekeeper.engine.replay_run import Job, run_replay
from gamekeeper.engine.scene import Setting, partial_scene
from gamekeeper.logs.mapping import Mapping
from gamekeeper.method_text import DETECTORS
from gamekeeper.targets.choice import Choice

CLIENTS, QUERIES, AIM = 20, 1_000, 5_000
COLUMNS = {"client": "who", "time": {"field": "at", "format": "unix-s"}}
INPUT = {"field": "x", "kind": "base64"}


def panels() -> dict[str, Panel]:
    setting = Setting(Choice("mnist"), tuple(DETECTORS), 0.2)
    here = partial_scene(setting)
    everything = panel(here, calibration(here, lambda doing: None).limits, {})
    few = partial_scene(replace(setting, detectors=("repeats", "prada:floor=0")))
    plain = panel(few, {"prada:floor=0": everything.limits["prada:floor=0"]}, {})
    assert plain.lookout is not None
    victim = partial_scene(replace(setting, detectors=("repeats",))).target.victim
    without = replace(plain, lookout=replace(plain.lookout, victim=victim), learnt=None, links=None)
    bare = bare_panel(())
    return {"volume": bare, "hashes": bare, "no pass": without, "detectors": everything}


def write(path: Path, what: str) -> None:
    x = torch.cat([batteries.load(name).x for name in ("mnist-natural", "mnist-train", "mnist-test", "letters")])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: CLIENTS * QUERIES]]
    raw = [base64.b64encode(each.numpy().tobytes()).decode() for each in x]
    answers = Choice("mnist").load().victim(x).y.tolist()
    with path.open("wb") as log:
        for row in range(CLIENTS * QUERIES):
            record: dict[str, object] = {"who": f"client {row % CLIENTS}", "at": row / 10}
            if what == "hashes":
                record["x"] = f"{row:064x}"
            elif what != "volume":
                record |= {"x": raw[row], "y": answers[row]}
            log.write(orjson.dumps(record) + b"\n")


def rate(what: str, watched: Panel) -> int:
    """Rows in a second of CPU time."""
    table = {"hashes": INPUT | {"kind": "hash"}, "volume": None}.get(what, INPUT)
    mapping = Mapping.model_validate({**COLUMNS, "input": table, "answer": {"field": "y"}})
    target = Choice("mnist").load()
    domain, classes = (None, None) if watched.lookout is None else (target.box, 10)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        write(log, what)
        job = Job(log, mapping, "", domain, classes, (), "", "", 0.2, 1_000)
        start = time.process_time()
        header = run_replay(job, watched, Path(folder), lambda name, done, whole: None)
        seconds = time.process_time() - start
    assert header.queries == CLIENTS * QUERIES
    return round(header.queries / seconds)


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    return {
        "clients": CLIENTS,
        "queries": QUERIES,
        "aim": AIM,
        "rows_per_second": {what: rate(what, watched) for what, watched in panels().items()},
    }


def show(result: dict[str, object]) -> None:
    print(
        "A replay of {clients} clients with {queries:,} queries each, in rows per second of CPU time:".format(**result)
    )
    for what, rows in result["rows_per_second"].items():  # pyright: ignore
        print(f"  {what}: {rows:,}" + (f" (aim {result['aim']:,})" if what != "detectors" else ""))
