"""The folder of a replayed log: reading and writing its files (`replay_rows.py`). Part of the public format."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from gamekeeper.aside import replaced
from gamekeeper.errors import BadConfig
from gamekeeper.replay_rows import AlarmRow, ClientRow, Moment, ReplayHeader, Review
from gamekeeper.results import Lines, encoded, known

HEADER, CLIENTS, ALARMS, REVIEWS = "replay.json", "clients.jsonl", "alarms.jsonl", "reviews.jsonl"
CONFIRMED, DISMISSED = "confirmed", "dismissed"
TUPLES = ("linked", "notes", "members")


class ReplayFiles:
    """The files of one replayed log.

    `write` replaces the header, the clients and the alarms. `reviews` are only ever added to: they are decisions of people,
    and outlive a replay that is run again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alarm_lines = Lines(folder / ALARMS, alarm, to_line)
        self.client_lines = Lines(folder / CLIENTS, client, to_line)
        self.review_lines = Lines(folder / REVIEWS, review, to_line)

    def header(self) -> ReplayHeader:
        """Raises BadConfig if the folder holds no replay, or half of one."""
        path = self.folder / HEADER
        if not path.exists():
            raise BadConfig(
                f"{self.folder} holds no replayed log ({HEADER} is missing). Give the folder that `gamekeeper replay` wrote."
            )
        try:
            return header(orjson.loads(path.read_bytes()))
        except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
            raise BadConfig(
                f"{path} is not the complete header of a replay ({error}). Run `gamekeeper replay` again with the same folder."
            ) from error

    def clients(self) -> list[ClientRow]:
        """Most suspicious first."""
        return self.client_lines.every()

    def alarms(self) -> list[AlarmRow]:
        """In the order they were raised."""
        return self.alarm_lines.every()

    def reviews(self) -> list[Review]:
        """Every decision ever taken, oldest first. Raises BadConfig for a line that is none."""
        return self.review_lines.every()

    def decisions(self) -> dict[str, Review]:
        """The last decision about each alarm that has one, by the alarm's id."""
        return {each.alarm: each for each in self.reviews()}

    def write(self, header: ReplayHeader, clients: Sequence[ClientRow], alarms: Sequence[AlarmRow]) -> None:
        """Each file is written aside and renamed; the header last, so that a folder with a header is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replaced(self.folder / CLIENTS, map(to_line, clients))
        replaced(self.folder / ALARMS, map(to_line, alarms))
        replaced(self.folder / HEADER, [encoded(asdict(header), orjson.OPT_INDENT_2)])

    def add(self, review: Review) -> None:
        """One write and a sync. A line that a crash cut short is moved aside first."""
        self.review_lines.repair()
        self.review_lines.append(review)


def dismissed(folder: Path) -> set[str]:
    """Clients whom a person found honest: all of their alarms were dismissed. The next calibration may count on them.

    A client with an alarm that is open or confirmed is not among them, whatever was decided about the others.
    """
    files = ReplayFiles(folder)
    decisions = files.decisions()
    alarms = files.alarms()
    last = {each.id: decisions[each.id].decision if each.id in decisions else "" for each in alarms}
    doubtful = {name for each in alarms if last[each.id] != DISMISSED for name in accounts(each)}
    return {name for each in alarms for name in accounts(each)} - doubtful


def accounts(alarm: AlarmRow) -> tuple[str, ...]:
    """Whom an alarm is about: a client, or accounts that were judged as one."""
    return alarm.members or (alarm.client,)


def to_line(row: ClientRow | AlarmRow | Review) -> bytes:
    return encoded(asdict(row)) + b"\n"


def client(data: dict[str, Any]) -> ClientRow:
    """A row from its JSON object; keys that this version does not know are ignored, here as below."""
    history = tuple(Moment(**tupled(Moment, each)) for each in data.get("history", ()))
    return ClientRow(**tupled(ClientRow, data | {"history": history}))


def alarm(data: dict[str, Any]) -> AlarmRow:
    return AlarmRow(**tupled(AlarmRow, data))


def review(data: dict[str, Any]) -> Review:
    return Review(**tupled(Review, data))


def header(data: dict[str, Any]) -> ReplayHeader:
    groups = tuple(map(tuple, data.get("groups", ())))
    return ReplayHeader(**tupled(ReplayHeader, data | {"groups": groups}))


def tupled(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    """What the class knows, with lists as the tuples that they were."""
    return {key: tuple(value) if key in TUPLES else value for key, value in known(cls, data).items()}
