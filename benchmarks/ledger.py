"""What the ledger costs: bytes of 50,000 answers over 10 classes, and answers a second with and without it.

The baseline is the same oracle without a ledger, and one commit a row instead of one a batch. Wall time here,
since the cost is waiting for the disk.
"""

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import torch

from gamekeeper.service.ledger import Ledger, Recorded
from gamekeeper.types import Reply

ROWS, CLASSES = 50_000, 10
SINGLES = 500


def answers(x: torch.Tensor, /) -> Reply:
    return Reply(torch.softmax(x[:, :CLASSES], 1))


def seconds(x: torch.Tensor, folder: str, batch: int) -> float:
    with closing(Ledger(Path(folder) / f"{batch}-{len(x)}-{time.monotonic_ns()}.sqlite")) as ledger:
        session = Recorded(answers, ledger, "benchmark", batch)
        start = time.perf_counter()
        session(x)
        return time.perf_counter() - start


def measure() -> dict[str, object]:
    x = torch.rand(ROWS, 784, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with closing(Ledger(path)) as ledger:
            Recorded(answers, ledger, "benchmark")(x)
            start = time.perf_counter()
            Recorded(answers, ledger, "benchmark")(x)
            reread = time.perf_counter() - start
            ledger.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        whole = statistics.median(seconds(x[:10_000], folder, 256) for _ in range(3)) / 10_000
        single = statistics.median(seconds(x[:SINGLES], folder, 1) for _ in range(3)) / SINGLES
    return {
        "rows": ROWS,
        "classes": CLASSES,
        "bytes": size,
        "bytes_per_row": round(size / ROWS, 1),
        "rows_per_second_batch_256": round(1 / whole),
        "rows_per_second_batch_1": round(1 / single),
        "batch_256_over_batch_1": round(single / whole, 1),
        "reread_rows_per_second": round(ROWS / reread),
    }


def show(result: dict[str, object]) -> None:
    print("ledger: {rows:,} answers x {classes} classes take {bytes:,} bytes ({bytes_per_row} a row)".format(**result))
    print(
        "  written {rows_per_second_batch_256:,} rows/s in batches of 256, {rows_per_second_batch_1:,} one by one"
        " (ratio {batch_256_over_batch_1}); read back {reread_rows_per_second:,} rows/s".format(**result)
    )
