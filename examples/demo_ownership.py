"""A dispute about a copied digit reader, from the mark to the verdict: an owner, three thieves, an accuser and a judge.

    python -m examples.demo_ownership demo-ownership

The owner marks a model twice: triggers are trained into it (a backdoor), and the API in front of it answers one input in a
hundred wrongly on purpose (DAWN). Both claims are committed to and stamped before any suspect exists. One thief copies the
weights and trains on. One asks the API about 5,000 printed letters and learns from the answers. A third one pays for the same
answers and leaves out what is hard to learn from them. Somebody else's model copied nothing. And an accuser makes a
claim of adversarial examples, by the same rules, to accuse whom they like.

The judge trains a dozen models of their own and holds every claim against every suspect. Everything is on this machine: the
time-stamping authority is one of our own, and the beacon is a line of text that stands for a public lottery.
"""

import functools
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor

from examples.local_authority import Authority, authority
from gamekeeper.architectures import fresh
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.defenses.dawn import DAWN
from gamekeeper.engine.judging import Court, tried
from gamekeeper.engine.run import thief_knowledge
from gamekeeper.keys import make_key, read_key
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.learners.robust import SmallLoss
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership import register, stamps
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.claim import Claim, commitment, save_claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.forgeries.accuser import ensemble
from gamekeeper.ownership.forgeries.transferable import Untargeted
from gamekeeper.ownership.judge import Verdict
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.ownership.record import Papers, Terms, judged
from gamekeeper.ownership.removals.fine_tuning import FTAL
from gamekeeper.ownership.schemes.backdoor import Backdoor
from gamekeeper.ownership.schemes.dawn_claim import dawn_claim
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Model, Owner, Transfer

LETTERS, CLASSES = 5_000, 10
PAUSE = 3
"""Seconds after which the time of a stamp, with its inaccuracy, is certainly over."""
SHORT = Fit(epochs=10)
BEACON = sha256(b"tonight's lottery: 4 8 15 16 23 42").digest()
MODEL = """\
# {who}
kind = "torch"
answers = "logits"
classes = 10

[model]
file = "{file}"
architecture = "lenet"

[input]
shape = [1, 28, 28]

[data]
test = "mnist-test"
pool = "letters"
train = "mnist-train"
"""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A claim as a judge receives it: own must pass; register of whoever claims; beacon_at: when its labels were drawn."""

    name: str
    claim: Claim
    own: str
    register: Path


@dataclass(frozen=True)
class Tried:
    """A claim, a suspect, and what the judge says."""

    claim: str
    suspect: str
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Stage:
    """A folder, the authority that stamps, and the data that everybody begins with.

    queries  of the thieves; triggers: of the backdoor
    fit      how the marked model is trained
    panel    how many models the judge trains; kinds: their architectures, or none for those that suit digits
    forgery  how the accuser makes a claim
    """

    folder: Path
    stamper: Authority
    mnist: Target
    queries: int = LETTERS
    triggers: int = 100
    fit: Fit = SHORT
    panel: int = 12
    kinds: tuple[Architecture, ...] = ()
    forgery: Untargeted = Untargeted()

    @property
    def data(self) -> Owner:
        return replace(self.mnist.owner, secret=sha256(b"the demo's owner").digest())

    def entered(self, digest: str, name: str, who: str) -> Path:
        """Commits to a digest in somebody's register, with a stamp: the register."""
        into, opening = self.folder / f"{who}-register.jsonl", self.folder / f"{name}.opening"
        make_key(opening)
        entry = register.upcoming(into, commitment(digest, read_key(opening)), int(time.time()))
        stamp = self.stamper.stamp(stamps.request(register.stamped(entry)).body)
        register.append(into, replace(entry, stamps=(stamp,)))
        return into

    def exhibit(self, name: str, claim: Claim, own: str, who: str) -> Exhibit:
        save_claim(claim, self.folder / f"{name}.safetensors")
        return Exhibit(name, claim, own, self.entered(claim.digest(), name, who))

    def publish(self, name: str, model: Model, who: str) -> None:
        """Writes a model, and the target file that names it."""
        assert isinstance(model, TorchModel)
        tensors = {key: value.contiguous() for key, value in model.net.state_dict().items()}
        save_file(tensors, self.folder / f"{name}-model.safetensors")
        (self.folder / f"{name}.toml").write_text(MODEL.format(who=who, file=f"{name}-model.safetensors"))

    def published(self, name: str) -> Target:
        return self.mnist if name == "mnist" else opened(self.folder / f"{name}.toml")


@functools.cache
def opened(path: Path) -> Target:
    return load_target(str(path))


# the owner


def marked_model(stage: Stage) -> tuple[TorchModel, Exhibit]:
    """Commits to triggers, waits for the beacon, trains them in, and commits to the claim."""
    recipe = Backdoor(n=stage.triggers)
    triggers = recipe.triggers(stage.data, 0)
    stage.entered(inputs_digest(triggers), "triggers", "owner")
    time.sleep(PAUSE)
    (stage.folder / "beacon-at.txt").write_text(moment(time.time()))
    claim = recipe.claim(triggers, Draw(BEACON, inputs_digest(triggers)), CLASSES)
    trained = recipe.marked(stage.data, claim)
    task = stage.mnist.victim.task
    net = fit(fresh(trained.architecture, 0), trained.x, task.target(trained.truth), task.loss, stage.fit, 0)
    model = TorchModel(net, task)
    stage.publish("marked", model, "the owner's model, with a backdoor of their own")
    return model, stage.exhibit("backdoor", claim, "marked", "owner")


def served(stage: Stage, model: TorchModel, client: str) -> tuple[Transfer, Exhibit]:
    """What a client paid for at the owner's API, and the owner's claim on whoever learnt from that."""
    recipe = DAWN(share=0.01)
    service = Service(model, (recipe.arm(model, stage.data, 0),))
    meter = Metered(service.open(client), stage.queries, stage.mnist.box)
    answers = Knockoff()(meter, thief_knowledge(stage.mnist, stage.mnist.student), 0)
    with service.clients.hold(client) as memories:
        claim = dawn_claim(memories["defense 0"], recipe)
    own = Labels()(answers, thief_knowledge(stage.mnist, stage.mnist.student), 1)
    stage.publish("own-clone", own, "the owner's own clone of the answers to that client: it must pass")
    return answers, stage.exhibit("dawn", claim, "own-clone", "owner")


# the thieves, and the accuser


def stolen(stage: Stage, model: TorchModel, answers: Transfer) -> dict[str, str]:
    """The suspects: name of the target file -> what it is."""
    who = {
        "weight-copy": "a copy of the weights, trained on for 5 epochs",
        "answer-copy": f"a copy learnt from {stage.queries:,} answers",
        "robust-copy": "a copy learnt from the same answers by two networks that leave out what the other finds hard to learn",
    }
    knows = thief_knowledge(stage.mnist, stage.mnist.student)
    x, truth = unseen(stage.mnist.owner)
    other = Owner(x[:1000], truth[:1000], stage.mnist.box, stage.mnist.student)
    copies = {
        "weight-copy": FTAL()(model, other, 1),
        "answer-copy": Soft()(answers, knows, 2),
        "robust-copy": SmallLoss()(answers, knows, 2),
    }
    for name, text in who.items():
        stage.publish(name, copies[name], text)
    return {**who, "mnist": "somebody else's model, which copied nothing"}


def unseen(owner: Owner) -> tuple[Tensor, Tensor]:
    """Digits that the owner's model never saw."""
    assert owner.natural is not None
    assert owner.natural_truth is not None
    return owner.natural, owner.natural_truth.long()


def false_claim(stage: Stage) -> Exhibit:
    """Adversarial examples of models of the accuser's own, committed to and stamped as an honest claim is."""
    x, truth = unseen(stage.data)
    accuser = Owner(x[1000:], truth[1000:], stage.data.box, stage.data.architecture)
    claim = stage.forgery(accuser, CLASSES, 0)
    stage.publish("accuser", accuser_model(accuser, stage.forgery, stage.mnist), "the accuser's own model")
    return stage.exhibit("forged", claim, "accuser", "accuser")


def accuser_model(accuser: Owner, forgery: Untargeted, mnist: Target) -> TorchModel:
    return TorchModel(ensemble(accuser, CLASSES, forgery.models, 0).nets[0], mnist.victim.task)


# the judge


def trial(stage: Stage, exhibit: Exhibit, suspect: str, public_since: int, say: Console) -> Verdict:
    papers = Papers(exhibit.claim, register.read(exhibit.register), tuple(stamps.read_roots(stage.folder / "root.pem")))
    openings = tuple(read_key(path).hex() for path in sorted(stage.folder.glob("*.opening")))
    terms = Terms(public_since, "panel", "0.001", models=stage.panel, openings=openings)
    court = Court(stage.published(suspect), stage.published(exhibit.own), stage.mnist, stage.panel, stage.kinds)
    with say.status(f"{exhibit.name} against {suspect}") as status:
        record = tried(papers, terms, court, stage.folder / "verdict", lambda doing: status.update(f"{doing} …"))
    return judged(record, papers)


def moment(at: float) -> str:
    """For --public-since and --beacon-at."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def verdicts(tried: Sequence[Tried]) -> Table:
    table = Table("claim", "suspect", "hits", "panel", "guess p", "p", "verdict", box=None)
    for each in tried:
        verdict = each.verdict
        span = f"{min(verdict.panel)} to {max(verdict.panel)}"
        hits, guess = f"{verdict.hits} of {verdict.n}", binomial(verdict.hits, verdict.n, 1 / CLASSES)
        table.add_row(each.claim, each.suspect, hits, span, power(guess), power(verdict.adjusted), verdict.decision)
    return table


def power(log10_p: float) -> str:
    return f"1e{log10_p:.0f}" if log10_p < -2 else f"{10**log10_p:.2g}"


def conclusions(tried: Sequence[Tried], suspects: Mapping[str, str]) -> list[str]:
    """What the table says, in sentences."""
    void = next(each.verdict for each in tried if each.claim == "forged")
    return [
        "",
        "hits: claimed answers that the suspect gives; panel: those of the judge's own models, which copied nothing; guess p: what"
        " a judge without a panel would take for chance; p: chance, by the panel and over all registered claims.",
        "",
        *(f"{name}: {who}" for name, who in suspects.items()),
        "",
        "The false claim is void:",
        *(f"  - {reason}" for reason in void.reasons),
    ]


def play(stage: Stage, say: Console) -> tuple[list[Tried], dict[str, str]]:
    """The whole story: every claim against every suspect; and who these are."""
    say.print("The owner trains triggers into a model, and commits to them first …")
    model, backdoor = marked_model(stage)
    say.print(f"A client asks the owner's API about {stage.queries:,} letters; a few answers are wrong on purpose …")
    answers, dawn = served(stage, model, "client-17")
    say.print("Thieves copy the model in three ways; an accuser prepares a false claim …")
    forged = false_claim(stage)
    time.sleep(PAUSE)
    public_since = int(time.time())
    (stage.folder / "public-since.txt").write_text(moment(public_since))
    suspects = stolen(stage, model, answers)
    say.print(f"The judge trains {stage.panel} models of their own or more, and asks everybody …")
    each = [(exhibit, name) for exhibit in (backdoor, dawn, forged) for name in suspects]
    return [Tried(one.name, name, trial(stage, one, name, public_since, say)) for one, name in each], suspects


def main(folder: Path) -> None:
    torch.set_num_threads(1)  # two threads are slower for networks this small
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say, start = Console(highlight=False, soft_wrap=True), time.monotonic()
    tried, suspects = play(Stage(folder, authority(folder), load_target("mnist")), say)
    say.print(verdicts(tried), *conclusions(tried, suspects), sep="\n")
    say.print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-ownership"))
