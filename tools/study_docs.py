"""Tables and figures of results/studies.json: what `tools/make_docs.py` puts into the pages about it."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from gamekeeper.surfaces.report.figures import COLOURS, FAINT, INK, STYLE
from gamekeeper.surfaces.report.words import percent

FILE = Path(__file__).parent.parent / "results/studies.json"
WIDTH = 6.8
FORMS = {"literal": "as printed", "working": "the form that works"}
Table = tuple[list[str], list[list[str]], str]
"""Head, rows, and a sentence below."""


@cache
def studies() -> Mapping[str, Any]:
    return json.loads(FILE.read_text())


def stamp(name: str) -> str:
    about = studies()["about"]
    return (
        f"`results/studies.json`, gamekeeper {about['version']}, seed {about['seed']}, {about['date']}."
        f" `python tools/studies.py {name}`"
    )


def maps() -> Table:
    head = ["victim", "explainer", "Average Drop, victim", "bent", "random map", "paper", "paper, bent", "p", "rank correlation",
            "top 15 % shared", "flat maps, before"]  # fmt: skip
    rows = [
        [row["victim"], f"`{row['explainer']}`", *(drop(row["drops"][who]) for who in ("victim", "bent", "random")),
         *PAPER_DROPS[row["victim"], row["explainer"]], "< 0.01" if row["p"] < 0.005 else f"{row['p']:.2f}", f"{row['rank correlation']:.2f}",
         f"{row['overlap']:.2f}", f"{percent(row['degenerate'])}, {percent(row['degenerate before'])}"]
        for row in studies()["maps"]
    ]  # fmt: skip
    n = studies()["maps"][0]["n"]
    below = f"{n} test inputs; mean and standard deviation; p of a paired t-test. The paper's second set is KMNIST."
    return head, rows, below


def drop(mean_and_sd: Sequence[float]) -> str:
    return f"{mean_and_sd[0]:.2f} ± {mean_and_sd[1]:.2f}"


PAPER_DROPS = {
    ("mnist", "grad_cam"): ("0.79 ± 0.37", "0.76 ± 0.41"),
    ("mnist", "relevance_cam"): ("0.56 ± 0.50", "0.54 ± 0.50"),
    ("mnist", "gradient_x_input"): ("0.57 ± 0.40", "0.56 ± 0.40"),
    ("fashion", "grad_cam"): ("0.71 ± 0.28", "0.69 ± 0.32"),
    ("fashion", "relevance_cam"): ("0.75 ± 0.29", "0.73 ± 0.40"),
    ("fashion", "gradient_x_input"): ("0.58 ± 0.36", "0.61 ± 0.35"),
}
"""Table 2 of the paper, MNIST and KMNIST."""


def layers() -> Table:
    head = ["share of the sensitivity", "layers that move", "cosine below the map", "above", "order kept", "per query"]
    rows = [
        [percent(row["share"]), str(row["layers"]), f"{row['below']:.2f}", f"{row['above']:.2f}", percent(row["feasible"]),
         f"{row['seconds']:.2f} s"]
        for row in studies()["layers"]
    ]  # fmt: skip
    n = studies()["layers"][0]["n"]
    below = (
        f"Shipped LeNet for digits, Grad-CAM, {n} images of clothes, one thread of a shared machine. Where no layer below the"
        " map moves, its cosine is 0 by definition and says nothing."
    )
    return head, rows, below


def orders() -> Table:
    head = [
        "classes whose order stays",
        "maps",
        "cosine below the map",
        "above",
        "both below 0.1",
        "order kept",
        "pixels' rank correlation",
    ]
    rows = [
        [str(row["k"]), row["explainer"] or "none", f"{row['below']:.2f}", f"{row['above']:.2f}", percent(row["upright"]),
         percent(row["feasible"]), "–" if row["rank correlation"] is None else f"{row['rank correlation']:.2f}"]
        for row in studies()["orders"]
    ]  # fmt: skip
    n = studies()["orders"][0]["n"]
    return (
        head,
        rows,
        f"Shipped LeNet for digits, {n} images of clothes; where the order was not kept the answer is unchanged.",
    )


def angles() -> Table:
    head = ["eps", "mean angle", "largest", "beyond 90 degrees", "test loss at the start", "at the end"]
    rows = [
        [f"{row['eps']:g}", *(f"{row[what]:.0f}°" for what in ("mean", "most")), percent(row["beyond 90"]),
         *(f"{losses[place]:.3f}" for place in (0, -1))]
        for row in studies()["angles"]
        for losses in [list(row["losses"].values())]
    ]  # fmt: skip
    steps = list(studies()["angles"][0]["losses"])[-1]
    below = (
        f"Digits, {int(steps):,} letters one at a time, rate 0.001; test loss on true labels. The paper (VGG16, CIFAR10): angles from"
        " 0 to 115°, mean 24.9° at eps 0.95, beyond 90° on average and a rising test loss at eps 2."
    )
    return head, rows, below


def gates() -> Table:
    head = [
        "victim",
        "score",
        "strange inputs",
        "AUROC",
        "AUPR",
        "FPR at 95 %",
        "caught at 1 % of the owner's",
        "users flagged",
    ]
    rows = [
        [row["victim"], f"`{row['score']}`", row["strange"], *(f"{row[what]:.3f}" for what in ("auroc", "aupr", "fpr at 95")),
         percent(row["caught"]), f"{100 * row['flagged']:.1f} %"]
        for row in studies()["gates"]
    ]  # fmt: skip
    below = (
        "Benign inputs are the test set; FPR at 95 %: users flagged where 95 % of the strange inputs are. The detector was trained"
        " on images like the other ones, and on no letter."
    )
    return head, rows, below


def settings() -> Table:
    head = ["victim", "defense", "held-out accuracy", "undefended", "top class kept on strange inputs"]
    rows = [
        [row["victim"], f"`{row['method']}:{row['parameter']}={row['setting']:g}`", f"{row['accuracy']:.3f}",
         f"{row['undefended']:.3f}", percent(row["top-1 kept on strange"])]
        for row in studies()["settings"]
    ]  # fmt: skip
    below = (
        "Trained on four fifths of the owner's inputs and of unrelated ones, judged on the fifths left out. The owner's are the"
        " victim's training inputs, so the undefended accuracy flatters."
    )
    return head, rows, below


TABLES: Mapping[str, Callable[[], Table]] = {
    study.__name__: study for study in (maps, layers, orders, angles, gates, settings)
}


def stall_figure() -> Figure:
    """DeepDefense as printed and as it works: the cosines of both gradient parts, step by step."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.08, right=0.6, bottom=0.17, top=0.9)
        for form, colour in zip(FORMS, (COLOURS[1], COLOURS[0]), strict=True):
            rows = [row for row in studies()["stall"] if row["form"] == form]
            for part, dashes in (("above", "-"), ("below", ":")):
                shown, label = [row[part] for row in rows], f"{FORMS[form]}, {part} the map"
                axes.plot(
                    [row["steps"] for row in rows], shown, dashes, color=colour, marker="o", markersize=4, label=label
                )
        axes.set_title("mean |cos| to the true gradient", fontsize=9, loc="left", color=INK)
        axes.set_xlabel("steps of descent")
        axes.set_ylim(-0.03, 1.05)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def angle_figure() -> Figure:
    """Histograms of the angles by eps, and the thief's test loss as they learn (Fig. 6 and 7)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9))
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.08, right=0.985, bottom=0.17, top=0.9, wspace=0.22)
        for row, colour in zip(studies()["angles"], (INK, *COLOURS), strict=False):
            label = f"eps {row['eps']:g}" if row["eps"] else "undefended"
            if row["eps"]:
                shares = [n / sum(row["histogram"]) for n in row["histogram"]]
                left.stairs(shares, [5 * i for i in range(37)], color=colour, label=label, linewidth=1.4)
            losses = {int(step): loss for step, loss in row["losses"].items()}
            right.plot(list(losses), list(losses.values()), color=colour, label=label, linewidth=1.4)
        left.axvline(90, color=FAINT, linewidth=1, linestyle=(0, (5, 3)))
        left.set_title("share of the steps", fontsize=9, loc="left", color=INK)
        left.set_xlabel("angle between the thief's gradients, degrees")
        left.set_xlim(0, 180)
        right.set_title("the thief's test loss", fontsize=9, loc="left", color=INK)
        right.set_xlabel("answers learnt from")
        right.legend(frameon=False, fontsize=8)
    return figure


FIGURES: Mapping[str, Callable[[], Figure]] = {"deep-defense-stall": stall_figure, "mad-angles": angle_figure}
