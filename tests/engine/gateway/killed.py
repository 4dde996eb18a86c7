"""A gateway in a process of its own, that answers until it is killed."""

import contextlib
import hashlib
import struct
import threading
from multiprocessing.connection import Connection

import torch

from gamekeeper.engine.gateway import client_memory
from gamekeeper.engine.gateway.request import Request
from gamekeeper.service.journal.accounts import Account, Quota
from gamekeeper.service.journal.database_journal import open_journal
from gamekeeper.service.quotas import Quotas
from tests.engine.gateway.small import far, gateway, requests, someone

with contextlib.suppress(ImportError):
    import psycopg as psycopg  # once, in the server that forks gateways

CLIENTS, MOST = 4, 2_000
RECORD = struct.Struct("<II16s")
QUOTA = Quota(2**40, 1e12)
ACCOUNT = Account("acme", "tenant", 0, 1e12, QUOTA.queries)
EVER = 1e9
"""Seconds a second: nobody is ever too fast."""


def sent(client: int) -> list[Request]:
    """What a client sends, in order; half of them thieves, whose answers are soon altered."""
    return requests(MOST, seed=client, who=someone(client), tall=0.5 * (client % 2), most=3)


def digest(y: torch.Tensor) -> bytes:
    return hashlib.sha256(y.numpy().tobytes()).digest()[:16]


def answer_until_killed(place: str, first: list[int], report: Connection) -> None:
    """A thread per client, each of which goes on from a request of its own, and reports every answer."""
    torch.set_num_threads(1)
    client_memory.LEAST = 500  # many snapshots
    lock, now = threading.Lock(), iter(range(10**9))
    real = gateway(open_journal(place), far(), Quotas(tenant=QUOTA), clock=lambda: EVER * (1 + next(now)))

    def serve(client: int) -> None:
        for nth, each in enumerate(sent(client)[first[client] :], first[client]):
            reply = real.answer(each)
            with lock:
                report.send_bytes(RECORD.pack(client, nth, digest(reply.y)))

    for client in range(CLIENTS):
        threading.Thread(target=serve, args=(client,), daemon=True).start()
    threading.Event().wait()
