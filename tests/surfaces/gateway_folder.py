"""A gateway's folder whose journal was filled by hand: a thief, an honest client with an alarm, and a namesake at another tenant."""

from pathlib import Path

from gamekeeper.engine.gateway.folder import GatewayFolder, gateway_folder
from gamekeeper.policy import Level, Standing, packed
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Pseudonyms
from gamekeeper.surfaces.init import write_config

START = 1_790_000_000.0
EVIL = "[red]\x1b[31m\u202eann </script>"
"""What a hostile person may give as a reason or a name."""


def made(tmp_path: Path) -> GatewayFolder:
    """Two tenants, nobody has come."""
    path = tmp_path / "gate"
    write_config("gateway", path)
    with (path / "gateway.toml").open("a") as file:
        file.write("\n[tenant.rival]\n")
    return gateway_folder(path)


def client(folder: GatewayFolder, account: str, tenant: str = "default") -> str:
    return folder.pseudonyms().client(tenant, account)


def answer(tenant: str, who: str, at: float, n: int = 1, **scores: float) -> Event:
    return Event(tenant, who, "answer", at, n=n, inputs=(b"\xab" * 16,) * n, scores=scores, level="log")


def alarm(tenant: str, who: str, at: float, detector: str, query: int = 20) -> Event:
    scores = {
        "score": 9.25, "p": 0.0005, "query": float(query), "queries": query + 4.0, "queries per hour": 90.0, "input mean": 0.13, "input sd": 0.31,
        "input low": 0.0, "input high": 1.0, "exact repeats": 0.25, "near repeats": float("nan"), "busiest hour": 12.0,
    }  # fmt: skip
    return Event(
        tenant,
        who,
        "alarm",
        at,
        scores=scores,
        level="slow",
        reason=f"{detector} raised an alarm after query {query:,}",
    )


def filled(folder: GatewayFolder) -> None:
    """The thief has two alarms and is held at `slow`, the honest client one alarm; each tenant has an account `ann`."""
    with folder.open_journal() as journal:
        fill(journal, folder.pseudonyms())


def fill(journal: Journal, pseudonyms: Pseudonyms) -> None:
    thief, ann, rival = (
        pseudonyms.client(*who) for who in (("default", "thief"), ("default", "ann"), ("rival", "ann"))
    )
    for nth in range(5):
        journal.append(answer("default", thief, START + nth, n=10))
    standing = Standing({"mmd": 20, "prada:floor=0": 50}, {}, Level.SLOW)
    journal.append(alarm("default", thief, START + 5, "mmd"), Remembered(0, {"policy": packed(standing)}))
    journal.append(alarm("default", thief, START + 6, "prada:floor=0", 1_050))
    journal.append(Event("default", thief, "denied", START + 7, n=3, level="slow", reason="too fast"))
    journal.append(answer("default", ann, START + 8))
    journal.append(alarm("default", ann, START + 9, "mmd"))
    journal.append(answer("rival", rival, START + 10, n=7))
    journal.append(alarm("rival", rival, START + 11, "mmd", 50))
