"""Numbers and sentences of the report, the same in the terminal and on the page. Pure functions.

They put in words what `analysis/` decided. Everything that came from outside (names of targets and methods, error
messages) passes through `plain`.
"""

import math
import re
import unicodedata
from collections.abc import Sequence

from gamekeeper.analysis.best_defense import AFFORDABLE, BestDefense, best_defense
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.summary import DefenseSummary, Price, Stolen, Summary
from gamekeeper.analysis.utility import UtilitySummary
from gamekeeper.defenses.guarantees import ANY, Guarantees
from gamekeeper.metrics import Crossing, Estimate, Number
from gamekeeper.results import Band

ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def plain(text: str) -> str:
    """The text on one line, without terminal escapes, control, invisible or direction-changing characters."""
    spaced = re.sub(r"\s+", " ", ESCAPES.sub("", text))
    return "".join(c for c in spaced if unicodedata.category(c) not in INVISIBLE).strip()


def count(number: Number) -> str:
    """A whole number with thousands separators."""
    return f"{number:,.0f}"


def rough(number: Number) -> int:
    """An interpolated number of queries, to two significant digits; a whole number below ten."""
    digits = max(0, math.floor(math.log10(number)) - 1) if number > 0 else 0
    return round(number / 10**digits) * 10**digits


def pieces(name: str) -> list[str]:
    """A method's name cut after each `:`, `,` and `+`."""
    return [part for part in re.findall(r"[^:,+]*[:,+]?", plain(name)) if part]


def broken(name: str, width: int) -> list[str]:
    """A method's name in lines of at most `width` characters, broken between its pieces if possible."""
    lines: list[str] = []
    for part in pieces(name):
        whole = lines.pop() + part if lines and len(lines[-1] + part) <= width else part
        lines += [whole[i : i + width] for i in range(0, len(whole), width)]
    return lines or [""]


def paid(amount: Number, currency: str) -> str:
    """`2.50 USD`; without a currency the number alone."""
    return f"{money(amount)} {plain(currency)}".strip()


def money(amount: Number) -> str:
    """Without a currency: no decimals from 100 on, two from 0.1 on, two significant digits below."""
    if amount == 0:
        return "0"
    if abs(amount) >= 99.995:
        return f"{amount:,.0f}"
    if abs(amount) >= 0.0995:
        return f"{amount:.2f}"
    decimals = 1 - math.floor(math.log10(abs(amount)))
    return f"{amount:.{decimals}f}".rstrip("0")


def percent(fraction: float) -> str:
    """Whole percent; one decimal if rounding would hide that it is not 100."""
    return f"{100 * fraction:.1f} %" if 0.995 <= fraction < 0.9995 else f"{100 * fraction:.0f} %"


def value(rate: Estimate) -> str:
    return f"{rate.value:.3f}"


def interval(rate: Estimate) -> str:
    return f"{rate.low:.3f}–{rate.high:.3f}"


def rated(rate: Estimate) -> str:
    return f"{value(rate)} ({interval(rate)})"


def efficiency(line: DefenseSummary) -> str:
    return "–" if line.eta is None else f"{line.eta.value:.2f}"


def points(share: float) -> str:
    """Points of accuracy lost, with a sign: `-31`, `0`; one decimal below ten."""
    amount = -100 * share
    text = f"{amount:+.1f}" if abs(amount) < 9.95 else f"{amount:+.0f}"
    return "0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def lost(share: float) -> str:
    """Points of accuracy that honest users lose or may lose: `0.5`, `2`, `98`; 0 for a gain."""
    amount = max(0.0, 100 * share)
    return f"{amount:.1f}".removesuffix(".0") if amount < 9.95 else f"{amount:.0f}"


def worst_loss(utility: UtilitySummary | None) -> str:
    """`−31 thinner`: what users lose to a defense under the shift that is worst for them; a dash if none was measured."""
    worst = utility.worst_shift if utility else None
    if worst is None:
        return "–"
    return "0" if points(worst.loss) == "0" else f"{points(worst.loss)} {plain(worst.name)}"


def guaranteed(guarantees: Guarantees | None) -> str:
    """What a defense guarantees for every answer; a dash for nothing, or if the row does not say."""
    if guarantees is None:
        return "–"
    words = {
        "top-1": guarantees.keeps_top1,
        f"L1 ≤ {guarantees.l1_bound:.3g}": guarantees.l1_bound < ANY,
        "confidence": guarantees.keeps_confidence,
    }
    return ", ".join(word for word, true in words.items() if true) or "–"


def seconds(value: float | None) -> str:
    """Seconds in a suitable unit: `41 µs`, `2.3 ms`, `4.1 s`."""
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
    """Queries as they are printed: two significant digits if they were interpolated."""
    return rough(crossing.queries) if crossing.bound == "exact" else crossing.queries


def reached(crossing: Crossing) -> str:
    """`870`, `≤ 250`, or `> 2,500` if no measured budget reached it."""
    sign = {"exact": "", "at most": "≤ ", "more than": "> "}[crossing.bound]
    return f"{sign}{count(amount(crossing))}"


def reached_in_words(crossing: Crossing, price: float, currency: str = "") -> str:
    """`takes about 870 queries (0.87)`; money only if a price was stated."""
    queries = amount(crossing)
    if queries == 0:
        return "takes no query"
    if crossing.bound == "more than":
        return f"is not reached with {count(queries)} queries"
    cost = f" ({paid(queries * price, currency)})" if price else ""
    return f"takes {'about' if crossing.bound == 'exact' else 'at most'} {count(queries)} queries{cost}"


def between(price: Price) -> str:
    """The price's interval, `690 to 1,100`; empty if both ends are printed alike."""
    low, high = reached(price.low), reached(price.high)
    return "" if low == high else f"{low} to {high}"


def notes(summary: Summary) -> list[str]:
    """What is missing: cells not run, failed cells, thieves not measured against a defense."""
    sentences: list[str] = []
    if summary.done < summary.cells:
        done = f"{summary.done} of {summary.cells} cells"
        sentences.append(f"The run is not finished: {done} are done. Run the same command again to continue.")
    if summary.failed:
        cells = "1 cell" if len(summary.failed) == 1 else f"{len(summary.failed)} cells"
        sentences.append(f"{cells} of {summary.cells} failed; the errors are listed below.")
    if summary.budget is not None:
        where = f"has no result at {count(summary.budget)} queries for"
        lacking = [line for line in summary.lines if line.missing]
        sentences += [f"{plain(line.defense)} {where}: {', '.join(map(plain, line.missing))}." for line in lacking]
    return sentences


def headline(summary: Summary) -> str:
    """What the run shows, in a few plain sentences that promise nothing."""
    return " ".join(sentences(summary))


def counted(n: int, unanswered: int) -> str:
    """`1,980 of 2,000 test inputs`, where some brought no answer."""
    return f"{count(n)} of {count(n + unanswered)} test inputs"


def left_out(summary: Summary) -> list[str]:
    """Over how many test inputs accuracies are, where some brought no answer."""
    if not summary.unanswered or summary.victim is None:
        return []
    n = counted(summary.victim.n, summary.unanswered)
    return [f"Every accuracy is over the {n} that got an answer: the others count neither for nor against the model."]


def sentences(summary: Summary) -> list[str]:
    """The headline: what is stolen without a defense, what smaller shares cost, what the best defense changes."""
    if summary.victim is None or summary.budget is None:
        failed = "Nothing was measured: every finished cell failed."
        return [failed if summary.failed else "Nothing has been measured yet."]
    if summary.void:
        return nothing_follows(summary)
    undefended = summary.undefended
    if undefended is None or undefended.worst is None:
        return uncompared(summary, "was not part of this run" if undefended is None else "has no result")
    return [
        *without_asking(summary),
        theft(summary, undefended.worst, summary.victim),
        *cost(summary, undefended),
        defenses(summary),
        *left_out(summary),
    ]


def nothing_follows(summary: Summary) -> list[str]:
    """The headline of a run that is void: which flags say so, what they mean, what to do. No number stands beside them."""
    flags = [FLAGS[name] for name in summary.void]
    names = ", ".join(flag.name for flag in flags)
    return [f"Nothing follows from this run ({names}).", *(f"{flag.means} {flag.do}" for flag in flags)]


def uncompared(summary: Summary, reason: str) -> list[str]:
    """The headline where no thief was measured without a defense: what thieves got, not what a defense changed."""
    assert summary.budget is not None
    got = [f"'{plain(line.defense)}' leaves {left(summary, line)}" for line in summary.defended if line.worst]
    where = f"at {count(summary.budget)} queries"
    shares = f" Of this model's accuracy, {where}, {'; '.join(got)}." if got else ""
    return [
        f"No defense can be compared: the defense `none` {reason} {where}, so nothing shows what thieves get without"
        f" one.{shares} Add --defense none.",
        *without_asking(summary),
        *left_out(summary),
    ]


def theft(summary: Summary, worst: Stolen, victim: Estimate) -> str:
    cost = ""
    if summary.price:
        whole, each = (paid(amount, summary.currency) for amount in (worst.queries * summary.price, summary.price))
        cost = f" (costing {whole} at {each} per query)"
    queries, numbers = f"{count(worst.queries)} queries{cost}", f"({worst.accuracy.value:.2f} of {victim.value:.2f})"
    if summary.zero_query is None:
        return (
            f"Without a defense, {queries} steal {share(summary, worst) or 'none'} of this model's accuracy {numbers}."
        )
    stolen = summary.above_zero_query(worst)
    if stolen is None or stolen <= 0:
        return f"Without a defense, {queries} steal nothing beyond that: the best copy gets {share(summary, worst)} {numbers}."
    doubt = ", which may be luck" if "free-anyway" in (*summary.flags, *undefended_flags(summary)) else ""
    return (
        f"Without a defense, {queries} bring that to {share(summary, worst)} {numbers}: they steal {percent(stolen)} of what"
        f" was left to steal{doubt}."
    )


def undefended_flags(summary: Summary) -> tuple[str, ...]:
    return summary.undefended.flags if summary.undefended else ()


COPIES = {
    "names_only": "a copy trained on drawings of what the classes are called",
    "commonest_class": "always answering the commonest class",
}
"""The zero-query clone in words, by its thief."""


def without_asking(summary: Summary) -> list[str]:
    """What the zero-query clone is, and reaches; nothing if there is none."""
    one = summary.zero_query
    if one is None or summary.victim is None:
        return []
    copy = COPIES.get(one.attack, f"the copy '{plain(one.attack)}'")
    return [
        f"Without one query, {copy} gets {share(summary, one) or 'none'} of this model's accuracy"
        f" ({one.accuracy.value:.2f} of {summary.victim.value:.2f})."
    ]


def cost(summary: Summary, undefended: DefenseSummary) -> list[str]:
    """What each share of the model's accuracy costs, up to the first that was not reached."""
    clauses: list[str] = []
    free = [price for price in undefended.prices if price.queries.queries == 0]
    smallest = [price for price in undefended.prices if price.queries.bound == "at most"]
    for price in [*free[-1:], *smallest[-1:], *undefended.prices[len(free) + len(smallest) :]]:
        share = f"{percent(price.level)} of the model's accuracy" if not clauses else percent(price.level)
        clauses.append(f"{share} {reached_in_words(price.queries, summary.price, summary.currency)}")
        if price.queries.bound == "more than":
            break
    return [", ".join(clauses) + "."] if clauses else []


def defenses(summary: Summary) -> str:
    """The best affordable defense, or that there is none."""
    best = best_defense(summary)
    if best.outcome == "one seed":
        return (
            f"Which of the {best.tested} defenses helps, one seed cannot tell from luck: add --seeds 3."
            if best.tested > 1
            else "Whether the defense helps, one seed cannot tell from luck: add --seeds 3."
        )
    if best.outcome == "unproven":
        return hope(summary, best, "No defense has been shown to lower it against thieves made to undo that defense.")
    if best.defense is None:
        unmeasured = "No defense has been measured at that budget."
        return "No defense was tested." if best.outcome == "untested" else unmeasured
    return hope(summary, best, ranked(summary, best, best.defense))


def ranked(summary: Summary, best: BestDefense, line: DefenseSummary) -> str:
    """What the best defense, or the nearest to one, is worth."""
    name, stolen = f"'{plain(line.defense)}'", left(summary, line)
    points = f"{100 * AFFORDABLE:.0f} points of accuracy"
    if best.outcome == "affordable":
        limit = f" that costs honest users at most {points}" if best.dearer else ""
        return (
            f"The best defense tested{limit}, {name}, lowers {whole(summary)} to {stolen} {price_of(summary, best)}"
            f"{at_a_loss(summary, best.dearer)}{free_anyway(summary, line)}"
        )
    if best.outcome == "costly":
        return (
            f"No defense tested lowers {whole(summary)} and costs honest users at most {points}; the cheapest that lowers"
            f" it, {name}, leaves {stolen} {price_of(summary, best)}"
        )
    those = (
        f"None of the {best.tested} defenses tested lowers" if best.tested > 1 else "The defense tested does not lower"
    )
    return f"{those} {whole(summary)} beyond the noise of this measurement: {name} leaves {stolen}."


def free_anyway(summary: Summary, line: DefenseSummary) -> str:
    """That a defense is worth less than it looks, where the copy that asked nothing beats all who ask behind it."""
    free, worst = summary.zero_query, line.worst
    if free is None or worst is None or free.accuracy.value <= worst.accuracy.value:
        return ""
    return f" Behind it nobody needs to ask: the copy that asked nothing has {share(summary, free)}."


def hope(summary: Summary, best: BestDefense, sentence: str) -> str:
    """The sentence, and what a defense leaves thieves who do not know it, which ranks no defense."""
    if best.unproven is None:
        return sentence
    lacking, thief = ("knows it", "knockoff+partial_bayes")
    if best.unproven.faced:  # by one who knows it, but it keeps labels, and nobody learnt from those alone
        lacking, thief = ("learns from its labels alone", "knockoff+labels")
    return (
        f"{sentence} '{plain(best.unproven.defense)}' is not ranked: it leaves {left(summary, best.unproven)}, but no thief"
        f" here {lacking}, and one who does may get far more. Add one, such as --attack {thief}."
    )


def at_a_loss(summary: Summary, dearer: DefenseSummary | None) -> str:
    """What a defense reaches that costs honest users more; empty if there is none."""
    if dearer is None:
        return ""
    assert summary.victim is not None
    assert dearer.worst is not None
    assert dearer.utility is not None
    accuracy = f"from {summary.victim.value:.2f} to {dearer.utility.accuracy.value:.2f}"
    return (
        f" '{plain(dearer.defense)}' lowers it further, to {dearer.worst.accuracy.value:.2f}, but honest users' accuracy"
        f" falls {accuracy}."
    )


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
    opponent = f"the strongest of {thieves} thieves" if thieves > 1 else "the one thief measured"
    return f"{share(summary, line.worst)} ({worst:.2f}) against {opponent}".strip()


def price_of(summary: Summary, best: BestDefense) -> str:
    """What honest users pay for the best defense, and the reservations."""
    assert summary.victim is not None
    assert best.defense is not None
    utility, floor = best.defense.utility, summary.floor
    assert utility is not None
    text = f"and keeps {percent(utility.top1_kept)} of honest users' top answers; it moves their probabilities by"
    text += f" {utility.l1:.2f} on average (L1 distance, at most 2)"
    if best.costs_accuracy:
        text += f" and their accuracy from {summary.victim.value:.2f} to {utility.accuracy.value:.2f}"
    if floor and best.label_does_as_well:
        text += f". Answering with nothing but the label would do as well ({floor.accuracy.value:.2f})"
    return text + "."
