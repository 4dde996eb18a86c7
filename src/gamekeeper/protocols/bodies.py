"""Headers and bodies of HTTP messages: one value for each header, bodies decompressed within a limit.

Source      RFC 9110 (HTTP semantics), 8.4 and 12.5.3: Content-Encoding, Accept-Encoding
Deviations  `deflate` is read as zlib's format, as the RFC says, not as the bare stream that some old clients send; several
            encodings of one body, several members of one gzip file, and bytes behind a stream are refused
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.json import Quote, kind

Header = tuple[bytes, bytes]
"""Name and value as a server received them."""
WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
WORTH = 1024
"""Bytes below which an answer is not compressed."""
QUOTE = Quote()


def shown(value: object) -> str:
    """A JSON value for a message: text and numbers as they are, of anything else what it is, since it may be deep or long."""
    if isinstance(value, str):
        return repr(QUOTE(value))
    return QUOTE(value) if type(value) in (int, float) else kind(value)


@dataclass(frozen=True)
class Response:
    """An answer ready to be sent."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    status: int = 200


@dataclass(frozen=True)
class Request:
    """A request as received: headers by name in lower case, and the body once decompressed."""

    headers: dict[str, str]
    body: bytes

    @property
    def encoding(self) -> str | None:
        """How the answer may be compressed."""
        return accepted(self.headers.get("accept-encoding", ""))


def received(headers: Iterable[Header], body: bytes, most: int) -> Request:
    """A request whose headers tell the truth about its body, of at most `most` bytes. Raises BadRequest."""
    single = by_name(headers)
    length = single.get("content-length")
    if length is not None and whole(length) != len(body):
        raise BadRequest(f"Content-Length is {QUOTE(length)!r} for a body of {len(body)} bytes. Send its length.")
    if len(body) > most:
        raise too_long(most)
    return Request(single, decompressed(body, single.get("content-encoding", ""), most))


def by_name(headers: Iterable[Header]) -> dict[str, str]:
    """Values by name in lower case. Raises BadRequest for one that describes the body and comes twice."""
    single: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in single and key.startswith(("content-", "inference-header-")):
            raise BadRequest(f"the header {QUOTE(key)} is given twice. Send it once.")
        single[key] = f"{single[key]},{text}" if key in single else text
    return single


def whole(text: str) -> int | None:
    """A number of at most 18 digits and nothing else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its Content-Encoding; never more than `most` bytes are unpacked. Raises BadRequest."""
    name = encoding.lower()
    if name in ("", "identity"):
        return body
    if name not in WINDOWS:
        raise BadRequest(f"the body is compressed as {QUOTE(encoding)!r}; send it as gzip, deflate or not at all.", 415)
    unpack = zlib.decompressobj(WINDOWS[name])
    try:
        text = unpack.decompress(body, most + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not {name}, as Content-Encoding says ({QUOTE(error)}).") from None
    if len(text) > most:
        raise too_long(most)
    if not unpack.eof:
        raise BadRequest(f"the {name} stream of the body breaks off before its end. Send all of it.")
    if unpack.unused_data:
        raise BadRequest(f"{len(unpack.unused_data)} bytes follow the {name} stream of the body. Send one stream.")
    return text


def too_long(most: int) -> BadRequest:
    return BadRequest(
        f"the body is longer than {most:,} bytes, the most that a request to this model can need. Send fewer inputs.",
        413,
    )


def accepted(text: str) -> str | None:
    """The first of gzip and deflate that an Accept-Encoding header allows."""
    if not text:
        return None
    names: list[str] = []
    for part in text.lower().split(","):
        name, _, weight = part.partition(";")
        if weight.strip().removeprefix("q=").strip("0.") or not weight.strip():
            names.append(name.strip())
    return next((name for name in ("gzip", "deflate") if name in names), None)


def compressed(body: bytes, encoding: str) -> bytes:
    """The body as gzip or deflate. The same bytes give the same result at any time."""
    pack = zlib.compressobj(level=1, wbits=WINDOWS[encoding])
    return pack.compress(body) + pack.flush()


def response(head: bytes, tail: bytes = b"", encoding: str | None = None, status: int = 200) -> Response:
    """JSON, with the bytes of binary tensors behind it, compressed if the client can read that and it is worth it."""
    headers = [("Content-Type", "application/octet-stream" if tail else "application/json")]
    if tail:
        headers.append(("Inference-Header-Content-Length", str(len(head))))
    body = head + tail
    if encoding is not None and len(body) >= WORTH:
        body = compressed(body, encoding)
        headers.append(("Content-Encoding", encoding))
    return Response(body, tuple(headers), status)


def document(value: object, status: int = 200) -> Response:
    """A JSON document without tensors."""
    return response(orjson.dumps(value), status=status)
