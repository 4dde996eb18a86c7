"""Tables about papers: the index, the methods, and published figures beside ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from committed import RESULTS, ROOT, stamp, summary, table, thefts

from gamekeeper.data.batteries import index
from gamekeeper.method_text import ALIASES
from gamekeeper.methods import KINDS, describe
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.description import figure_results, ordering_results
from gamekeeper.results import Results, Row
from gamekeeper.surfaces.report.words import count
from gamekeeper.surfaces.reproduce import beside_ours, beside_paper, difference

PAPERS = ROOT / "docs/papers"
HEAD = re.compile(r"^- (Paper|Methods|Files): (.*)$", re.MULTILINE)
ROOMS = ("attacks", "learners", "defenses", "detectors", "follow_on")
"""Order of the index, by the folder of a page's first file; what is in none of them comes last."""


@dataclass(frozen=True)
class Page:
    """A page of docs/papers/ as its head describes it. `methods` and `files` are the names between backticks."""

    path: Path
    title: str
    paper: str
    methods: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def room(self) -> int:
        folder = self.files[0].split("/")[0]
        return ROOMS.index(folder) if folder in ROOMS else len(ROOMS)


def page(path: Path) -> Page:
    text = path.read_text()
    head = dict(HEAD.findall(text))
    missing = {"Paper", "Methods", "Files"} - set(head)
    if missing:
        raise SystemExit(
            f"{path.relative_to(ROOT)}: its head needs a line '- {min(missing)}: ...' (see CONTRIBUTING.md)"
        )
    methods, files = (tuple(re.findall(r"`([^`]+)`", head[key])) for key in ("Methods", "Files"))
    return Page(path, text.split("\n")[0].removeprefix("# "), head["Paper"], methods, files)


def pages() -> list[Page]:
    found = [page(path) for path in sorted(PAPERS.glob("*.md"))]
    return sorted(found, key=lambda one: (one.room, one.title.lower()))


def papers() -> str:
    """The index: a row per page, made of the pages' heads."""
    rows = [
        [f"[{one.title}](papers/{one.path.name})", one.paper, code(one.methods), code(one.files)]
        for one in pages()
    ]  # fmt: skip
    return table(["page", "paper", "methods", "files"], rows)


def code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def methods() -> str:
    """A table per kind: name, what it does, its paper's page."""
    where = {name: f"[{one.title}](papers/{one.path.name})" for one in pages() for name in one.methods}
    found = [
        (kind, [[f"`{name}`", describe(name, kind).summary, where.get(name, "–")] for name in names])
        for kind, names in KINDS.items()
    ]
    found.append(
        ("alias", [[f"`{alias}`", f"`{meaning}`", where.get(alias, "–")] for alias, meaning in ALIASES.items()])
    )
    return "\n".join(f"## {PLURAL[kind]}\n\n{table(['name', 'what it does', 'page'], rows)}" for kind, rows in found)


PLURAL = {
    "attack": "Attacks",
    "wrapper": "Wrappers",
    "learner": "Learners",
    "view": "Views",
    "defense": "Defenses",
    "detector": "Detectors",
    "architecture": "Networks",
    "alias": "Aliases",
}


def clone_accuracy(name: str, defense: str, attack: str, budget: int) -> str:
    return f"{100 * thefts(name)[defense, attack, budget]:.1f} % ({count(budget)} queries)"


def published() -> str:
    """Published figures beside ours; theirs are typed here with their place, ours come from the results."""
    rows = [
        ("Prediction Poisoning, Table 1: knockoff, MNIST, undefended", f"99.0 % ({PAPER_BUDGET:,} queries)",
         clone_accuracy("mnist", "none", "knockoff", 2500), f"{fewer(2500)}; victim {victim('mnist-lenet')}, theirs 99.4 %"),
        ("the same, FashionMNIST", f"69.2 % ({PAPER_BUDGET:,} queries)",
         clone_accuracy("fashion", "none", "knockoff", 10_000), f"{fewer(10_000)}; victim {victim('fashion-lenet')}, theirs 92.0 %"),
        ("Prediction Poisoning, section 5.2: MAD, knockoff, MNIST, at under 1 point of the defender's accuracy",
         f"69.8 % ({PAPER_BUDGET:,} queries)", clone_accuracy("mnist", "mad", "knockoff", 2500), fewer(2500)),
        ("the same against a thief who looks at labels only", "about 9 points below undefended, CIFAR10 (section 5.2.3)",
         clone_accuracy("mnist", "mad", "knockoff+labels", 2500), "another victim; the label is changed on most letters"),
    ]  # fmt: skip
    return table(["published", "theirs", "ours", "what differs"], rows, f"{stamp('mnist')}; {stamp('fashion')}")


PAPER_BUDGET = 50_000
"""Queries of Prediction Poisoning's Table 1."""


def fewer(budget: int) -> str:
    return f"1/{PAPER_BUDGET // budget} of the queries; printed letters for EMNIST"


def victim(name: str) -> str:
    """Accuracy of a shipped network on the largest test set it was judged on."""
    accuracy = max(index()["models"][name]["accuracy"].values(), key=lambda found: found["n"])
    return f"{100 * accuracy['value']:.1f} %"


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
            for one in figure_results(each, rows)
        ]  # fmt: skip
        said += table(head, body) + "\n"
    claims = [
        [one.ordering.claim, one.ordering.place, f"{one.held} of {one.of}", difference(one), one.word,
         one.ordering.gap or "–"]
        for one in ordering_results(each, rows)
    ]  # fmt: skip
    if claims:
        head = ["claim", "place", "pairs that hold", "mean difference (95 % interval)", "verdict", "what differs"]
        said += table(head, claims) + "\n"
    return f"{said}In all rows: {each.gap} {stamp(f'reproduce/{name}')}\n"


def attacks() -> str:
    """One row per attack: a paper's figure and ours, or how the paper's ordering came out."""
    return table(["attack", "published", "theirs", "ours"], [attack_row(name) for name in KINDS["attack"]])


def attack_row(name: str) -> list[str]:
    """The first figure of a clone by this attack that was measured, else the first ordering."""
    for each in REPRODUCTIONS.values():
        rows = reproduced(each.name)
        for one in figure_results(each, rows):
            of_the_clone = any(measure != "victim" for measure, _ in one.figure.said)
            if method(one.figure.theft.attack) == name and one.seeds and of_the_clone:
                where = f"{one.figure.what} ({one.figure.place}), `{each.name}`"
                return [f"`{name}`", where, beside_paper(one), beside_ours(one)]
        for claim in ordering_results(each, rows):
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
    return EXAMPLES.get(name, "–")


EXAMPLES = {"relu_reconstruction": "[an example](papers/relu-reconstruction.md), run as a test: answers within 1e-6"}
"""Attacks for which no target of an audit sells what they need."""


def method(attack: str) -> str:
    """`active_thief:strategy=dfal+labels` -> `active_thief`."""
    return attack.split("+")[0].split(":")[0]
