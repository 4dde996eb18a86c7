"""What the default detectors cost a service that answers with a LeNet, in its own answers, and what they remember of a client.

Each call answers a new client, who sends natural digits in requests of one size, until they have sent 448. Detectors are
armed and calibrated as `gamekeeper detect` does. `noting` is what it costs that the network notes its features; `lookout` is
what all together take beyond their parts: its own work, and that parts and answer find colder caches than alone. One thread, CPU time, medians of rounds in which each takes its turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.timing import medians
from gamekeeper.detectors.lookout import Lookout
from gamekeeper.engine.scene import Scene, Setting, calibrated, scene
from gamekeeper.method_text import DETECTORS
from gamekeeper.models.network import TorchModel
from gamekeeper.service.memory import Memories
from gamekeeper.service.stored import packed
from gamekeeper.targets.choice import Choice
from gamekeeper.types import Model, Reply

QUERIES, WINDOW, AIM = 448, 500, 1.0
BATCHES = (1, 16, 64)
NOON = 43_200.0


def answering(victim: Model, parts: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: [victim(part) for part in parts]


def watching(look: Callable[[Tensor, Reply, Memories], object], parts: tuple[Tensor, ...], replies: list[Reply]):
    """A call that shows all requests of a new client."""

    def call() -> None:
        memories: Memories = {}
        for part, reply in zip(parts, replies, strict=True):
            look(part, reply, memories)

    return call


def everything(lookout: Lookout, parts: tuple[Tensor, ...]) -> Callable[[], object]:
    def call() -> None:
        memories: Memories = {}
        for part in parts:
            lookout.look(part, lookout.victim(part), NOON, memories)

    return call


def looks(here: Scene) -> Mapping[str, Callable[[Tensor, Reply, Memories], object]]:
    """How each detector is shown a request."""
    watches = dict(here.watches) | ({} if here.repeats is None else {"repeats": here.repeats})

    def one(name: str) -> Callable[[Tensor, Reply, Memories], object]:
        watch = watches[name]

        def look(x: Tensor, reply: Reply, memories: Memories) -> object:
            if name not in memories:
                memories[name] = watch.fresh()
            return watch.score(x, reply, NOON, memories[name])

        return look

    return {name: one(name) for name in here.setting.detectors}


def shares(here: Scene, lookout: Lookout, batch: int) -> dict[str, object]:
    """CPU time beyond the answer's own, over the answer's own."""
    victim = here.target.victim
    assert isinstance(victim, TorchModel)
    parts = here.unseen.x[:QUERIES].split(batch)
    replies = [victim(part) for part in parts]
    calls = {
        "plain": answering(TorchModel(victim.net, victim.task, victim.answers), parts),
        "noting": answering(victim, parts),
        "all": everything(lookout, parts),
    }
    calls |= {name: watching(look, parts, replies) for name, look in looks(here).items()}
    spent = medians(calls, 6.0)
    plain = spent.pop("plain")
    further = {name: seconds / plain for name, seconds in spent.items()}
    further["noting"] -= 1
    together = further.pop("all") - 1
    further["lookout"] = together - sum(further.values())
    return {
        "batch": batch,
        "plain_us": round(1e6 * plain / QUERIES),
        "shares": {name: round(share, 3) for name, share in further.items()},
        "all": round(together, 2),
        "aim": AIM,
    }


def remembered(here: Scene) -> dict[str, int]:
    """Bytes of each detector's memory of a client, packed, after a window of new queries."""
    parts = here.unseen.x[:WINDOW].split(50)
    memories: Memories = {}
    for part in parts:
        for look in looks(here).values():
            look(part, here.target.victim(part), memories)
    return {name: len(packed(memory)) for name, memory in memories.items()}


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    here = scene(Setting(Choice("mnist"), tuple(DETECTORS), 0.01))
    with TemporaryDirectory() as folder:
        limits = calibrated(here, Path(folder), lambda said: None)
    lookout = replace(here.lookout(limits), repeats=here.repeats)
    return {
        "queries": QUERIES,
        "rows": [shares(here, lookout, batch) for batch in BATCHES],
        "window": WINDOW,
        "bytes": remembered(here),
    }


def show(result: dict[str, object]) -> None:
    print(f"default detectors, in LeNet answers per query of a client who sends {result['queries']}:")
    for row in result["rows"]:  # pyright: ignore
        parts = ", ".join(f"{name} {share:.2f}" for name, share in row["shares"].items())
        print(
            f"  requests of {row['batch']}: {row['all']} in all (aim {row['aim']:g}): {parts}; an answer {row['plain_us']} us"
        )
    parts = ", ".join(f"{name} {size:,}" for name, size in result["bytes"].items())  # pyright: ignore
    print(f"  bytes after {result['window']} new queries: {parts}")
