"""Processes that write into a journal and say what they were promised, until they are killed or are done."""

import contextlib
import hashlib
import struct
import threading
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

from gamekeeper.errors import Denied
from gamekeeper.service.journal.accounts import Account, Charge, Quota
from gamekeeper.service.journal.database_journal import open_journal
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.principals import Principal
from gamekeeper.service.quotas import Quotas, Reservations

with contextlib.suppress(ImportError):
    import psycopg as psycopg  # once, in the server that forks writers

RECORD = struct.Struct("<IIQ")
CLIENTS = 8
ACCOUNT = Account("acme", "tenant", 0, 1e12, 2**40)


def request(client: int, nth: int) -> bytes:
    """The id of a client's nth request: the same before and after a restart."""
    return hashlib.sha256(f"{client} {nth}".encode()).digest()[:16]


def after(memory: bytes, event: bytes) -> bytes:
    """A memory that shows every request it saw, how often, and in which order."""
    return hashlib.sha256(memory + event).digest()


def answer_until_killed(place: str, first: list[int], report: Connection) -> None:
    """A thread per client, each of which goes on from a request of its own and reports what was acknowledged."""
    journal, lock = open_journal(place), threading.Lock()

    def serve(client: int) -> None:
        nth = first[client]
        while True:
            known = journal.remembered("acme", f"c{client}")
            each = request(client, nth)
            journal.take([Charge(ACCOUNT, 1, 1)])
            memories = Remembered(known.version, {"chain": after(known.parts.get("chain", b""), each)})
            seq = journal.append(Event("acme", f"c{client}", "answer", 1.7e9 + nth, n=1, id=each), memories)
            with lock:
                report.send_bytes(RECORD.pack(client, nth, seq))
            nth += 1

    for client in range(CLIENTS):
        threading.Thread(target=serve, args=(client,), daemon=True).start()
    threading.Event().wait()


def spend(place: str, quota: int, share: int, threads: int, fail: bool, report: Connection, together: Barrier) -> None:
    """Threads that reserve until all are denied; reports what was granted. `fail`: every third request is not answered."""
    journal = open_journal(place)
    reservations = Reservations(journal, Quotas(tenant=Quota(quota, 1e12), key=Quota(quota, 1e12)), share)
    granted = [0] * threads
    together.wait(60)

    def serve(number: int) -> None:
        turn = 0
        while True:
            n = 1 + turn % 3
            try:
                lease = reservations.reserve(Principal("acme", "c1", "n1"), n, 1.7e9)
            except Denied:
                return
            if fail and turn % 3 == 2:
                lease.give_back()
                n = 0
            granted[number] += n
            turn += 1

    workers = [threading.Thread(target=serve, args=(number,)) for number in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    report.send(sum(granted))
    reservations.close()
    journal.close()
