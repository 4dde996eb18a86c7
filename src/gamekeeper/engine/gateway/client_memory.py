"""What a gateway remembers of a client, and how it is written: a snapshot now and then, a small step for each request.

Detectors remember up to some megabytes of a client, and would write all of it for every request; so do defenses. The
journal holds a snapshot of their memories and the steps since: what each request showed to them. To read is to unpack the
snapshot and to show the steps again, one by one as they came; detectors and defenses are deterministic, so the memories
are the same bit for bit. A snapshot is due when the steps weigh as much as the last one: all of them together cost about
as much as the steps. How much is written does not depend on what a defense made of an answer.
What is small is written whole, if it has changed: the standing and the pace.

    policy       the standing, as `policy.packed`
    pace         from when on the client is not too fast, 8 bytes
    watches      JSON: what the snapshot is of
    watch NAME   a memory of the snapshot, as `stored.packed`
    defense TEXT memory of a defense in the snapshot; with .0, .1, … where it consists of several
    step N       the Nth request after it, from 0; or RELEASED
"""

import hashlib
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gamekeeper.detectors import lookout as watching
from gamekeeper.detectors.features import ObservedModel
from gamekeeper.detectors.lookout import REPEATS, Lookout
from gamekeeper.engine.gateway.at_looks import scores_at_looks
from gamekeeper.engine.gateway.input_statistics import InputStatistics
from gamekeeper.errors import JournalError, Malformed
from gamekeeper.policy import Standing
from gamekeeper.policy import packed as packed_standing
from gamekeeper.policy import unpacked as unpacked_standing
from gamekeeper.service.journal.event import Remembered
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.tables import STANDING
from gamekeeper.service.memory import Memories
from gamekeeper.service.service import begun
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.types import Armed, Batch, Reply

PACE, WATCHES, WATCH, STEP, DEFENSE = "pace", "watches", "watch ", "step ", "defense "
SMALL = (STANDING, PACE)
RELEASED = b"released"
"""A step at which a person released the client: detectors may raise their alarms again."""
INPUTS = "inputs"
"""The memory, beside those of the detectors, that holds the statistics of inputs."""
TIME = struct.Struct("<d")
STEPS = 128
"""Steps after a snapshot, at most: so many are shown again when a client is read."""
FEW = 32
"""Steps of other replicas that are read by themselves; where there are as many, all is read again."""
LEAST = 2**15
"""Bytes of steps that are worth a snapshot, however small that is."""
FEATURES = "behind "


@dataclass
class Known:
    """What is known of a client as of a version of the journal's. Live: a request changes it.

    client    whose it is
    defenses  those that may answer the client, by text; what others remember stays in the journal as the snapshot has it
    free_at   until when the client is too fast, in seconds since 1970
    watched   memories of the lookout; None: still packed
    packed    the parts of which memories are made, until they are needed
    defended  memories of defenses, by their text
    small     the small parts as they are in the journal
    header    the part `watches`; None: there is none
    sizes     bytes of all other parts in the journal
    checked   when it was last known to be what the journal has, by `time.monotonic`
    spoilt    whether a detector or a defense failed in the midst of a request, so that memories must be read again
    shared    whether other replicas answer the client as well
    """

    version: int
    client: str
    defenses: Mapping[str, Armed]
    standing: Standing
    free_at: float
    packed: Mapping[str, bytes]
    small: dict[str, bytes]
    sizes: dict[str, int]
    checked: float
    header: bytes | None = None
    watched: Memories | None = None
    defended: dict[str, Any] = field(default_factory=dict[str, Any])
    spoilt: bool = False
    shared: bool = False

    @property
    def steps(self) -> int:
        return sum(name.startswith(STEP) for name in self.sizes)

    @property
    def size(self) -> int:
        """Bytes that this takes, about."""
        live = [
            *(self.watched or {}).values(),
            *(leaf for memory in self.defended.values() for _, leaf in leaves(memory)),
        ]
        parts = sum(map(len, self.packed.values())) + sum(map(len, self.small.values()))
        return parts + sum(weight(memory) for memory in live)


@dataclass(frozen=True, eq=False)
class ClientMemory:
    """Reads and writes what is known of clients, and shows their requests to one lookout.

    made_for  what the lookout's memories depend on besides its detectors, such as a digest of the model
    """

    lookout: Lookout
    made_for: str = ""

    @cached_property
    def kinds(self) -> Mapping[str, type]:
        """The class of every memory of the lookout that is stored."""
        lookout = self.lookout
        fresh: Memories = {watching.STANDING: lookout.fresh(), INPUTS: InputStatistics()}
        fresh |= {} if lookout.repeats is None else {REPEATS: lookout.repeats.fresh()}
        fresh |= {name: post.watch.fresh() for name, post in lookout.posts.items()}
        return {name: type(memory) for name, memory in fresh.items() if memory is not None}

    @cached_property
    def basis(self) -> str:
        """A digest of what memories must be of to be of use."""
        lookout = self.lookout
        posts = [(name, post.limits is None) for name, post in lookout.posts.items()]
        kinds = sorted((name, kind.__qualname__) for name, kind in self.kinds.items())
        return hashlib.sha256(repr((posts, kinds, lookout.window, lookout.repeats, self.made_for)).encode()).hexdigest()

    def read(self, remembered: Remembered, client: str, defenses: Mapping[str, Armed], now: float) -> Known:
        """What the journal remembers of a client, as of `now` by `time.monotonic`. Raises JournalError if it cannot be read.

        defenses  those that may answer the client, by text
        """
        parts = remembered.parts
        small = {name: data for name, data in parts.items() if name in SMALL}
        large = {name: data for name, data in parts.items() if name not in SMALL}
        try:
            standing = unpacked_standing(small[STANDING]) if STANDING in small else Standing()
        except Malformed as error:
            raise JournalError(str(error)) from None
        free_at = TIME.unpack(small[PACE])[0] if PACE in small else 0.0
        sizes = {name: len(data) for name, data in large.items()}
        header = large.get(WATCHES)
        return Known(remembered.version, client, defenses, standing, free_at, large, small, sizes, now, header)

    def watched(self, known: Known) -> Memories:
        """The lookout's memories, unpacked if they were not. Raises JournalError if they cannot be read."""
        if known.watched is None:
            try:
                known.watched = self._unpacked(known)
            except (Malformed, SafetensorError, orjson.JSONDecodeError, KeyError) as error:
                raise JournalError(
                    f"what is remembered of a client cannot be read ({error}). Forget the client, or restore the journal."
                ) from error
            known.packed = {name: data for name, data in known.packed.items() if name.startswith(DEFENSE)}
        return known.watched

    def defended(self, known: Known, text: str) -> Any:
        """What one of the client's defenses remembers of them. Raises JournalError if it cannot be read."""
        if text not in known.defended:
            fresh = begun(known.defenses[text], known.client)
            try:
                memory = known.defended[text] = restored(fresh, f"{DEFENSE}{text}", known.packed)
            except Malformed as error:
                raise JournalError(str(error)) from error
            live = dict(leaves(memory, f"{DEFENSE}{text}"))
            known.packed = {name: data for name, data in known.packed.items() if name not in live}
        return known.defended[text]

    def _unpacked(self, known: Known) -> Memories:
        parts = known.packed
        if WATCHES not in parts or orjson.loads(parts[WATCHES])["basis"] != self.basis:
            return self._begun(known)
        memories: Memories = {
            name: unpacked(kind, parts[WATCH + name]) for name, kind in self.kinds.items() if WATCH + name in parts
        }
        for number in range(known.steps):
            self.repeat(parts[f"{STEP}{number}"], known, memories)
        return memories

    def _begun(self, known: Known) -> Memories:
        """Memories of a new client; of one whose alarms are known, the count goes on after these.

        A later alarm is then one after a later query, as the policy needs it. Defenses keep what the snapshot says: the steps
        may be of another model.
        """
        standing = self.lookout.fresh()
        standing.before = max([0, *known.standing.alarms.values(), *known.standing.released.values()])
        known.sizes.pop(WATCHES, None)  # of other detectors: a snapshot is due
        return {watching.STANDING: standing}

    def show(self, x: Batch, clean: Reply, at: float, memories: Memories) -> Mapping[str, float]:
        """Shows a request to the lookout. All its inputs have an answer; attribution maps are shown to nobody.

        Returns what detectors say at the looks that it passes.
        """
        memories.setdefault(INPUTS, InputStatistics()).add(x, at)
        seen = memories[watching.STANDING].seen if watching.STANDING in memories else 0
        return scores_at_looks(self.lookout, self.lookout.looked(x, Reply(clean.y), at, memories), seen)

    def step(self, x: Batch, clean: Reply, at: float | None, text: str) -> bytes:
        """A request, as bytes: all that memories depend on, with the features that were noted behind the answers.

        at    when it was shown to the lookout, as in `show`; None: it was not
        text  of the defense that answered it; "" if none did
        """
        victim = self.lookout.victim
        behind = victim.behind(clean) if isinstance(victim, ObservedModel) else {}
        whole: dict[str, Tensor] = {"x": x, "y": clean.y}
        whole |= {} if at is None else {"at": torch.tensor(at, dtype=torch.float64)}
        whole |= {"defense": torch.tensor(list(text.encode()), dtype=torch.uint8)} if text else {}
        whole |= {f"{FEATURES}{layer}": features for layer, features in behind.items()}
        return save({name: each.detach().clone().contiguous() for name, each in whole.items()})

    def repeat(self, step: bytes, known: Known, memories: Memories) -> None:
        """Does again what a step says: to the lookout's memories, and to those of the client's defenses."""
        if step == RELEASED:
            memories[watching.STANDING].alarmed.zero_()
            return
        whole = load(step)
        clean = Reply(whole["y"])
        if isinstance(self.lookout.victim, ObservedModel):
            noted = {name.removeprefix(FEATURES): each for name, each in whole.items() if name.startswith(FEATURES)}
            self.lookout.victim.noted[clean.y] = noted
        if "at" in whole:
            self.show(whole["x"], clean, float(whole["at"]), memories)
        text = bytes(whole["defense"].tolist()).decode() if "defense" in whole else ""
        if text in known.defenses and any(leaves(memory := self.defended(known, text))):
            known.defenses[text].respond(whole["x"], clean, memory)

    def changes(self, known: Known, step: bytes | None) -> Remembered:
        """What is to be stored after a request. `step`: what it did to memories; None: nothing."""
        small = {STANDING: packed_standing(known.standing), PACE: TIME.pack(known.free_at)}
        changed = {name: data for name, data in small.items() if known.small.get(name) != data}
        if step is None:
            return Remembered(known.version, changed)
        if not snapshot_due(known.sizes, known.steps, len(step)):
            return Remembered(known.version, changed | {f"{STEP}{known.steps}": step})
        snapshot = self._snapshot(known)
        # what a defense remembers that answers nobody now is not to be lost
        erased = [name for name in sorted(known.sizes) if name not in snapshot and not name.startswith(DEFENSE)]
        return Remembered(known.version, changed | snapshot, erased)

    def _snapshot(self, known: Known) -> dict[str, bytes]:
        memories = self.watched(known)
        whole = {WATCH + name: packed(memories[name]) for name in self.kinds if name in memories}
        for text, memory in known.defended.items():
            whole |= {name: packed(leaf) for name, leaf in leaves(memory, f"{DEFENSE}{text}")}
        return {WATCHES: orjson.dumps({"basis": self.basis, "snapshot": secrets.token_hex(8)})} | whole

    def catch_up(self, known: Known, journal: Journal, who: tuple[str, str], now: float) -> Known:
        """What the journal has: what is known with the steps that others have added, or else all of it read again.

        now  by `time.monotonic`
        """
        if journal.remembered(*who, ()).version == known.version:
            known.checked = now
            return known
        steps = [f"{STEP}{number}" for number in range(known.steps, known.steps + FEW)]
        news = journal.remembered(*who, (WATCHES, *SMALL, *steps))
        added = [name for name in steps if name in news.parts]
        if known.watched is None or len(added) == FEW or news.parts.get(WATCHES) != known.header:
            return replace(self.read(journal.remembered(*who), known.client, known.defenses, now), shared=known.shared)
        for name in added:
            self.repeat(news.parts[name], known, known.watched)
        small = Remembered(news.version, {name: news.parts[name] for name in SMALL if name in news.parts})
        renewed = self.read(small, known.client, known.defenses, now)
        sizes = known.sizes | {name: len(news.parts[name]) for name in added}
        return replace(
            renewed,
            watched=known.watched,
            packed=known.packed,
            defended=known.defended,
            header=known.header,
            sizes=sizes,
            shared=known.shared,
        )


def stored(known: Known, changes: Remembered, version: int, now: float) -> None:
    """Notes what has been stored, and under which version."""
    known.version, known.checked = version, now
    for name in changes.erased:
        known.sizes.pop(name, None)
    for name, data in changes.parts.items():
        if name == WATCHES:
            known.header = data
        if name in SMALL:
            known.small[name] = data
        else:
            known.sizes[name] = len(data)


def snapshot_due(sizes: Mapping[str, int], steps: int, more: int) -> bool:
    """Whether a step of so many bytes is written as a snapshot: the steps would outweigh the last one, or be too many."""
    if WATCHES not in sizes or steps >= STEPS:
        return True
    written = sum(size for name, size in sizes.items() if name.startswith(STEP))
    return written + more > max(LEAST, sum(sizes.values()) - written)


def leaves(memory: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The dataclasses that a defense's memory consists of, with their places in it."""
    if isinstance(memory, tuple):
        for place, part in enumerate(memory):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from leaves(part, f"{name}.{place}")
    elif memory is not None:
        yield name, memory


def restored(example: Any, name: str, parts: Mapping[str, bytes]) -> Any:
    """A defense's memory from its parts; `example`: one of a new client, whose leaves stand where no part is."""
    if isinstance(example, tuple):
        return tuple(restored(part, f"{name}.{place}", parts) for place, part in enumerate(example))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return unpacked(type(example), parts[name]) if example is not None and name in parts else example


def weight(memory: Any) -> int:
    """Bytes of a dataclass of tensors, about."""
    storages = [each.untyped_storage() for each in vars(memory).values() if isinstance(each, Tensor)]
    return 200 + sum({each.data_ptr(): each.nbytes() for each in storages}.values())
