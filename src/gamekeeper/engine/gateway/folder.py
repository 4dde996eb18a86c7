"""The folder that a gateway lives in: its file, its journal, its secret.

gateway.toml  what is served; see `gateway_config.py`
policy.toml   what is done about whom
secret.key    32 bytes, mode 0600; or the environment variable GAMEKEEPER_SECRET
journal.db    what was answered to whom, and what is remembered of them
limits.json   when a detector's score is an alarm
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from gamekeeper.engine.gateway.gateway_config import DEFAULT_TENANT, GATEWAY, GatewayConfig, read_gateway
from gamekeeper.errors import BadConfig
from gamekeeper.keys import VARIABLE, service_secret
from gamekeeper.logs.event import shown
from gamekeeper.service.journal.database_journal import DatabaseJournal, open_journal
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Pseudonyms
from gamekeeper.targets.builtin import BUILTIN

KEY = "secret.key"
POLICY = "policy.toml"
ODD = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class GatewayFolder:
    """A gateway's folder, and what its file says."""

    path: Path
    config: GatewayConfig

    def file(self, name: str) -> Path:
        """A file that `gateway.toml` names."""
        return self.path / name

    @property
    def target(self) -> str:
        """What is served, as `load_target` takes it."""
        name = self.config.target
        beside = self.file(name)
        return str(beside) if name not in BUILTIN and (name.endswith(".toml") or beside.is_file()) else name

    @property
    def model(self) -> str:
        """The model's name in addresses."""
        return self.config.model or ODD.sub("-", Path(self.config.target).stem) or "model"

    def limits(self, tenant: str | None = None) -> Path:
        """The file of limits of a tenant, or of all without one of their own."""
        own = self.config.tenant.get(tenant or "")
        return self.file(self.config.limits if own is None or own.limits is None else own.limits)

    def aiming(self, alpha: float) -> "GatewayFolder":
        """The same with another rate of false alarms."""
        return replace(self, config=self.config.model_copy(update={"alpha": alpha}))

    def open_journal(self) -> AbstractContextManager[DatabaseJournal]:
        """Raises JournalError where it cannot be used. A gateway at work may have it open as well."""
        place = self.config.journal
        return closing(open_journal(place if "://" in place else str(self.file(place))))

    def pseudonyms(self, environment: Mapping[str, str] = os.environ) -> Pseudonyms:
        """Raises BadConfig without a secret, or with two."""
        named = self.config.key_file
        if named is None and (self.file(KEY).exists() or VARIABLE not in environment):
            named = KEY
        return Pseudonyms(service_secret(None if named is None else self.file(named), environment))

    def tenants(self, tenant: str | None = None) -> tuple[str, ...]:
        """All of them, or the one that is wanted. Raises BadConfig if the file does not name it."""
        names = self.config.tenants
        if tenant is None:
            return names
        if tenant not in names:
            near = get_close_matches(tenant, names, 1)
            raise BadConfig(
                f"{self.path / GATEWAY} has no tenant '{shown(tenant)}'.{f' Did you mean {near[0]}?' if near else ''} Name"
                f" one of {', '.join(names)}, or give the file a table [tenant.NAME]."
            )
        return (tenant,)


def gateway_folder(path: Path) -> GatewayFolder:
    """Raises BadConfig if there is no gateway, or if its file is wrong."""
    return GatewayFolder(path, read_gateway(path))


@dataclass(frozen=True)
class Named:
    """A client, as a person names them: by the beginning of their pseudonym, or by their account where the secret is at hand.

    tenant  where to look; None: in all tenants, but for an account, which is one of the tenant without a name then
    """

    client: str | None = None
    account: str | None = None
    tenant: str | None = None

    def __bool__(self) -> bool:
        return self.client is not None or self.account is not None

    def find(self, folder: GatewayFolder, journal: Journal) -> tuple[str, str]:
        """Tenant and pseudonym. Raises BadConfig if that is nobody, or more than one."""
        if (self.client is None) == (self.account is None):
            raise BadConfig("name one client: the beginning of their pseudonym, or --account and its name.")
        if self.account is not None:
            (tenant,) = folder.tenants(self.tenant or DEFAULT_TENANT)
            return tenant, self._known(folder, journal, tenant, folder.pseudonyms().client(tenant, self.account))
        known = [(tenant, each.client) for tenant in folder.tenants(self.tenant) for each in journal.clients(tenant)]
        return one_of(known, self.client or "", folder)

    def _known(self, folder: GatewayFolder, journal: Journal, tenant: str, client: str) -> str:
        if all(each.client != client for each in journal.clients(tenant)):
            raise BadConfig(
                f"nobody of account '{shown(self.account or '')}' of tenant {tenant} has come yet. List who has: gamekeeper"
                f" clients {folder.path}"
            )
        return client


def one_of(known: Sequence[tuple[str, str]], beginning: str, folder: GatewayFolder) -> tuple[str, str]:
    near = [each for each in known if beginning and each[1].startswith(beginning)]
    exact = [each for each in near if each[1] == beginning]
    if len(exact or near) == 1:
        return (exact or near)[0]
    what = f"{len(near)} clients begin with" if near else "there is no client"
    raise BadConfig(f"{what} '{shown(beginning)}'. List all of them: gamekeeper clients {folder.path}")
