"""Where alarms wait for a person: in the folder of a replayed log, or in a gateway's journal."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from gamekeeper.detectors.limits_file import read_limits
from gamekeeper.engine.gateway.alarms import alarm_rows
from gamekeeper.engine.gateway.folder import GatewayFolder, Named, gateway_folder
from gamekeeper.engine.gateway.gateway_config import GATEWAY
from gamekeeper.engine.gateway.reviews import decisions, review_event
from gamekeeper.errors import BadConfig
from gamekeeper.policy import Level
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.replay_rows import AlarmRow, ReplayHeader, Review
from gamekeeper.service.journal.event import Event, Seen
from gamekeeper.service.journal.journal import Journal
from gamekeeper.surfaces.replay_report import write_replay_report
from gamekeeper.version import __version__


@runtime_checkable
class Desk(Protocol):
    """Alarms, and what people decided about them."""

    @property
    def folder(self) -> Path: ...
    def alarms(self) -> list[AlarmRow]:
        """In the order they were raised."""
        ...

    def decisions(self) -> dict[str, Review]:
        """The last decision about each alarm that has one, by the alarm's id."""
        ...

    def add(self, reviews: Sequence[Review]) -> None:
        """Writes decisions down."""
        ...

    def client(self, named: Named) -> str:
        """The client whom a person names so. Raises BadConfig if that is nobody."""
        ...

    def clients(self) -> Sequence[str]:
        """The pseudonyms of all clients, where they are pseudonyms: a table has no room for them."""
        ...

    def held(self, clients: Collection[str]) -> Mapping[str, str]:
        """The levels of those of some clients whom a policy has above the lowest one."""
        ...

    def owners(self) -> Mapping[str, str]:
        """The tenant of each alarm, by its id, where there are tenants."""
        ...

    def header(self, alarm: AlarmRow) -> ReplayHeader:
        """What a SIEM should know of where the alarm comes from; its date is when the alarm was written."""
        ...


@dataclass(frozen=True)
class ReplayDesk:
    """Of a replayed log."""

    folder: Path

    def __post_init__(self) -> None:
        ReplayFiles(self.folder).header()

    def alarms(self) -> list[AlarmRow]:
        return ReplayFiles(self.folder).alarms()

    def decisions(self) -> dict[str, Review]:
        return ReplayFiles(self.folder).decisions()

    def add(self, reviews: Sequence[Review]) -> None:
        for each in reviews:
            ReplayFiles(self.folder).add(each)
        write_replay_report(self.folder)

    def client(self, named: Named) -> str:
        if named.client is None or named.account is not None:
            raise BadConfig("--account is of a gateway. Name the client as the log does, with --client.")
        return named.client

    def clients(self) -> Sequence[str]:
        return ()

    def held(self, clients: Collection[str]) -> Mapping[str, str]:
        return {}

    def owners(self) -> Mapping[str, str]:
        return {}

    def header(self, alarm: AlarmRow) -> ReplayHeader:
        return ReplayFiles(self.folder).header()


@dataclass(frozen=True)
class GatewayDesk:
    """Of a gateway, and some of its tenants."""

    gateway: GatewayFolder
    journal: Journal
    tenants: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.gateway.path

    def alarms(self) -> list[AlarmRow]:
        path = self.gateway.file(self.gateway.config.limits)
        limits = read_limits(path)[1] if path.exists() else {}
        return alarm_rows((event for _, event in self._events()), limits)

    def decisions(self) -> dict[str, Review]:
        return decisions(event for _, event in self._events())

    def add(self, reviews: Sequence[Review]) -> None:
        tenants = self.owners()
        for each in reviews:
            self.journal.append(review_event(tenants[each.alarm], each))

    def client(self, named: Named) -> str:
        return named.find(self.gateway, self.journal)[1]

    def clients(self) -> Sequence[str]:
        return [each.client for each in self._seen()]

    def held(self, clients: Collection[str]) -> Mapping[str, str]:
        levels = {each.client: each.level for each in self._seen() if each.client in clients}
        return {client: level for client, level in levels.items() if level and level != str(Level.LOG)}

    def owners(self) -> Mapping[str, str]:
        return {event.id.hex(): tenant for tenant, event in self._events() if event.kind == "alarm"}

    def header(self, alarm: AlarmRow) -> ReplayHeader:
        config = self.gateway.config
        date = datetime.fromtimestamp(alarm.at or 0.0, UTC).isoformat()
        return ReplayHeader(
            __version__, date, config.journal, "gateway", config.model or config.target, "", 0, 0, 0, config.alpha
        )

    def _seen(self) -> Generator[Seen]:
        for tenant in self.tenants:
            yield from self.journal.clients(tenant)

    def _events(self) -> Generator[tuple[str, Event]]:
        for tenant in self.tenants:
            yield from ((tenant, event) for _, event in self.journal.read(tenant))


@contextmanager
def open_desk(folder: Path, tenant: str | None) -> Generator[Desk]:
    """The desk of a folder, whichever it is of. Raises BadConfig if it is of neither."""
    if not (folder / GATEWAY).exists():
        if tenant is not None:
            raise BadConfig(f"--tenant is of a gateway, and {folder} holds none ({GATEWAY} is missing).")
        yield ReplayDesk(folder)
        return
    gateway = gateway_folder(folder)
    with gateway.open_journal() as journal:
        yield GatewayDesk(gateway, journal, gateway.tenants(tenant))
