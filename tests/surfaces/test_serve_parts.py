"""Parts of `gamekeeper serve` that need no model: erasing what is old, counting alarms, addresses in use."""

import socket

import pytest
from prometheus_client import generate_latest

from gamekeeper.engine.gateway.gateway_config import parse_address
from gamekeeper.errors import BadConfig
from gamekeeper.policy import Level
from gamekeeper.service.journal.event import Event
from gamekeeper.surfaces.gateway.metrics import Metrics
from gamekeeper.surfaces.serve import DAY, Pruning, count, free
from tests.surfaces.gateway_folder import START, alarm, client, filled, made


def test_events_older_than_is_retained_are_erased_of_every_tenant(tmp_path):
    folder = made(tmp_path)
    filled(folder)
    with folder.open_journal() as journal:
        now = START + 7.5 + 30 * DAY
        assert Pruning(folder, journal).once(now) == 8  # all of the thief's
        assert [event.kind for _, event in journal.read("default")] == ["answer", "alarm", "prune"]
        held = {each.client for each in journal.clients("default")}
        assert client(folder, "thief") in held, "a client who is held stays held"
        assert Pruning(folder, journal).once(now + DAY) == 4
        assert [event.kind for _, event in journal.read("rival")] == ["prune"]


def test_alarms_and_levels_are_counted_by_name():
    metrics = Metrics(["mmd"], map(str, Level))
    for event in (
        alarm("acme", "c", START, "mmd"),
        alarm("acme", "c", START, "prada:floor=0"),
        Event("acme", "c", "level", START, level="slow"),
        Event("acme", "c", "answer", START, level="slow"),
    ):
        count(event, metrics)
    text = generate_latest(metrics.registry).decode()
    assert 'gamekeeper_alarms_total{detector="mmd"} 1.0' in text
    assert 'gamekeeper_alarms_total{detector="other"} 1.0' in text
    assert 'gamekeeper_level_changes_total{level="slow"} 1.0' in text
    assert "prada" not in text


def test_an_address_that_is_taken_is_named_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadConfig, match=f"cannot listen at 127.0.0.1:{port}"):
            free(parse_address(f"127.0.0.1:{port}"))
    free(parse_address("127.0.0.1:0"))
    free(parse_address("unix:somewhere.sock"))
