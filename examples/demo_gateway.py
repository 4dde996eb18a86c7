"""Starts the gateway before the built-in mnist model and sends honest clients and thieves through it: who is suspicious?

    python -m examples.demo_gateway demo-gateway        # a gateway in demo-gateway/, on a free port of this machine

Every client has an API key of their own and speaks to the gateway over HTTP, as to any model server. Twenty are honest and
send digits of the model's test set, no two of them the same ones; some ask again when they time out, some are cameras,
some ask mostly about a few classes. Four steal: one sends letters (knockoff), one noise (uniform), one small steps away
from a few digits (jbda), one random steps (t_rnd); what they ask depends on what the gateway answers. The gateway only
watches (`shadow = true`), so everybody gets the model's own answers.

Afterwards the gateway is stopped, and its journal says who raised an alarm.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track

from examples.demo_log import Crowd, Sender, honest
from gamekeeper.attacks.theft import Theft
from gamekeeper.engine.gateway.clients import ClientSummary, client_summaries
from gamekeeper.engine.gateway.folder import gateway_folder
from gamekeeper.engine.gateway.gateway_config import DEFAULT_TENANT
from gamekeeper.engine.run import thief_knowledge
from gamekeeper.engine.scene import Setting, scene
from gamekeeper.methods import InputSpec, parse_attack
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.service.oracles import Metered
from gamekeeper.service.principals import Principals
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.target import Target

CROWD = Crowd(
    {
        "natural": (8, 60),
        "class mix Dirichlet(1)": (3, 50),
        "class mix Dirichlet(.3)": (2, 40),
        "retries": (4, 30),
        "frame bursts": (3, 20),
    },
    {"knockoff": 200, "uniform": 100, "jbda": 300, "t_rnd": 300},
)
MODEL, AT_ONCE = "mnist", 8
"""Name of the model in addresses; how many clients are at work at a time."""
ROWS = 5
"""Inputs of one request of an honest client."""
PATIENCE = 300.0
"""Seconds that the gateway may take to start: it makes the limits of its detectors first."""


@dataclass(frozen=True)
class Door:
    """Where the gateway listens, and everybody's API key by account."""

    url: str
    keys: Mapping[str, str]

    def visit(self, sender: Sender) -> None:
        """Sends what an honest client asks, a few inputs at a time, in the protocol of TensorFlow Serving."""
        with httpx.Client(headers={"Authorization": f"Bearer {self.keys[sender.name]}"}, timeout=60) as http:
            for part in sender.queries.x.split(ROWS):
                answer = http.post(f"{self.url}/v1/models/{MODEL}:predict", json={"instances": part.tolist()})
                answer.raise_for_status()

    def rob(self, who: str, queries: int, target: Target) -> None:
        """Steals as an audit's thief does, by the Open Inference Protocol."""
        spec = InputSpec(target.box.shape, target.victim.task.classes)
        thief = parse_attack(who, spec)
        assert isinstance(thief, Theft)
        variable = f"KEY_OF_{who.upper()}"
        os.environ[variable] = self.keys[thief_account(who)]
        config = HttpConfig.model_validate(
            {"url": self.url, "model": MODEL, "headers": {"Authorization": f"Bearer ${{{variable}}}"}}
        )
        oracle = HttpOracle(config, target.box, target.victim.task.classes)
        remote = RemoteModel(oracle, target.victim.task, "probabilities")
        thief.ask(Metered(remote, queries, target.box), thief_knowledge(target, target.student), 0)


def thief_account(who: str) -> str:
    return f"{who}-thief"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gamekeeper(*words: str) -> list[str]:
    return [sys.executable, "-m", "gamekeeper", *words]


def begun(folder: Path, accounts: Sequence[str]) -> Door:
    """A new gateway in the folder, with a key for every account."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(gamekeeper("init", "gateway", "--out", str(folder)), check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    port = free_port()
    settings = folder / "gateway.toml"
    settings.write_text(settings.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    here = gateway_folder(folder)
    with here.open_journal() as journal:
        principals = Principals(journal, here.pseudonyms())
        keys = {account: principals.issue(DEFAULT_TENANT, account, time.time()) for account in accounts}
    return Door(f"http://127.0.0.1:{port}", keys)


@contextmanager
def serving(folder: Path, door: Door) -> Generator[None, None, None]:
    """The gateway at work, as a process of its own; stopped as an operator stops it."""
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(gamekeeper("serve", str(folder)), stdout=log, stderr=log)  # noqa: S603
        try:
            ready(door, process, folder)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def ready(door: Door, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{door.url}/v2/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the gateway did not start. It says why in {folder / 'gateway.log'}.")


def play(folder: Path, crowd: Crowd = CROWD, seed: int = 0) -> dict[str, ClientSummary]:
    """Sends everybody through a new gateway: what its journal says of each account."""
    here = scene(Setting(Choice("mnist"), ("boundary",), 0.01))
    senders = honest(here, crowd, seed)
    accounts = [*(sender.name for sender in senders), *map(thief_account, crowd.thieves)]
    door = begun(folder, accounts)
    say(f"starting the gateway in {folder}; it makes limits for its detectors first")
    with serving(folder, door), ThreadPoolExecutor(AT_ONCE) as pool:
        everybody = [pool.submit(door.visit, sender) for sender in senders]
        everybody += [pool.submit(door.rob, who, n, here.target) for who, n in crowd.thieves.items()]
        for visit in track(everybody, "clients at the gateway", console=Console(stderr=True), transient=True):
            visit.result()
    gateway = gateway_folder(folder)
    pseudonyms = gateway.pseudonyms()
    with gateway.open_journal() as journal:
        rows = {row.client: row for row in client_summaries(journal, DEFAULT_TENANT)}
    return {account: rows[pseudonyms.client(DEFAULT_TENANT, account)] for account in accounts}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report(seen: Mapping[str, ClientSummary], folder: Path) -> bool:
    """Prints who is suspicious. Whether it is the thieves and nobody else."""
    queries = sum(row.queries for row in seen.values())
    say(f"{len(seen)} clients sent {queries:,} inputs. The gateway knows them by pseudonyms; we know who is who:")
    suspicious = {account for account, row in seen.items() if row.alarms}
    for account in sorted(suspicious):
        row = seen[account]
        say(
            f"  {row.client[:8]}  {account:16} {row.alarms} alarm{'s' if row.alarms > 1 else ''} in {row.queries:,} inputs"
        )
    thieves = {account for account in seen if account.endswith("-thief")}
    missed, wronged = sorted(thieves - suspicious), sorted(suspicious - thieves)
    if missed:
        say(f"Not noticed: {', '.join(missed)}.")
    say(f"Honest clients under suspicion: {', '.join(wronged) or 'none'}, of {len(seen) - len(thieves)}.")
    say(f"Read on: gamekeeper clients {folder}; gamekeeper review {folder}")
    return not missed and not wronged


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-gateway")
    sys.exit(0 if report(play(where), where) else 1)
