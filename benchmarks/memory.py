"""Memory of one big theft: 50,000 answers through meter and ledger, and a LeNet trained on them, in a process of its own.

Peak resident memory, the interpreter's and torch's own included. The pool is 60,000 made-up images of 28x28 (the size
of MNIST), the victim the built-in digit classifier. Training holds data, answers, weights and one batch's activations,
and nothing that grows with the steps: the peak is measured after 10 steps and after 60 more, and so is what is then held
(Linux; elsewhere 0). The budget's own 30 epochs would be 23,460 steps.
"""

import json
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.recovery import resident
from gamekeeper.architectures import LeNet
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.theft import Theft
from gamekeeper.learners.distil import Soft
from gamekeeper.service.ledger import Ledger, Recorded
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.service.service import Service
from gamekeeper.targets.load import load_target
from gamekeeper.training.fit import Fit
from gamekeeper.types import Knowledge

BUDGET, POOL, STEPS, MORE = 50_000, 60_000, 10, 60
AIM = 2_000_000_000
STATUS = Path("/proc/self/status")


def peak() -> int:
    """Bytes. Linux's own counter of this program: getrusage's also holds the peak of the process that started it."""
    if STATUS.exists():
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def theft(folder: Path) -> dict[str, int]:
    """Peaks of this process: before, after asking, after few and after more steps."""
    torch.set_num_threads(1)
    target = load_target("mnist")
    pool = target.box.uniform(POOL, 0)
    knows = Knowledge(pool, target.box, target.victim.task, LeNet(target.box.shape, target.victim.task.classes))
    peaks = {"peak before asking": peak()}
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        oracle = Recorded(Service(target.victim, []).open("mallory"), ledger, "benchmark")
        meter = Metered(Transcript(oracle), BUDGET, target.box)
        thief = Theft(Knockoff(), Soft())
        transfer = thief.ask(meter, knows, 0)
        assert meter.spent == len(transfer.x) == ledger.answers() == BUDGET
        peaks["peak after asking"] = peak()
        for steps in (STEPS, MORE):
            Soft(Fit(epochs=0, least_steps=steps))(transfer, knows, 0)
            peaks[f"peak after {steps} steps"] = peak()
            peaks[f"held after {steps} steps"] = resident()
    return peaks


def measure() -> dict[str, object]:
    """In a new process, since a peak never falls."""
    script = "import json, sys; from pathlib import Path; from benchmarks.memory import theft;"
    script += "print(json.dumps(theft(Path(sys.argv[1]))))"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", script, folder], check=True, stdout=subprocess.PIPE, text=True)
    peaks: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return {"budget": BUDGET, "aim_bytes": AIM, "bytes": peaks}


def show(result: dict[str, object]) -> None:
    peaks = ", ".join(f"{when}: {most / 1e6:,.0f} MB" for when, most in result["bytes"].items())  # pyright: ignore
    print(f"memory of a theft of {result['budget']:,} answers: {peaks} (aim: below {AIM / 1e9:.0f} GB)")
