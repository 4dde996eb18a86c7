"""What the server itself reads of a request's headers: who asks, from where, for which trace, and how much follows.

Source      RFC 9110 (HTTP semantics), RFC 6750 (Bearer), W3C Trace Context (`traceparent`)
Deviations  a trace context that breaks the rules is ignored, as the recommendation says; `tracestate` is not read
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import Header, whole
from gamekeeper.surfaces.gateway.settings import UNIX, ServerSettings

TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
BEARER = b"bearer "
LONGEST_KEY = 256
"""Bytes of a key's text that are looked at; a longer one is none of ours."""


@dataclass(slots=True)
class Head:
    """The headers that matter before the body is there.

    key          the API key that was sent; "" for none, or for several that differ
    length       of the body, in bytes; None if it is not announced
    compressed   whether the body may unpack to more than its length
    trace        id of the distributed trace, 32 hexadecimal digits, or ""
    traceparent  the header it came in, to be passed back
    forwarded    values of X-Forwarded-For, in order
    """

    key: str = ""
    length: int | None = None
    compressed: bool = False
    trace: str = ""
    traceparent: bytes = b""
    forwarded: tuple[bytes, ...] = ()


def read_head(headers: Iterable[Header]) -> Head:
    """Reads the headers, whose names are in lower case. Raises BadRequest for a length that is none."""
    head = Head()
    keys: set[bytes] = set()
    for name, value in headers:
        if name == b"authorization":
            keys.add(value[len(BEARER) :].strip() if value[: len(BEARER)].lower() == BEARER else b"")
        elif name == b"x-api-key":
            keys.add(value.strip())
        elif name == b"content-length":
            head.length = length(value)
        elif name == b"content-encoding":
            head.compressed = True
        elif name == b"traceparent":
            head.trace, head.traceparent = traced(value, head)
        elif name == b"x-forwarded-for":
            head.forwarded = (*head.forwarded, value)
    if len(keys) == 1:
        head.key = keys.pop()[:LONGEST_KEY].decode("latin-1")
    return head


def length(value: bytes) -> int:
    number = whole(value.decode("latin-1").strip())
    if number is None:
        raise BadRequest("Content-Length must be one whole number. Send the length of the body in bytes.")
    return number


def traced(value: bytes, head: Head) -> tuple[str, bytes]:
    """The trace's id and the header, if it is a valid one of the current format and the only one."""
    match = None if head.traceparent else TRACEPARENT.fullmatch(value)
    if match is None or (value.startswith(b"00") and len(value) != 55) or len(value) > 256:
        return "", b""
    return match[1].decode(), value


def address(peer: tuple[str, int] | None, head: Head, settings: ServerSettings) -> str:
    """The address a request comes from: the peer's, or what the trusted proxies nearest to us say; "" where there is none.

    From right to left: a trusted proxy says who is before it, and what somebody else wrote before that is not believed.
    """
    host = peer[0] if peer else ""
    if not head.forwarded or not settings.trusted_proxy or not trusted(host, settings):
        return host
    stations = b",".join(head.forwarded).decode("latin-1").split(",")
    for station in reversed(stations[-100:]):
        host = station.strip()
        if not trusted(host, settings):
            return host
    return host


def trusted(host: str, settings: ServerSettings) -> bool:
    """Whether a host is one of the proxies that may speak for others."""
    if not host:
        return UNIX in settings.trusted_proxy
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in settings.proxies)
