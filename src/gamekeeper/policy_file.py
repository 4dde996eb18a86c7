"""The policy file: a TOML table. The smallest one has no rules, and only writes down what detectors say.

shadow = true                   # the default: decisions are written down, and change nothing

[slow]
per_second = 0.5                # queries, at this level and those above

[coarser]
defense = "label"               # must keep the top class

[defense]
defense = "mad:eps=0.8"

[dawn]
defense = "dawn:share=0.01"     # `dawn` by default

[[rule]]
when = "prada"                  # a detector that runs here, or any:2 for two of them
then = "slow"                   # log, slow, coarser, defense, dawn or refuse

A level that a rule leads to needs its table; `log` and `refuse` have none. Every error names the line and the key.
"""

from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gamekeeper.errors import GamekeeperError
from gamekeeper.method_text import taken_apart
from gamekeeper.policy import ANY, Level, Policy, Rule
from gamekeeper.toml_file import Table, Wrong, parsed, text_of

MARK = "dawn"
"""The defense that marks answers: it has a level of its own."""
Resolve = Callable[[str], bool]
"""Whether a defense, given by its text, keeps the top class; raises a GamekeeperError if there is none like it."""
Text = Annotated[str, Field(min_length=1, max_length=200)]


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
    rule: list[RuleTable] = Field([], max_length=100)


def read_policy(path: Path, detectors: Collection[str], keeps_top1: Resolve) -> Policy:
    """The policy in a file. Raises BadConfig that names every wrong line and key.

    detectors   names of those that run, which rules may use
    """
    text = text_of(path, f"the policy {path}")
    return parse_policy(text, str(path), detectors, keeps_top1)


def parse_policy(text: str, name: str, detectors: Collection[str], keeps_top1: Resolve) -> Policy:
    """See `read_policy`; `name` is what messages call the file."""
    return parsed(text, f"the policy {name}", PolicyFile, lambda file: _policy(file, detectors, keeps_top1))


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
