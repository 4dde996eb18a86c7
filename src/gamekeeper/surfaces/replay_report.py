"""replay.html: one self-contained page about a replayed log, a pure function of the files in its folder.

No scripts and no external resources; every name is escaped. It proposes nothing but to look, to ask and to decide.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gamekeeper.aside import replaced
from gamekeeper.logs.event import shown
from gamekeeper.replay_files import CONFIRMED, DISMISSED, ReplayFiles
from gamekeeper.replay_rows import AlarmRow, ClientRow, ReplayHeader, Review
from gamekeeper.surfaces.report import client_words as words
from gamekeeper.surfaces.report.client_figures import history
from gamekeeper.surfaces.report.figures import svg
from gamekeeper.surfaces.report.page import environment
from gamekeeper.surfaces.report.standards import REPLAY_ENTRIES, VERSIONS

REPORT = "replay.html"
TEMPLATE = "replay.html.j2"
LISTED, CARDS, CALM, MEMBERS = 200, 40, 12, 20
"""Clients in the table, cards, how many clients without an alarm stand in the table at once, and accounts of a group. The files hold
them all."""


@dataclass(frozen=True)
class Suspect:
    """A client as the page shows them. place: of their card, from 1; 0 without one. standing: confirmed, dismissed or ""."""

    client: ClientRow
    alarms: Sequence[AlarmRow]
    standing: str
    place: int
    figure: Markup | None = None

    @property
    def suspicion(self) -> float:
        return words.suspicion(self.client)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and text of what is known about the client."""
        one = self.client
        facts = [
            ("sent", words.volume(one)),
            ("from, to", f"{words.moment(one.first)} to {words.moment(one.last)}"),
            ("rate", words.pace(one)),
            ("repeats", words.repeats(one)),
            ("inputs", words.statistics(one.inputs)),
            ("could have learnt", words.learnt(one)),
        ]
        return [*facts, ("linked accounts", ", ".join(map(shown, one.linked)))] if one.linked else facts

    @property
    def meanings(self) -> list[tuple[list[str], str]]:
        """Detectors that raised an alarm, by what that means."""
        by_text: dict[str, list[str]] = {}
        for name in self.client.alarmed:
            by_text.setdefault(words.meaning(name), []).append(name)
        return [(names, text) for text, names in by_text.items()]

    @property
    def excuses(self) -> list[str]:
        """Honest clients who may look like this one."""
        return list(dict.fromkeys(text for name in self.client.alarmed if (text := words.excuse(name))))


def write_replay_report(folder: Path) -> Path:
    """Reads the replay in `folder`, writes replay.html aside and renames it. Raises BadConfig without a replay."""
    files = ReplayFiles(folder)
    text = replay_page(files.header(), files.clients(), files.alarms(), files.decisions(), folder)
    replaced(folder / REPORT, [text.encode()])
    return folder / REPORT


def replay_page(
    header: ReplayHeader,
    clients: Sequence[ClientRow],
    alarms: Sequence[AlarmRow],
    decisions: Mapping[str, Review],
    folder: Path = Path("REPLAY"),
) -> str:
    """The whole report as HTML. decisions: by alarm; folder: as commands name it."""
    everybody = ranked(clients, alarms, decisions)
    suspects = [one for one in everybody if one.client.alarmed]
    standings = [one.standing for one in suspects]
    together = grouped(header, alarms)
    waiting = [own for _, own in together if own and not words.standing(own, decisions)]
    return templates().get_template(TEMPLATE).render(
        header=header,
        headline=words.headline(header, standings, len(waiting)),
        read=words.read(header),
        chance=words.chance(header),
        judged=words.judged(header),
        nobody_can=words.NOBODY_CAN,
        evidence=words.EVIDENCE_ONLY,
        notes=header.notes,
        open=[one for one in suspects if not one.standing and one.place],
        confirmed=standings.count(CONFIRMED),
        dismissed=standings.count(DISMISSED),
        suspects=[one for one in suspects if one.place],
        uncarded=max(0, header.alarmed - sum(1 for one in suspects if one.place)),
        listed=everybody[: (first := min(LISTED, len(suspects) + CALM))],
        folded=everybody[first:LISTED],
        unlisted=max(0, header.clients - min(LISTED, len(everybody))),
        groups=together[:LISTED],
        waiting=len(waiting),
        decisions=decisions,
        folder=shlex.quote(str(folder)),
        named=words.NAMED,
        most=MEMBERS,
        entries=REPLAY_ENTRIES,
        versions=VERSIONS,
    )  # fmt: skip


def ranked(clients: Sequence[ClientRow], alarms: Sequence[AlarmRow], decisions: Mapping[str, Review]) -> list[Suspect]:
    """Clients with an alarm first, then by suspicion; the first CARDS of those with one have a card."""
    raised: dict[str, list[AlarmRow]] = {}
    for each in alarms:
        if not each.members:
            raised.setdefault(each.client, []).append(each)
    order = sorted(clients, key=lambda one: (not one.alarmed, words.suspicion(one), -one.queries))
    suspects: list[Suspect] = []
    for number, one in enumerate(order, 1):
        own = raised.get(one.client, [])
        place = number if one.alarmed and number <= CARDS else 0
        suspects.append(Suspect(one, own, words.standing(own, decisions), place, drawing(one, own, place)))
    return suspects


def grouped(header: ReplayHeader, alarms: Sequence[AlarmRow]) -> list[tuple[Sequence[str], list[AlarmRow]]]:
    """Linked accounts with the alarms that they raised together; those with alarms first."""
    raised: dict[frozenset[str], list[AlarmRow]] = {frozenset(group): [] for group in header.groups}
    names: dict[frozenset[str], Sequence[str]] = {frozenset(group): group for group in header.groups}
    for each in alarms:
        if each.members:
            raised.setdefault(frozenset(each.members), []).append(each)
            names.setdefault(frozenset(each.members), each.members)
    return sorted(((names[key], own) for key, own in raised.items()), key=lambda one: (not one[1], -len(one[0])))


def drawing(client: ClientRow, alarms: Sequence[AlarmRow], place: int) -> Markup | None:
    """The client's history as inline SVG, in which matplotlib has escaped all names; None without a card or a history."""
    figure = history(client, alarms) if place else None
    return Markup(svg(figure, f"history-{place}")) if figure else None  # noqa: S704


def templates() -> Any:
    """The report's environment with the filters of this page."""
    filters: dict[str, Callable[..., Any]] = {
        "shown": shown,
        "once": words.once,
        "share": words.share,
        "amount": words.amount,
        "decided": words.decided,
        "day": words.moment,
        "date": words.date,
    }
    both = environment()
    both.filters.update(filters)
    return both
