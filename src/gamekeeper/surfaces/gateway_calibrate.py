"""`gamekeeper calibrate --journal`: limits of a gateway's detectors from its own clients who are believed to be honest."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gamekeeper.detectors.limits_file import save_limits
from gamekeeper.engine.gateway.client_scores import JournalScores, scores_in_journal
from gamekeeper.engine.gateway.folder import gateway_folder
from gamekeeper.engine.gateway.watching import gateway_scene
from gamekeeper.errors import Unsuited
from gamekeeper.surfaces.calibrate import conclude, limits_of_clients


@dataclass(frozen=True)
class JournalClients:
    """Whose journal, and whom of it.

    last    the last so many honest clients; None: all
    tenant  of whom alone; its own file of limits is written then, if it has one
    """

    folder: Path
    last: int | None = None
    tenant: str | None = None


def calibrate_journal(clients: JournalClients, alpha: float | None, out: Path | None, json: bool) -> int:
    """Writes the limits, into the gateway's own file unless another is named, and prints what backs them."""
    folder = gateway_folder(clients.folder)
    if alpha is not None:
        folder = folder.aiming(alpha)
    tenants = folder.tenants(clients.tenant)
    with Console(highlight=False, stderr=json).status("arming the detectors"):
        here = gateway_scene(folder)
        with folder.open_journal() as journal:
            seen = scores_in_journal(journal, tenants, here.alarming, here.setting.looks, clients.last)
    fresh = limits_of_clients(here, seen.honest)
    missing = {name: str(error) for name, error in here.left_out.items()} | dict(fresh.left_out)
    if not fresh.limits:
        raise Unsuited("; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "there is no detector.")
    path = out or folder.limits(clients.tenant)
    save_limits(path, here.basis, fresh.limits)
    conclude(path, fresh.limits, missing, notes(seen), json)
    return 0


def notes(seen: JournalScores) -> list[str]:
    honest = seen.honest
    return [
        f"{honest.clients:,} clients of the journal are believed honest; {honest.others:,} more asked too little to be judged, and"
        f" {seen.doubtful:,} {'was' if seen.doubtful == 1 else 'were'} left out because of an alarm that nobody dismissed.",
        "Start the gateway again to use these limits.",
    ]
