"""A gateway as its operator has it: `gamekeeper init gateway`, `gamekeeper serve`, in a process of its own."""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.demo_gateway import Door, begun, serving

from gamekeeper.engine.gateway.folder import gateway_folder
from gamekeeper.service.journal.event import Event

TENANT = "default"


@dataclass(frozen=True)
class Whole:
    """A gateway that runs."""

    folder: Path
    door: Door

    def events(self, kind: str) -> list[Event]:
        """What is written down so far."""
        with gateway_folder(self.folder).open_journal() as journal:
            return [event for _, event in journal.read(TENANT) if event.kind == kind]

    def queries(self) -> int:
        """Inputs that were answered."""
        return sum(event.n for event in self.events("answer"))


@contextmanager
def whole(
    folder: Path,
    target: str = "mnist",
    accounts: Sequence[str] = ("auditor",),
    detectors: str = '["repeats"]',
    edit: Callable[[str], str] = lambda text: text,
) -> Generator[Whole]:
    """By default with a detector that needs no limits, so that it starts at once."""
    door = begun(folder, accounts)
    settings = folder / "gateway.toml"
    text = re.sub(r"(?m)^# detectors = .*$", f"detectors = {detectors}", settings.read_text())
    settings.write_text(edit(text.replace('target = "mnist"', f'target = "{target}"')))
    with serving(folder, door):
        yield Whole(folder, door)
