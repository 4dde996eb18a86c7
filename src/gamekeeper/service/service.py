"""Service: the one object that is attacked, served and evaluated."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamekeeper.service.memory import Clients, InProcess
from gamekeeper.types import Armed, Batch, Model, Oracle, PerClient, Reply, answered


@dataclass
class Service:
    """A victim behind defenses, which change its answers in the order given, each with a memory of each client.

    Threads may share it: requests of one client are answered in sequence, those of different clients concurrently.
    """

    victim: Model
    defenses: Sequence[Armed] = ()
    clients: Clients = field(default_factory=InProcess, repr=False)

    def reply(self, client: str, x: Batch) -> Reply:
        """The answer to a request that arrives now."""
        at = time.time()
        return self.answer(client, x, self.victim(x), at)

    def answer(self, client: str, x: Batch, clean: Reply, at: float) -> Reply:
        """The answer to a request for which the victim's answer `clean` is already known, as in a replay.

        `at` is when the request arrived, in seconds since 1970; a replay gives the times from its log. Defenses do not
        use it; it is for detectors that watch a client. Inputs that the victim did not answer pass no defense.
        """
        rows = answered(clean)
        if not bool(rows.all()):
            return spread(self.answer(client, x[rows], clean.take(rows), at), rows, clean) if rows.any() else clean
        reply = clean
        with self.clients.hold(client) as memories:
            for place, defense in enumerate(self.defenses):
                name = f"defense {place}"
                if name not in memories:
                    memories[name] = begun(defense, client)
                reply = defense.respond(x, reply, memories[name])
        return reply

    def open(self, client: str) -> Oracle:
        """The oracle that a client, honest or not, is given."""
        return _Client(self, client)


def begun(defense: Armed, client: str) -> Any:
    """What a defense remembers of a client who has not asked before."""
    return defense.fresh_for(client) if isinstance(defense, PerClient) else defense.fresh()


def spread(given: Reply, rows: Tensor, clean: Reply) -> Reply:
    """What was given for some rows, between the rows that have no answer."""
    y = torch.full((len(clean), given.y.shape[1]), torch.nan, dtype=given.y.dtype)
    y[rows] = given.y
    if given.maps is None:
        return Reply(y)
    maps = torch.full((len(clean), *given.maps.shape[1:]), torch.nan, dtype=given.maps.dtype)
    maps[rows] = given.maps
    return Reply(y, maps)


@dataclass(frozen=True)
class _Client:
    service: Service
    name: str

    def __call__(self, x: Batch, /) -> Reply:
        return self.service.reply(self.name, x)
