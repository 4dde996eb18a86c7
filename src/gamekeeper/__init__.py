"""gamekeeper: how cheaply can a model be stolen through its prediction API, and what is each defense worth?

    from gamekeeper import Classify, Metered, Service, TorchModel
    from gamekeeper.defenses import MAD

Names are imported when they are first used, so that `import gamekeeper` stays quick.
"""

import importlib
from typing import TYPE_CHECKING

from gamekeeper.version import __version__

if TYPE_CHECKING:
    from gamekeeper.attacks.knockoff import Knockoff
    from gamekeeper.attacks.theft import Theft
    from gamekeeper.models.network import TorchModel
    from gamekeeper.models.opaque import OnnxModel, SklearnModel
    from gamekeeper.service.ledger import Ledger, Recorded
    from gamekeeper.service.oracles import Metered
    from gamekeeper.service.service import Service
    from gamekeeper.targets.choice import Choice
    from gamekeeper.targets.load import load_target
    from gamekeeper.targets.target import Target
    from gamekeeper.tasks import Classify
    from gamekeeper.types import Box, Domain, Knowledge, Owner, Reply, Transfer

__all__ = [
    "Box",
    "Choice",
    "Classify",
    "Domain",
    "Knockoff",
    "Knowledge",
    "Ledger",
    "Metered",
    "OnnxModel",
    "Owner",
    "Recorded",
    "Reply",
    "Service",
    "SklearnModel",
    "Target",
    "Theft",
    "TorchModel",
    "Transfer",
    "__version__",
    "load_target",
]

HOMES = {
    "attacks.knockoff": ("Knockoff",),
    "attacks.theft": ("Theft",),
    "service.ledger": ("Ledger", "Recorded"),
    "models.network": ("TorchModel",),
    "models.opaque": ("OnnxModel", "SklearnModel"),
    "service.oracles": ("Metered",),
    "service.service": ("Service",),
    "targets.choice": ("Choice",),
    "targets.load": ("load_target",),
    "targets.target": ("Target",),
    "tasks": ("Classify",),
    "types": ("Box", "Domain", "Knowledge", "Owner", "Reply", "Transfer"),
}


def __getattr__(name: str) -> object:
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"gamekeeper.{home}"), name)
    raise AttributeError(f"module 'gamekeeper' has no attribute '{name}'")
