"""Writes a log of 40 clients of the built-in mnist model, as a prediction API would: 36 are honest, four are thieves.

    python examples/demo_log.py demo-detect        # writes demo-detect/log.jsonl.gz and demo-detect/mapping.toml

The honest ones send digits of the model's test set, which neither trained nor calibrates anything; no two of them share
one. Some send anything, some mostly a few classes, some ask again when they time out, some are cameras whose frames differ
by noise, some ask five times as much as others. The thieves: one sends letters (knockoff), one noise (uniform), one small
steps away from a few digits (jbda), one random steps (t_rnd). A fifth kind, an insider with digits of their own, is left
out: nobody could tell them from an honest client.

Every client asks one input at a time, at times of their own within a day; the log has them all in order of time.
"""

import base64
import gzip
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import torch
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.detectors.calibrate import Benign
from gamekeeper.engine.detection import transcript
from gamekeeper.engine.honest import KINDS
from gamekeeper.engine.scene import Scene, Setting, scene
from gamekeeper.targets.choice import Choice

LOG, MAPPING = "log.jsonl.gz", "mapping.toml"
DAY, START = 86_400.0, 1_788_220_800.0  # 2026-09-01
SECONDS = {"frame bursts": 0.1, "thieves": 2.0}
PAUSE = 20.0
"""Seconds between queries, on average, where nothing else is said."""
TOML = """\
# who asked what: one request per line
client = "client"

[time]
field = "time"
format = "unix-s"

[input]
field = "input"
kind = "base64"
dtype = "float32"

[answer]
field = "answer"
"""


@dataclass(frozen=True)
class Crowd:
    """Who is in the log.

    honest   for each kind how many clients, and how many digits each of them has
    thieves  for each way of asking how many queries
    """

    honest: Mapping[str, tuple[int, int]]
    thieves: Mapping[str, int]


FORTY = Crowd(
    {
        "natural": (13, 40),
        "class mix Dirichlet(1)": (5, 50),
        "class mix Dirichlet(.3)": (3, 40),
        "retries": (8, 30),
        "frame bursts": (5, 20),
        "heavy": (2, 220),
    },
    {"knockoff": 400, "uniform": 250, "jbda": 300, "t_rnd": 400},
)


@dataclass(frozen=True, eq=False)
class Sender:
    """One client: a name, queries, and seconds between them."""

    name: str
    kind: str
    queries: Benign
    pause: float


def honest(here: Scene, crowd: Crowd, seed: int) -> list[Sender]:
    """No two of them share a digit."""
    left = here.unseen.rows(torch.randperm(len(here.unseen), generator=torch.Generator().manual_seed(seed)))
    senders: list[Sender] = []
    for kind, (clients, n) in crowd.honest.items():
        for _ in range(clients):
            place = len(senders)
            if kind.startswith("class mix"):
                queries = KINDS[kind](left, n, seed + place, here.target.box)
                used = set(row_keys(queries.x))
                mine = torch.tensor([key in used for key in row_keys(left.x)])
            else:
                mine = torch.arange(len(left)) < n
                own = left.rows(mine.nonzero()[:, 0])
                how, times = {
                    "heavy": ("natural", 1),
                    "retries": ("retries", 2),
                    "frame bursts": ("frame bursts", 10),
                }.get(kind, (kind, 1))
                queries = KINDS[how](own, times * n, seed + place, here.target.box)
            left = left.rows((~mine).nonzero()[:, 0])
            senders.append(Sender(f"user-{place + 1:02d}", kind, queries, SECONDS.get(kind, PAUSE)))
    return senders


def thieves(here: Scene, crowd: Crowd, seed: int) -> list[Sender]:
    return [
        Sender(f"{who}-thief", who, transcript(who, n, seed, here.setting, here), SECONDS["thieves"])
        for who, n in crowd.thieves.items()
    ]


def lines(senders: list[Sender], seed: int) -> list[bytes]:
    """One line for each query, in order of time."""
    generator = torch.Generator().manual_seed(seed)
    timed: list[tuple[float, str, Tensor, Tensor]] = []
    for sender in senders:
        n = len(sender.queries)
        gaps = torch.empty(n, dtype=torch.float64).exponential_(generator=generator) * sender.pause
        start = START + float(torch.rand(1, generator=generator)) * max(0.0, DAY - float(gaps.sum()))
        times = (start + gaps.cumsum(0)).tolist()
        timed += [
            (at, sender.name, x, y) for at, x, y in zip(times, sender.queries.x, sender.queries.clean.y, strict=True)
        ]
    return [line(*each) for each in sorted(timed, key=lambda each: each[:2])]


def line(at: float, client: str, x: Tensor, y: Tensor) -> bytes:
    raw = base64.b64encode(x.float().numpy().tobytes()).decode()
    return orjson.dumps({"time": round(at, 3), "client": client, "input": raw, "answer": y.tolist()}) + b"\n"


def write(folder: Path, crowd: Crowd = FORTY, seed: int = 0) -> list[Sender]:
    """Writes the log and its mapping: the clients. The folder is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    here = scene(Setting(Choice("mnist"), ("boundary",), 0.01))
    senders = [*honest(here, crowd, seed), *thieves(here, crowd, seed)]
    with gzip.GzipFile(folder / LOG, "wb", compresslevel=1, mtime=0) as log:
        log.writelines(lines(senders, seed))
    (folder / MAPPING).write_text(TOML, encoding="utf-8")
    return senders


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-detect")
    everybody = write(where)
    queries = sum(len(sender.queries) for sender in everybody)
    sys.stdout.write(f"{where / LOG}: {len(everybody)} clients, {queries:,} queries\n")
