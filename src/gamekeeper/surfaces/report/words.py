"""Numbers and sentences of the report, the same in the terminal and on the page. Pure functions.

Everything that came from outside (names of targets and methods, error texts) passes through `plain`.
"""

import math
import re
import unicodedata
from collections.abc import Sequence

from gamekeeper.analysis.bootstrap import verdict
from gamekeeper.analysis.summary import DefenseSummary, Price, Stolen, Summary
from gamekeeper.defenses.guarantees import ANY, Guarantees
from gamekeeper.metrics import Crossing, Estimate, Number
from gamekeeper.results import Band

AFFORDABLE = 0.05
"""The headline's best defense costs honest users at most this much accuracy."""
NOTABLE = 0.01
"""A loss of accuracy that the headline mentions."""

ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def plain(text: str) -> str:
    """One line without terminal escapes, control characters and invisible or direction-changing ones."""
    spaced = re.sub(r"\s+", " ", ESCAPES.sub("", text))
    return "".join(c for c in spaced if unicodedata.category(c) not in INVISIBLE).strip()


def count(number: Number) -> str:
    """A whole number with thousands separated."""
    return f"{number:,.0f}"


def rough(number: Number) -> int:
    """An interpolated number of queries, to two significant digits; below ten a whole number."""
    digits = max(0, math.floor(math.log10(number)) - 1) if number > 0 else 0
    return round(number / 10**digits) * 10**digits


def pieces(name: str) -> list[str]:
    """A method's name cut after each `:`, `,` and `+`."""
    return [part for part in re.findall(r"[^:,+]*[:,+]?", plain(name)) if part]


def broken(name: str, width: int) -> list[str]:
    """A method's name in lines of at most `width` characters, broken between its pieces where that is possible."""
    lines: list[str] = []
    for part in pieces(name):
        whole = lines.pop() + part if lines and len(lines[-1] + part) <= width else part
        lines += [whole[i : i + width] for i in range(0, len(whole), width)]
    return lines or [""]


def money(amount: Number) -> str:
    """Without a currency. Hundreds as whole numbers, above 0.1 two decimals, below it two significant digits."""
    if amount == 0:
        return "0"
    if abs(amount) >= 99.995:
        return f"{amount:,.0f}"
    if abs(amount) >= 0.0995:
        return f"{amount:.2f}"
    decimals = 1 - math.floor(math.log10(abs(amount)))
    return f"{amount:.{decimals}f}".rstrip("0")


def percent(fraction: float) -> str:
    """Whole percent; one decimal where whole numbers would hide that it is not 100."""
    return f"{100 * fraction:.1f} %" if 0.995 <= fraction < 0.9995 else f"{100 * fraction:.0f} %"


def value(rate: Estimate) -> str:
    return f"{rate.value:.3f}"


def interval(rate: Estimate) -> str:
    return f"{rate.low:.3f}–{rate.high:.3f}"


def rated(rate: Estimate) -> str:
    return f"{value(rate)} ({interval(rate)})"


def efficiency(line: DefenseSummary) -> str:
    return "–" if line.eta is None else f"{line.eta.value:.2f}"


def promises(guarantees: Guarantees | None) -> str:
    """What a defense promises of every answer; a dash for nothing, or where it was not asked."""
    if guarantees is None:
        return "–"
    said = {
        "top-1": guarantees.keeps_top1,
        f"L1 ≤ {guarantees.l1_bound:.3g}": guarantees.l1_bound < ANY,
        "confidence": guarantees.keeps_confidence,
    }
    return ", ".join(word for word, true in said.items() if true) or "–"


def seconds(value: float | None) -> str:
    """Seconds in the unit that suits: `41 µs`, `2.3 ms`, `4.1 s`."""
    if value is None:
        return "–"
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if value >= s), ("µs", 1e-6))
    scaled = value / scale
    return f"{scaled:.1f}\u00a0{unit}" if 0 < scaled < 9.95 else f"{scaled:.0f}\u00a0{unit}"


def bands(measured: Sequence[Band]) -> list[str]:
    """Bands of confidence, in words."""
    ends = [percent(band.upto) for band in measured]
    return [f"up to {ends[0]}", *(f"to {end}" for end in ends[1:-1]), f"above {ends[-2]}"]


def amount(crossing: Crossing) -> Number:
    """Queries as they are printed: two significant digits where they were interpolated."""
    return rough(crossing.queries) if crossing.bound == "exact" else crossing.queries


def reached(crossing: Crossing) -> str:
    """`870`, `≤ 250`, or `> 2,500` where no measured budget reached it."""
    sign = {"exact": "", "at most": "≤ ", "more than": "> "}[crossing.bound]
    return f"{sign}{count(amount(crossing))}"


def reached_in_words(crossing: Crossing, price: float) -> str:
    """`takes about 870 queries (0.87)`; money only where a price was stated."""
    queries = amount(crossing)
    if crossing.bound == "more than":
        return f"is not reached by {count(queries)} queries"
    paid = f" ({money(queries * price)})" if price else ""
    return f"takes {'about' if crossing.bound == 'exact' else 'at most'} {count(queries)} queries{paid}"


def between(price: Price) -> str:
    """The price's interval, `690 to 1,100`; empty where both ends say the same."""
    low, high = reached(price.low), reached(price.high)
    return "" if low == high else f"{low} to {high}"


def notes(summary: Summary) -> list[str]:
    """What is not there: missing and failed cells, thieves a defense has not met."""
    said: list[str] = []
    if summary.done < summary.cells:
        done = f"{summary.done} of {summary.cells} cells"
        said.append(f"The run is not finished: {done}. The same command goes on with it.")
    if summary.failed:
        cells = "1 cell" if len(summary.failed) == 1 else f"{len(summary.failed)} cells"
        said.append(f"{cells} of {summary.cells} failed; the list below gives the errors.")
    if summary.budget is not None:
        where = f"has no result at {count(summary.budget)} queries for"
        lacking = [line for line in summary.lines if line.missing]
        said += [f"{plain(line.defense)} {where}: {', '.join(map(plain, line.missing))}." for line in lacking]
    return said


def headline(summary: Summary) -> str:
    """What the run says, in a few plain sentences that promise nothing."""
    return " ".join(sentences(summary))


def sentences(summary: Summary) -> list[str]:
    """The headline: what is stolen undefended; what less of it costs; what the best defense does to that."""
    if summary.victim is None or summary.budget is None:
        failed = "Nothing was measured: every finished cell failed."
        return [failed if summary.failed else "Nothing has been measured yet."]
    undefended = summary.undefended
    if undefended is None or undefended.worst is None:
        where = f"at {count(summary.budget)} queries"
        return [f"No thief was measured without a defense {where}, so no defense can be compared."]
    return [theft(summary, undefended.worst, summary.victim), *cost(summary, undefended), best_defense(summary)]


def theft(summary: Summary, worst: Stolen, victim: Estimate) -> str:
    paid = ""
    if summary.price:
        paid = f" ({money(worst.queries * summary.price)} in money at {money(summary.price)} a query)"
    return (
        f"Undefended, {count(worst.queries)} queries{paid} steal {share(summary, worst) or 'none'} of this model's accuracy"
        f" ({worst.accuracy.value:.2f} of {victim.value:.2f})."
    )


def cost(summary: Summary, undefended: DefenseSummary) -> list[str]:
    """What each share of the model's accuracy costs, up to the first that was not reached."""
    said: list[str] = []
    smallest = [price for price in undefended.prices if price.queries.bound == "at most"]
    for price in [*smallest[-1:], *undefended.prices[len(smallest) :]]:
        share = f"{percent(price.level)} of the model's accuracy" if not said else percent(price.level)
        said.append(f"{share} {reached_in_words(price.queries, summary.price)}")
        if price.queries.bound == "more than":
            break
    return [", ".join(said) + "."] if said else []


def best_defense(summary: Summary) -> str:
    """The best affordable defense, or that there is none. `lower` means beyond the noise."""
    tested = [line for line in summary.defended if line.worst and line.kept]
    if not tested:
        return "No defense was tested." if not summary.defended else "No defense has been measured at that budget."
    helpful = [line for line in tested if line.change == "lower"]
    affordable = [line for line in helpful if lost(summary, line) <= AFFORDABLE]
    if affordable:
        best = gentlest(summary, affordable)
        dearer = [line for line in helpful if line not in affordable and stronger(line, best)]
        limit = f" that costs honest users at most {100 * AFFORDABLE:.0f} points of accuracy" if dearer else ""
        name = f"The best defense tested{limit}, '{plain(best.defense)}',"
        return f"{name} lowers {whole(summary)} to {left(summary, best)} {price_of(summary, best)}{at_a_loss(summary, dearer)}"
    if helpful:
        mildest = min(helpful, key=lambda line: lost(summary, line))
        return (
            f"No defense tested lowers {whole(summary)} at a loss of {100 * AFFORDABLE:.0f} points of accuracy or less;"
            f" the mildest that does, '{plain(mildest.defense)}', lowers it to {left(summary, mildest)} {price_of(summary, mildest)}"
        )
    best = lowest(tested)
    those = "The defense tested does not lower"
    if len(tested) > 1:
        those = f"None of the {len(tested)} defenses tested lowers"
    return f"{those} {whole(summary)} beyond the noise of this measurement: '{plain(best.defense)}' leaves {left(summary, best)}."


def stronger(line: DefenseSummary, other: DefenseSummary) -> bool:
    """Beyond the noise."""
    if line.worst is None or other.worst is None:
        return False
    return verdict(line.worst.values - other.worst.values) == "lower"


def at_a_loss(summary: Summary, dearer: list[DefenseSummary]) -> str:
    """What defenses reach that cost honest users more: the one with the smallest loss."""
    if not dearer:
        return ""
    assert summary.victim is not None
    line = min(dearer, key=lambda line: lost(summary, line))
    assert line.worst is not None
    assert line.kept is not None
    accuracy = f"from {summary.victim.value:.2f} to {line.kept.accuracy.value:.2f}"
    return (
        f" '{plain(line.defense)}' lowers it to {line.worst.accuracy.value:.2f}, and honest users' accuracy {accuracy}."
    )


def lost(summary: Summary, line: DefenseSummary) -> float:
    """Accuracy that honest users lose."""
    assert summary.victim is not None
    assert line.kept is not None
    return summary.victim.value - line.kept.accuracy.value


def lowest(lines: list[DefenseSummary]) -> DefenseSummary:
    return min(lines, key=lambda line: line.worst.accuracy.value if line.worst else 1.0)


def gentlest(summary: Summary, lines: list[DefenseSummary]) -> DefenseSummary:
    """Of those that cannot be told from the lowest, the one that honest users notice least."""
    least = lowest(lines).worst
    assert least is not None
    equal = [line for line in lines if line.worst and verdict(line.worst.values - least.values) == "same"]
    return min(equal, key=lambda line: (lost(summary, line) > NOTABLE, line.kept.l1 if line.kept else 2.0))


def whole(summary: Summary) -> str:
    """`the 97 %` that the undefended theft got."""
    worst = summary.undefended.worst if summary.undefended else None
    return f"the {share(summary, worst)}" if worst and share(summary, worst) else "that"


def share(summary: Summary, one: Stolen) -> str:
    """`97 %` of the victim's accuracy; empty for a victim that is never right."""
    return percent(one.accuracy.value / summary.victim.value) if summary.victim and summary.victim.value else ""


def left(summary: Summary, line: DefenseSummary) -> str:
    """`85 % (0.83) against the strongest of 3 thieves`."""
    assert summary.victim is not None
    assert line.worst is not None
    worst, thieves = line.worst.accuracy.value, len(line.thieves)
    whom = f"the strongest of {thieves} thieves" if thieves > 1 else "the one thief measured"
    return f"{share(summary, line.worst)} ({worst:.2f}) against {whom}".strip()


def price_of(summary: Summary, line: DefenseSummary) -> str:
    """What honest users pay for it, and whether answering with the bare label would do as well."""
    assert summary.victim is not None
    assert line.kept is not None
    assert line.worst is not None
    said = f"and keeps {percent(line.kept.top1_kept)} of honest users' top answers; it moves their probabilities by"
    said += f" {line.kept.l1:.2f} on average (L1, at most 2)"
    if lost(summary, line) > NOTABLE:
        said += f" and their accuracy from {summary.victim.value:.2f} to {line.kept.accuracy.value:.2f}"
    floor = summary.floor
    if floor and line.defense != "label" and verdict(line.worst.values - floor.values) != "lower":
        said += f". Answering with nothing but the label would do as well ({floor.accuracy.value:.2f})"
    if "no-adaptive-thief" in (*line.flags, *summary.flags):
        said += ". No thief here was made to undo it; one who knows the defense may get more"
    return said + "."
