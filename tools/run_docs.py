"""Tables of audits: what each defense is worth, what each thief gets, and how that changes with budget and strength."""

import re

from committed import RESULTS, stamp, summary, table, thefts

from gamekeeper.analysis.summary import DefenseSummary, Stolen, Summary
from gamekeeper.engine.ensemble import ENSEMBLES
from gamekeeper.results import Results
from gamekeeper.surfaces.report.curves import families
from gamekeeper.surfaces.report.words import (
    count,
    efficiency,
    guaranteed,
    percent,
    rated,
    reached,
    seconds,
    value,
    worst_loss,
)


def defenses(name: str) -> str:
    """One row per defense, at the largest budget."""
    whole = summary(name)
    shifted = ["worst loss under shift"] if whole.shifts else []
    head = [
        "defense", "honest accuracy", *shifted, "top-1 kept", "L1", "soft thief", "strongest thief", "unchosen", "eta",
        "90 % at", "flags",
    ]  # fmt: skip
    rows = [*without_asking(whole, head), *(defense_row(line, bool(shifted)) for line in whole.lines)]
    flags = f" On every number: {', '.join(f'`{flag}`' for flag in whole.flags)}." if whole.flags else ""
    floor = f" Label floor {rated(whole.floor.accuracy)} `{whole.floor.attack}`." if whole.floor else ""
    control = f" Control {rated(whole.control.accuracy)}." if whole.control else ""
    below = f"Clone accuracy at {count(whole.budget or 0)} queries.{floor}{control}{flags} {stamp(name)}"
    return table(head, rows, below)


def without_asking(whole: Summary, head: list[str]) -> list[list[str]]:
    """The row of the zero-query clone, in the column of the strongest thief; no row for a run without one."""
    if whole.zero_query is None:
        return []
    clone = f"{rated(whole.zero_query.accuracy)} `{whole.zero_query.attack}`"
    return [["without asking (0 queries)", *(clone if name == "strongest thief" else "–" for name in head[1:])]]


def defense_row(line: DefenseSummary, shifted: bool) -> list[str]:
    assert line.utility and line.worst and line.soft
    return [
        f"`{line.defense}`",
        value(line.utility.accuracy),
        *([worst_loss(line.utility)] if shifted else []),
        percent(line.utility.top1_kept),
        f"{line.utility.l1:.2f}",
        value(line.soft.accuracy),
        f"{rated(line.worst.accuracy)} `{line.worst.attack}`",
        "–" if line.corrected is None else f"{line.corrected:.3f}",
        f"{efficiency(line)} ({line.eta.low:.2f} to {line.eta.high:.2f})" if line.eta else efficiency(line),
        next(reached(price.queries) for price in line.prices if price.level == 0.9),
        ", ".join(f"`{flag}`" for flag in line.flags) or "–",
    ]


def lined_up(name: str) -> str:
    """Every defense at a stated utility: what it guarantees, costs and takes from the strongest thief."""
    if not (RESULTS / name / "run.json").exists():
        return f"Not run yet: `results/{name}`.\n"
    whole = summary(name)
    head = [
        "defense", "guarantees", "honest accuracy", *(["worst loss under shift"] if whole.shifts else []), "L1",
        "calibration error", "soft thief", "strongest thief", "eta",
        "time per query", "flags",
    ]  # fmt: skip
    rows = without_asking(whole, head)
    rows += [
        [
            f"`{line.defense}`",
            guaranteed(line.utility.promised) if line.defense != "none" else "–",
            value(line.utility.accuracy),
            *([worst_loss(line.utility)] if whole.shifts else []),
            f"{line.utility.l1:.2f}",
            f"{line.utility.ece:.3f}",
            value(line.soft.accuracy) if line.soft else "–",
            f"{rated(line.worst.accuracy)} `{line.worst.attack}`",
            efficiency(line),
            seconds(line.utility.seconds) if line.defense != "none" else "–",
            ", ".join(f"`{flag}`" for flag in line.flags) or "–",
        ]
        for line in whole.lines
        if line.utility and line.worst
    ]
    floor = f" Label floor {rated(whole.floor.accuracy)} `{whole.floor.attack}`." if whole.floor else ""
    flags = f" On every number: {', '.join(f'`{flag}`' for flag in whole.flags)}." if whole.flags else ""
    run = Results(RESULTS / name).header()
    left_out = [*run.chosen.get("left_out", []), *map(absence, run.assumptions)]
    below = f"Clone accuracy at {count(whole.budget or 0)} queries.{floor}{flags} {' '.join(filter(None, left_out))} {stamp(name)}"
    return table(head, rows, below)


def absence(assumption: str) -> str:
    """Of a run's assumptions the one that says against which defenses a thief takes no part, without the reason."""
    match = re.search(r".* does not take part against .*?(?=: (?:he|they|this thief)\b)", assumption)
    return f"{match[0]}: this thief has to arm the defense too, and cannot." if match else ""


def strengths(name: str) -> str:
    """Every defense that was measured at several strengths: what honest users lose, soft thief and strongest."""
    if not (RESULTS / name / "run.json").exists():
        return f"Not run yet: `results/{name}`.\n"
    rows: list[list[str]] = []
    for family in families(summary(name)):
        for line in family.lines:
            assert line.utility and line.soft and line.worst
            stolen = [value(line.soft.accuracy), f"{value(line.worst.accuracy)} `{line.worst.attack}`"]
            rows.append([f"`{line.defense}`", f"{line.utility.l1:.2f}", value(line.utility.accuracy), *stolen])
    return table(["defense", "L1", "honest accuracy", "soft thief", "strongest thief"], rows, stamp(name))


def thieves(name: str) -> str:
    """Clone accuracy of every thief against every defense, at the largest budget."""
    if not (RESULTS / name / "run.json").exists():
        return f"Not run yet: `results/{name}`.\n"
    whole = summary(name)
    rows: list[list[str]] = []
    for attack in whole.attacks:
        found = [{one.attack: one for one in line.thieves}.get(attack) for line in whole.lines]
        best = [line.worst if len(whole.seeds) > 1 else None for line in whole.lines]  # one seed ranks nothing
        cells = [
            "–" if one is None else f"**{value(one.accuracy)}**" if top and one == top else value(one.accuracy)
            for one, top in zip(found, best, strict=True)
        ]
        rows.append([f"`{attack}`", *cells])
    if whole.zero_query:  # asks nothing, so no defense changes it
        free = value(whole.zero_query.accuracy)
        rows.insert(0, [f"without asking, `{whole.zero_query.attack}`", *[free for _ in whole.lines]])
    bold = "; the strongest against each defense in bold" if len(whole.seeds) > 1 else ""
    below = f"Mean clone accuracy over seeds{bold}."
    return table(["thief", *(f"`{line.defense}`" for line in whole.lines)], rows, f"{below} {stamp(name)}")


def regime_of(regime: str) -> str:
    """What defenses trained on those auxiliary inputs cost honest users, and every thief's clone."""
    return f"{defenses(f'auxiliary-{regime}')}\n{thieves(f'auxiliary-{regime}')}"


def ensemble() -> str:
    quick = {member.attack for member in ENSEMBLES["worst"]}
    rows = [
        [f"`{member.attack}`", member.brings, "both" if member.attack in quick else "full", member.needs]
        for member in ENSEMBLES["worst:full"]
    ]
    return table(["thief", "what they bring", "ensemble", "needs"], rows)


def clone(name: str, defense: str, attack: str, budget: str) -> str:
    """One number of a sentence: a clone's accuracy, mean over seeds."""
    return percent(thefts(name)[defense, attack, int(budget)])


def taken(name: str, defense: str, attack: str, budget: str) -> str:
    """Points of clone accuracy that a defense takes from a thief, against the same thief undefended."""
    found = thefts(name)
    return f"{100 * (found['none', attack, int(budget)] - found[defense, attack, int(budget)]):.0f}"


def lost(name: str, defense: str) -> str:
    """Points of accuracy that a defense costs honest users."""
    kept = {line.defense: line.utility for line in summary(name).lines}
    plain, defended = kept["none"], kept[defense]
    assert plain and defended
    return f"{100 * (plain.accuracy.value - defended.accuracy.value):.1f}"


def curve(name: str) -> str:
    """Clone accuracy by budget, a row for each defense and thief, mean over seeds."""
    found = thefts(name)
    budgets = sorted({budget for _, _, budget in found})
    start = summary(name).zero_query
    zero = [f"{100 * start.accuracy.value:.1f}"] if start else []
    lines = [
        [f"`{defense}`", f"`{attack}`", *zero, *(f"{100 * found[defense, attack, budget]:.1f}" for budget in budgets)]
        for defense, attack in dict.fromkeys(key[:2] for key in found)
    ]
    return table(
        ["defense", "thief", *(["0"] if zero else []), *(count(b) for b in budgets)],
        lines,
        f"Clone accuracy in percent. {stamp(name)}",
    )


def findings() -> str:
    """The pilot's two claims, as these runs bear them out or not: points of clone accuracy."""
    rows: list[list[str]] = []
    for name in ("worst-mnist", "worst-fashion"):
        whole = summary(name)
        assert whole.undefended and whole.undefended.worst and whole.undefended.soft and whole.floor
        for line in whole.defended:
            assert line.soft and line.worst and line.utility
            outsider, undefended = strongest_outsider(line), strongest_outsider(whole.undefended)
            taken = [
                whole.undefended.soft.accuracy.value - line.soft.accuracy.value,
                undefended.accuracy.value - outsider.accuracy.value,
                whole.undefended.worst.accuracy.value - line.worst.accuracy.value,
            ]
            rows.append(
                [
                    name.removeprefix("worst-"),
                    f"`{line.defense}`",
                    f"{100 * taken[0]:.1f}",
                    f"{100 * taken[1]:.1f} `{outsider.attack}`",
                    f"{100 * taken[2]:.1f} `{line.worst.attack}`",
                    f"{100 * (line.worst.accuracy.value - whole.floor.accuracy.value):+.1f}",
                    percent(line.utility.top1_kept_thief or 0.0),
                ]
            )
    head = [
        "target", "defense", "taken from the soft thief", "from the strongest outsider", "from the strongest of all",
        "strongest of all above the floor", "thieves' labels kept",
    ]  # fmt: skip
    below = (
        "Points of clone accuracy that a defense takes away, each thief against the same thief undefended. An outsider asks about the pool"
        " only; an insider holds inputs of the model's own kind. The last column is the mean over all thieves' queries."
    )
    return table(head, rows, below)


def strongest_outsider(line: DefenseSummary) -> Stolen:
    return next(one for one in line.thieves if not one.attack.startswith("insider"))
