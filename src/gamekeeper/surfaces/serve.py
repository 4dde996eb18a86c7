"""`gamekeeper serve`: a gateway before a model, from its folder."""

import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gamekeeper.engine.gateway.alarms import detector_of
from gamekeeper.engine.gateway.armed_policy import EVERYBODY
from gamekeeper.engine.gateway.folder import GatewayFolder, gateway_folder
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.gateway_config import DEFAULT_TENANT, Address
from gamekeeper.engine.gateway.model_thread import ModelThread
from gamekeeper.engine.gateway.request import Request, under_way
from gamekeeper.engine.scene import Say
from gamekeeper.errors import BadConfig, JournalError
from gamekeeper.policy import Level
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.served import Limits
from gamekeeper.service.journal.event import Event
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Principals
from gamekeeper.service.quotas import Reservations
from gamekeeper.surfaces.gateway.app import App
from gamekeeper.surfaces.gateway.metrics import Metrics
from gamekeeper.surfaces.gateway.request_log import LOG, RequestLog
from gamekeeper.surfaces.gateway.running import run
from gamekeeper.surfaces.quota import with_quota_from
from gamekeeper.surfaces.ready_gateway import ROWS, Ready, prepared
from gamekeeper.surfaces.serve_words import of_tenant, opening
from gamekeeper.types import Batch, Model, Reply

DAY = 86_400.0
PATIENCE = 5.0
"""Seconds that are waited for the erasing of old events, when the gateway is stopped."""


@dataclass(frozen=True)
class QuotaFrom:
    """The folder of an audit, and the accounts that a thief is believed to have."""

    run: Path
    accounts: int


def run_serve(path: Path, check: bool, quota: QuotaFrom | None = None) -> int:
    """Serves until a signal ends it; with `check`, validates everything and stops. Raises BadConfig, JournalError, …"""
    console = Console(highlight=False)
    folder = gateway_folder(path)
    if quota is not None:
        folder = with_quota_from(folder, quota.run, quota.accounts)
    with progress(console) as say:
        ready = prepared(folder, say)
    with ready.folder.open_journal() as journal:
        tenants = ready.folder.tenants()
        keys = any(journal.keys(tenant) for tenant in tenants)
        held = sum(each.level not in ("", str(Level.LOG)) for tenant in tenants for each in journal.clients(tenant))
        for line in opening(ready, keys, held):
            console.print(line, soft_wrap=True, markup=False)
        if check:
            console.print("Everything is in order; nothing was started.")
            return 0
        free(ready.address)
        whole = started(ready, journal)
    if not whole:
        os._exit(0)  # a thread is stuck in the model, which cannot be stopped; everything acknowledged is written
    return 0


@contextmanager
def progress(console: Console) -> Generator[Say]:
    """Says what is being done: in place on a terminal; elsewhere, where a start would be silent for minutes, line by line."""
    if not console.is_terminal:
        yield lambda doing: console.print(f"{doing} …", soft_wrap=True, markup=False)
        return
    with console.status("arming the detectors") as status:
        yield lambda doing: status.update(f"{doing} …")


def started(ready: Ready, journal: Journal) -> bool:
    """Serves until a signal ends it. Returns whether every request under way was answered."""
    target = ready.scene.target
    metrics = Metrics(ready.scene.alarming, map(str, Level))
    with model(ready, metrics) as victim, Pruning(ready.folder, journal):
        gateways = Gateways(ready, victim, journal, lambda event: count(event, metrics))
        app = App(
            gateways.answer,
            Addresses(ready.served, Limits(rows=min(ROWS, target.batch))),
            Principals(journal, ready.pseudonyms),
            ready.settings,
            metrics,
            RequestLog(),
        )
        return run(app, ready.settings, gateways.reload, gateways.close)


def count(event: Event, metrics: Metrics) -> None:
    """Alarms and changes of level, for Prometheus."""
    if event.kind == "alarm":
        metrics.alarmed(detector_of(event))
    elif event.kind == "level":
        metrics.levelled(event.level)


@contextmanager
def model(ready: Ready, metrics: Metrics) -> Generator[Model]:
    """What answers: the model in a thread of its own, or the server behind the gateway."""
    if ready.scene.target.remote:
        yield ready.scene.target.victim
        return
    with ModelThread(ready.scene.target.victim, ready.batch, passed=metrics.passed) as thread:
        yield thread


class Gateways:
    """A gateway for each file of limits: tenants with limits of their own have one for themselves."""

    def __init__(
        self, ready: Ready, victim: Model, journal: Journal, noticed: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.ready, config = ready, ready.folder.config
        reservations = Reservations(journal, config.quotas)
        self.gateways = {
            tenant: Gateway(
                victim,
                watched.lookout,
                ready.rules,
                journal,
                ready.pseudonyms,
                reservations,
                config.failure_mode_allow,
                made_for=ready.scene.basis,
                noticed=noticed,
            )
            for tenant, watched in ready.watching.items()
        }

    def answer(self, request: Request) -> Reply:
        """See `Answering`."""
        with under_way(request):
            return (self.gateways.get(request.who.tenant) or self.gateways[EVERYBODY]).answer(request)

    def reload(self) -> None:
        """Reads every policy again; one that is wrong changes nothing. Raises BadConfig."""
        rules = self.ready.policies.rules()
        for gateway in self.gateways.values():
            gateway.take_rules(rules)
        for tenant, each in rules.items():
            LOG.info("%s", of_tenant(tenant, each.policy))

    def close(self) -> None:
        for gateway in self.gateways.values():
            gateway.close()


@dataclass(frozen=True, eq=False)
class InProcess:
    """A gateway without sockets: for tests and notebooks."""

    gateways: Gateways
    principals: Principals

    def issue(self, account: str, tenant: str = DEFAULT_TENANT) -> str:
        """A new API key for an account."""
        return self.principals.issue(tenant, account, time.time())

    def ask(self, key: str, x: Batch, address: str = "127.0.0.1") -> Reply:
        """The answer to a request of somebody who sends this key. Raises Denied, …, as `Answering`."""
        now = time.time()
        return self.gateways.answer(Request(self.principals.principal(key, address, now), x, now))


@contextmanager
def in_process(path: Path) -> Generator[InProcess]:
    """The gateway of a folder, alive within the block. What it writes down is in the folder's journal."""
    ready = prepared(gateway_folder(path), lambda doing: None)
    with ready.folder.open_journal() as journal, model(ready, Metrics()) as victim:
        gateways = Gateways(ready, victim, journal)
        try:
            yield InProcess(gateways, Principals(journal, ready.pseudonyms))
        finally:
            gateways.close()


class Pruning:
    """Erases events older than is retained, once a day and at the start. A context."""

    def __init__(self, folder: GatewayFolder, journal: Journal, seconds: float = DAY) -> None:
        self.folder, self.journal, self.seconds = folder, journal, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pruning", daemon=True)

    def once(self, now: float) -> int:
        """Returns how many events were erased."""
        before = now - DAY * self.folder.config.retain
        return sum(self.journal.prune(tenant, before, now) for tenant in self.folder.tenants())

    def _run(self) -> None:
        while True:
            try:
                self.once(time.time())
            except JournalError as error:
                LOG.error("old events were not erased: %s", error)
            if self._stop.wait(self.seconds):
                return

    def __enter__(self) -> "Pruning":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)  # what is left is erased tomorrow


def free(address: Address) -> None:
    """Raises BadConfig if somebody else listens there."""
    if address.socket or not address.port:
        return
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as error:
        raise BadConfig(
            f"the gateway cannot listen at {address}: {error.strerror or error}. Give another `listen`."
        ) from None
