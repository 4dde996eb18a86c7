"""A gateway's alarms, as rows like those of a replay: one format for reviews, for a SIEM and for whoever reads them."""

import math
from collections.abc import Iterable, Mapping

from gamekeeper.detectors.limits import Limits
from gamekeeper.replay_rows import AlarmRow
from gamekeeper.service.journal.event import Event

RAISED = " raised an alarm after query "
"""Between the name of the detector and the number of the query, in the reason of an alarm's event."""
INPUTS = ("mean", "sd", "low", "high")


def alarm_rows(events: Iterable[Event], limits: Mapping[str, Limits]) -> list[AlarmRow]:
    """The alarms among some events. `limits`: what the detectors' alarms rest on today."""
    return [alarm_row(event, limits) for event in events if event.kind == "alarm"]


def alarm_row(event: Event, limits: Mapping[str, Limits]) -> AlarmRow:
    """What is not known is None, or NaN where a number must be."""
    detector = detector_of(event)
    rests = limits.get(detector)
    statistics = {name: known(event, f"input {name}") for name in INPUTS}
    return AlarmRow(
        event.id.hex(),
        event.client,
        detector,
        int(known(event, "query") or 0),
        event.scores.get("p", math.nan),
        event.scores.get("score", math.nan),
        math.nan if rests is None else rests.alpha,
        "" if rests is None else backing_in_words(rests),
        int(known(event, "queries") or 0),
        event.at,
        known(event, "queries per hour"),
        known(event, "exact repeats"),
        known(event, "near repeats"),
        None,
        {name: value for name, value in statistics.items() if value is not None},
    )


def detector_of(alarm: Event) -> str:
    return alarm.reason.partition(RAISED)[0]


def known(event: Event, name: str) -> float | None:
    """A number of the event, if it has one."""
    value = event.scores.get(name, math.nan)
    return value if math.isfinite(value) else None


def backing_in_words(limits: Limits) -> str:
    """What a detector's promise rests on."""
    held = limits.backing
    return (
        f"aims at {1_000 * limits.alpha:.3g} false alarms per 1,000 clients ({held.kind}); of {held.clients:,} clients"
        f" {held.alarmed:,} alarmed, which excludes more than {held.bound():.3g} per 1,000 at 95 %"
    )
