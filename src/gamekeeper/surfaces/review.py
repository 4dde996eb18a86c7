"""`gamekeeper review` and `gamekeeper alarms`: alarms are questions for a person, whose answers are written down.

Nothing here acts on a client. A decision is a line in reviews.jsonl; the last one about an alarm counts.
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import shown
from gamekeeper.replay_files import CONFIRMED, DISMISSED, ReplayFiles
from gamekeeper.replay_rows import AlarmRow, Review
from gamekeeper.results import encoded
from gamekeeper.surfaces.ocsf import finding
from gamekeeper.surfaces.replay_report import write_replay_report
from gamekeeper.surfaces.report.client_words import moment, once, whom
from gamekeeper.surfaces.report.words import plain


def list_open(folder: Path) -> None:
    """Prints the alarms nobody has decided about."""
    files = ReplayFiles(folder)
    files.header()
    decisions, alarms = files.decisions(), files.alarms()
    waiting = [each for each in alarms if each.id not in decisions]
    console = Console(highlight=False)
    if waiting:
        console.print(table(waiting))
    console.print(
        f"{len(waiting)} of {len(alarms)} alarms are open."
        + (f" Decide: gamekeeper review {plain(str(folder))} ALARM --confirm (or --dismiss) --by YOU --why TEXT" if waiting else ""),
        soft_wrap=True,
        markup=False,
    )  # fmt: skip


def table(alarms: list[AlarmRow]) -> Table:
    columns = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("alarm", "client", "detector", "when", "after", "an ordinary client"):
        columns.add_column(name, justify="right" if name == "after" else "left", overflow="fold")
    for each in alarms:
        cells = (
            plain(each.id),
            whom(each),
            plain(each.detector),
            moment(each.at),
            f"{each.query:,}",
            once(each.p),
        )
        columns.add_row(*(cell.replace("[", r"\[") for cell in cells))
    return columns  # fmt: skip


def decide(folder: Path, alarm: str | None, confirm: bool, dismiss: bool, by: str, reason: str) -> None:
    """Writes one decision down and the report anew. Raises BadConfig, and writes nothing, unless all of it is given."""
    files = ReplayFiles(folder)
    files.header()
    if confirm == dismiss:
        raise BadConfig(f"a review needs --confirm or --dismiss; got {'both' if confirm else 'neither'}.")
    if not by.strip() or not reason.strip():
        raise BadConfig("a review needs --by, who decided, and --why, in a sentence: somebody will ask later.")
    if alarm is None:
        raise BadConfig(f"a review needs the id of an alarm. List the open ones: gamekeeper review {folder}")
    row = chosen(files.alarms(), alarm, folder)
    files.add(Review(row.id, row.client, CONFIRMED if confirm else DISMISSED, by.strip(), reason.strip(), time.time()))
    write_replay_report(folder)
    left = len({each.id for each in files.alarms()} - set(files.decisions()))
    Console(highlight=False).print(
        f"{files.decisions()[row.id].decision}: alarm {plain(row.id)} of {whom(row)}. {left} open.",
        soft_wrap=True,
        markup=False,
    )


def chosen(alarms: list[AlarmRow], beginning: str, folder: Path) -> AlarmRow:
    """The alarm whose id is this, or the only one whose id begins like this."""
    exact = [each for each in alarms if each.id == beginning]
    near = exact or [each for each in alarms if each.id.startswith(beginning)]
    if len(near) == 1:
        return near[0]
    what = f"{len(near)} alarms begin with" if near else "there is no alarm"
    raise BadConfig(f"{what} '{shown(beginning)}' in {folder}. List the open ones: gamekeeper review {folder}")


def print_alarms(folder: Path, form: Literal["jsonl", "ocsf"]) -> None:
    """Every alarm as a line of JSON: as it is, with the last decision about it, or as an OCSF Detection Finding."""
    files = ReplayFiles(folder)
    header, decisions = files.header(), files.decisions()
    for each in files.alarms():
        review = decisions.get(each.id)
        plain_row = {**asdict(each), "review": None if review is None else asdict(review)}
        sys.stdout.write(encoded(finding(each, header, review) if form == "ocsf" else plain_row).decode() + "\n")
