"""`gamekeeper clients`, `release` and `forget`: who comes to a gateway, at which level they are held, and how that ends."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gamekeeper.engine.gateway.clients import ClientSummary, client_summaries
from gamekeeper.engine.gateway.folder import GatewayFolder, Named, gateway_folder
from gamekeeper.engine.gateway.releases import Release
from gamekeeper.errors import BadConfig
from gamekeeper.policy import Level
from gamekeeper.surfaces.report.client_words import moment
from gamekeeper.surfaces.report.words import plain
from gamekeeper.surfaces.review import shortened


def list_clients(path: Path, named: Named, json: bool) -> None:
    """Prints all clients, those of most concern first; or the one who is named."""
    folder = gateway_folder(path)
    with folder.open_journal() as journal:
        only = named.find(folder, journal) if named else None
        tenants = folder.tenants(named.tenant) if only is None else (only[0],)
        rows = [row for tenant in tenants for row in client_summaries(journal, tenant)]
        names = shortened([each.client for tenant in folder.tenants() for each in journal.clients(tenant)])
    if only is not None:
        rows = [row for row in rows if row.client == only[1]]
    rows.sort(key=lambda row: row.concern, reverse=True)
    if json:
        sys.stdout.write(orjson.dumps([asdict(row) for row in rows], option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    if rows:
        console.print(client_table(rows, names, len(folder.tenants()) > 1))
    console.print(conclusion(rows, folder), soft_wrap=True, markup=False)


def client_table(rows: list[ClientSummary], short: Mapping[str, str], tenants: bool) -> Table:
    columns = Table(box=None, header_style="bold", pad_edge=False)
    names = (*(("tenant",) if tenants else ()), "client", "level", "queries", "denied", "alarms", "open", "last seen")
    for name in names:
        counts = name in ("queries", "denied", "alarms", "open")
        columns.add_column(name, justify="right" if counts else "left", overflow="fold", no_wrap=name == "last seen")
    for row in rows:
        counts = [f"{number:,}" if number else "" for number in (row.queries, row.denied, row.alarms, row.open)]
        cells = [*([row.tenant] if tenants else []), short[row.client], row.level, *counts, moment(row.last)]
        columns.add_row(*map(escape, cells))
    return columns


def conclusion(rows: list[ClientSummary], folder: GatewayFolder) -> str:
    if not rows:
        return "Nobody has come yet."
    waiting, held = sum(row.open for row in rows), sum(row.level != str(Level.LOG) for row in rows)
    what = "1 client" if len(rows) == 1 else f"{len(rows):,} clients"
    alarms = f"{waiting:,} alarm{' is' if waiting == 1 else 's are'} open"
    read = f" Read them: gamekeeper review {plain(str(folder.path))}" if waiting else ""
    shadow = " While the policy is in shadow, a level is only written down." if held else ""
    return f"{what}; {held:,} above level {Level.LOG}; {alarms}.{shadow}{read}"


def release_client(path: Path, named: Named, by: str, reason: str) -> None:
    """Puts a client back to the lowest level and sets today's alarms aside. Raises BadConfig without who and why."""
    if not by.strip() or not reason.strip():
        raise BadConfig("a release needs --by, who decided, and --why, in a sentence: somebody will ask later.")
    folder = gateway_folder(path)
    with folder.open_journal() as journal:
        tenant, client = named.find(folder, journal)
        before = Release(tenant, client, by.strip(), reason.strip()).carry_out(journal)
    Console(highlight=False).print(
        f"released: client {client} is at level {Level.LOG}, from {before.level}; {len(before.counted())} alarms are set"
        " aside. A new one counts again.",
        soft_wrap=True,
        markup=False,
    )


def forget_client(path: Path, named: Named) -> None:
    """Erases a client's events and memories; one event, which says so, is left."""
    folder = gateway_folder(path)
    with folder.open_journal() as journal:
        tenant, client = named.find(folder, journal)
        count = journal.forget(tenant, client, time.time())
    Console(highlight=False).print(
        f"forgotten: {count:,} events of client {client} and all that was remembered of them; one event that says so is left."
        " Their API keys still work (gamekeeper keys), and what they spent counts until its window ends.",
        soft_wrap=True,
        markup=False,
    )
