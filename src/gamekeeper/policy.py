"""What is done about a client whom detectors accuse: a ladder of levels, and rules that say when a client climbs it.

    log      only written down
    slow     so many queries a second
    coarser  a defense that keeps the top class: less is told, nothing is false
    defense  any defense
    dawn     answers that mark whoever learns from them
    refuse   no answers

Pure: no clock, no file, no client's name. What is in a policy was written by the owner: nothing alters an answer, and no
client is slowed or refused, by default. A level holds until a person releases the client, whatever happens meanwhile.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum

import orjson

from gamekeeper.errors import Malformed

ANY = "any"
"""`any:2`: two detectors, whichever they are."""


class Level(IntEnum):
    """What a client is held at, from the mildest to the strictest."""

    LOG = 0
    SLOW = 1
    COARSER = 2
    DEFENSE = 3
    DAWN = 4
    REFUSE = 5

    def __str__(self) -> str:
        return self.name.lower()


ALTERING = (Level.DAWN, Level.DEFENSE, Level.COARSER)
"""Levels that change answers, the strictest first."""


@dataclass(frozen=True)
class Rule:
    """Who climbs to a level: a client accused by a detector, or by so many (`any:2`)."""

    when: str
    then: Level

    def holds(self, accused_by: Collection[str]) -> bool:
        name, _, count = self.when.partition(":")
        if name == ANY and (not count or count.isdecimal()):
            return len(accused_by) >= max(1, int(count or 1))
        return self.when in accused_by


@dataclass(frozen=True)
class Standing:
    """What a policy knows of a client.

    alarms    detectors that accuse the client: after which query each raised its alarm
    released  the alarms that a person has looked at and set aside; a later one of the same detector counts again
    level     that the client is held at
    """

    alarms: Mapping[str, int] = field(default_factory=dict[str, int])
    released: Mapping[str, int] = field(default_factory=dict[str, int])
    level: Level = Level.LOG

    def counted(self) -> frozenset[str]:
        """Detectors whose alarm nobody has set aside."""
        return frozenset(name for name, query in self.alarms.items() if query > self.released.get(name, 0))


@dataclass(frozen=True)
class Treatment:
    """How a request is answered.

    per_second  queries a second at most; None: no limit
    defense     text of the defense that alters the answers; "": none does
    refuse      whether there is no answer
    """

    per_second: float | None = None
    defense: str = ""
    refuse: bool = False


AS_USUAL = Treatment()


@dataclass(frozen=True)
class Decision:
    """What follows for a client.

    level      that the client is held at from now on
    climbed    whether that is a change, and so an event of its own
    treatment  what is done: as usual, if the policy only watches
    meant      what would be done if it did not
    reason     the rule, in words; "" if nothing has changed
    """

    level: Level
    climbed: bool
    treatment: Treatment
    meant: Treatment
    reason: str = ""


@dataclass(frozen=True)
class Policy:
    """Rules and what each level means. Without rules nobody ever leaves `log`.

    shadow      decisions are written down and change nothing
    per_second  queries a second at `slow` and every level above; None: that level is not in use
    defenses    text of the defense at each level that alters answers; a level without one is not in use
    """

    rules: tuple[Rule, ...] = ()
    shadow: bool = True
    per_second: float | None = None
    defenses: Mapping[Level, str] = field(default_factory=dict[Level, str])

    def decide(self, standing: Standing) -> Decision:
        """What to do about a client: never a milder level than the one they are held at."""
        accused_by = standing.counted()
        level, reason = standing.level, ""
        for rule in self.rules:
            if rule.then > level and rule.holds(accused_by):
                level = rule.then
                reason = f"{rule.when} ({', '.join(sorted(accused_by))}): {standing.level} -> {level}"
        meant = self.treatment(level)
        return Decision(level, level > standing.level, AS_USUAL if self.shadow else meant, meant, reason)

    def treatment(self, level: Level) -> Treatment:
        """What is done at a level. Slowing goes on at every level above; of defenses, that of the highest level counts."""
        return Treatment(
            self.per_second if level >= Level.SLOW else None,
            next((self.defenses[each] for each in ALTERING if each <= level and each in self.defenses), ""),
            level == Level.REFUSE,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what the policy says, whatever its file looks like."""
        content = [
            [[rule.when, int(rule.then)] for rule in self.rules],
            self.shadow,
            self.per_second,
            sorted((int(level), text) for level, text in self.defenses.items()),
        ]
        return hashlib.sha256(orjson.dumps(content)).hexdigest()


def climbed(standing: Standing, decision: Decision) -> Standing:
    """The standing after a decision."""
    return replace(standing, level=max(standing.level, decision.level))


def release(standing: Standing) -> Standing:
    """The standing after a person has released the client: the lowest level, and today's alarms set aside."""
    return Standing(standing.alarms, {**standing.released, **standing.alarms}, Level.LOG)


def packed(standing: Standing) -> bytes:
    """A standing as bytes, for a journal."""
    return orjson.dumps(asdict(standing), option=orjson.OPT_SORT_KEYS)


def unpacked(data: bytes) -> Standing:
    """The standing that was packed. Raises Malformed for anything else."""
    try:
        content = orjson.loads(data)
        alarms, released = ({str(k): int(v) for k, v in content[name].items()} for name in ("alarms", "released"))
        return Standing(alarms, released, Level(content["level"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Malformed("a client's standing cannot be read. Release the client, or restore the journal.") from None
