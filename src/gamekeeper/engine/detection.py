"""Detection: thieves and honest clients in front of calibrated detectors. A cell is one of either; a row is what came of it.

Detectors change no answer, so a thief asks as if there were none, and the same questions are then dealt to one account or
many, among natural queries or alone. What an alarm is worth is the accuracy of the clone that the thief can train on the
answers up to then, beside that of the clone of all answers.
"""

import functools
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.theft import Theft
from gamekeeper.detection_rows import ANY, EVADER, DetectionRow
from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.lookout import Lookout
from gamekeeper.engine.backends import Work
from gamekeeper.engine.failure import WORKER_DIED, failure
from gamekeeper.engine.honest import KINDS
from gamekeeper.engine.run import thief_knowledge
from gamekeeper.engine.scene import FORMAT, Scene, Setting, staged
from gamekeeper.errors import Unsuited
from gamekeeper.learners.distil import Soft
from gamekeeper.methods import InputSpec, parse_attack
from gamekeeper.service.memory import Memories
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.service.stored import packed
from gamekeeper.training.fit import FAST
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Reply, Transfer
from gamekeeper.version import __version__

CLONES = "clones"
MIXES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
"""Shares of a client's queries that are the thief's own, among which a thief who knows the limits chooses."""
LEARNER = Soft(FAST)
"""What a thief makes of the answers. Many clones are trained, and what counts is their ratio."""


@dataclass(frozen=True)
class DetectionCell:
    """One thief, or one kind of honest clients.

    who       a way of asking in the syntax of methods.py; `evader:` before it for a thief who knows the detectors and their
              limits and mixes in as many natural queries as they need to; or a kind of honest clients
    honest    which of the two
    mix       the share of the queries that are the thief's own; the rest are natural
    accounts  over which the queries are dealt in turn; or how many honest clients
    queries   of the thief in all; or of each honest client
    """

    setting: Setting
    who: str
    honest: bool
    queries: int
    seed: int
    mix: float = 1.0
    accounts: int = 1
    digest: str = ""

    @property
    def id(self) -> str:
        recipe = (self.digest, self.who, self.honest, self.queries, self.seed, self.mix, self.accounts)
        return hashlib.sha256(repr((FORMAT, recipe)).encode()).hexdigest()[:16]


def blank(cell: DetectionCell, error: str | None = None) -> DetectionRow:
    return DetectionRow(
        cell.id,
        __version__,
        cell.setting.target.name,
        cell.who,
        cell.honest,
        cell.queries,
        cell.seed,
        cell.mix,
        cell.accounts,
        error=error,
    )


def work(folder: Path) -> Work[DetectionCell, DetectionRow]:
    return Work(partial(run_cell, folder=folder), lost, __name__)


def lost(cell: DetectionCell) -> DetectionRow:
    return blank(cell, WORKER_DIED)


def run_cell(cell: DetectionCell, folder: Path) -> DetectionRow:
    """Raises Halt if going on is pointless; any other failure is a row with its error."""
    try:
        here, lookout = staged(cell.setting, folder)
        if cell.honest:
            return honest_row(cell, here, lookout)
        return thief_row(cell, here, lookout, DiskCloneCache(folder / CLONES))
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others
        return blank(cell, failure(error, cell.id, folder)[1])


# honest clients


def honest_row(cell: DetectionCell, here: Scene, lookout: Lookout) -> DetectionRow:
    seen: list[Memories] = []
    start, queries = time.process_time(), 0
    for client in honest_clients(cell, here):
        memories: Memories = {}
        lookout.look(client.x, client.clean, float("nan"), memories)
        seen.append(memories)
        queries += len(client)
    seconds = (time.process_time() - start) / max(1, queries)
    return replace(
        blank(cell), clients=len(seen), alarmed=counts(lookout, seen), seconds=seconds, bytes=remembered(seen)
    )


def honest_clients(cell: DetectionCell, here: Scene) -> Iterator[Benign]:
    for place in range(cell.accounts):
        yield KINDS[cell.who](here.unseen, cell.queries, 1_000_003 * cell.seed + place, here.target.box)


def counts(lookout: Lookout, clients: Sequence[Memories]) -> dict[str, int]:
    """How many clients each detector raised an alarm for, and any of them."""
    alarms = [lookout.alarms(memories) for memories in clients]
    each = {name: sum(name in one for one in alarms) for name in lookout.posts}
    return {**each, ANY: sum(bool(one) for one in alarms)}


def remembered(clients: Sequence[Memories]) -> int:
    """Bytes per client."""
    some = clients[:20]
    return sum(len(packed(memory)) for one in some for memory in one.values() if memory is not None) // max(
        1, len(some)
    )


# thieves


@dataclass(frozen=True, eq=False)
class Traffic:
    """All queries of one thief, in order, with the account that sends each."""

    queries: Benign
    account: Int[Tensor, " n"]


def thief_row(cell: DetectionCell, here: Scene, lookout: Lookout, clones: DiskCloneCache) -> DetectionRow:
    stream = transcript(cell.who.removeprefix(f"{EVADER}:"), cell.queries, cell.seed, cell.setting, here)
    mix = evading(cell, here, lookout, stream) if cell.who.startswith(f"{EVADER}:") else cell.mix
    traffic = dealt(mixed_in(stream, mix, here.unseen, cell.seed), cell.accounts)
    start = time.process_time()
    seen, delay = watched(traffic, lookout, cell.accounts)
    seconds = (time.process_time() - start) / len(traffic.queries)
    noticed = min((query for query in delay.values() if query), default=0)
    whole = accuracy(here, traffic.queries, len(traffic.queries), cell.seed, clones)
    return replace(
        blank(cell),
        mix=mix,
        clients=cell.accounts,
        alarmed=counts(lookout, seen),
        delay=delay,
        learnt=accuracy(here, traffic.queries, noticed, cell.seed, clones) if noticed else whole,
        whole=whole,
        seconds=seconds,
        bytes=remembered(seen),
    )


@functools.lru_cache(maxsize=4)
def transcript(who: str, queries: int, seed: int, setting: Setting, here: Scene) -> Benign:
    """What a thief asks, with the answers. Raises Unsuited if this thief cannot steal from this target."""
    target = here.target
    thief = parse_attack(who, InputSpec(target.box.shape, target.victim.task.classes))
    if not isinstance(thief, Theft):
        raise Unsuited(
            f"{who} is an attack of its own, not a way of asking, so its queries are not tried on detectors."
        )
    written = Transcript(target.victim)
    thief.ask(Metered(written, queries, target.box), thief_knowledge(target, target.student), seed)
    x, _ = written.seen(queries)
    return Benign.of(target.victim, x)


def mixed_in(stream: Benign, mix: float, natural: Benign, seed: int) -> Benign:
    """As many queries as before, of which a share `mix` is the thief's own, in their order, and the rest natural."""
    if mix >= 1:
        return stream
    n = len(stream)
    own = max(1, round(mix * n))
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(n, generator=generator)[:own].sort().values
    others = torch.randperm(len(natural), generator=generator)[torch.arange(n) % len(natural)]
    x = natural.x[others].clone()
    x[places] = stream.x[:own].to(x.dtype)
    return Benign.of(stream.victim, x)


def dealt(queries: Benign, accounts: int) -> Traffic:
    return Traffic(queries, torch.arange(len(queries)) % accounts)


def watched(traffic: Traffic, lookout: Lookout, accounts: int) -> tuple[list[Memories], dict[str, int]]:
    """The memories of every account, and after which query of all each detector first raised an alarm (0: never)."""
    seen: list[Memories] = []
    first = dict.fromkeys(lookout.posts, 0)
    for account in range(accounts):
        rows = (traffic.account == account).nonzero()[:, 0]
        memories: Memories = {}
        client = traffic.queries.rows(rows)
        new = lookout.looked(client.x, client.clean, float("nan"), memories).new
        seen.append(memories)
        for name, query in lookout.alarms(memories).items():
            overall = int(rows[new[query - 1]]) + 1
            first[name] = min(first[name] or overall, overall)
    return seen, first


def evading(cell: DetectionCell, here: Scene, lookout: Lookout, stream: Benign) -> float:
    """The largest share of own queries that raises no alarm, as this thief knows from trying it on detectors of their own.

    They are given the owner's, limits and all, and natural queries. If every share is noticed, the smallest.
    """
    for mix in MIXES:
        _, delay = watched(dealt(mixed_in(stream, mix, here.unseen, cell.seed), cell.accounts), lookout, cell.accounts)
        if not any(delay.values()):
            return mix
    return MIXES[-1]


def accuracy(here: Scene, queries: Benign, n: int, seed: int, clones: DiskCloneCache) -> float:
    """Of the clone trained on the first n answers, on the test set."""
    target = here.target
    reply = Reply(queries.clean.y[:n])
    clone = LEARNER(Transfer(queries.x[:n], reply, n), thief_knowledge(target, target.student, clones=clones), seed)
    assert target.test.y is not None
    return float(target.victim.task.right(clone(target.test.x).y, target.test.y).double().mean())
