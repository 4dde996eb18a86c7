"""Requests to a live API, each sent once and its answer read to the end: connections, time limits, what a failure means.

Whether and when a failed request is sent again is for others to say (`http_retries.py`, `engine/gateway/upstream.py`).
"""

import ssl
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import orjson

from gamekeeper.errors import BadConfig, Lost, Malformed, Refused, Unreachable
from gamekeeper.protocols.json import Quote, error_text
from gamekeeper.targets.http_config import HttpConfig, resolved
from gamekeeper.targets.http_environment import Route, certificates, route
from gamekeeper.targets.http_responses import inflated, retry_after

ERROR_BODY = 64 * 1024  # bytes of an error's body that are read
ADVICE = {
    401: "Check the key in `headers`.",
    403: "Check the key in `headers`, and that it may use this model.",
    404: "Check `url`, `protocol` and `model`.",
    405: "Check `url` and `protocol`.",
    413: "Lower `batch`.",
}
IN_IT = (400, 413, 422)
"""Statuses that are about what is in a request: another batch, or a part of this one, may be answered."""


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Trouble:
    """An attempt that may be repeated: what happened, how long the server asks to wait, what to raise in the end.

    status  that the server answered, if it did; without one, an error of Unreachable means that nothing was sent
    """

    what: str
    wait: float = 0.0
    error: type[Unreachable | Malformed] = Unreachable
    status: int | None = None


class Sender:
    """The connections to one API. Threads may share it.

    quote  removes the secrets of the configuration from what is shown
    typed  whether the configuration says what its bodies are, in a Content-Type of its own
    """

    def __init__(
        self,
        config: HttpConfig,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {name: resolved(name, value.get_secret_value()) for name, value in config.headers.items()}
        way = self._route = Route() if transport else route(config.url)
        self.config = config
        self.quote = Quote(tuple(secret for _, secrets in headers.values() for secret in secrets))
        sent = httpx.Headers({"User-Agent": "gamekeeper", "Accept-Encoding": "gzip, deflate"})
        sent.update({name: value for name, (value, _) in headers.items()})
        self.typed = "content-type" in sent
        trusted = certificates(config.url, config.verify_tls, way)
        self._client = httpx.Client(
            headers=sent, timeout=config.timeout, verify=trusted, proxy=way.proxy, trust_env=False, transport=transport
        )
        weakref.finalize(self, self._client.close)
        self._clock = clock

    def close(self) -> None:
        """Closes the connections; this also happens when the sender is garbage-collected."""
        self._client.close()

    def attempt(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], most: float | None = None
    ) -> Answer | Trouble:
        """Sends once. An answer may have any status but those that ask to send again.

        most  seconds, for connecting, for each read, and for a whole answer; at most, and by default, the `timeout`

        Raises BadConfig, Unreachable or Malformed where sending again would not help.
        """
        seconds = self.config.timeout if most is None else min(most, self.config.timeout)
        deadline, status = self._clock() + seconds, None
        try:
            with self._client.stream(method, url, content=content, headers=dict(headers), timeout=seconds) as response:
                status = response.status_code
                good = status < 300
                body = self._body(response, deadline, self.config.max_body if good else ERROR_BODY, strict=good)
                if status in (*self.config.rate_limit_codes, *self.config.retry_codes):
                    failed = Refused if status == 500 else Unreachable
                    return Trouble(self._complaint(status, body), retry_after(response.headers), failed, status)
                return Answer(status, response.headers, body)
        except httpx.TimeoutException as error:
            went_out = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            what = f"no {'complete ' * (status is not None)}answer within {seconds:g} s"
            return Trouble(what, error=Lost if went_out else Unreachable)
        except httpx.TransportError as error:
            return self._broken(error, status)
        except Malformed as error:
            raise Malformed(f"{shown(url)}: {error}") from None

    def _broken(self, error: httpx.TransportError, status: int | None) -> Trouble:
        """A failure below HTTP. A certificate that is not trusted will not be trusted the next time either."""
        detail = self.quote(error) or type(error).__name__
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise BadConfig(f"the request cannot be sent: {detail}.") from None
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error)):
            raise Unreachable(
                f"the server's certificate is not trusted: {detail}. Set SSL_CERT_FILE to its authority's certificates;"
                " `verify_tls = false` accepts any."
            ) from None
        if any(isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER" for cause in causes(error)):
            raise Unreachable(
                f"the server does not speak TLS there: {detail}. Should `url` begin with http:// instead of https://?"
            ) from None
        if status is not None and status < 300:
            return Trouble(f"the answer broke off before its end ({detail})", error=Malformed)
        refused = isinstance(error, httpx.ConnectError | httpx.ProxyError)
        return Trouble(
            f"no connection{self._route.via}, or it broke ({detail})", error=Unreachable if refused else Lost
        )

    def _body(self, response: httpx.Response, deadline: float, most: int, strict: bool) -> bytes:
        """The body, decompressed, up to `most` bytes; a longer one is refused if strict, else cut."""
        if response.is_stream_consumed:  # an in-memory transport has read and decompressed it
            body = bytearray(response.content[: most + 1])
        else:
            body = bytearray()
            for piece in inflated(response, most + 1):
                body += piece
                if len(body) > most:
                    break
                if self._clock() > deadline:
                    raise httpx.ReadTimeout("too slow")
        if len(body) > most and strict:
            raise Malformed(f"the answer is longer than max_body ({most:,} bytes) and was cut off there.")
        return bytes(body[:most])

    def usable(self, answer: Answer, url: str) -> None:
        """Raises for every status but success, once the retries are over."""
        if answer.status < 300:
            return
        if answer.status < 400:
            place = self.quote(answer.headers.get("location", "nowhere"))
            raise Malformed(
                f"{shown(url)} redirects to {place}, which is not followed. Set `url` to the API's own address."
            )
        advice = ADVICE.get(answer.status, "Check the target file against what the API expects.")
        kind_ = Refused if answer.status in IN_IT else Unreachable
        raise kind_(f"{shown(url)}: {self._complaint(answer.status, answer.body)}. Not sent again. {advice}")

    def _complaint(self, status: int, body: bytes) -> str:
        """The status and what the server says about it, shortened."""
        try:
            text = error_text(orjson.loads(body), self.quote)
        except orjson.JSONDecodeError:
            text = self.quote(body.decode(errors="replace"))
        return f"status {status}" + (f": {text.rstrip('.')}" if text else "")


def shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    return str(httpx.URL(url).copy_with(query=None, fragment=None))


def causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
