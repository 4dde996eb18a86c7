"""`gamekeeper review` and `gamekeeper alarms`: alarms are questions for a person, whose answers are written down.

Nothing here acts on a client. A decision is a line in a replay's reviews.jsonl, or an event in a gateway's journal; the last
one about an alarm counts.
"""

import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gamekeeper.engine.gateway.folder import Named
from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import shown
from gamekeeper.replay_files import CONFIRMED, DISMISSED, accounts
from gamekeeper.replay_rows import AlarmRow, Review
from gamekeeper.results import encoded
from gamekeeper.surfaces.desk import Desk, open_desk
from gamekeeper.surfaces.ocsf import finding
from gamekeeper.surfaces.report.client_words import once, whom
from gamekeeper.surfaces.report.words import plain

LEAST = 6
"""Characters of an alarm's id that are shown at least."""


def list_open(folder: Path, tenant: str | None = None) -> None:
    """Prints the alarms nobody has decided about."""
    with open_desk(folder, tenant) as desk:
        decisions, alarms, owners = desk.decisions(), desk.alarms(), desk.owners()
        names = shortened(desk.clients())
    waiting = [each for each in alarms if each.id not in decisions]
    console = Console(highlight=False)
    if waiting:
        console.print(table(waiting, names, owners if len(set(owners.values())) > 1 else {}))
    console.print(
        f"{len(waiting)} of {len(alarms)} alarms are open."
        + (f" Decide: gamekeeper review {plain(str(folder))} ALARM --confirm (or --dismiss) --by YOU --why TEXT" if waiting else ""),
        soft_wrap=True,
        markup=False,
    )  # fmt: skip


def table(alarms: list[AlarmRow], names: Mapping[str, str], owners: Mapping[str, str]) -> Table:
    """names: of clients whose own is too long for a table; owners: the tenant of each alarm, where there are several."""
    columns = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("alarm", *(["tenant"] if owners else []), "client", "detector", "after", "an ordinary client"):
        columns.add_column(name, justify="right" if name == "after" else "left", overflow="fold")
    short = shortened([each.id for each in alarms])
    for each in alarms:
        tenant = [plain(owners[each.id])] if owners else []
        who = names.get(each.client) or whom(each)
        cells = (short[each.id], *tenant, who, plain(each.detector), f"{each.query:,}", once(each.p))
        columns.add_row(*map(escape, cells))
    return columns


def shortened(ids: Collection[str]) -> dict[str, str]:
    """Beginnings that tell ids apart, of at least LEAST characters."""
    length = LEAST
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: plain(each[:length]) for each in ids}


@dataclass(frozen=True)
class Answer:
    """What a person decides, and whose question it answers: an alarm, by its id, or all open ones of a client."""

    alarm: str | None
    client: Named
    confirm: bool
    dismiss: bool
    by: str
    reason: str

    def decision(self) -> str:
        """Raises BadConfig unless all of it is given."""
        if self.confirm == self.dismiss:
            raise BadConfig(f"a review needs --confirm or --dismiss; got {'both' if self.confirm else 'neither'}.")
        if not self.by.strip() or not self.reason.strip():
            raise BadConfig("a review needs --by, who decided, and --why, in a sentence: somebody will ask later.")
        return CONFIRMED if self.confirm else DISMISSED


def decide(folder: Path, answer: Answer, tenant: str | None = None) -> None:
    """Writes a decision down. Raises BadConfig, and writes nothing, unless the answer is whole."""
    console = Console(highlight=False)
    with open_desk(folder, tenant) as desk:
        decision = answer.decision()
        alarms = desk.alarms()
        rows, now = chosen(desk, alarms, answer), time.time()
        desk.add([Review(row.id, row.client, decision, answer.by.strip(), answer.reason.strip(), now) for row in rows])
        left = len({each.id for each in alarms} - set(desk.decisions()))
        held = desk.held({row.client for row in rows})
    for row in rows:
        console.print(f"{decision}: alarm {plain(row.id)} of {whom(row)}.", soft_wrap=True, markup=False)
    console.print(f"{left} of {len(alarms)} alarms are open.")
    for client, level in held.items():
        console.print(
            f"A decision ends nothing: client {client} stays at level {level} until gamekeeper release"
            f" {plain(str(folder))} {client} --by YOU --why TEXT",
            soft_wrap=True,
            markup=False,
        )


def chosen(desk: Desk, alarms: list[AlarmRow], answer: Answer) -> list[AlarmRow]:
    """The alarms that an answer is about."""
    folder = desk.folder
    if (answer.alarm is None) == (not answer.client):
        raise BadConfig(
            f"a review needs the id of an alarm, or --client. List the open ones: gamekeeper review {folder}"
        )
    if answer.alarm is not None:
        return [by_id(alarms, answer.alarm, folder)]
    settled, client = set(desk.decisions()), desk.client(answer.client)
    own = [each for each in alarms if accounts(each) == (client,) and each.id not in settled]
    if not own:
        raise BadConfig(
            f"client '{shown(client)}' has no open alarm in {folder}. List the open ones: gamekeeper review {folder}"
        )
    return own


def by_id(alarms: list[AlarmRow], beginning: str, folder: Path) -> AlarmRow:
    """The alarm whose id is this, or the only one whose id begins like this."""
    exact = [each for each in alarms if each.id == beginning]
    near = exact or [each for each in alarms if beginning and each.id.startswith(beginning)]
    if len(near) == 1:
        return near[0]
    what = f"{len(near)} alarms begin with" if near else "there is no alarm"
    raise BadConfig(f"{what} '{shown(beginning)}' in {folder}. List the open ones: gamekeeper review {folder}")


def print_alarms(folder: Path, form: Literal["jsonl", "ocsf"], tenant: str | None = None) -> None:
    """Every alarm as a line of JSON: as it is, with the last decision about it, or as an OCSF Detection Finding."""
    with open_desk(folder, tenant) as desk:
        decisions, owners = desk.decisions(), desk.owners()
        for each in desk.alarms():
            review, tenant = decisions.get(each.id), owners.get(each.id)
            whose = {} if tenant is None else {"tenant": tenant}
            plain_row = {**whose, **asdict(each), "review": None if review is None else asdict(review)}
            row = finding(each, desk.header(each), review, tenant) if form == "ocsf" else plain_row
            sys.stdout.write(encoded(row).decode() + "\n")
