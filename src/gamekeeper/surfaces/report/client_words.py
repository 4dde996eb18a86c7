"""What a report says of a replayed log and its clients, in words. Pure functions.

Names of clients are data from outside; they pass through `shown`, all other text through `plain`.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gamekeeper.logs.event import shown
from gamekeeper.replay_files import CONFIRMED, DISMISSED
from gamekeeper.replay_rows import AlarmRow, ClientRow, ReplayHeader, Review
from gamekeeper.surfaces.report.words import count, plain, rough

EVIDENCE_ONLY = "evidence"
NOBODY_CAN = "No detector here can tell a thief whose inputs are like your users' from your users."
SURE, UNUSUAL = 1e-6, 0.5
"""Beyond the first a chance is no longer spelt out, since no limits are checked on so many clients; above the second it is no number either."""
NAMED = 6
"""How many suspects the first lines of a report name."""
MEANINGS = {
    "prada": (
        "Their inputs do not lie as far apart as those of ordinary clients: many are small steps away from earlier ones, as"
        " when somebody feels their way along the model's decisions.",
        "somebody who tunes one input by hand, frames of a video, a sensor that drifts",
    ),
    "mmd": (
        "What the model sees in their inputs is spread unlike that of ordinary clients, class by class.",
        "a new kind of user, another camera or scanner, a customer with one special case",
    ),
    "ood_share": (
        "More of their inputs than usual are strange to the model.",
        "damaged or badly scanned inputs, a client who uses the wrong endpoint",
    ),
    "hardness": (
        "Their inputs are unusually hard for the model, or unusually easy.",
        "a client who sends only the cases on which their own checks disagree",
    ),
}
"""By detector: what its alarm means, and which honest clients may cause it."""


def meaning(detector: str) -> str:
    """What an alarm of this detector means."""
    known = MEANINGS.get(base(detector))
    return known[0] if known else f"Detector {plain(detector)} finds their queries unlike those of ordinary clients."


def excuse(detector: str) -> str:
    """Honest clients who may cause it; "" if none are known."""
    known = MEANINGS.get(base(detector))
    return known[1] if known else ""


def short(name: str) -> str:
    """A detector's name in a column: `ood_share:score=knn` is knn."""
    first, _, rest = name.partition(":")
    return rest.partition("=")[2] if rest.startswith("score=") else first


def base(detector: str) -> str:
    return detector.split(":")[0]


def suspicion(client: ClientRow) -> float:
    """The chance that an ordinary client looks at least as suspicious to some detector; 1 if none could judge."""
    return min(client.p.values(), default=1.0)


def once(p: float) -> str:
    """A p-value in words: `once in 4,200`. In two significant digits: none of it is known better."""
    if math.isnan(p) or p >= UNUSUAL:
        return "more than once in 2"
    return f"less than once in {count(1 / SURE)}" if p < SURE else f"once in {count(rough(1 / p))}"


def headline(header: ReplayHeader, decisions: Sequence[str], groups: int = 0) -> str:
    """decisions: the standing of each suspect: "" for open, else what a person decided. groups: open alarms of linked accounts."""
    among = f"{count(header.clients)} client{'' if header.clients == 1 else 's'}"
    if not judged(header):
        return f"Nobody could be judged: no detector with limits could run on this log of {among}."
    if header.alarmed == 0 and groups:
        are = "1 group of linked accounts does" if groups == 1 else f"{count(groups)} groups of linked accounts do"
        return f"No single one of {among} looks like a thief, but {are}."
    if header.alarmed == 0:
        return f"No alarm among {among}."
    open_ones = header.alarmed - sum(1 for each in decisions if each)
    if open_ones <= 0:
        return f"{count(header.alarmed)} of {among} raised an alarm; a person has decided about every one."
    who = f"{count(open_ones)} of {among}"
    return f"{who} look{'s' if open_ones == 1 else ''} like {'a thief' if open_ones == 1 else 'thieves'}."


def judged(header: ReplayHeader) -> bool:
    """Whether some detector could raise an alarm at all."""
    return any(backing != EVIDENCE_ONLY for backing in header.ran.values())


def read(header: ReplayHeader) -> str:
    """What was looked at."""
    span = ""
    if header.first is not None and header.last is not None:
        span = f", from {moment(header.first)} to {moment(header.last)}"
    return (
        f"{plain(header.log)} holds {count(header.queries)} queries of {count(header.clients)} clients{span}, to the model"
        f" {plain(header.target)}."
    )


def chance(header: ReplayHeader) -> str:
    """How many ordinary clients alarm by chance."""
    if not judged(header) or header.alpha <= 0:
        return ""
    expected = header.alpha * header.clients
    return (
        f"The limits aim at one false alarm in {count(rough(1 / header.alpha))} ordinary clients: were all"
        f" {count(header.clients)} honest, about {expected:.2g} of them would raise one, and more if many of them send so much that"
        " they are judged again and again."
    )


def standing(alarms: Sequence[AlarmRow], decisions: Mapping[str, Review]) -> str:
    """What people decided about a client: confirmed if any alarm was, dismissed if all were; "" while one is open."""
    words = [decisions[each.id].decision if each.id in decisions else "" for each in alarms]
    if CONFIRMED in words:
        return CONFIRMED
    return DISMISSED if words and all(word == DISMISSED for word in words) else ""


def decided(review: Review) -> str:
    return f"{plain(review.decision)} by {shown(review.by)} on {moment(review.at)}: {shown(review.reason, 600)}"


def whom(alarm: AlarmRow) -> str:
    """Whom an alarm is about, shortened."""
    if not alarm.members:
        return shown(alarm.client, 40)
    more = f" and {count(len(alarm.members) - 3)} more" if len(alarm.members) > 3 else ""
    return f"{', '.join(shown(name, 40) for name in alarm.members[:3])}{more}, together"


def volume(client: ClientRow) -> str:
    if client.queries == client.new:
        return f"{count(client.queries)} queries, none of them sent before"
    return f"{count(client.queries)} queries, {count(client.new)} of them new"


def repeats(client: ClientRow) -> str:
    if client.exact == client.near == 0:
        return "none"
    parts = [] if client.exact is None else [f"{share(client.exact)} are exact repeats"]
    parts += [] if client.near is None else [f"{share(client.near)} nearly repeat an earlier one"]
    return ", ".join(parts) or "unknown"


def pace(client: ClientRow) -> str:
    parts = [] if client.per_hour is None else [f"{amount(client.per_hour)} an hour"]
    parts += [] if client.busiest is None else [f"{count(client.busiest)} in the busiest hour"]
    return ", ".join(parts) or "unknown"


def learnt(client: ClientRow) -> str:
    if client.learnt is None:
        return "could not be told"
    return (
        f"a quick copy trained on their answers gets {share(client.learnt)} of the way from guessing to always agreeing with the"
        " model; a better one gets further"
    )


def statistics(inputs: Mapping[str, float]) -> str:
    return ", ".join(f"{plain(name)} {value:.3g}" for name, value in inputs.items()) or "unknown"


def share(fraction: float) -> str:
    """Percent; "under 1 %" for a little, since 0 would say none."""
    if 0 < fraction < 0.005:
        return "under 1 %"
    return f"{100 * fraction:.0f} %"


def amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 9.95 else f"{number:.2g}"


def date(text: str) -> str:
    """A day as it is; an ISO time as `2026-11-03 09:12 UTC`; any other text unchanged."""
    try:
        return text if len(text) == 10 else moment(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return plain(text)


def moment(at: float | None) -> str:
    """`2026-11-03 09:12 UTC`; "unknown" without a time, or for one that no calendar has."""
    try:
        return "unknown" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "unknown"
