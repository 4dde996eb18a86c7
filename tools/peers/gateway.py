"""A gateway without defenses on 127.0.0.1, with everything between socket and model that a real one has."""

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gamekeeper.detectors.lookout import Lookout
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.served import Served
from gamekeeper.service.journal.database_journal import open_journal
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Principals, Pseudonyms
from gamekeeper.service.quotas import Quotas, Reservations
from gamekeeper.surfaces.gateway.app import application
from gamekeeper.surfaces.gateway.request_log import RequestLog
from gamekeeper.surfaces.gateway.running import Server, server
from gamekeeper.surfaces.gateway.settings import ServerSettings
from gamekeeper.types import Model


@dataclass(frozen=True)
class Open:
    """A gateway that answers: where, an API key, what it writes down, and who gives keys out."""

    url: str
    key: str
    journal: Journal
    principals: Principals


@contextmanager
def opened(
    victim: Model, served: Served, rules: Mapping[str, Rules] | None = None, step: float = 0.0
) -> Iterator[Open]:
    """A gateway before a model, until the block ends: it watches nobody and writes everything down.

    rules  by tenant; without them it changes nothing
    step   see `ServerSettings.answer_step`
    """
    with tempfile.TemporaryDirectory() as folder, closing(open_journal(str(Path(folder) / "journal.db"))) as journal:
        pseudonyms = Pseudonyms(b"k" * 32)
        principals = Principals(journal, pseudonyms)
        key = principals.issue("acme", "peer", time.time())
        unlimited = Reservations(journal, Quotas())
        gateway = Gateway(victim, Lookout(victim, {}), rules or {"": Rules()}, journal, pseudonyms, unlimited)
        with (Path(folder) / "log").open("w") as log, closing(gateway):
            app = application(
                gateway.answer,
                Addresses(served),
                principals,
                ServerSettings(port=0, answer_step=step),
                log=RequestLog(log),
            )
            with closing(app), running(server(app, app.settings)) as url:
                yield Open(url, key, journal, principals)


@contextmanager
def running(one: Server) -> Iterator[str]:
    """The address of a server that runs in a thread."""
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        while not one.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{one.servers[0].sockets[0].getsockname()[1]}"
    finally:
        one.should_exit = True
        thread.join()
