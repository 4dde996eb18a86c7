"""The gateway file, `gateway.toml`: what is served, where, and how strictly. Only the target is needed.

target = "mnist"                 # a built-in target, or a target file as for an audit
model = "mnist"                  # its name in addresses, such as /v1/models/mnist:predict; by default the target's
listen = "127.0.0.1:8080"        # host:port, or unix:PATH
metrics = "127.0.0.1:9090"       # Prometheus metrics; none by default
trusted_proxy = ["10.0.0.0/8"]   # networks whose X-Forwarded-For is believed; none by default

journal = "journal.db"           # a file, or a postgresql:// URL without a password
key_file = "secret.key"          # or the environment variable GAMEKEEPER_SECRET
policy = "policy.toml"
limits = "limits.json"
detectors = ["repeats", "mmd"]
alpha = 0.01                     # false alarms per client to aim at, all detectors together; where limits are made
retain = 30                      # days until events are erased

batch = 1                        # rows of a padded bucket; 1: no batching
queue = 64                       # requests that may wait for the model; more hear 503
threads = 16                     # requests that are worked on at once, at most half of them of one account
message_timeout = 10.0           # seconds until a request that was not answered hears 503
answer_step = 0.0                # answers leave at multiples of so many seconds, so that the clock says less; 0: at once
failure_mode_allow = false       # whether requests are answered, unwatched, while detectors fail
drain = 30.0                     # seconds that requests under way have when the gateway is stopped

[tls]
certificate = "server.pem"
key = "server.key"

[quota.key]                      # of one account; also [quota.tenant] and [quota.network]
queries = 1000
seconds = 86400                  # without it: ever

[tenant.acme]                    # a tenant by name; what is not here is as above
policy = "acme.toml"
limits = "acme.json"
quota.key = { queries = 50 }

Paths are relative to the folder of the file. Secrets are never in it.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gamekeeper.errors import BadConfig
from gamekeeper.method_text import DETECTORS
from gamekeeper.service.journal.accounts import Quota
from gamekeeper.service.journal.event import checked_name
from gamekeeper.service.journal.postgres import PostgresServer
from gamekeeper.service.quotas import Quotas
from gamekeeper.toml_file import Place, Table, Wrong, parsed, text_of

GATEWAY = "gateway.toml"
DEFAULT_TENANT = "default"
"""The tenant of keys that were issued for none."""
SOCKET = "unix:"
PORTS = 2**16
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of a model that mean the same in every address, escaped or not."""
Text = Annotated[str, Field(min_length=1, max_length=400)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class TlsTable(Table):
    """[tls]: files in PEM."""

    certificate: Text
    key: Text


class QuotaTable(Table):
    """[quota.key] and its kin."""

    queries: int = Field(ge=0, le=2**53)
    seconds: float = Field(math.inf, gt=0)

    def quota(self) -> Quota:
        return Quota(self.queries, self.seconds)


class QuotasTable(Table):
    """[quota]"""

    key: QuotaTable | None = None
    tenant: QuotaTable | None = None
    network: QuotaTable | None = None

    def over(self, general: "QuotasTable") -> Quotas:
        """These quotas, and the general ones where there is none here."""
        tables = (self.key or general.key, self.tenant or general.tenant, self.network or general.network)
        key, tenant, network = (None if table is None else table.quota() for table in tables)
        return Quotas(key, tenant, network)


class TenantTable(Table):
    """[tenant.NAME]"""

    policy: Text | None = None
    limits: Text | None = None
    quota: QuotasTable = QuotasTable()


class GatewayConfig(Table):
    """The whole file."""

    target: Text
    model: str = Field("", max_length=64)
    listen: Text = "127.0.0.1:8080"
    metrics: Text | None = None
    trusted_proxy: list[Text] = Field([], max_length=100)
    journal: Text = "journal.db"
    key_file: Text | None = None
    policy: Text = "policy.toml"
    limits: Text = "limits.json"
    detectors: list[Text] = Field(list(DETECTORS), max_length=20)
    alpha: float = Field(0.01, gt=0, lt=1)
    retain: float = Field(30.0, gt=0, allow_inf_nan=False)
    batch: int = Field(1, ge=1, le=256)
    queue: int = Field(64, ge=1, le=10_000)
    threads: int = Field(16, ge=1, le=256)
    message_timeout: Seconds = 10.0
    answer_step: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    failure_mode_allow: bool = False
    drain: Seconds = 30.0
    tls: TlsTable | None = None
    quota: QuotasTable = QuotasTable()
    tenant: dict[str, TenantTable] = Field({}, max_length=1_000)

    @property
    def tenants(self) -> tuple[str, ...]:
        """All tenants, those without a name first."""
        return tuple(dict.fromkeys((DEFAULT_TENANT, *self.tenant)))

    @property
    def quotas(self) -> Quotas:
        """Of everybody, with the own ones of tenants that have some."""
        nothing = QuotasTable()
        own = {name: table.quota.over(self.quota) for name, table in self.tenant.items() if table.quota != nothing}
        general = self.quota.over(nothing)
        return Quotas(general.key, general.tenant, general.network, own)


@dataclass(frozen=True)
class Address:
    """Where a server listens: a host and a port, or a Unix socket."""

    host: str = ""
    port: int = 0
    socket: str = ""

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        if self.socket or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SOCKET}{self.socket}" if self.socket else f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, `[::1]:port` or `unix:PATH`. Raises BadConfig."""
    if text.startswith(SOCKET) and len(text) > len(SOCKET):
        return Address(socket=text.removeprefix(SOCKET))
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else "" if ":" in host else host
    if not re.fullmatch(r"[0-9A-Za-z.:%_-]+", host) or not (port.isascii() and port.isdecimal() and int(port) < PORTS):
        raise BadConfig(f"{text!r} is no address. Give host:port, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH.")
    return Address(host, int(port))


def read_gateway(folder: Path) -> GatewayConfig:
    """The gateway file of a folder. Raises BadConfig that names every wrong line and key."""
    path = folder / GATEWAY
    if not path.exists():
        raise BadConfig(
            f"{folder} holds no gateway ({GATEWAY} is missing). Begin one: gamekeeper init gateway --out {folder}"
        )
    return parse_gateway(text_of(path, f"the gateway file {path}"), str(path))


def parse_gateway(text: str, name: str) -> GatewayConfig:
    """See `read_gateway`; `name` is what messages call the file."""
    return parsed(text, f"the gateway file {name}", GatewayConfig, checked)


def checked(config: GatewayConfig) -> GatewayConfig:
    """Raises Wrong for what no single value shows."""
    addresses = {key: text for key, text in (("listen", config.listen), ("metrics", config.metrics)) if text}
    for key, text in addresses.items():
        refused((key,), parse_address, text)
    if config.listen == config.metrics:
        raise Wrong(("metrics",), f"{config.metrics!r} is where the model is served. Give another port.")
    if config.model and not MODEL.fullmatch(config.model):
        raise Wrong(
            ("model",), f"{config.model!r} is no name for an address: letters, digits, '_', '-' and '.', 64 at most."
        )
    for place, network in enumerate(config.trusted_proxy):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise Wrong(
                ("trusted_proxy", place), f"{error}. Give a network, such as 10.0.0.0/8, or an address."
            ) from None
    if "://" in config.journal:
        refused(("journal",), check_url, config.journal)
    for tenant in config.tenant:
        refused(("tenant", tenant), lambda name: checked_name("tenant", name), tenant)
    return config


def refused(place: Place, check: Callable[[str], object], text: str) -> None:
    """Turns the BadConfig of a check into the error of a line."""
    try:
        check(text)
    except BadConfig as error:
        raise Wrong(place, str(error)) from None


def check_url(url: str) -> None:
    """Raises BadConfig for a URL of another kind of database, or one with a password, and shows neither."""
    scheme = url.partition("://")[0]
    if scheme not in ("postgresql", "postgres"):
        raise BadConfig(f"a journal is a file or a postgresql:// URL; got {scheme}://.")
    PostgresServer(url)
