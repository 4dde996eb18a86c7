"""Rules: a policy and its defenses, armed for one model and one secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gamekeeper.errors import BadConfig
from gamekeeper.keys import derived
from gamekeeper.methods import InputSpec, parse_defense
from gamekeeper.policy import Policy
from gamekeeper.service.service import begun
from gamekeeper.targets.target import Target
from gamekeeper.types import Armed, Batch, Reply


@dataclass(frozen=True, eq=False)
class Rules:
    """A policy armed.

    defenses  by text, every one that the policy names
    """

    policy: Policy = Policy()
    defenses: Mapping[str, Armed] = field(default_factory=dict[str, Armed])

    def __post_init__(self) -> None:
        if missing := set(self.policy.defenses.values()) - set(self.defenses):
            raise BadConfig(f"rules need every defense of their policy, armed; these are missing: {sorted(missing)}.")


@dataclass(frozen=True, eq=False)
class Chain:
    """Several defenses as one: each changes the answer of the one before. A memory is a tuple of theirs."""

    parts: Sequence[Armed]

    def fresh(self) -> tuple[Any, ...]:
        return tuple(part.fresh() for part in self.parts)

    def fresh_for(self, client: str) -> tuple[Any, ...]:
        return tuple(begun(part, client) for part in self.parts)

    def respond(self, x: Batch, reply: Reply, memory: tuple[Any, ...]) -> Reply:
        for part, own in zip(self.parts, memory, strict=True):
            reply = part.respond(x, reply, own)
        return reply


def arm_rules(policy: Policy, target: Target, secret: bytes) -> Rules:
    """The rules of a policy. What its defenses draw, they draw from the secret: replicas that share it answer alike.

    secret  the service's, 32 bytes (`keys.service_secret`)

    Raises BadConfig for a text that is no defense, and Unsuited for one that does not suit the target.
    """
    owner = replace(target.owner, secret=secret)
    seed = int.from_bytes(derived(secret, "arm")[:8], "big") >> 1  # torch takes 64 bits, with a sign
    spec = InputSpec(target.box.shape, target.victim.task.classes)
    armed: dict[str, Armed] = {}
    for text in sorted(set(policy.defenses.values())):
        parts = [recipe.arm(target.victim, owner, seed) for recipe in parse_defense(text, spec)]
        armed[text] = parts[0] if len(parts) == 1 else Chain(parts)
    return Rules(policy, armed)
