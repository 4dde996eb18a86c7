"""Memory and time of a replay of a log with a million clients, in a process of its own.

Each client sends one query; then 100,000 of them, spread over all, send a second one, so that what was remembered of them is
read back from the file. A row holds a name, a time and the hash of an input. Peak resident memory, the interpreter's and
torch's own included; `before` is what the process held when the replay began. One thread, CPU time.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.memory import peak
from gamekeeper.engine.replay_panel import bare_panel
from gamekeeper.engine.replay_run import Job, run_replay
from gamekeeper.logs.mapping import Mapping

CLIENTS, BACK = 1_000_000, 100_000
AIM = 1_000_000_000
COLUMNS = {
    "client": "who",
    "time": {"field": "at", "format": "unix-s"},
    "input": {"field": "x", "kind": "hash"},
}


def lines() -> Iterator[str]:
    every = CLIENTS // BACK
    for row in range(CLIENTS + BACK):
        who = row if row < CLIENTS else (row - CLIENTS) * every
        yield f'{{"who": "client {who}", "at": {row}, "x": "{row:064x}"}}\n'


def replayed() -> dict[str, object]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        with log.open("w") as file:
            file.writelines(lines())
        job = Job(log, Mapping.model_validate(COLUMNS), "", None, None, (), "", "", 0.2, 1_000)
        before, start = peak(), time.process_time()
        header = run_replay(job, bare_panel(()), Path(folder), lambda name, done, whole: None)
        seconds = time.process_time() - start
    assert (header.clients, header.queries) == (CLIENTS, CLIENTS + BACK)
    return {
        "clients": header.clients,
        "rows": header.queries,
        "seconds": round(seconds),
        "rows_per_second": round(header.queries / seconds),
        "before": before,
        "peak": peak(),
        "aim": AIM,
    }


def measure() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.crowd"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def show(result: dict[str, object]) -> None:
    print(
        "A replay of {rows:,} rows of {clients:,} clients: {seconds:,} s of CPU time, {rows_per_second:,} rows a second".format(
            **result
        )
    )
    print("  peak {peak:,} bytes, {before:,} before it (aim below {aim:,})".format(**result))


if __name__ == "__main__":
    print(json.dumps(replayed()))
