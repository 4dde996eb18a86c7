"""What rows of older versions do not say, worked out from what they do."""

from typing import Any

from gamekeeper.method_text import taken_apart

OLDER_LABEL_READERS = frozenset({"labels", "gce", "smallloss", "smoothed", "fixmatch", "s4l"})
OLDER_USERS_OF_THE_DEFENSE = frozenset({"partialbayes", "inverse"})
OLDER_CONTROLS = frozenset({"shuffled"})
"""Learners in rows from before rows themselves said what a thief reads. The lists are closed: later rows say it."""


def older(data: dict[str, Any]) -> dict[str, Any]:
    """What a row of an older version does not say about its thief and its error."""
    learner, attack = data.get("learner", ""), taken_apart(data.get("attack", ""))
    posteriors = any(("answers", "soft") in part.pairs for part in attack.parts)
    labels = (learner in OLDER_LABEL_READERS and not posteriors) or "labels_only" in attack.names
    return {
        "reads": "nothing" if learner in OLDER_CONTROLS else "label" if labels else "posterior",
        "uses_defense": learner in OLDER_USERS_OF_THE_DEFENSE,
        "error_kind": (data.get("error") or "").partition(":")[0] or None,
    }
