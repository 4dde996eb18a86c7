"""A dispute: who holds which inputs, the owner's claim, and the copy that a thief has before they try to get rid of it.

    owner     three quarters of the training inputs; a marked model and innocent ones are trained on them
    remover   the last quarter
    accuser   the natural inputs, on which no model here was trained; own mistakes are made on them as well
    judge     all training inputs, without those of a claim; the test set measures accuracy and nothing else

A copy of a marked model, or of one that makes mistakes, is its weights. DAWN marks answers, so there the copy is a student
who learnt the answers of a paid transfer set, and what must pass is one who learnt their top classes.
"""

import functools
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.theft import Theft
from gamekeeper.data.dataset import Dataset
from gamekeeper.defenses.dawn import DAWN
from gamekeeper.engine.ensemble import ENSEMBLES, FULL_NAME, HAS
from gamekeeper.engine.run import thief_knowledge
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.methods import InputSpec, parse_attack
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.ownership.schemes.backdoor import Backdoor
from gamekeeper.ownership.schemes.dawn_claim import dawn_claim
from gamekeeper.ownership.schemes.own_mistakes import OwnMistakes
from gamekeeper.ownership_methods import parse_scheme
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.targets.choice import Source
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache, train
from gamekeeper.types import Architecture, Knowledge, Learner, Model, Oracle, Owner, Transfer

THIEF = "thief"
SHORT = Fit(epochs=10)
"""The training of marked and innocent models, the same as the panel's."""


@dataclass(frozen=True)
class DisputeSetting:
    """target: whose model; queries: what a thief pays for answers; beacon: text of a public draw.

    models  of the panel; kinds: their architectures, or none for those that suit the inputs
    """

    target: Source
    queries: int = 2_500
    models: int = 10
    beacon: str = "a beacon published after the inputs were committed to"
    kinds: tuple[Architecture, ...] = ()


@dataclass(frozen=True, eq=False)
class Parties:
    target: Target
    owner: Owner
    remover: Owner
    accuser: Owner
    court: Dataset
    test: Dataset

    @property
    def classes(self) -> int:
        return self.target.victim.task.classes


@dataclass(frozen=True, eq=False)
class Dispute:
    """claim: the owner's; copy: what the thief has; own: what must pass; drawn: whether a beacon drew the labels.

    transfer  answers that the thief has paid for, if the copy was made of them; defenses: those they came through
    """

    claim: Claim
    copy: TorchModel
    own: Model
    drawn: bool
    victim: Model
    transfer: Transfer | None = None
    recipe: tuple[DAWN, ...] = ()


@functools.cache
def parties(setting: DisputeSetting) -> Parties:
    """Raises BadConfig for a target without labelled inputs of its owner's, or one that costs money."""
    target = setting.target.load()
    owner, test = target.owner, target.test
    if target.remote:
        raise BadConfig(f"every answer of {target.name} costs money; give a copy of the model on this machine.")
    if not isinstance(target.victim, TorchModel):
        raise BadConfig(f"removals change a network's weights, and {target.name} is none. Give a network.")
    if len(owner.x) < 100 or owner.natural is None or owner.natural_truth is None or test.y is None:
        raise BadConfig(
            f"a dispute needs 100 training inputs or more, natural inputs and a test set, all with labels. {target.name} lacks"
            " some (data.train, data.natural, data.test)."
        )
    mine = len(owner.x) * 3 // 4
    truth = owner.truth.long()
    return Parties(
        target,
        replace(owner, x=owner.x[:mine], truth=truth[:mine]),
        replace(owner, x=owner.x[mine:], truth=truth[mine:], architecture=target.student),
        Owner(owner.natural, owner.natural_truth.long(), owner.box, owner.architecture),
        Dataset(owner.x, truth),
        test,
    )


def trained(data: Owner, architecture: Architecture, target: Target, seed: int, clones: DiskCloneCache) -> TorchModel:
    """From scratch, or as found in the cache."""
    task = target.victim.task
    knows = Knowledge(data.x, target.box, task, architecture, clones=clones)
    return train(knows, data.x, task.target(data.truth), SHORT, seed)


@functools.lru_cache(maxsize=4)
def innocents(setting: DisputeSetting, seed: int, folder: Path) -> dict[str, TorchModel]:
    """Models trained on the owner's inputs, not on their mark: two of the owner's architecture and a plain one."""
    here = parties(setting)
    kinds = {
        "the same architecture": here.owner.architecture,
        "the same again": here.owner.architecture,
        "a plain network": Mlp(here.target.box.shape, here.classes, (256,)),
    }
    return {
        name: trained(here.owner, kind, here.target, 1_000 * (place + 1) + seed, DiskCloneCache(folder))
        for place, (name, kind) in enumerate(kinds.items())
    }


@functools.lru_cache(maxsize=4)
def dispute(setting: DisputeSetting, scheme: str, seed: int, folder: Path) -> Dispute:
    """Raises Unsuited if the scheme does not suit the target."""
    here, recipe = parties(setting), parse_scheme(scheme)
    if isinstance(recipe, OwnMistakes):
        return of_mistakes(here, recipe, seed)
    if isinstance(recipe, Backdoor):
        return of_backdoor(here, recipe, setting, seed, DiskCloneCache(folder))
    return of_answers(here, recipe, setting, seed, DiskCloneCache(folder))


def of_mistakes(here: Parties, recipe: OwnMistakes, seed: int) -> Dispute:
    victim = here.target.victim
    assert isinstance(victim, TorchModel)
    return Dispute(recipe(victim, here.target.owner, seed), victim, victim, False, victim)


def of_backdoor(here: Parties, recipe: Backdoor, setting: DisputeSetting, seed: int, clones: DiskCloneCache) -> Dispute:
    triggers = recipe.triggers(here.owner, seed)
    beacon = sha256(setting.beacon.encode()).digest()
    claim = recipe.claim(triggers, Draw(beacon, inputs_digest(triggers)), here.classes)
    victim = trained(recipe.marked(here.owner, claim), here.owner.architecture, here.target, seed, clones)
    return Dispute(claim, victim, victim, True, victim)


def of_answers(here: Parties, recipe: DAWN, setting: DisputeSetting, seed: int, clones: DiskCloneCache) -> Dispute:
    victim = here.target.victim
    service = Service(victim, (recipe.arm(victim, here.target.owner, seed),))
    transfer = bought(service.open(THIEF), here, setting, seed)
    with service.clients.hold(THIEF) as memories:
        claim = dawn_claim(memories["defense 0"], recipe)
    knows = knowledge(here, (recipe,), clones)
    soft, labels = Soft()(transfer, knows, seed), Labels()(transfer, knows, seed)
    assert isinstance(soft, TorchModel)
    return Dispute(claim, soft, labels, False, victim, transfer, (recipe,))


def bought(oracle: Oracle, here: Parties, setting: DisputeSetting, seed: int) -> Transfer:
    """Answers to inputs of the thief's pool, each once."""
    meter = Metered(oracle, setting.queries, here.target.box)
    return Knockoff()(meter, knowledge(here, (), None), seed)


def knowledge(here: Parties, defenses: tuple[DAWN, ...], clones: DiskCloneCache | None) -> Knowledge:
    return thief_knowledge(here.target, here.target.student, defenses, clones)


def ensemble_learners(target: Target) -> tuple[str, ...]:
    """Every way to learn of the worst-case ensemble that works on answers already paid, and the one that loses most marks."""
    members = [one.attack for one in ENSEMBLES[FULL_NAME] if HAS[one.needs](target)]
    ours = [attack for attack in members if attack.split("+")[0] == "knockoff" and "@" not in attack]
    return (*ours, "knockoff+neighbours")


def learner_of(text: str, here: Parties) -> Learner:
    """The learner of `knockoff+gce`. Raises Unsuited for a thief who asks in another way: these answers are paid already."""
    thief = parse_attack(text, InputSpec(here.target.box.shape, here.classes))
    if not isinstance(thief, Theft) or not isinstance(thief.querying, Knockoff) or thief.wrappers:
        raise Unsuited(f"{text} asks in its own way; a removal learns from answers already paid for: write knockoff+…")
    return thief.learner


def relearnt(text: str, here: Parties, held: Dispute, setting: DisputeSetting, seed: int, folder: Path) -> Model:
    """A clone trained on answers: those that the copy was made of, else of the marked model, paid for once."""
    transfer = held.transfer or bought(held.victim, here, setting, seed)
    knows = knowledge(here, held.recipe, DiskCloneCache(folder))
    return learner_of(text, here)(transfer, knows, seed)
