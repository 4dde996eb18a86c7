"""How the gateway's server listens and what it bears: addresses, times and numbers."""

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gamekeeper.errors import BadConfig

LONGEST_STEP = 1.0
UNIX = "unix"
"""Stands for everybody on the Unix socket among the trusted proxies."""


@dataclass(frozen=True)
class ServerSettings:
    """Times are seconds.

    host, port            where questions come in; port 0: one that is free
    unix                  a Unix socket instead, by its path
    certificate, private_key   PEM files for TLS; without them the server speaks plain HTTP
    metrics               host and port of Prometheus metrics, which need no key; None: none
    trusted_proxy         networks (or "unix") whose X-Forwarded-For is believed
    threads               requests that are worked on at once, half of them of one client
    queue                 requests under way, waiting ones among them; more are refused with 503
    share                 of the queue, and of `receiving`, that one client may fill; more of theirs are refused with 429
    message_timeout       how long an answer may take from when the question was read; then 504, and nothing is charged
    answer_step           answers leave at multiples of this after their question was read, so that the clock says less of
                          how they were made; 0: at once
    failure_mode_allow    whether answers leave when detectors or defenses fail: for the Gateway's `allow_failures`
    header_timeout, body_timeout   how long a client may take to send each, and to read on where answers wait: as for a body
    header_bytes          what comes before a body, at most
    connections           open at once; more are refused with 503
    receiving             bytes of bodies that are being received at once, by what their clients announce
    keep_alive            how long an idle connection stays open
    notice                after SIGTERM: how long questions are still answered while the server says that it is not ready
    drain                 after that: how long requests under way have to end
    """

    host: str = "127.0.0.1"
    port: int = 8080
    unix: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    metrics: tuple[str, int] | None = None
    trusted_proxy: tuple[str, ...] = ()
    threads: int = 16
    queue: int = 64
    share: float = 0.5
    message_timeout: float = 10.0
    answer_step: float = 0.0
    failure_mode_allow: bool = False
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    header_bytes: int = 65_536
    connections: int = 1_000
    receiving: int = 2**29
    keep_alive: float = 30.0
    notice: float = 1.0
    drain: float = 30.0

    def __post_init__(self) -> None:
        counts = {
            name: getattr(self, name) for name in ("threads", "queue", "header_bytes", "connections", "receiving")
        }
        times = {
            name: getattr(self, name)
            for name in ("message_timeout", "header_timeout", "body_timeout", "keep_alive", "drain")
        }
        wrong = [name for name, value in counts.items() if value < 1] + [
            name for name, value in times.items() if not 0 < value < float("inf")
        ]
        if wrong:
            raise BadConfig(f"{', '.join(wrong)} of a server must be above 0 and finite. Got {self}.")
        if not 0 <= self.answer_step <= LONGEST_STEP:
            raise BadConfig(f"`answer_step` must be 0 to {LONGEST_STEP:g} seconds. Got {self.answer_step:g}.")
        if not 0 < self.share <= 1 or not 0 <= self.notice < float("inf"):
            raise BadConfig(
                f"`share` must be above 0 and at most 1, `notice` 0 or more. Got {self.share}, {self.notice}."
            )
        if (self.certificate is None) != (self.private_key is None):
            raise BadConfig("TLS needs a certificate and its private key. Give both, or neither.")
        self.proxies  # noqa: B018 - a network that is none is an error now, not at the first request

    @cached_property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The trusted networks. Raises BadConfig for one that is none."""
        try:
            return tuple(ipaddress.ip_network(text) for text in self.trusted_proxy if text != UNIX)
        except ValueError as error:
            raise BadConfig(f"a trusted proxy is a network, such as 10.0.0.0/8, or an address: {error}.") from None

    @property
    def most_of_one(self) -> int:
        """Requests of one client under way at most."""
        return max(1, int(self.share * self.queue))

    @property
    def exposed(self) -> bool:
        """Whether keys and inputs can cross a network unencrypted."""
        if self.unix is not None or self.certificate is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True
