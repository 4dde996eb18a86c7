"""Policies of a gateway, from its files: read, checked against the detectors that run, and armed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gamekeeper.engine.gateway.folder import GatewayFolder
from gamekeeper.engine.gateway.rules import Rules, arm_rules
from gamekeeper.engine.gateway.watching import Watching
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.methods import InputSpec, parse_defense
from gamekeeper.policy import Policy
from gamekeeper.policy_file import read_policy
from gamekeeper.targets.target import Target

EVERYBODY = ""
"""Stands for tenants without a table of their own."""


@dataclass(frozen=True, eq=False)
class PolicyFiles:
    """Where policies are read, again and again.

    files     by tenant, "" for all others; None: there is no file, and nothing is done about anybody
    watching  by tenant in the same way
    """

    files: Mapping[str, Path | None]
    watching: Mapping[str, Watching]
    target: Target
    secret: bytes

    def rules(self) -> dict[str, Rules]:
        """As the files are now. Raises BadConfig that names file, line and key."""
        return {tenant: self._rules(tenant, path) for tenant, path in self.files.items()}

    def _rules(self, tenant: str, path: Path | None) -> Rules:
        watched = self.watching.get(tenant) or self.watching[EVERYBODY]
        policy = Policy() if path is None else read_policy(path, tuple(watched.limits), self._keeps_top1)
        try:
            return arm_rules(policy, self.target, self.secret)
        except Unsuited as error:
            raise BadConfig(f"the policy {path} names a defense that does not suit this model: {error}") from error

    def _keeps_top1(self, text: str) -> bool:
        spec = InputSpec(self.target.box.shape, self.target.victim.task.classes)
        return all(each.keeps_top1 for each in parse_defense(text, spec))


def policy_files(folder: GatewayFolder) -> dict[str, Path | None]:
    """By tenant. Without a file under the name that nobody chose, there is no policy."""
    config = folder.config
    general = folder.file(config.policy)
    chosen = "policy" in config.model_fields_set or general.exists()
    own = {name: folder.file(table.policy) for name, table in config.tenant.items() if table.policy is not None}
    return {EVERYBODY: general if chosen else None, **own}
