"""A database does what the plain twin in memory does, whatever is done with it and in whatever order."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import Denied
from gamekeeper.service.journal.accounts import Account, Charge
from gamekeeper.service.journal.event import Event, Remembered, Stale
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from tests.service.journal.conftest import opened

TENANTS, CLIENTS = ("acme", "rival"), ("c1", "c2")
tenants, clients, times = st.sampled_from(TENANTS), st.sampled_from(CLIENTS), st.integers(0, 9).map(float)
ids = st.integers(0, 12).map(lambda number: bytes([number]) * 16)
parts = st.none() | st.dictionaries(st.sampled_from(["prada", "mmd", "policy"]), st.binary(max_size=4), max_size=2)
charges = st.lists(
    st.tuples(tenants, st.sampled_from(["key a", "tenant"]), st.integers(0, 4), st.integers(0, 4)), max_size=3
)
actions = st.one_of(
    st.tuples(st.just("append"), tenants, clients, times, ids, st.sampled_from(["", "log", "slow"]), parts, st.booleans(),
              st.sets(st.sampled_from(["prada", "mmd", "policy"]), max_size=2), st.integers(0, 2)),
    st.tuples(st.just("take"), charges),
    st.tuples(st.just("forget"), tenants, clients),
    st.tuples(st.just("prune"), tenants, times),
)  # fmt: skip


class Numbered:
    """A journal that counts events as they come, since numbers of databases may have gaps."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.order: dict[int, int] = {0: 0}

    def plain(self, seq: int) -> int:
        return self.order.setdefault(seq, len(self.order))

    def do(self, action: tuple[Any, ...]) -> object:
        """What comes of an action, in words that do not depend on the journal."""
        name, *rest = action
        try:
            return getattr(self, name)(*rest)
        except (Stale, Denied) as error:
            return type(error).__name__

    def append(self, tenant, client, at, number, level, parts, stale, erased, others) -> int:
        event = Event(tenant, client, "answer", at, n=1, level=level, id=number)
        version = self.journal.remembered(tenant, client, ()).version + (10**6 if stale else 0)
        stored = None if parts is None else Remembered(version, parts, sorted(erased))
        more = [Event(tenant, client, "alarm", at, n=each) for each in range(others)]
        return self.plain(self.journal.append(event, stored, more))

    def take(self, wanted) -> object:
        accounts = {(tenant, holder): (least, least + more) for tenant, holder, least, more in wanted}
        return self.journal.take([Charge(account(*who), *amounts) for who, amounts in accounts.items()])

    def forget(self, tenant, client) -> int:
        return self.journal.forget(tenant, client, 9.0)

    def prune(self, tenant, before) -> int:
        return self.journal.prune(tenant, before, 9.0)

    def state(self) -> object:
        events = [
            [(self.plain(seq), event.client, event.kind, event.at, event.n, event.level) for seq, event in self.journal.read(t)]
            for t in TENANTS
        ]  # fmt: skip
        known = [self.journal.remembered(tenant, client) for tenant in TENANTS for client in CLIENTS]
        used = [self.journal.used(account(tenant, holder)) for tenant in TENANTS for holder in ("key a", "tenant")]
        seen = [self.journal.clients(tenant) for tenant in TENANTS]
        return events, [(self.plain(each.version), each.parts) for each in known], used, seen


def account(tenant: str, holder: str) -> Account:
    return Account(tenant, holder, 0, 5.0, 10)


def compare(make: Callable[[], Any], history: list[tuple[Any, ...]]) -> None:
    with make() as journal:
        real, twin = Numbered(journal), Numbered(InProcessJournal())
        for action in history:
            assert real.do(action) == twin.do(action), action
        assert real.state() == twin.state()


@settings(max_examples=30)
@given(st.lists(actions, max_size=15))
def test_sqlite_is_its_twin(history):
    with TemporaryDirectory() as folder:
        compare(lambda: opened(str(Path(folder) / "journal.sqlite")), history)
