"""`gamekeeper keys`: API keys of a gateway, live: it believes a record for a second."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gamekeeper.engine.gateway.folder import GatewayFolder, gateway_folder
from gamekeeper.engine.gateway.gateway_config import DEFAULT_TENANT
from gamekeeper.errors import BadConfig
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.keyring import KeyRecord
from gamekeeper.service.principals import Principals
from gamekeeper.surfaces.report.client_words import moment

ONCE = "The line above is the key. It is shown this once, and nowhere stored; its holder sends it as `Authorization: Bearer KEY`."


@dataclass(frozen=True)
class KeyChange:
    """What is to be done; at most one of new, rotate and revoke, which name an account and keys.

    overlap  seconds for which a key that is replaced still works
    """

    new: str | None = None
    rotate: str | None = None
    revoke: str | None = None
    overlap: float = 86_400.0

    @property
    def wanted(self) -> bool:
        """Raises BadConfig for two changes at once."""
        given = [value for value in (self.new, self.rotate, self.revoke) if value is not None]
        if len(given) > 1:
            raise BadConfig("give one of --new, --rotate and --revoke.")
        if not 0 <= self.overlap < float("inf"):
            raise BadConfig(f"--overlap is 0 or more seconds. Got {self.overlap:g}.")
        return bool(given)


def run_keys(path: Path, change: KeyChange, tenant: str | None, json: bool) -> None:
    """Does what is wanted, or lists the keys. A new key goes to stdout, alone, and what is to be said of it to stderr."""
    folder = gateway_folder(path)
    if change.wanted:
        apply(folder, change, tenant)
    else:
        list_keys(folder, tenant, json)


def apply(folder: GatewayFolder, change: KeyChange, tenant: str | None) -> None:
    notes = Console(stderr=True, highlight=False)
    with folder.open_journal() as journal:
        principals, now = Principals(journal, folder.pseudonyms()), time.time()
        if change.revoke is not None:
            owned(journal, folder, change.revoke, tenant)
            principals.revoke(change.revoke, now)
            notes.print(f"revoked: key {change.revoke}. A gateway at work refuses it within two seconds.", markup=False)
            return
        if change.rotate is not None:
            owned(journal, folder, change.rotate, tenant)
            text = principals.rotate(change.rotate, now, change.overlap)
        else:
            (within,) = folder.tenants(tenant or DEFAULT_TENANT)
            text = principals.issue(within, change.new or "", now)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    notes.print(ONCE, soft_wrap=True, markup=False)


def owned(journal: Journal, folder: GatewayFolder, public: str, tenant: str | None) -> None:
    """Raises BadConfig if a key is not of the tenant that is wanted."""
    record = journal.key(public)
    if tenant is not None and record is not None and record.tenant not in folder.tenants(tenant):
        raise BadConfig(
            f"tenant {tenant} has no key {public!r:.80}. List theirs: gamekeeper keys {folder.path} --tenant …"
        )


def list_keys(folder: GatewayFolder, tenant: str | None, json: bool) -> None:
    with folder.open_journal() as journal:
        records = [record for name in folder.tenants(tenant) for record in journal.keys(name)]
    if json:
        sys.stdout.write(orjson.dumps([public(each) for each in records], option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    if records:
        console.print(table(records, time.time()))
    else:
        console.print(
            f"No keys yet. Issue one: gamekeeper keys {folder.path} --new ACCOUNT", soft_wrap=True, markup=False
        )


def public(record: KeyRecord) -> dict[str, object]:
    """What may be shown of a key; an end that is never is null."""
    until = record.until if record.until < float("inf") else None
    return {
        "id": record.id,
        "tenant": record.tenant,
        "account": record.account,
        "since": record.since,
        "until": until,
    }


def table(records: list[KeyRecord], now: float) -> Table:
    columns = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("key", "tenant", "account", "issued", "ends"):
        columns.add_column(name, overflow="fold")
    for each in records:
        ends = "" if each.until == float("inf") else f"{'ended' if each.until <= now else 'ends'} {moment(each.until)}"
        cells = (each.id, each.tenant, each.account, moment(each.since), ends)
        columns.add_row(*map(escape, cells))
    return columns
