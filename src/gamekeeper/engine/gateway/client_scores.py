"""What detectors said of a gateway's clients who are believed to be honest: the scores that limits are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gamekeeper.engine.gateway.at_looks import FirstWindow
from gamekeeper.engine.gateway.reviews import review_of
from gamekeeper.engine.replay_scores import ClientScores
from gamekeeper.errors import Unsuited
from gamekeeper.policy import unpacked
from gamekeeper.replay_files import DISMISSED
from gamekeeper.service.journal.event import Event
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.tables import STANDING


@dataclass(frozen=True, eq=False)
class JournalScores:
    """Scores of honest clients, and how many others were left out.

    doubtful  clients with an alarm that is open or confirmed
    """

    honest: ClientScores
    doubtful: int


class History:
    """One client's, as far as the next calibration needs it."""

    def __init__(self) -> None:
        self.window, self.last = FirstWindow(), 0.0
        self.decisions: dict[str, str] = {}
        """By alarm: what was decided, "" for nothing yet."""

    def add(self, event: Event, looks: Sequence[int]) -> None:
        if event.kind == "answer":
            self.window.add(event.scores, looks)
            self.last = event.at
        elif event.kind == "alarm":
            self.decisions.setdefault(event.id.hex(), "")
        elif event.kind == "review":
            review = review_of(event)
            self.decisions[review.alarm] = review.decision

    @property
    def honest(self) -> bool:
        """Whether there is no alarm but those that a person dismissed."""
        return all(decision == DISMISSED for decision in self.decisions.values())


def scores_in_journal(
    journal: Journal, tenants: Sequence[str], detectors: Sequence[str], looks: Sequence[int], most: int | None = None
) -> JournalScores:
    """The scores at looks of every honest client who came to the first one, each in their first recorded window.

    most  the last so many of these clients; None: all. Raises Unsuited if there is none
    """
    clients: dict[tuple[str, str], History] = {}
    for tenant in tenants:
        for _, event in journal.read(tenant):
            if event.client and event.kind in ("answer", "alarm", "review"):
                clients.setdefault((tenant, event.client), History()).add(event, looks)
    whose = sorted(clients, key=lambda who: clients[who].last, reverse=True)
    histories = [clients[who] for who in whose]
    honest = [clients[who] for who in whose if clients[who].honest and not accused_before(journal, who, clients[who])]
    reached = [each.window for each in honest if each.window.reached][:most]
    if not reached:
        raise Unsuited(
            f"of {len(histories):,} clients in the journal none is believed honest and came as far as the first look,"
            f" {looks[0]} new queries. Let the gateway watch for longer; dismiss alarms of clients who are honest."
        )
    scores = {name: torch.stack([each.row(name, looks) for each in reached]) for name in detectors}
    few = sum(not each.window.reached for each in honest)
    return JournalScores(ClientScores(len(reached), few, scores), len(histories) - len(honest))


def accused_before(journal: Journal, who: tuple[str, str], history: History) -> bool:
    """Whether the client has an alarm that nobody set aside and that is too old to be in the journal."""
    parts = journal.remembered(*who, only=(STANDING,)).parts
    return not history.decisions and STANDING in parts and bool(unpacked(parts[STANDING]).counted())
