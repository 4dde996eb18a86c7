"""Writes every table and figure of README.md and docs/ that holds numbers or is read from the code: `make docs`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what is between is replaced. So is a number in a sentence
between `<!-- clone RUN DEFENSE THIEF BUDGET -->` (or `taken`, `lost`) and `<!-- / -->`. Numbers come from the files under results/, flags from `analysis/flags.py`, methods from `methods.py`, and the index of papers from the heads of
the pages in docs/papers/. With --check nothing is written and the exit code is 1 if anything would change.
"""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import bench_docs
import detection_docs
import gateway_docs
import mark_docs
import member_docs
import ownership_docs
import paper_docs
import red_team_docs
import run_docs
import study_docs
import training_docs
from committed import RESULTS, ROOT, basis, summary, table
from poisoning_docs import poisoning

from gamekeeper.analysis.flags import FLAGS
from gamekeeper.data.batteries import index
from gamekeeper.methods import DETECTORS, EVIDENCE
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.surfaces.report.curves import trade_curves
from gamekeeper.surfaces.report.figures import price_curve, svg, utility_plot
from gamekeeper.surfaces.report.noticed import noticed
from gamekeeper.surfaces.report.ranking import ranking
from gamekeeper.surfaces.report.words import count, headline

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACES, NUMBER = ("d", "x", "y", "transform"), re.compile(r"-?\d+(?:\.\d*)?(?:e-?\d+)?")
VALUE = re.compile(r"(<!-- (?P<what>clone|taken|lost) (?P<of>[^>]*?) -->)[^<]*(<!-- / -->)")
MARK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

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
MOVED = ("moved-mnist", "moved-fashion")
"""Runs of thieves who move their questions towards the task, 500 queries."""
WORST = ("worst-mnist", "worst-mnist-2000", "worst-fashion")
"""Runs of the ensemble."""
ALARMING = [name for name in DETECTORS if name not in EVIDENCE]
"""Detectors that raise alarms."""


VOIDS = "\n*Voids the run:* the headline says this instead of any number.\n"
"""Below a flag that takes the ground from under every number."""


def flags() -> str:
    return "\n".join(
        f"## {flag.name}\n\n*Raised if* {flag.raised_if}\n\n*Means.* {flag.means}\n\n*Do.* {flag.do}\n{VOIDS if flag.voids else ''}"
        for flag in FLAGS.values()
    )


def victims() -> str:
    rows = []
    for name, model in index()["models"].items():
        for data, accuracy in model["accuracy"].items():
            rows.append([f"`{name}`", data, f"{100 * accuracy['value']:.2f} %", count(accuracy["n"])])
    return table(
        ["network", "judged on", "accuracy", "n"], rows, "From `batteries.json`, which ships with the package."
    )


def study(name: str) -> str:
    """A table of results/studies.json."""
    if not study_docs.FILE.exists() or name not in study_docs.studies():
        return f"Not run yet: `python tools/studies.py {name}`.\n"
    head, rows, below = study_docs.TABLES[name]()
    return table(head, rows, f"{below} {study_docs.stamp(name)}")


def figure_basis(name: str) -> str:
    """The sentence below a figure."""
    return f"{basis(name)}\n"


TABLES: dict[str, Callable[[], str]] = {
    "papers": paper_docs.papers,
    "methods": paper_docs.methods,
    "reproductions": paper_docs.reproductions,
    "attacks": paper_docs.attacks,
    "published-figures": paper_docs.published,
    **{f"reproduce-{name}": partial(paper_docs.reproduction, name) for name in REPRODUCTIONS},
    "poisoning-figures": poisoning,
    "mnist-headline": lambda: f"> {headline(summary('mnist'))}\n",
    "mnist-defenses": partial(run_docs.defenses, "mnist"),
    "ensemble": run_docs.ensemble,
    "members": member_docs.members,
    **{name: partial(run_docs.defenses, name) for name in KEYED},
    **{f"{name}-thieves": partial(run_docs.thieves, name) for name in KEYED},
    **{name: partial(run_docs.defenses, name) for name in WORST},
    **{f"{name}-thieves": partial(run_docs.thieves, name) for name in (*WORST, *MOVED)},
    "worst-findings": run_docs.findings,
    **{f"auxiliary-{regime}": partial(run_docs.regime_of, regime) for regime in ("related", "unrelated")},
    **{name: partial(run_docs.lined_up, name) for name in ALL},
    **{name: partial(run_docs.curve, name) for name in FEW},
    "mad-variants": partial(run_docs.curve, "mad-variants"),
    **{name: partial(run_docs.strengths, name) for name in STRENGTHS},
    **{f"{name}-equal": partial(run_docs.equal_loss, name) for name in STRENGTHS},
    "mnist-curve": partial(run_docs.curve, "mnist"),
    "fashion-curve": partial(run_docs.curve, "fashion"),
    **{f"{name}-basis": partial(figure_basis, name) for name in ("mnist", "fashion", *ALL, *STRENGTHS)},
    "flags": flags,
    "victims": victims,
    "training-soft": partial(training_docs.compared, ["soft"]),
    "training-labels": partial(training_docs.compared, ["labels", "labels, views", "labels, 500"]),
    "training-robust": partial(training_docs.compared, ["gce", "smoothed", "small_loss"]),
    "training-filtered": partial(
        training_docs.compared, ["confident", "neighbours", "tempered", "unmixed", "partial_bayes"]
    ),
    "training-semi": partial(training_docs.compared, ["letters", "own kind"]),
    **{f"{name}-thieves": partial(detection_docs.thieves, name) for name in detection_docs.RUNS},
    **{f"{name}-honest": partial(detection_docs.honest, name) for name in detection_docs.RUNS},
    **{f"{name}-limits": partial(detection_docs.limits, name) for name in detection_docs.RUNS},
    **{f"{name}-{each}": partial(detection_docs.part, name, each) for name in detection_docs.RUNS for each in ALARMING},
    **{
        f"{name}-{each}": partial(make, name)
        for name in ownership_docs.RUNS
        for each, make in ownership_docs.TABLES.items()
    },
    **{name: partial(mark_docs.drawn, name) for name in mark_docs.TABLES},
    **{name: partial(red_team_docs.drawn, name) for name in red_team_docs.TABLES},
    **gateway_docs.TABLES,
    **bench_docs.TABLES,
    **{f"study-{name}": partial(study, name) for name in study_docs.TABLES},
}


VALUES: dict[str, Callable[..., str]] = {"clone": run_docs.clone, "taken": run_docs.taken, "lost": run_docs.lost}


def figures() -> dict[Path, str]:
    found = {"mnist-price-to-steal": price_curve(summary("mnist")), "mnist-utility": utility_plot(summary("mnist"))}
    found["fashion-price-to-steal"] = price_curve(summary("fashion"))
    for name in STRENGTHS:
        if (RESULTS / name / "run.json").exists():
            found[name] = trade_curves(summary(name, OFF_THE_SCALE.get(name)))
    found |= {name: ranking(summary(name)) for name in ALL}
    found |= {name: noticed(detection_docs.summary(name).thieves) for name in detection_docs.DRAWN}
    found |= ownership_docs.figures()
    if study_docs.FILE.exists():
        found |= {name: draw() for name, draw in study_docs.FIGURES.items()}
    return {ROOT / "docs/figures" / f"{name}.svg": svg(figure, name) for name, figure in found.items() if figure}


def wanted() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    return {**{page: filled(page.read_text()) for page in PAGES}, **figures(), **ownership_docs.histories()}


def filled(text: str) -> str:
    """A page with its tables, and the numbers in its sentences, as the results have them."""
    with_tables = MARK.sub(lambda m: m[1] + TABLES[m["name"]]() + m[3], text)
    return VALUE.sub(lambda m: m[1] + VALUES[m["what"]](*m["of"].split()) + m[4], with_tables)


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
