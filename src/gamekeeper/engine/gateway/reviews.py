"""What people decided about a gateway's alarms, as events of its journal: a later decision about an alarm replaces an earlier one."""

from collections.abc import Iterable

import orjson

from gamekeeper.errors import JournalError
from gamekeeper.replay_rows import Review
from gamekeeper.results import encoded
from gamekeeper.service.journal.event import Event


def review_event(tenant: str, review: Review) -> Event:
    """The event that says so. Its reason is JSON, since who and why are free text."""
    content = {"alarm": review.alarm, "decision": review.decision, "by": review.by, "why": review.reason}
    return Event(tenant, review.client, "review", review.at, reason=encoded(content).decode())


def review_of(event: Event) -> Review:
    """Raises JournalError if the event does not hold a review."""
    try:
        content = orjson.loads(event.reason)
        return Review(content["alarm"], event.client, content["decision"], content["by"], content["why"], event.at)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise JournalError(
            f"an event of {event.at:.0f} is a review that cannot be read. Restore the journal."
        ) from None


def decisions(events: Iterable[Event]) -> dict[str, Review]:
    """The last decision about each alarm that has one, by the alarm's id."""
    return {review.alarm: review for review in (review_of(event) for event in events if event.kind == "review")}
