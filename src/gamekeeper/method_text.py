"""The grammar of methods: splits `knockoff+averaged:n=3+labels@resnet:depth=8` into parts, without looking them up."""

from collections.abc import Mapping
from dataclasses import dataclass

ALIASES: Mapping[str, str] = {"copycat": "knockoff+labels", "mlp_fitting": "equation_fitting:hidden=20"}
"""Names from the literature for what is the same algorithm here."""
DETECTORS = ("repeats", "prada:floor=0", "ood_share:score=mahalanobis", "ood_share:score=knn", "mmd")
"""What watches clients unless somebody says otherwise."""


@dataclass(frozen=True)
class Part:
    """A name with its parameters: `averaged:n=3`."""

    name: str
    parameters: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str | None], ...]:
        """Parameters in order; None for one without a value."""
        split = [pair.strip().partition("=") for pair in self.parameters.split(",") if pair.strip()]
        return tuple((key, value if equals else None) for key, equals, value in split)

    @property
    def is_import_path(self) -> bool:
        """Whether the name is a dotted path to a user's own class, whose import runs code."""
        return "." in self.name

    def __str__(self) -> str:
        return f"{self.name}:{self.parameters}" if self.parameters else self.name


@dataclass(frozen=True)
class MethodText:
    """A thief or a chain of defenses as a user writes it.

    parts    what `+` joins: querying, wrappers and a learner, or defenses in order
    network  what follows `@`: the network the thief trains; None if none is named
    """

    parts: tuple[Part, ...]
    network: Part | None = None

    @property
    def first(self) -> Part:
        return self.parts[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        return self.parts if self.network is None else (*self.parts, self.network)


def taken_apart(text: str) -> MethodText:
    """Splits a text into its parts, with aliases expanded. Checks nothing: `methods.py` knows the names."""
    method, at, network = text.partition("@")
    parts = ALIASES.get(method.strip(), method).split("+")
    return MethodText(tuple(map(part, parts)), part(network) if at else None)


def part(text: str) -> Part:
    name, _, parameters = text.strip().partition(":")
    return Part(name.strip(), parameters.strip())
