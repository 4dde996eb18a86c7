"""Measures what papers show of a defense without a theft, and writes it to results/studies.json.

    angles   Prediction Poisoning, Fig. 6 and 7: how far MAD turns a live thief's gradients, and their test loss meanwhile
    maps     DeepDefense, Table 2: Average Drop of the victim's maps and of the bent ones, and what that measure does not see
    layers   DeepDefense, Table 3: fewer layers moved, cosines and time
    stall    DeepDefense as printed, step by step beside the form that works
    gates    how well each score tells a thief's inputs from users'
    settings which weight of EDM and which tau of Adaptive Misinformation inputs held out of the owner's speak for

One thread, about half an hour; names given run those alone and keep the rest of the file. `tools/study_docs.py` makes
tables and figures of it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any

import torch
from mad_live import learn_online, white_box
from scipy.stats import ttest_rel  # pyright: ignore[reportMissingTypeStubs]
from sklearn.metrics import average_precision_score, roc_auc_score

from gamekeeper.architectures import fresh
from gamekeeper.data import batteries
from gamekeeper.defenses.adaptive_misinformation import AdaptiveMisinformation
from gamekeeper.defenses.deep_defense.recipe import DeepDefense, Misdirector
from gamekeeper.defenses.edm import EDM
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.detectors.ood import SCORERS, calibrated
from gamekeeper.engine.evaluate import maps_kept
from gamekeeper.explain import ExplainerName
from gamekeeper.explain.metrics import confidence, rank_correlation
from gamekeeper.targets.builtin import shipped
from gamekeeper.targets.choice import Choice, explaining
from gamekeeper.types import Batch, Defense
from gamekeeper.version import __version__

FILE = Path(__file__).parent.parent / "results/studies.json"
EPS = (0.1, 0.5, 0.95, 1.5, 2.0)
WEIGHTS, TAUS = (0.25, 0.5, 1.0), (0.3, 0.5, 0.7, 0.9)
STEPS = (0, 1, 2, 5, 10, 20, 40, 60)
SHARES = (0.9, 0.7, 0.5)
PAPER_MAPS: Sequence[ExplainerName] = ("grad_cam", "relevance_cam", "gradient_x_input")

Found = list[dict[str, Any]]


def angles(steps: int = 1_000, judged: int = 500) -> Found:
    """MAD, all weights, with the thief's own network for a surrogate; they learn letters one at a time, rate 0.001."""
    target = shipped("mnist")
    x, test = target.pool.x[:steps], target.test.take(torch.arange(judged))
    assert test.y is not None
    y, found = target.victim(x).y, []
    for eps in (0.0, *EPS):
        thief = fresh(target.student, 0)
        trace = learn_online(thief, x, y, white_box(MAD(eps=eps, jacobian="all")), (test.x, test.y))
        turned = trace.angles.double()
        found.append({
            "eps": eps, "mean": float(turned.mean()), "most": float(turned.max()),
            "beyond 90": float((turned > 90).double().mean()), "histogram": torch.histc(turned, 36, 0, 180).long().tolist(),
            "losses": {str(step): loss for step, loss in trace.losses.items()},
        })  # fmt: skip
    return found


def armed(name: str, recipe: DeepDefense, explain: ExplainerName | None = None) -> tuple[Misdirector, Batch]:
    """DeepDefense before a shipped network, and the network's test inputs."""
    target = shipped(name)
    target = target if explain is None else explaining(target, explain)
    return recipe.arm(target.victim, target.owner, 0), target.test.x


def maps(n: int = 96) -> Found:
    """Of n test inputs. The victim judges both kinds of map, by its own class."""
    found: Found = []
    for name in ("mnist", "fashion"):
        for explain in PAPER_MAPS:
            live, test = armed(name, DeepDefense(), explain)
            x, victim = test[:n], live.network
            clean = victim(x)
            bent = live.respond(x, clean, None)
            kept = maps_kept(x, clean, bent, None)
            assert clean.maps is not None and bent.maps is not None and kept is not None
            random = torch.rand(clean.maps.shape, generator=torch.Generator().manual_seed(0))
            drops = {
                who: confidence(victim, x, maps, clean.y.argmax(1)).drops()
                for who, maps in (("victim", clean.maps), ("bent", bent.maps), ("random", random))
            }
            found.append({
                "victim": name, "explainer": explain, "n": n,
                "drops": {who: [float(drop.mean()), float(drop.std())] for who, drop in drops.items()},
                "p": float(ttest_rel(drops["victim"], drops["bent"]).pvalue),
                "rank correlation": kept.rank, "overlap": kept.overlap, "degenerate": kept.flat, "degenerate before": kept.flat_clean,
            })  # fmt: skip
    return found


def clothes(n: int) -> Batch:
    """Inputs that mean nothing to the network for digits: what a thief without digits might ask."""
    return batteries.load("fashion-train").x[:n]


def layers(n: int = 64) -> Found:
    found: Found = []
    for share in SHARES:
        live, _ = armed("mnist", DeepDefense(sensitive=share), "grad_cam")
        x, start = clothes(n), process_time()
        best = live.bend_all(x, live.network(x).y)
        spent, cosines = process_time() - start, best.cosines[best.feasible]
        found.append({
            "share": share, "layers": len(live.layers), "n": n, "below": float(cosines[:, 0].mean()),
            "above": float(cosines[:, 1].mean()), "feasible": float(best.feasible.double().mean()), "seconds": spent / n,
        })  # fmt: skip
    return found


def orders(n: int = 32) -> Found:
    """How far the gradients turn, the more of the answer's order must stay and with each kind of map."""
    found: Found = []
    for k, explain in ((1, None), (3, None), (5, None), *((1, explain) for explain in PAPER_MAPS)):
        live, _ = armed("mnist", DeepDefense(k=k), explain)
        clean = live.network(clothes(n))
        best = live.bend_all(clothes(n), clean.y)
        cosines = best.cosines[best.feasible]
        kept = (
            None
            if clean.maps is None or best.maps is None
            else float(rank_correlation(clean.maps, best.maps).nanmean())
        )
        found.append({
            "k": k, "explainer": explain, "n": n, "feasible": float(best.feasible.double().mean()),
            "below": float(cosines[:, 0].mean()), "above": float(cosines[:, 1].mean()),
            "upright": float((cosines < 0.1).all(1).double().mean()), "rank correlation": kept,
        })  # fmt: skip
    return found


def stall(n: int = 32) -> Found:
    """The literal form shows its last iterate, the working one its best."""
    literal = DeepDefense(form="literal", mode="full", rate=0.01)
    found: Found = []
    for form, recipe in (("literal", literal), ("working", DeepDefense())):
        for steps in STEPS:
            live, _ = armed("mnist", replace(recipe, steps=steps))
            y = live.network(clothes(n)).y
            best = live.bend_all(clothes(n), y)
            top = best.cosines[:, 1]
            found.append({
                "form": form, "steps": steps, "n": n, "below": float(best.cosines[:, 0].mean()), "above": float(top.mean()),
                "unmoved": float((top > 0.99).double().mean()), "dead": float((top < 1e-6).double().mean()),
                "top-1 kept": float((best.p.argmax(1) == y.argmax(1)).double().mean()),
            })  # fmt: skip
    return found


def gates() -> Found:
    """Benign inputs are the test set, strange ones letters and other images; the detector was trained on the latter's kind."""
    found: Found = []
    for name, other in (("mnist", "fashion-test"), ("fashion", "mnist-test")):
        target = Choice(name, auxiliary="unrelated").load()
        strange = {"letters": target.pool.x[:2_000], other.partition("-")[0]: batteries.load(other).x}
        for score, scorer in SCORERS.items():
            fitted = calibrated(scorer, target.victim, target.owner, 0)
            threshold = fitted.threshold(0.01)
            benign = fitted.score(target.test.x, target.victim(target.test.x))
            for what, x in strange.items():
                scores = fitted.score(x, target.victim(x))
                truth = torch.cat([torch.zeros(len(benign)), torch.ones(len(scores))])
                joined = -torch.cat([benign, scores])
                found.append({
                    "victim": name, "score": score, "strange": what, "auroc": float(roc_auc_score(truth, joined)),
                    "aupr": float(average_precision_score(truth, joined)),
                    "fpr at 95": float((benign <= scores.quantile(0.95)).double().mean()),
                    "caught": float((scores < threshold).double().mean()),
                    "flagged": float((benign < threshold).double().mean()),
                })  # fmt: skip
    return found


def settings() -> Found:
    """Trained on four fifths of the owner's inputs and unrelated ones, judged on the other fifth of both: on no test set."""
    found: Found = []
    for name in ("mnist", "fashion"):
        target = Choice(name, auxiliary="unrelated").load()
        owner, other = target.owner, target.owner.ood
        assert other is not None
        cut, cut_other = len(owner.x) * 4 // 5, len(other) * 4 // 5
        mine = replace(owner, x=owner.x[:cut], truth=owner.truth[:cut], ood=other[:cut_other])
        x, truth, strange = owner.x[cut:], owner.truth[cut:], other[cut_other:]
        clean, unsure = target.victim(x), target.victim(strange)
        recipes: list[tuple[str, str, float, Defense]] = [
            *(("edm", "weight", weight, EDM(weight=weight)) for weight in WEIGHTS),
            *(("adaptive_misinformation", "tau", tau, AdaptiveMisinformation(tau=tau)) for tau in TAUS),
        ]
        for method, parameter, setting, recipe in recipes:
            live = recipe.arm(target.victim, mine, 0)
            kept, wrong = (live.respond(*asked, live.fresh()).y.argmax(1) for asked in ((x, clean), (strange, unsure)))
            found.append({
                "victim": name, "method": method, "parameter": parameter, "setting": setting, "n": len(x),
                "undefended": float((clean.y.argmax(1) == truth).double().mean()),
                "accuracy": float((kept == truth).double().mean()),
                "top-1 kept on strange": float((wrong == unsure.y.argmax(1)).double().mean()),
            })  # fmt: skip
    return found


STUDIES = {study.__name__: study for study in (stall, layers, orders, gates, angles, settings, maps)}


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in sys.argv[1:] or STUDIES:
        print(name, flush=True)
        found[name] = STUDIES[name]()
        today = datetime.now(UTC).date().isoformat()
        found["about"] = {"version": __version__, "torch": torch.__version__, "seed": 0, "date": today}
        aside = FILE.with_suffix(".new")
        aside.write_text(json.dumps(found, indent=1) + "\n")
        aside.replace(FILE)


if __name__ == "__main__":
    main()
