"""Writes every table and figure of README.md and docs/ that holds numbers or is read from the code: `make docs`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what is between is replaced. Numbers come from the
files under results/, flags from `engine/checks.py`, methods from `methods.py`. With --check nothing is written and
the exit code is 1 if anything would change.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import study_docs

from gamekeeper.data.batteries import facts
from gamekeeper.engine.checks import FLAGS, grouped
from gamekeeper.engine.ensemble import ENSEMBLES
from gamekeeper.engine.reproduction import lines, verdicts
from gamekeeper.engine.reproductions import REPRODUCTIONS
from gamekeeper.engine.results import Results, Row
from gamekeeper.engine.summary import Line, Stolen, Summary, summarise
from gamekeeper.method_text import ALIASES
from gamekeeper.methods import KINDS, describe
from gamekeeper.surfaces.curves import families, trade_curves
from gamekeeper.surfaces.figures import price_curve, svg, utility_plot
from gamekeeper.surfaces.ranking import ranking
from gamekeeper.surfaces.reproduce import beside_ours, beside_paper, difference
from gamekeeper.surfaces.words import count, efficiency, headline, percent, promises, rated, reached, seconds, value

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES, NUMBER = ("d", "x", "y", "transform"), re.compile(r"-?\d+(?:\.\d*)?(?:e-?\d+)?")
MARK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


@cache
def summary(name: str, without: str | None = None) -> Summary:
    """Of a run; or as if one defense had not taken part."""
    results = Results(RESULTS / name)
    rows = [row for row in results.read() if without is None or not row.defense.startswith(without)]
    return summarise(results.header(), rows)


def stamp(name: str) -> str:
    return f"{origin(name)} `{Results(RESULTS / name).header().command}`"


def origin(name: str) -> str:
    run = Results(RESULTS / name).header()
    seeds = f"seeds {', '.join(map(str, run.seeds))}" if len(run.seeds) > 1 else f"seed {run.seeds[0]}"
    return f"`results/{name}`, gamekeeper {run.version}, {seeds}, {run.started[:10]}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "") -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n" + (f"\n{below}\n" if below else "")


def defenses(name: str) -> str:
    """One row a defense, at the largest budget."""
    whole = summary(name)
    blind = ["blind choice"] if any(line.blind for line in whole.lines) else []
    head = [
        "defense", "honest accuracy", "top-1 kept", "L1", "soft thief", *blind, "strongest thief", "eta", "90 % at", "flags",
    ]  # fmt: skip
    rows = [defense_row(line, bool(blind)) for line in whole.lines]
    flags = f" On every number: {', '.join(f'`{flag}`' for flag in whole.flags)}." if whole.flags else ""
    floor = f" Label floor {rated(whole.floor.accuracy)} `{whole.floor.attack}`." if whole.floor else ""
    control = f" Control {rated(whole.control.accuracy)}." if whole.control else ""
    below = f"Clone accuracy at {count(whole.budget or 0)} queries.{floor}{control}{flags} {stamp(name)}"
    return table(head, rows, below)


def defense_row(line: Line, blind: bool) -> list[str]:
    assert line.kept and line.worst and line.soft
    chosen = f"{value(line.blind.accuracy)} `{line.blind.attack}`" if line.blind else "–"
    return [
        f"`{line.defense}`",
        value(line.kept.accuracy),
        percent(line.kept.top1_kept),
        f"{line.kept.l1:.2f}",
        value(line.soft.accuracy),
        *([chosen] if blind else []),
        f"{rated(line.worst.accuracy)} `{line.worst.attack}`",
        f"{efficiency(line)} ({line.eta.low:.2f} to {line.eta.high:.2f})" if line.eta else efficiency(line),
        next(reached(price.queries) for price in line.prices if price.level == 0.9),
        ", ".join(f"`{flag}`" for flag in line.flags) or "–",
    ]


def lined_up(name: str) -> str:
    """Every defense at a stated utility: what it promises, costs and takes from the strongest thief."""
    if not (RESULTS / name / "run.json").exists():
        return f"Not run yet: `results/{name}`.\n"
    whole = summary(name)
    rows = [
        [
            f"`{line.defense}`",
            promises(line.kept.promised) if line.defense != "none" else "–",
            value(line.kept.accuracy),
            f"{line.kept.l1:.2f}",
            f"{line.kept.ece:.3f}",
            value(line.soft.accuracy) if line.soft else "–",
            f"{rated(line.worst.accuracy)} `{line.worst.attack}`",
            efficiency(line),
            seconds(line.kept.seconds) if line.defense != "none" else "–",
            ", ".join(f"`{flag}`" for flag in line.flags) or "–",
        ]
        for line in whole.lines
        if line.kept and line.worst
    ]
    head = [
        "defense", "promises", "honest accuracy", "L1", "calibration error", "soft thief", "strongest thief", "eta",
        "time a query", "flags",
    ]  # fmt: skip
    floor = f" Label floor {rated(whole.floor.accuracy)} `{whole.floor.attack}`." if whole.floor else ""
    flags = f" On every number: {', '.join(f'`{flag}`' for flag in whole.flags)}." if whole.flags else ""
    run = Results(RESULTS / name).header()
    left_out = [*run.chosen.get("left_out", []), *(said for said in run.assumptions if "does not take part" in said)]
    below = f"Clone accuracy at {count(whole.budget or 0)} queries.{floor}{flags} {' '.join(left_out)} {stamp(name)}"
    return table(head, rows, below)


def strengths(name: str) -> str:
    """Every defense that was measured at several strengths: what honest users lose, soft thief and strongest."""
    if not (RESULTS / name / "run.json").exists():
        return f"Not run yet: `results/{name}`.\n"
    rows: list[list[str]] = []
    for family in families(summary(name)):
        for line in family.lines:
            assert line.kept and line.soft and line.worst
            stolen = [value(line.soft.accuracy), f"{value(line.worst.accuracy)} `{line.worst.attack}`"]
            rows.append([f"`{line.defense}`", f"{line.kept.l1:.2f}", value(line.kept.accuracy), *stolen])
    return table(["defense", "L1", "honest accuracy", "soft thief", "strongest thief"], rows, stamp(name))


def thieves(name: str) -> str:
    """Clone accuracy of every thief against every defense, at the largest budget."""
    whole = summary(name)
    rows: list[list[str]] = []
    for attack in whole.attacks:
        found = [{one.attack: one for one in line.thieves}.get(attack) for line in whole.lines]
        best = [line.worst for line in whole.lines]
        cells = [
            "–" if one is None else f"**{value(one.accuracy)}**" if one == top else value(one.accuracy)
            for one, top in zip(found, best, strict=True)
        ]
        rows.append([f"`{attack}`", *cells])
    below = "Mean clone accuracy over seeds; the strongest against each defense in bold."
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
    return table(["thief", "what he brings", "ensemble", "needs"], rows)


def thefts(name: str) -> dict[tuple[str, str, int], float]:
    """Clone accuracy by defense, thief and budget, mean over seeds."""
    rows = [row for row in Results(RESULTS / name).read() if row.clone]
    groups = grouped(rows, lambda row: (row.defense, row.attack, row.budget))
    return {key: fmean(row.clone.accuracy.value for row in own if row.clone) for key, own in groups.items()}


def curve(name: str) -> str:
    """Clone accuracy by budget, a row for each defense and thief, mean over seeds."""
    found = thefts(name)
    budgets = sorted({budget for _, _, budget in found})
    lines = [
        [f"`{defense}`", f"`{attack}`", *(f"{100 * found[defense, attack, budget]:.1f}" for budget in budgets)]
        for defense, attack in dict.fromkeys(key[:2] for key in found)
    ]
    return table(["defense", "thief", *(count(b) for b in budgets)], lines, f"Clone accuracy in percent. {stamp(name)}")


def findings() -> str:
    """The pilot's two claims, as these runs bear them out or not: points of clone accuracy."""
    rows: list[list[str]] = []
    for name in ("worst-mnist", "worst-fashion"):
        whole = summary(name)
        assert whole.undefended and whole.undefended.worst and whole.undefended.soft and whole.floor
        for line in whole.defended:
            assert line.soft and line.worst and line.kept
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
                    percent(line.kept.top1_kept_thief or 0.0),
                ]
            )
    head = [
        "target", "defense", "taken from the soft thief", "from the strongest outsider", "from the strongest of all",
        "strongest of all above the floor", "thieves' labels kept",
    ]  # fmt: skip
    below = (
        "Points of clone accuracy that a defense takes away, each thief against his like undefended. An outsider asks the pool"
        " only; an insider holds inputs of the model's own kind. The last column is the mean over all thieves' queries."
    )
    return table(head, rows, below)


def strongest_outsider(line: Line) -> Stolen:
    return next(one for one in line.thieves if not one.attack.startswith("insider"))


def flags() -> str:
    return "\n".join(
        f"## {flag.name}\n\n*Raised if* {flag.raised_if}\n\n*Means.* {flag.means}\n\n*Do.* {flag.do}\n"
        for flag in FLAGS.values()
    )


def methods() -> str:
    rows = []
    for kind, names in KINDS.items():
        for name in names:
            found = describe(name, kind)
            rows.append([kind, f"`{name}`", found.summary, found.head.get("Source", "–")])
    rows += [["alias", f"`{alias}`", f"`{meaning}`", "–"] for alias, meaning in ALIASES.items()]
    return table(["kind", "name", "what it does", "source"], rows)


def victims() -> str:
    rows = []
    for name, model in facts()["models"].items():
        for data, accuracy in model["accuracy"].items():
            rows.append([f"`{name}`", data, f"{100 * accuracy['value']:.2f} %", count(accuracy["n"])])
    return table(
        ["network", "judged on", "accuracy", "n"], rows, "From `batteries.json`, which ships with the package."
    )


def bench() -> dict[str, object]:
    return json.loads((RESULTS / "bench.json").read_text())


def bench_stamp() -> str:
    about = bench()["about"]
    return f"`results/bench.json`, gamekeeper {about['version']}, torch {about['torch']}, {about['date']}. `make bench`"


def bench_mad() -> str:
    rows = [
        [
            row["victim"],
            str(row["classes"]),
            str(row["batch"]),
            row["surrogate"],
            f"{row['ratio']:.2f}",
            str(row["aim"]),
        ]
        for row in bench()["mad"]["service"]
    ]
    solve = "; ".join(
        f"{row['us_per_row']:.2f} ({row['surrogate']}, {row['classes']} classes, batch {row['batch']})"
        for row in bench()["mad"]["solve"]
    )
    head = ["victim", "classes", "batch", "surrogate", "defended / plain answer", "aim"]
    return table(head, rows, f"The solve alone, microseconds a row: {solve}. {bench_stamp()}")


def bench_training() -> str:
    found = bench()["training"]
    names = {
        "ours": "gamekeeper",
        "plain": "plain PyTorch loop",
        "constant": "plain loop, constant rate",
        "art": "ART KnockoffNets (constant rate)",
    }
    ours = found["cpu_seconds"]["ours"]
    rows = [
        [names[name], f"{seconds / ours:.2f}", f"{found['accuracy'][name]:.3f}"]
        for name, seconds in found["cpu_seconds"].items()
    ]
    below = f"LeNet, {found['budget']:,} answers, {found['epochs']} epochs, one thread. {bench_stamp()}"
    return table(["thief's training", "time / ours", "clone accuracy"], rows, below)


def missing(name: str) -> str:
    return f"Not in `results/bench.json` yet: `python -m benchmarks {name}` measures it.\n"


def bench_memory() -> str:
    if "memory" not in bench():
        return missing("memory")
    found = bench()["memory"]
    rows = [[when, f"{most / 1e6:,.0f} MB"] for when, most in found["bytes"].items() if most]
    below = f"{found['budget']:,} answers; the aim is to stay below {found['aim_bytes'] / 1e9:.0f} GB. {bench_stamp()}"
    return table(["a big theft", "resident memory"], rows, below)


def bench_querying() -> str:
    if "querying" not in bench():
        return missing("querying")
    picks, rounds = bench()["querying"]["k_center"], bench()["querying"]["jbda"]
    what = f"k-center, {picks['picks']} of {picks['points']:,} points: plain loop / ours"
    rows = [
        [what, f"{picks['ratio']:,}", f"at least {picks['aim']:g}"],
        [f"JBDA round of {rounds['rows']:,}: ours / gradients alone", str(rounds["ratio"]), f"at most {rounds['aim']}"],
    ]
    return table(["choosing what to ask", "ratio", "aim"], rows, bench_stamp())


def bench_ensemble() -> str:
    if "ensemble" not in bench():
        return missing("ensemble")
    found = bench()["ensemble"]
    full = found["full_over_soft"]
    rows = [
        ["`worst`", str(found["thieves"]), str(found["ratio"]), f"at most {found['aim']:g}"],
        ["`worst:full`", "27", whole_ensemble() if full is None else str(full), "stated"],
    ]
    below = f"No defense, {found['budget']:,} queries, the built-in digit classifier, with rehearsals and control. {bench_stamp()}"
    return table(["ensemble", "thieves", "its time / the soft thief's", "aim"], rows, below)


def whole_ensemble() -> str:
    """The full ensemble's training seconds over the soft thief's, no defense, from the committed runs."""
    ratios: list[float] = []
    for name in ("worst-mnist", "worst-fashion"):
        rows = [row for row in Results(RESULTS / name).read() if row.defense == "none" and row.seconds]
        for own in grouped(rows, lambda row: row.seed).values():
            seconds = {row.attack: row.seconds.thief for row in own if row.seconds}
            ratios.append(sum(seconds.values()) / seconds["knockoff"])
    runs = (
        f"{len(ratios)} runs of `results/worst-*` ({min(ratios):.0f} to {max(ratios):.0f}: other jobs ran beside them)"
    )
    return f"{median(ratios):.0f}, rehearsals in both; median of {runs}"


def bench_perturbing() -> str:
    """Linear programs against HiGHS, MAD's rows against one backward pass a class, the Gram matrix against the Jacobian."""
    if "perturbing" not in bench():
        return missing("perturbing")
    found = bench()["perturbing"]
    rows = [
        [f"{row['defense']}, {row['classes']} classes, a row against HiGHS", f"{row['us_per_row']:g} us (aim {row['aim']:g})",
         f"{row['ratio']:g}", str(row["ratio_aim"])]
        for row in found["programs"]
    ] + [
        [f"{row['defense']}, {row['network']}, {row['classes']} classes, an answer against one backward pass a class",
         f"{row['ours_ms']:g} ms", f"{row['ratio']:g}", "–" if row["aim"] is None else str(row["aim"])]
        for row in found["loops"]
    ] + [
        [f"all weights' Gram matrix, {row['network']}, an answer against the explicit Jacobian", f"{row['ours_ms']:g} ms",
         f"{row['ratio']:g}", str(row["aim"])]
        for row in found["jacobians"]
    ]  # fmt: skip
    big = found["jacobians"][-1]
    below = f"On {big['network']} the Gram matrix takes {big['ours_mb']:,} MB beside the network, the Jacobian {big['explicit_mb']:,}: {big['memory_ratio']:g} times (aim 10)."
    return table(["what", "ours", "times as fast", "aim"], rows, f"{below} {bench_stamp()}")


def bench_deep_defense() -> str:
    """DeepDefense's modes against a loop over queries, and its cost on a larger network."""
    if "deep_defense" not in bench():
        return missing("deep_defense")
    found = bench()["deep_defense"]
    rows = [
        [f"{row['network']}, {row['way']}", f"{row['ms']:g} ms", f"{row['ratio']:g}" if "ratio" in row else "1",
         str(row["aim"]) if row.get("aim") else "–", f"{row['cosine']:g}"]
        for row in found["lenet"]
    ]  # fmt: skip
    rows += [
        [
            one["network"],
            f"{one['seconds']:g} s" + (f" (aim {one['aim']:g} s)" if one["aim"] else ""),
            "–",
            "–",
            f"{one['cosine']:g}",
        ]
        for one in found["resnet"]
    ]
    below = (
        f"{found['steps']} steps, batch {found['batch']}; ResNet18 {found['resnet'][0]['steps']} steps. {bench_stamp()}"
    )
    return table(["network, what moves", "a query", "times as fast as the loop", "aim", "mean cosine"], rows, below)


def bench_recovery() -> str:
    if "recovery" not in bench():
        return missing("recovery")
    found = bench()["recovery"]
    rows = [
        [
            "of the answer's top class" if row["top class only"] else "all",
            f"{row['plain_over_ours']:.1f}",
            "–" if row["extra_mb"] is None else f"{row['extra_mb']:,} MB",
            f"{row['all_at_once_mb']:,} MB",
            f"{row['l1_given']} → {row['l1_recovered']}",
        ]
        for row in found["rows"]
    ]
    head = [
        "candidates looked through",
        "plain loop / ours",
        "extra memory",
        "all distances at once",
        "L1 to the clean answer",
    ]
    below = f"{found['answers']:,} answers, {found['candidates']:,} candidates; the aim is {found['aim_mb']} MB. {bench_stamp()}"
    return table(head, rows, below)


def bench_ledger() -> str:
    found = bench()["ledger"]
    rows = [
        [f"size of {found['rows']:,} answers over {found['classes']} classes", f"{found['bytes'] / 1e6:.1f} MB"],
        ["written in batches of 256 / one by one", f"{found['batch_256_over_batch_1']} times as fast"],
        ["rows a second in batches of 256", f"{found['rows_per_second_batch_256']:,}"],
        ["rows a second one by one", f"{found['rows_per_second_batch_1']:,}"],
        ["rows a second read back", f"{found['reread_rows_per_second']:,}"],
    ]
    return table(["ledger", "measured"], rows, bench_stamp())


def clone_accuracy(name: str, defense: str, attack: str, budget: int) -> str:
    return f"{100 * thefts(name)[defense, attack, budget]:.1f} % ({count(budget)} queries)"


def papers() -> str:
    """Published figures beside ours; theirs are typed here with their place, ours come from the results."""
    fifth = "a fifth to a twentieth of the queries; printed letters for EMNIST"
    rows = [
        ("Prediction Poisoning, Table 1: knockoff, MNIST, undefended", "99.0 % (50,000 queries)",
         clone_accuracy("mnist", "none", "knockoff", 2500), fifth + "; victim 98.4 % for 99.4 %"),
        ("the same, FashionMNIST", "69.2 % (50,000 queries)",
         clone_accuracy("fashion", "none", "knockoff", 10_000), fifth + "; victim 91.9 % for 92.0 %"),
        ("Prediction Poisoning, section 5.2: MAD, knockoff, MNIST, at under 1 point of the defender's accuracy",
         "69.8 % (50,000 queries)", clone_accuracy("mnist", "mad", "knockoff", 2500), fifth),
        ("the same against a thief who looks at labels only", "about 9 points below undefended, CIFAR10 (section 5.2.3)",
         clone_accuracy("mnist", "mad", "knockoff+labels", 2500), "another victim; the label is changed on most letters"),
    ]  # fmt: skip
    return table(["published", "theirs", "ours", "what differs"], rows, f"{stamp('mnist')}; {stamp('fashion')}")


def reproductions() -> str:
    rows = [
        [
            f"`{each.name}`",
            each.paper,
            each.what,
            str(each.minutes),
            ", ".join(f"`{name}`" for name in each.needs) or "–",
        ]
        for each in REPRODUCTIONS.values()
    ]
    return table(["name", "paper", "what it runs", "minutes", "needs"], rows)


@cache
def reproduced(name: str) -> list[Row]:
    """Committed rows of a reproduction; none if it has not been run."""
    folder = RESULTS / "reproduce" / name
    return Results(folder).read() if (folder / "run.json").exists() else []


def reproduction(name: str) -> str:
    """paper | ours | flags | gap, then the orderings."""
    each, rows = REPRODUCTIONS[name], reproduced(name)
    if not rows:
        return f"Not run yet: `gamekeeper reproduce {name}`.\n"
    said = ""
    if each.figures:
        head = ["what", "place", "paper", "ours (95 % interval)", "flags", "what differs"]
        body = [
            [one.figure.what, one.figure.place, beside_paper(one), one.error or beside_ours(one),
             ", ".join(f"`{flag}`" for flag in one.flags) or "–", one.figure.gap or "–"]
            for one in lines(each, rows)
        ]  # fmt: skip
        said += table(head, body) + "\n"
    claims = [
        [one.ordering.claim, one.ordering.place, f"{one.held} of {one.of}", difference(one), one.word,
         one.ordering.gap or "–"]
        for one in verdicts(each, rows)
    ]  # fmt: skip
    if claims:
        head = ["claim", "place", "pairs that hold", "mean difference (95 % interval)", "verdict", "what differs"]
        said += table(head, claims) + "\n"
    return f"{said}In all rows: {each.gap} {stamp(f'reproduce/{name}')}\n"


def attacks() -> str:
    """One row an attack: a paper's figure and ours, or how the paper's ordering came out."""
    return table(["attack", "published", "theirs", "ours"], [attack_row(name) for name in KINDS["attack"]])


def attack_row(name: str) -> list[str]:
    """The first figure of a clone by this attack that was measured, else the first ordering."""
    for each in REPRODUCTIONS.values():
        rows = reproduced(each.name)
        for one in lines(each, rows):
            of_the_clone = any(measure != "victim" for measure, _ in one.figure.said)
            if method(one.figure.theft.attack) == name and one.seeds and of_the_clone:
                where = f"{one.figure.what} ({one.figure.place}), `{each.name}`"
                return [f"`{name}`", where, beside_paper(one), beside_ours(one)]
        for claim in verdicts(each, rows):
            if name in {method(theft.attack) for theft in claim.ordering.pairs[0]}:
                where = f"{claim.ordering.place}, `{each.name}`"
                return [f"`{name}`", where, claim.ordering.claim, f"{difference(claim)}: {claim.word}"]
    return [f"`{name}`", "–", "–", audited(name)]


def audited(name: str) -> str:
    """What an attack without a published number got undefended in a committed audit; or where its example stands."""
    for header in sorted(RESULTS.glob("*/run.json")):
        line = summary(header.parent.name).undefended
        found = next((one for one in line.thieves if method(one.attack) == name), None) if line else None
        if found:
            return (
                f"{100 * found.accuracy.value:.1f} % at {count(found.budget)} queries (`results/{header.parent.name}`)"
            )
    return "the example on this page, run as a test: answers within 1e-6" if name in EXAMPLES else "–"


EXAMPLES = {"relu_reconstruction"}
"""Attacks for which no target of an audit sells what they need."""


def method(attack: str) -> str:
    """`active_thief:strategy=dfal+labels` -> `active_thief`."""
    return attack.split("+")[0].split(":")[0]


ALL = ("all-mnist", "all-fashion")
"""Runs of `--defense all`."""
FEW = ("few-inside-mnist", "few-inside-fashion")
"""Runs of a thief with a handful of inputs of the model's kind."""
STRENGTHS = ("strengths-mnist", "strengths-fashion", "strengths-gates", "strengths-others")
"""Runs of several defenses at several strengths each; the first two of the same ones."""
OFF_THE_SCALE = {"strengths-others": "dp_sgd"}
"""What a run's figure leaves to its table."""
KEYED = ("keyed-mnist", "keyed-mnist-other", "keyed-fashion", "keyed-fashion-other")
"""Runs of `keyed_misinformation`: letters for a pool, and images of the other kind."""


def study(name: str) -> str:
    """A table of results/studies.json."""
    if not study_docs.FILE.exists() or name not in study_docs.studies():
        return f"Not run yet: `python tools/studies.py {name}`.\n"
    head, rows, below = study_docs.TABLES[name]()
    return table(head, rows, f"{below} {study_docs.stamp(name)}")


def poisoning() -> str:
    """What the figures of Prediction Poisoning claim, and the strengths measured here. A claim, the paper's words, ours."""
    names = [name for name in STRENGTHS[:2] if (RESULTS / name / "run.json").exists()]
    if not names:
        return "Not run yet: `results/strengths-mnist`.\n"
    found = [thefts(name) for name in names]

    def at(defense: str, attack: str = "knockoff") -> str:
        return " / ".join(percent(one[defense, attack, 500]) for one in found)

    def row(figure: str, claim: str, why: str, *ours: tuple[str, str]) -> list[str]:
        return [figure, claim, "; ".join(f"{what} {numbers}" for what, numbers in ours), why]

    others = thefts("poisoning-attacks")

    def both(attack: str) -> str:
        clean, held = (percent(others[defense, attack, 500]) for defense in ("none", "mad:eps=0.95"))
        return f"{clean} to {held}"

    rows = [
        row("3", "at under 1 % of the defender's accuracy MAD takes JB-top3 from 99.4 to 35.7 % and Knockoff from 99.4 to 69.8 %",
            "holds, for every attack; Knockoff falls further here, with a hundredth of the queries (digits alone)",
            ("JB-top3", both("jb_topk")), ("JB-self", both("jb_self")), ("JBDA", both("jbda")), ("Knockoff", both("knockoff"))),
        row("4a", "MAD at L1 0.95 needs 0.63 times the perturbation of reverse sigmoid and noise for the same effect",
            "holds for reverse sigmoid. Noise drawn once for an input, as here, moves confident answers by nothing: a logit's lead is larger than it",
            ("undefended", at("none")), ("MAD at 0.5", at("mad:eps=0.5")),
            ("reverse sigmoid does as much at", " / ".join(f"{1 / cheaper(one):.1f} times the L1" for one in names)),
            ("noise at 40, L1 0.1", at("random_noise:eps=40"))),
        row("4b", "MAD-argmax and reverse sigmoid cost the thief at least 20 points and honest users none", "holds; on clothes from eps 1.6 on",
            ("MAD-argmax at 0.95", at("mad:eps=0.95,keep_top1=true")), ("at 1.6", at("mad:eps=1.6,keep_top1=true")),
            ("reverse sigmoid", at("reverse_sigmoid:beta=1"))),
        row("5", "who learns from labels alone recovers nearly everything from these two",
            "holds on clothes; on digits labels cost 9 points more than probabilities with no defense either: 500 letters, for the paper's 50,000 images",
            ("labels, undefended", at("none", "knockoff+labels")), ("MAD-argmax at 0.95", at("mad:eps=0.95,keep_top1=true", "knockoff+labels"))),
        row("8", "without the gradients (G = I) or with a random vertex MAD is weaker", "holds",
            ("MAD at 0.95", at("mad:eps=0.95")), ("G = I", at("mad:jacobian=identity,eps=0.95")), ("random vertex", at("mad:rule=random,eps=0.95"))),
        row("9", "the best way round MAD is to learn from labels, and that still costs 9 points",
            "does not hold: labels, many of them flipped, cost 31 and 17 points, and who undoes the known defense gets far more",
            ("labels", at("mad:eps=0.95", "knockoff+labels")), ("not in the paper: a fitted linear map undone", at("mad:eps=0.95", "knockoff+unmixed")),
            ("the known defense undone", at("mad:eps=0.95", "knockoff+partial_bayes"))),
    ]  # fmt: skip
    below = (
        f"Soft thief's clone at 500 queries unless said; {' / '.join(n.removeprefix('strengths-') for n in names)}. DP-SGD of"
        f" Figure 4b has a curve in [Which defense when](defenses.md). {origin(names[0])} {origin('poisoning-attacks')}"
    )
    return table(["figure", "paper", "ours", "how they compare"], rows, below)


def cheaper(name: str) -> float:
    """MAD's L1 at eps 0.5 as a share of the L1 at which reverse sigmoid, between its strengths, holds the soft thief as low."""
    lines = {line.defense: line for line in summary(name).lines}
    mad = lines["mad:eps=0.5"]
    curve = [lines["none"], *(line for defense, line in lines.items() if defense.startswith("reverse_sigmoid"))]
    assert mad.soft and mad.kept
    points = sorted((line.soft.accuracy.value, line.kept.l1) for line in curve if line.soft and line.kept)
    return mad.kept.l1 / float(np.interp(mad.soft.accuracy.value, *zip(*points, strict=True)))


TABLES: dict[str, Callable[[], str]] = {
    "reproductions": reproductions,
    "attacks": attacks,
    **{f"reproduce-{name}": partial(reproduction, name) for name in REPRODUCTIONS},
    "mnist-headline": lambda: f"> {headline(summary('mnist'))}\n",
    "mnist-defenses": lambda: defenses("mnist"),
    "ensemble": ensemble,
    **{name: partial(defenses, name) for name in KEYED},
    **{f"{name}-thieves": partial(thieves, name) for name in KEYED},
    "worst-mnist": lambda: defenses("worst-mnist"),
    "worst-mnist-2000": lambda: defenses("worst-mnist-2000"),
    "worst-mnist-thieves": lambda: thieves("worst-mnist"),
    "worst-fashion": lambda: defenses("worst-fashion"),
    "worst-fashion-thieves": lambda: thieves("worst-fashion"),
    "worst-findings": findings,
    **{f"auxiliary-{regime}": partial(regime_of, regime) for regime in ("related", "unrelated")},
    **{name: partial(lined_up, name) for name in ALL},
    **{name: partial(curve, name) for name in FEW},
    "mad-variants": lambda: curve("mad-variants"),
    **{name: partial(strengths, name) for name in STRENGTHS},
    "mnist-curve": lambda: curve("mnist"),
    "fashion-curve": lambda: curve("fashion"),
    "flags": flags,
    "methods": methods,
    "victims": victims,
    "papers": papers,
    "bench-mad": bench_mad,
    "bench-training": bench_training,
    "bench-ledger": bench_ledger,
    "bench-memory": bench_memory,
    "bench-querying": bench_querying,
    "bench-recovery": bench_recovery,
    "bench-ensemble": bench_ensemble,
    "bench-perturbing": bench_perturbing,
    "bench-deep-defense": bench_deep_defense,
    "poisoning-figures": poisoning,
    **{f"study-{name}": partial(study, name) for name in study_docs.TABLES},
}


def figures() -> dict[Path, str]:
    found = {"mnist-price-to-steal": price_curve(summary("mnist")), "mnist-utility": utility_plot(summary("mnist"))}
    found["fashion-price-to-steal"] = price_curve(summary("fashion"))
    for name in STRENGTHS:
        if (RESULTS / name / "run.json").exists():
            found[name] = trade_curves(summary(name, OFF_THE_SCALE.get(name)))
    found |= {name: ranking(summary(name)) for name in ALL}
    if study_docs.FILE.exists():
        found |= {name: draw() for name, draw in study_docs.FIGURES.items()}
    return {ROOT / "docs/figures" / f"{name}.svg": svg(figure, name) for name, figure in found.items() if figure}


def wanted() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    pages = {page: MARK.sub(lambda m: m[1] + TABLES[m["name"]]() + m[3], page.read_text()) for page in PAGES}
    return {**pages, **figures()}


def stale() -> dict[Path, str]:
    """Files that are not what they should be, with what they should be."""
    return {path: text for path, text in wanted().items() if not path.exists() or not same(path, text)}


def same(path: Path, text: str) -> bool:
    """Whether a page is that text to the letter, or a figure shows that."""
    return alike(path.read_text(), text) if path.suffix == ".svg" else path.read_text() == text


def alike(one: str, other: str) -> bool:
    """Whether two figures show the same: elements and texts equal, coordinates within half a point.

    Another version of matplotlib or of its fonts' renderer rounds otherwise, and names clip paths by such numbers.
    """
    ours, theirs = (list(ElementTree.fromstring(text).iter()) for text in (one, other))
    return len(ours) == len(theirs) and all(map(alike_elements, ours, theirs))


def alike_elements(one: Element, other: Element) -> bool:
    ours, theirs = ([float(n) for key in PLACES for n in NUMBER.findall(e.get(key, ""))] for e in (one, other))
    told = [(e.tag, (e.text or "").strip() if e.tag.endswith("text") else "") for e in (one, other)]
    return told[0] == told[1] and len(ours) == len(theirs) and all(abs(a - b) < 0.5 for a, b in zip(ours, theirs))  # noqa: B905


def main() -> None:
    changed = stale()
    for path, text in changed.items():
        print(f"{'would change' if '--check' in sys.argv else 'wrote'} {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    sys.exit(1 if changed and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
