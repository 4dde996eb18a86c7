"""What an HTTP response tells beside the answer: how long to wait, how its body is compressed, in which unit scores are."""

import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from torch import Tensor

from gamekeeper.errors import Malformed


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date (by the server's own clock if it sends one)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    then = http_date(text)
    if then is None:
        return 0.0
    now = http_date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def inflated(response: httpx.Response, most: int) -> Iterator[bytes]:
    """The body in pieces, decompressed; no piece yields more than `most` bytes, however well it was packed."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Malformed("the answer is compressed in a way that was not asked for (gzip and deflate were).")
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # zlib or gzip, by its first bytes
    try:
        for piece in response.iter_raw():
            yield unpack.decompress(piece, most)
    except zlib.error as error:
        raise Malformed(f"the answer's {encoding} compression is broken ({error}).") from None
    if not unpack.eof:
        raise Malformed(f"the answer's {encoding} compression breaks off before its end.")


def in_units(y: Tensor, unit: float) -> Tensor:
    """Scores where a certain answer is 1; labels as they are."""
    return y if unit == 1 or y.ndim == 1 else y.double() / unit


def divided(unit: float) -> str:
    """What to say of scores that are not what was declared, where they were divided."""
    return "" if unit == 1 else f"The API's own numbers were divided by `unit` = {unit:g} in [http]: is that right?"
