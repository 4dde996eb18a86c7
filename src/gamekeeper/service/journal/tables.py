"""The tables of a journal, and every statement on them: SQL that SQLite and PostgreSQL have in common.

    about    the journal's format
    event    what happened, in order: seq, the columns of `event.as_row`, a checksum
    client   version and level of each client, and when they were last seen
    memory   the parts of what is remembered of a client
    account  queries that a holder has taken in a window
    api_key  hashes of API keys

All of it runs inside a transaction that no other writer overlaps (`Session.begin`), so a number is read and then written
without a race, and `seq` grows in the order of commits. What raises Stale or Denied here has changed nothing.
"""

from collections.abc import Collection, Iterator, Sequence

from gamekeeper.errors import Denied, JournalError
from gamekeeper.service.journal.accounts import Account, Charge, granted
from gamekeeper.service.journal.database import Row, Session
from gamekeeper.service.journal.event import PLAIN, Event, Remembered, Seen, Stale, as_row, from_row
from gamekeeper.service.journal.keyring import KeyRecord

FORMAT = "1"
LOWEST = ("", "log")
"""Levels of clients who are not held at any."""
STANDING = "policy"
"""The part of a client's memories that says at which level they are held."""
SLICE = 10_000
"""Numbers of events that one transaction looks through when old ones are erased."""
SCHEMA = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE event (seq {serial}, id {bytes} NOT NULL UNIQUE, at {real} NOT NULL, tenant TEXT NOT NULL,"
    " client TEXT NOT NULL, kind TEXT NOT NULL, n {int} NOT NULL, level TEXT NOT NULL, body {bytes} NOT NULL,"
    " crc {int} NOT NULL)",
    "CREATE INDEX event_of_client ON event (tenant, client, seq)",
    "CREATE TABLE client (tenant TEXT NOT NULL, client TEXT NOT NULL, version {int} NOT NULL, level TEXT NOT NULL,"
    " seen {real} NOT NULL, PRIMARY KEY (tenant, client))",
    "CREATE TABLE memory (tenant TEXT NOT NULL, client TEXT NOT NULL, part TEXT NOT NULL, data {bytes} NOT NULL,"
    " PRIMARY KEY (tenant, client, part))",
    "CREATE TABLE account (tenant TEXT NOT NULL, holder TEXT NOT NULL, of_window {int} NOT NULL, until {real} NOT NULL,"
    " used {int} NOT NULL, PRIMARY KEY (tenant, holder, of_window))",
    "CREATE TABLE api_key (id TEXT PRIMARY KEY, hashed {bytes} NOT NULL, tenant TEXT NOT NULL, account TEXT NOT NULL,"
    " since {real} NOT NULL, until {real} NOT NULL)",
    f"INSERT INTO about VALUES ('format', '{FORMAT}')",  # noqa: S608
)
COLUMNS = ", ".join((*PLAIN, "body", "crc"))
INSERT = (
    f"INSERT INTO event ({COLUMNS}) VALUES ({', '.join('?' * (len(PLAIN) + 2))}) ON CONFLICT DO NOTHING RETURNING seq"  # noqa: S608
)
SEEN = (
    "INSERT INTO client VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, client) DO UPDATE SET version = excluded.version,"
    " level = CASE WHEN excluded.level = '' THEN client.level ELSE excluded.level END, seen = excluded.seen"
)
REMEMBER = (
    "INSERT INTO memory VALUES (?, ?, ?, ?) ON CONFLICT (tenant, client, part) DO UPDATE SET data = excluded.data"
)
TAKE = (
    "INSERT INTO account VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, holder, of_window)"
    " DO UPDATE SET used = account.used + excluded.used"
)
PUT_KEY = (
    "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET hashed = excluded.hashed,"
    " tenant = excluded.tenant, account = excluded.account, since = excluded.since, until = excluded.until"
)


def prepare(session: Session, schema: Sequence[str], empty: bool) -> None:
    """Makes the tables of a new journal; raises JournalError for one of another format."""
    if empty:
        for statement in schema:
            session.rows(statement)
        return
    rows = session.rows("SELECT value FROM about WHERE name = 'format'")
    if rows != [(FORMAT,)]:
        raise JournalError(f"it has format {rows[0][0] if rows else 'none'}; this release reads {FORMAT}")


def write(session: Session, event: Event, rows: Sequence[Row], remembered: Remembered | None) -> int:
    """See `Journal.append`; `rows` are `as_row` of the event and of those that come with it."""
    written = session.rows(INSERT, rows[0])
    if not written:
        return int(session.rows("SELECT seq FROM event WHERE id = ?", [event.id])[0][0])
    seq = int(written[0][0])
    if event.client:
        remember(session, event, seq, remembered)
    for row in rows[1:]:
        session.rows(INSERT, row)
    return seq


def remember(session: Session, event: Event, seq: int, remembered: Remembered | None) -> None:
    """When and at which level the client of an event was seen, and what is remembered of them. Raises Stale."""
    who = (event.tenant, event.client)
    version = client_version(session, *who)
    if remembered is not None and remembered.version != version:
        session.rows("DELETE FROM event WHERE seq = ?", [seq])
        raise Stale(f"the memories have version {version}; these were computed from {remembered.version}")
    session.rows(SEEN, [*who, version if remembered is None else seq, event.level, event.at])
    if remembered is None:
        return
    if remembered.erased:
        erase = f"DELETE FROM memory WHERE tenant = ? AND client = ? AND {among(remembered.erased)}"  # noqa: S608
        session.rows(erase, [*who, *remembered.erased])
    for name, data in remembered.parts.items():
        session.rows(REMEMBER, [*who, name, data])


def among(names: Collection[str]) -> str:
    """The condition that a part is one of these; without any, false."""
    return f"part IN ({', '.join('?' * len(names))})" if names else "1 = 0"


def client_version(session: Session, tenant: str, client: str) -> int:
    rows = session.rows("SELECT version FROM client WHERE tenant = ? AND client = ?", [tenant, client])
    return int(rows[0][0]) if rows else 0


def remembered(session: Session, tenant: str, client: str, only: Collection[str] | None = None) -> Remembered:
    """One statement, so that the version is that of the parts."""
    chosen = "" if only is None else f" AND {among(only)}"
    rows = session.rows(
        "SELECT version, part, data FROM client LEFT JOIN memory"  # noqa: S608
        f" ON memory.tenant = client.tenant AND memory.client = client.client{chosen}"
        " WHERE client.tenant = ? AND client.client = ? ORDER BY part",
        [*(only or ()), tenant, client],
    )
    parts = {name: bytes(data) for _, name, data in rows if name is not None}
    return Remembered(int(rows[0][0]) if rows else 0, parts)


def events(session: Session, tenant: str, since: int, most: int) -> Iterator[tuple[int, Event]]:
    """The next events of a tenant. Raises JournalError at a damaged one."""
    query = f"SELECT seq, {COLUMNS} FROM event WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
    for seq, *row in session.rows(query, [tenant, since, most]):
        try:
            event = from_row(tuple(row))
        except JournalError:
            raise session.damaged(f"event {seq} does not match its checksum") from None
        yield int(seq), event


def used(session: Session, account: Account) -> int:
    rows = session.rows(
        "SELECT used FROM account WHERE tenant = ? AND holder = ? AND of_window = ?",
        [account.tenant, account.holder, account.window],
    )
    return int(rows[0][0]) if rows else 0


def take(session: Session, charges: Sequence[Charge]) -> tuple[int, ...]:
    """See `Journal.take`."""
    amounts = granted(charges, [used(session, charge.account) for charge in charges])
    if isinstance(amounts, Account):
        raise denied(amounts)
    for charge, n in zip(charges, amounts, strict=True):
        add(session, charge.account, n)
    return amounts


def add(session: Session, account: Account, n: int) -> None:
    """Adds to what an account has used; takes away if negative."""
    session.rows(TAKE, [account.tenant, account.holder, account.window, account.until, n])


def denied(account: Account) -> Denied:
    what = "the tenant" if account.holder == "tenant" else f"this {account.holder.partition(' ')[0]}"
    return Denied(f"the quota of {what} ({account.limit:,} queries) does not cover this request.", account.until)


def put_key(session: Session, record: KeyRecord) -> None:
    session.rows(PUT_KEY, [record.id, record.hashed, record.tenant, record.account, record.since, record.until])


def keys(session: Session, column: str, value: str) -> tuple[KeyRecord, ...]:
    """Keys whose `id` or `tenant` is this."""
    query = f"SELECT id, hashed, tenant, account, since, until FROM api_key WHERE {column} = ? ORDER BY id"  # noqa: S608
    return tuple(KeyRecord(row[0], bytes(row[1]), *row[2:]) for row in session.rows(query, [value]))


def clients(session: Session, tenant: str) -> tuple[Seen, ...]:
    rows = session.rows("SELECT client, level, seen FROM client WHERE tenant = ?", [tenant])
    return tuple(Seen(*row) for row in sorted(rows))  # a database may order names in a way of its own


def forget(session: Session, event: Event) -> int:
    """Erases the client of an event, and writes the event. Returns how many events were erased."""
    who = [event.tenant, event.client]
    (count,) = session.rows("SELECT count(*) FROM event WHERE tenant = ? AND client = ?", who)[0]
    for table in ("event", "client", "memory"):
        session.rows(f"DELETE FROM {table} WHERE tenant = ? AND client = ?", who)  # noqa: S608
    session.rows(INSERT, as_row(event))
    return int(count)


def last(session: Session) -> int:
    """The highest number of an event."""
    return int(session.rows("SELECT coalesce(max(seq), 0) FROM event")[0][0])


def prune_events(session: Session, tenant: str, before: float, first: int) -> int:
    """Erases old events among SLICE numbers from `first` on. Returns how many."""
    return len(
        session.rows(
            "DELETE FROM event WHERE seq >= ? AND seq < ? AND tenant = ? AND at < ? RETURNING seq",
            [first, first + SLICE, tenant, before],
        )
    )


def prune_clients(session: Session, tenant: str, before: float) -> None:
    """Erases what is remembered of clients who have not come since, and accounts whose window has ended."""
    old = "SELECT client FROM client WHERE tenant = ? AND seen < ?"
    forgotten = f"tenant = ? AND client IN ({old} AND level IN (?, ?))"
    dormant = f"tenant = ? AND part <> ? AND client IN ({old})"
    session.rows(f"DELETE FROM memory WHERE {dormant}", [tenant, STANDING, tenant, before])  # noqa: S608
    # a replica that still remembers the rest must not go on from it
    session.rows("UPDATE client SET version = -version WHERE tenant = ? AND seen < ? AND version > 0", [tenant, before])
    session.rows(f"DELETE FROM memory WHERE {forgotten}", [tenant, tenant, before, *LOWEST])  # noqa: S608
    session.rows("DELETE FROM client WHERE tenant = ? AND seen < ? AND level IN (?, ?)", [tenant, before, *LOWEST])
    session.rows("DELETE FROM account WHERE tenant = ? AND until < ?", [tenant, before])
