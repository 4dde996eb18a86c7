"""A gateway small enough to be started hundreds of times: a network of one layer, and detectors that notice everything."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gamekeeper.detectors.features import ObservedModel, Tap, observed, tap
from gamekeeper.detectors.limits import Backing, Binomial, Limits
from gamekeeper.detectors.lookout import Lookout, Post
from gamekeeper.detectors.repeats import RepeatsWatch
from gamekeeper.engine.gateway.client_memory import ClientMemory, leaves
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.input_statistics import InputStatistics
from gamekeeper.engine.gateway.request import Request
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.models.network import TorchModel
from gamekeeper.policy import Level, Policy, Rule
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.memory import Memories
from gamekeeper.service.principals import Principal, Pseudonyms
from gamekeeper.service.quotas import Quotas, Reservations
from gamekeeper.service.service import begun
from gamekeeper.service.stored import packed
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

WIDTH, CLASSES = 6, 3
AT = 1.7e9
TALL, BREAKS = 0.9, -1.0
LOOKS = (4, 8, 16, 24)


@dataclass
class ChainMemory:
    """A hash of all that the watch was ever shown, and in which portions."""

    chain: Tensor = field(default_factory=lambda: torch.zeros(32, dtype=torch.uint8))
    rows: int = 0


@dataclass(frozen=True, eq=False)
class ChainWatch:
    """Notices the last bit of an input, an answer, a feature or a time, and how requests were cut."""

    tap: Tap

    def fresh(self) -> ChainMemory:
        return ChainMemory()

    def score(self, x: Batch, clean: Reply, at: float, memory: ChainMemory) -> Scores:
        assert isinstance(self.tap.victim, ObservedModel)
        assert self.tap.victim.behind(clean), "the features behind the answer were lost"
        shown = [memory.chain, x, clean.y, self.tap.behind(x, clean), torch.tensor(at, dtype=torch.float64)]
        whole = b";".join(each.contiguous().numpy().tobytes() for each in shown)
        memory.chain = torch.tensor(list(hashlib.sha256(whole).digest()), dtype=torch.uint8)
        memory.rows += len(x)
        return torch.full((len(x),), memory.rows, dtype=torch.float64)


@dataclass
class TallMemory:
    count: int = 0
    last: Tensor = field(default_factory=lambda: torch.zeros(0, WIDTH))


@dataclass(frozen=True)
class TallWatch:
    """How many inputs begin with a number above TALL; holds the last 200 inputs, so that memories have some weight.

    Fails at an input that begins with BREAKS, after it has changed its memory.
    """

    def fresh(self) -> TallMemory:
        return TallMemory()

    def score(self, x: Batch, clean: Reply, at: float, memory: TallMemory) -> Scores:
        tall = (x[:, 0] > TALL).double()
        scores = memory.count + tall.cumsum(0)
        memory.count += int(tall.sum())
        memory.last = torch.cat([memory.last, x])[-200:].clone()
        if bool((x[:, 0] == BREAKS).any()):
            raise ZeroDivisionError
        return scores


def victim() -> ObservedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    model = observed(TorchModel(net, Classify(CLASSES)))
    assert isinstance(model, ObservedModel)
    return model


def lookout(model: ObservedModel) -> Lookout:
    """Evidence that notices everything, one detector that alarms, and repeats."""
    limits = Limits(Binomial(LOOKS, 0.1), 0.01, Backing("binomial", 1_000, 0))
    posts = {"chain": Post(ChainWatch(tap(model, "test", "penultimate"))), "tall": Post(TallWatch(), limits)}
    return Lookout(model, posts, RepeatsWatch(0.01, 50, 1_000))


def policy(then: Level = Level.LOG, shadow: bool = False, **defenses: str) -> Policy:
    rules = (Rule("tall", then),) if then else ()
    return Policy(rules, shadow, 2.0, {Level[name.upper()]: text for name, text in defenses.items()})


PSEUDONYMS = Pseudonyms(bytes(32))


def alice(tenant: str = "acme") -> Principal:
    return Principal(tenant, "a" * 32, "n" * 32)


def someone(number: int, tenant: str = "acme") -> Principal:
    return Principal(tenant, f"{number:032x}", "n" * 32)


def gateway(
    journal: Journal,
    rules: Rules | None = None,
    quotas: Quotas | None = None,
    model: ObservedModel | None = None,
    seen: Callable[[Batch], None] | None = None,
    **settings: Any,
) -> Gateway:
    model = model or victim()
    reservations = Reservations(journal, quotas or Quotas(), share=1)
    answering = model if seen is None else Noticed(model, seen)
    return Gateway(answering, lookout(model), {"": rules or Rules()}, journal, PSEUDONYMS, reservations, **settings)


@dataclass(frozen=True, eq=False)
class Noticed:
    """A model that says which inputs it is given."""

    model: ObservedModel
    seen: Callable[[Batch], None]

    @property
    def task(self) -> Classify:
        return Classify(CLASSES)

    def __call__(self, x: Batch, /) -> Reply:
        self.seen(x)
        return self.model(x)


def requests(n: int, seed: int, who: Principal | None = None, tall: float = 0.1, most: int = 5) -> list[Request]:
    """Requests of 1 to `most` inputs, a second apart. Some repeat earlier inputs; `tall`: the share that begins high."""
    generator = torch.Generator().manual_seed(seed)
    every: list[Request] = []
    for number in range(n):
        x = torch.rand(int(torch.randint(1, most + 1, (1,), generator=generator)), WIDTH, generator=generator)
        x[:, 0] = torch.where(torch.rand(len(x), generator=generator) < tall, 0.95, x[:, 0] * 0.9)
        if every and float(torch.rand(1, generator=generator)) < 0.2:
            x[0] = every[number // 2].x[0]
        every.append(Request(who or alice(), x, AT + number))
    return every


@dataclass
class Undisturbed:
    """The slow and obvious twin: no journal, no cache, no steps."""

    model: ObservedModel = field(default_factory=victim)
    rules: Rules = field(default_factory=Rules)
    memories: Memories = field(default_factory=dict[str, Any])
    defended: dict[str, Any] = field(default_factory=dict[str, Any])
    level: Level = Level.LOG

    def __post_init__(self) -> None:
        self.lookout = lookout(self.model)

    def answer(self, request: Request) -> Reply:
        clean = self.look(request)
        treatment = self.rules.policy.treatment(self.level)
        return (
            clean
            if self.rules.policy.shadow or not treatment.defense
            else self.defend(request, clean, treatment.defense)
        )

    def look(self, request: Request) -> Reply:
        """The clean answer, once the detectors have seen it."""
        clean = self.model(request.x)
        self.memories.setdefault("inputs", InputStatistics()).add(request.x, request.at)
        self.lookout.looked(request.x, clean, request.at, self.memories)
        if "tall" in self.lookout.alarms(self.memories):
            self.level = max([self.level, *(rule.then for rule in self.rules.policy.rules)])
        return clean

    def defend(self, request: Request, clean: Reply, text: str) -> Reply:
        defense = self.rules.defenses[text]
        memory = self.defended.setdefault(text, begun(defense, request.who.client))
        return defense.respond(request.x, clean, memory)


def bits(memories: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: packed(memory) for name, memory in memories.items() if memory is not None}


def written(journal: Journal, who: Principal | None = None) -> dict[str, bytes]:
    """The detectors' memories of a client, as another gateway reads them."""
    return bits(read(journal, who or alice(), Rules())[0])


def remembered_by(journal: Journal, rules: Rules, text: str) -> dict[str, bytes]:
    """What a defense remembers of alice, as another gateway reads it."""
    _, defended = read(journal, alice(), rules)
    return leaf_bits(defended[text])


def leaf_bits(memory: Any) -> dict[str, bytes]:
    """A defense's memory, part by part."""
    return {name: packed(leaf) for name, leaf in leaves(memory)}


def read(journal: Journal, who: Principal, rules: Rules) -> tuple[Memories, dict[str, Any]]:
    """The memories of the detectors, and of every defense."""
    memory = ClientMemory(lookout(victim()))
    known = memory.read(journal.remembered(who.tenant, who.client), who.client, rules.defenses, 0.0)
    return memory.watched(known), {text: memory.defended(known, text) for text in rules.defenses}


def equal(one: Sequence[Reply], other: Sequence[Reply]) -> bool:
    return len(one) == len(other) and all(torch.equal(a.y, b.y) for a, b in zip(one, other, strict=True))


def later(request: Request, seconds: float) -> Request:
    return replace(request, at=request.at + seconds)


@dataclass
class FarMemory:
    count: int = 0


@dataclass(frozen=True)
class Far:
    """A defense whose answers depend on how many inputs it has answered for the client. Fails at a second number BREAKS."""

    def fresh(self) -> FarMemory:
        return FarMemory()

    def respond(self, x: Batch, reply: Reply, memory: FarMemory) -> Reply:
        if bool((x.flatten(1)[:, 1] == BREAKS).any()):
            raise ZeroDivisionError
        weights = 1 / (2.0 + memory.count + torch.arange(len(x)))
        memory.count += len(x)
        return Reply(torch.lerp(reply.y, torch.full_like(reply.y, 1 / reply.y.shape[1]), weights[:, None]))


@dataclass(frozen=True)
class Spy:
    """A recipe that shows what it was armed with."""

    keeps_top1: ClassVar[bool] = False

    def arm(self, victim: Model, owner: Owner, seed: int) -> "ArmedSpy":
        return ArmedSpy(owner, seed)


@dataclass(frozen=True, eq=False)
class ArmedSpy(Far):
    owner: Owner
    seed: int


def far(level: Level = Level.DEFENSE, shadow: bool = False) -> Rules:
    return Rules(policy(level, shadow, defense="far"), {"far": Far()})


SENT = requests(40, seed=0)


def together(*calls: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  of a thread, raised in the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]
