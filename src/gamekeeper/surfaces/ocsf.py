"""Alarms for a SIEM: OCSF Detection Finding, one event for each alarm.

Source  Open Cybersecurity Schema Framework 1.3.0, class Detection Finding (class_uid 2004, category Findings): the
        required attributes, and of the others those that an alarm can fill truthfully. What the schema has no place for
        (p, score, volume, repeats, statistics of the inputs) is `evidences[0].data`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gamekeeper.replay_files import CONFIRMED, accounts
from gamekeeper.replay_rows import AlarmRow, ReplayHeader, Review
from gamekeeper.surfaces.report.client_words import meaning, once, whom

SCHEMA = "1.3.0"
CLASS, CATEGORY = 2004, 2
CREATE, UPDATE, CLOSE = (1, "Create"), (2, "Update"), (3, "Close")
NEW, SUPPRESSED, OTHER = (1, "New"), (3, "Suppressed"), (99, "Confirmed")
MEDIUM = (3, "Medium")
"""Somebody must look, but nothing is proven."""
STATISTICAL = (3, "Statistical")
ATLAS = {"version": "MITRE ATLAS data 5.6.0", "technique": {"uid": "AML.T0024.002"}}
"""Extraction of a model; by id alone, since its name changes between releases."""


def finding(alarm: AlarmRow, header: ReplayHeader, review: Review | None, tenant: str | None = None) -> dict[str, Any]:
    """The event of an alarm: created when it was raised, updated once confirmed, closed once dismissed.

    `time` is when the finding came to be or was decided about; when its queries came is `start_time`, if the log knows.
    """
    activity, status = lifecycle(review)
    created = written(header)
    event: dict[str, Any] = {
        "activity_id": activity[0],
        "activity_name": activity[1],
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": 100 * CLASS + activity[0],
        "type_name": f"Detection Finding: {activity[1]}",
        "severity_id": MEDIUM[0],
        "severity": MEDIUM[1],
        "status_id": status[0],
        "status": status[1],
        "time": created if review is None else milliseconds(review.at),
        "message": message(alarm),
        "metadata": {
            "version": SCHEMA,
            "product": {"name": "gamekeeper", "vendor_name": "gamekeeper", "version": header.version},
            "log_name": header.log,
            **({} if tenant is None else {"tenant_uid": tenant}),
        },
        "finding_info": info(alarm, created),
        "resources": [{"type": "machine-learning model", "name": header.target, "uid": header.digest}],
        "evidences": [{"actor": {"user": {"name": name}}, "data": statistics(alarm)} for name in accounts(alarm)],
    }
    if alarm.at is not None:
        event["start_time"] = milliseconds(alarm.at)
    if review is not None:
        event["comment"] = f"{review.decision} by {review.by}: {review.reason}"
    return event


def lifecycle(review: Review | None) -> tuple[tuple[int, str], tuple[int, str]]:
    """Activity and status. OCSF has no word for an alarm that a person confirmed: it is status 99, with our word for it."""
    if review is None:
        return CREATE, NEW
    return (UPDATE, OTHER) if review.decision == CONFIRMED else (CLOSE, SUPPRESSED)


def info(alarm: AlarmRow, created: int) -> dict[str, Any]:
    name = alarm.detector
    known: dict[str, Any] = {
        "uid": alarm.id,
        "title": "A client may be extracting a model",
        "desc": f"{meaning(name)} An alarm is a question for a person, not a verdict.",
        "types": ["model extraction"],
        "created_time": created,
        "analytic": {
            "uid": name,
            "name": name,
            "type_id": STATISTICAL[0],
            "type": STATISTICAL[1],
            "desc": alarm.backed,
        },
        "attacks": [ATLAS],
    }
    return known if alarm.at is None else {**known, "first_seen_time": milliseconds(alarm.at)}


def statistics(alarm: AlarmRow) -> Mapping[str, Any]:
    """The rest of the alarm; what is unknown is left out."""
    names = ("query", "queries", "per_hour", "exact", "near", "learnt", "p", "score", "alpha")
    values = {name: getattr(alarm, name) for name in names}
    return {**{name: value for name, value in values.items() if value is not None}, "inputs": dict(alarm.inputs)}


def message(alarm: AlarmRow) -> str:
    return (
        f"{whom(alarm)} raised an alarm of {alarm.detector} after {alarm.query:,} new queries; an ordinary client"
        f" scores as high {once(alarm.p)}."
    )


def written(header: ReplayHeader) -> int:
    """When the replay was written; a day without a time is its beginning in UTC."""
    when = datetime.fromisoformat(header.date)
    return milliseconds((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def milliseconds(at: float) -> int:
    return round(1_000 * at)
