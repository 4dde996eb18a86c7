"""The policy file: a TOML table. The smallest one has no rules, and only writes down what detectors say.

shadow = true                   # the default: decisions are written down, and change nothing

[slow]
per_second = 0.5                # queries, at this level and those above

[coarser]
defense = "label"               # must keep the top class

[defense]
defense = "mad:eps=0.8"

[dawn]
defense = "dawn:rate=0.01"      # `dawn` by default

[[rule]]
when = "prada"                  # a detector that runs here, or any:2 for two of them
then = "slow"                   # log, slow, coarser, defense, dawn or refuse

A level that a rule leads to needs its table; `log` and `refuse` have none. Every error names the line and the key.
"""

import tomllib
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from gamekeeper.errors import BadConfig, GamekeeperError
from gamekeeper.method_text import taken_apart
from gamekeeper.policy import ANY, Level, Policy, Rule

LIMIT = 2**16
"""Bytes of a policy file."""
MARK = "dawn"
"""The defense that marks answers: it has a level of its own."""
Resolve = Callable[[str], bool]
"""Whether a defense, given by its text, keeps the top class; raises a GamekeeperError if there is none like it."""
Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Table(BaseModel):
    """A table of the policy file: immutable, without unknown keys; text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SlowTable(Table):
    """[slow]"""

    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DefenseTable(Table):
    """[coarser] and [defense]"""

    defense: Text


class DawnTable(Table):
    """[dawn]"""

    defense: Text = MARK


class RuleTable(Table):
    """[[rule]]"""

    when: Text
    then: Literal["log", "slow", "coarser", "defense", "dawn", "refuse"]


class PolicyFile(Table):
    """The whole file."""

    shadow: bool = True
    slow: SlowTable | None = None
    coarser: DefenseTable | None = None
    defense: DefenseTable | None = None
    dawn: DawnTable | None = None
    rule: Annotated[list[RuleTable], Field(max_length=100)] = []


TABLES: dict[str, type[Table]] = {
    "slow": SlowTable,
    "coarser": DefenseTable,
    "defense": DefenseTable,
    "dawn": DawnTable,
    "rule": RuleTable,
}


class Wrong(Exception):
    """Something that makes no sense, and where it is; caught while reading."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


def read_policy(path: Path, detectors: Collection[str], keeps_top1: Resolve) -> Policy:
    """The policy in a file. Raises BadConfig that names every wrong line and key.

    detectors   names of those that run, which rules may use
    """
    try:
        data = path.read_bytes()
        text = data[:LIMIT].decode("utf-8-sig")
    except OSError as error:
        raise BadConfig(f"the policy {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"the policy {path} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    if len(data) > LIMIT:
        raise BadConfig(f"the policy {path} has {len(data):,} bytes; at most {LIMIT:,} are read.")
    return parse_policy(text, str(path), detectors, keeps_top1)


def parse_policy(text: str, name: str, detectors: Collection[str], keeps_top1: Resolve) -> Policy:
    """See `read_policy`; `name` is what messages call the file."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadConfig(f"the policy {name} is not valid TOML: {error}.") from None
    try:
        file = PolicyFile.model_validate(content)
        return _policy(file, detectors, keeps_top1)
    except ValidationError as error:
        wrong = [(tuple(detail["loc"]), _message(detail)) for detail in error.errors(include_url=False)]
    except Wrong as error:
        wrong = [(error.place, error.message)]
    lines = sorted((line_of(text, place), f"{_spelled(place)}: {message}") for place, message in wrong)
    raise BadConfig(f"the policy {name} is wrong:\n" + "\n".join(f"  line {line}, {rest}" for line, rest in lines))


def _policy(file: PolicyFile, detectors: Collection[str], keeps_top1: Resolve) -> Policy:
    tables = {Level.COARSER: file.coarser, Level.DEFENSE: file.defense, Level.DAWN: file.dawn}
    defenses = {level: table.defense for level, table in tables.items() if table is not None}
    for level, text in defenses.items():
        _check_defense(level, text, keeps_top1)
    policy = Policy(
        tuple(Rule(rule.when, Level[rule.then.upper()]) for rule in file.rule),
        file.shadow,
        None if file.slow is None else file.slow.per_second,
        defenses,
    )
    for place, rule in enumerate(policy.rules):
        _check_when(place, rule, detectors)
        _check_then(place, rule, policy)
    return policy


def _check_defense(level: Level, text: str, keeps_top1: Resolve) -> None:
    place = (str(level), "defense")
    try:
        keeps = keeps_top1(text)
    except GamekeeperError as error:
        raise Wrong(place, str(error)) from None
    marks = MARK in taken_apart(text).names
    if level == Level.COARSER and not keeps:
        raise Wrong(place, f"{text!r} may change the top class, so it is more than coarser. Move it to [defense].")
    if marks and level != Level.DAWN:
        raise Wrong(place, f"{text!r} marks answers. Move it to [{MARK}].")
    if level == Level.DAWN and not marks:
        raise Wrong(place, f"{text!r} marks nothing. Give {MARK}, perhaps with parameters, or move it to [defense].")


def _check_when(place: int, rule: Rule, detectors: Collection[str]) -> None:
    name, colon, count = rule.when.partition(":")
    if rule.when in detectors:
        return
    if name == ANY:
        if colon and not (count.isascii() and count.isdecimal() and 1 <= int(count) <= len(detectors)):
            raise Wrong(
                ("rule", place, "when"),
                f"{rule.when!r} needs a number of detectors, from 1 to the {len(detectors)} that run: any:2.",
            )
        return
    near = get_close_matches(rule.when, list(detectors), 1)
    raise Wrong(
        ("rule", place, "when"),
        f"no detector {rule.when!r} runs.{f' Did you mean {near[0]!r}?' if near else ''}"
        f" Give one of {', '.join(sorted(detectors)) or 'none'}, or any:2 for two of them.",
    )


def _check_then(place: int, rule: Rule, policy: Policy) -> None:
    missing = rule.then not in policy.defenses if rule.then in TABLED else policy.per_second is None
    if rule.then not in (Level.LOG, Level.REFUSE) and missing:
        key = "per_second = 1.0" if rule.then == Level.SLOW else "defense = …"
        raise Wrong(
            ("rule", place, "then"), f"'{rule.then}' needs a table of its own that says how: [{rule.then}] with {key}."
        )


TABLED = (Level.COARSER, Level.DEFENSE, Level.DAWN)


def _message(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        *above, key = map(str, detail["loc"])
        table = TABLES[above[0]] if above else PolicyFile
        near = get_close_matches(key, list(table.model_fields), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"there is no such key.{hint} Known: {', '.join(table.model_fields)}."
    if detail["type"] == "missing":
        return "it is missing."
    value: Any = detail.get("input")
    got = f" Got {value!r:.80}." if isinstance(value, str | int | float) else ""
    return f"{detail['msg']}.{got}"


def _spelled(place: Place) -> str:
    """`rule[1].when`; tables are counted from 1, as people do."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def line_of(text: str, place: Place) -> int:
    """The line, from 1, on which a value begins; of a missing one, its table's.

    TOML's reader does not say. A statement ends with the first lines that can be read and hold it, and begins after the
    last ones before that could be read.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    for depth in range(len(place), 0, -1):
        begin = 0
        for end in range(1, len(lines) + 1):
            try:
                content = tomllib.loads("".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue
            if _holds(content, place[:depth]):
                return begin + 1
            begin = end
    return 1


def _holds(content: Any, place: Place) -> bool:
    for part in place:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
