"""Boosted trees of xgboost and lightgbm behind an HTTP API: the comparison of `tables`, over the wire.

A server on this machine answers JSON. Our thieves reach it through a target file with `[http]`, as a user's do; the plain ones post
the same rows themselves, so that nothing of gamekeeper stands between them and the API. Otherwise everything is as in `tables`.

`BENCH_ROWS=rows.jsonl` keeps every finished row in that file; a run that is killed goes on from there.
`BENCH_TABLES=bc-xgb,wine-lgbm` measures these victims alone.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks.tables import DATA, Victim, budgets, models, parts, result_of, row_of, show_row, wanted
from gamekeeper.errors import BadConfig
from gamekeeper.targets.load import load_target
from gamekeeper.tasks import Classify
from gamekeeper.types import Reply, Task

BOOSTED = ("xgb", "lgbm")
TARGET = """
kind = "http"
answers = "probabilities"
classes = {classes}
[input]
shape = [{columns}]
[data]
test = "test.npz"
pool = "pool.npz"
[http]
protocol = "json"
url = "{url}"
request = {{ rows = "$INPUTS" }}
response = "scores"
"""


class Api(ThreadingHTTPServer):
    """Publishes a fitted classifier: `{"rows": [[...]]}` in, `{"scores": [[...]]}` out."""

    daemon_threads = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.estimator = estimator


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Api

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        rows = np.array(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"])
        body = json.dumps({"scores": self.server.estimator.predict_proba(rows).tolist()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(estimator: Any) -> Iterator[str]:
    """The address of a server with this classifier, which stops at the end."""
    with Api(estimator) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{api.server_address[1]}/score"
        api.shutdown()


@dataclass(frozen=True)
class Posted:
    """The API as a plain thief calls it: one POST."""

    url: str
    task: Task

    def __call__(self, x: torch.Tensor) -> Reply:
        scores = (
            httpx.post(self.url, json={"rows": x.double().tolist()}, timeout=60).raise_for_status().json()["scores"]
        )
        return Reply(torch.tensor(scores))


@contextmanager
def both(data: str, model: str) -> Iterator[tuple[Victim, Victim]]:
    """The victim as our thieves reach it, and as a plain one does."""
    train, train_y, pool, test, test_y = parts(data)
    with tempfile.TemporaryDirectory() as folder, served(models()[model]().fit(train, train_y)) as url:
        np.savez(Path(folder) / "test.npz", x=test.astype(np.float32), y=test_y)
        np.savez(Path(folder) / "pool.npz", x=pool.astype(np.float32))
        file = Path(folder) / "target.toml"
        file.write_text(TARGET.format(classes=test_y.max() + 1, columns=test.shape[1], url=url))
        target = load_target(str(file))
        assert target.test.y is not None
        rest = target.box, target.pool.x, target.test.x, target.test.y
        name = f"{data}-{model}"
        yield (name, target.victim, *rest), (name, Posted(url, Classify(int(test_y.max()) + 1)), *rest)


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    missing = [model for model in BOOSTED if model not in models()]
    if missing:
        raise BadConfig(f"tables_http needs {' and '.join(missing)}. Install: pip install -e '.[bench]'.")
    done = Path(os.environ.get("BENCH_ROWS", os.devnull))
    rows = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
    for data, model in ((data, model) for data in DATA for model in BOOSTED if wanted(f"{data}-{model}")):
        with both(data, model) as (victim, plainly):
            for budget in budgets(victim[3]):
                if not any((row["victim"], row["budget"]) == (victim[0], budget) for row in rows):
                    rows.append(row_of(victim, plainly, budget))
                    show_row(rows[-1])
                    with done.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    return result_of(rows)


def show(result: dict[str, Any]) -> None:
    print(
        f"tables_http: {len(result['below'])} of {result['compared']} comparisons below plain scikit-learn: {result['below']}"
    )
