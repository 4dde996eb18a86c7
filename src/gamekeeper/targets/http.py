"""A live prediction API as a target: Open Inference Protocol ("v2"), TensorFlow Serving's rows ("v1"), or any JSON.

Source      Open Inference Protocol (REST) with the binary tensor data extension; RFC 9110 (Retry-After); the
            Idempotency-Key header of draft-ietf-httpapi-idempotency-key-header
Binary      v2 speaks binary where the server's metadata (`GET /v2`) list the extension `binary_tensor_data` (Triton's
            do), else JSON; `binary = true` or `false` settles it without asking (KServe's own server speaks binary and
            does not list it, MLServer speaks JSON only). It is never tried out: a refused trial might be charged.
Retries     after a rate limit, a retry code, a time-out, or a connection that fails or breaks, the request is sent
            again after min(30, 0.5 x 2^i) seconds times a random fraction ("full jitter"), or after Retry-After if that
            is longer. A request keeps its Idempotency-Key across its retries and, if sent through the ledger, across a
            restart; the same inputs sent on another occasion have another key. A target that ignores the key may charge
            for a repeated request; gamekeeper counts each input once.
Secrets     headers hold `${NAME}`; the value is read from the environment when the oracle is built, is kept only in the
            HTTP client, and is removed from everything a server says before it is shown.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote as percent

import httpx
import torch
from torch import Tensor

from gamekeeper.errors import BadConfig, Malformed
from gamekeeper.models.opaque import Raw
from gamekeeper.protocols.answers import Entries, answers_at, entries, maps_at
from gamekeeper.protocols.json import Expected, encode_template, is_list, is_object, kind, parse
from gamekeeper.protocols.v1 import encode_v1
from gamekeeper.protocols.v2 import DATATYPES, EXTENSION, Body, Slot, answers_v2, decode_v2, encode_v2, maps_v2
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.http_responses import divided, in_units
from gamekeeper.targets.http_retries import Retrying
from gamekeeper.targets.http_sender import Answer, Sender, shown
from gamekeeper.types import Batch, Domain


@runtime_checkable
class Exchange(Protocol):
    """How requests reach an API: once, or until an answer comes. An answer that is returned may have any status."""

    @property
    def sender(self) -> Sender: ...
    def __call__(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], /) -> Answer: ...


class HttpOracle:
    """The raw answers of a live API: (n, k) floating point, or (n,) integer labels.

    batch is how many inputs go into one request. To have every paid answer safe before the next request, call with at
    most that many; a longer batch is sent in order, and its answers are lost if a later request fails.

    names are those of the queries, one per input (`ledger.Recorded` gives them): a request's Idempotency-Key is derived
    from its names and its body. Without them the key is random, and only the retries of one request share it.

    exchange says how requests are sent; by default as an audit sends them, again and again until an answer comes.

    Raises BadQuery (input outside the domain), BadConfig (the model takes other inputs), Unreachable, Malformed.
    """

    batch: int

    def __init__(
        self,
        config: HttpConfig,
        box: Domain,
        classes: int,
        transport: httpx.BaseTransport | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
        exchange: Exchange | None = None,
    ) -> None:
        if config.labels is not None and len(config.labels) != classes:
            raise BadConfig(f"`labels` must name all {classes} classes; it names {len(config.labels)}.")
        self.config, self.box, self.classes = config, box, classes
        self.batch = 1 if config.one_by_one else config.batch
        self._exchange = exchange or Retrying(Sender(config, transport, clock), sleep, clock, seed)
        self._sender = self._exchange.sender
        self._quote = self._sender.quote
        self._slot: Slot | None = None

    def close(self) -> None:
        """Closes the connections; this also happens when the oracle is garbage-collected."""
        self._sender.close()

    def __call__(self, x: Batch, names: Sequence[bytes] | None = None, /) -> Raw:
        self.box.check(x)
        pieces = [slice(start, start + self.batch) for start in range(0, len(x), self.batch)]
        parts = [self._ask(x[piece], None if names is None else names[piece]) for piece in pieces]
        if len({part.y.ndim for part in parts}) > 1:
            raise Malformed("the target answered some requests with labels and others with a number for every class.")
        maps = [part.maps for part in parts if part.maps is not None]
        if len({maps.shape[1:] for maps in maps}) > 1:
            raise Malformed("the target's maps differ in size from request to request.")
        return Raw(torch.cat([part.y for part in parts]), torch.cat(maps) if maps else None, parts[0].hint)

    def _ask(self, x: Batch, names: Sequence[bytes] | None) -> Raw:
        """One request."""
        expected = Expected(len(x), self.classes, self.config.labels, self._quote, self.config.unit)
        url, body, headers = self._encoded(x)
        # sending the same inputs again is a new query (a thief may average); sending them again after a failure is not
        key = uuid.uuid4().hex if names is None else idempotency_key(url, body, names)
        if self.config.protocol == "v2":
            body = body.named(key)
        if body.tail:
            headers["Inference-Header-Content-Length"] = str(len(body.head))
        headers["Idempotency-Key"] = key
        answer = self._exchange("POST", url, body.head + body.tail, headers)
        self._sender.usable(answer, url)
        try:
            return self._decoded(answer, expected)
        except Malformed as error:
            raise Malformed(f"{shown(url)}: {error}") from None

    def _encoded(self, x: Batch) -> tuple[str, Body, dict[str, str]]:
        config, base = self.config, self.config.url.rstrip("/")
        headers = {} if self._sender.typed else {"Content-Type": "application/json"}
        if config.protocol == "v2":
            slot = self._negotiated()
            if slot.binary:
                headers["Content-Type"] = "application/octet-stream"
            # if the first output is to be read, its name is not known: ask for all
            named = [] if config.output_name is None else [config.output_name, config.maps]
            wanted = [name for name in named if name is not None]
            return f"{base}/v2/models/{self._model()}/infer", encode_v2(x, slot, wanted), headers
        if config.protocol == "v1":
            return f"{base}/v1/models/{self._model()}:predict", Body(encode_v1(x)), headers
        return config.url, Body(encode_template(config.request, x)), headers

    def _decoded(self, answer: Answer, expected: Expected) -> Raw:
        config = self.config
        if config.protocol == "v2":
            outputs = decode_v2(answer.body, answer.headers.get("Inference-Header-Content-Length"), self._quote)
            hint = outputs.others(config.output_name, self._quote)
            try:
                y = answers_v2(outputs, config.output_name, expected)
            except Malformed as error:
                raise Malformed(f"{error} {hint}".strip()) from None
            maps = None if config.maps is None else maps_v2(outputs, config.maps, expected)
            return Raw(in_units(y, config.unit), maps, " ".join([hint, divided(config.unit)]).strip())
        document = parse(answer.body, self._quote)
        y = answers_at(self._at(document, config.response or "predictions", expected), expected)
        maps = None if config.maps is None else self._maps(document, config.maps, y, expected)
        return Raw(in_units(y, config.unit), maps, divided(config.unit))

    def _maps(self, document: object, path: str, y: Tensor, expected: Expected) -> Tensor:
        try:
            return maps_at(self._at(document, path, expected), y, expected)
        except Malformed as error:
            raise Malformed(f"of the maps, at the path `{path}`: {error}") from None

    def _at(self, document: object, path: str, expected: Expected) -> Entries:
        return entries(document, path, expected, self.config.one_by_one)

    def _model(self) -> str:
        return percent((self.config.model or "").strip("/"), safe="/")

    # --- what a v2 model takes

    def _negotiated(self) -> Slot:
        """Name and datatype of the input, from the configuration or the model's metadata; requested once."""
        if self._slot is None:
            name, datatype = self.config.input_name, self.config.datatype
            if name is None or datatype is None:
                metadata = self._metadata(f"/v2/models/{self._model()}")
                name, datatype = self._input(metadata.get("inputs"), name, datatype)
            binary = self.config.binary
            if binary is None:
                extensions = self._metadata("/v2").get("extensions")
                binary = is_list(extensions) and EXTENSION in extensions
            self._slot = Slot(name, datatype, binary)
        return self._slot

    def _metadata(self, path: str) -> dict[str, Any]:
        """A metadata document; {} from a server that has none. Requesting it is not a query."""
        url = self.config.url.rstrip("/") + path
        answer = self._exchange("GET", url, None, {})
        if 400 <= answer.status < 600:
            return {}
        self._sender.usable(answer, url)
        try:
            document = parse(answer.body, self._quote)
        except Malformed as error:
            raise Malformed(f"{shown(url)}: {error}") from None
        if not is_object(document):
            raise Malformed(f"{shown(url)}: the metadata are {kind(document)} where an object belongs.")
        return document

    def _input(self, inputs: object, name: str | None, datatype: str | None) -> tuple[str, str]:
        """Name and datatype of the input tensor, checked against the metadata. Raises BadConfig if they disagree."""
        listed = [entry for entry in inputs if is_object(entry)] if is_list(inputs) else []
        if not listed:
            return name or "input-0", datatype or "FP32"
        names = self._quote(", ".join(str(entry.get("name")) for entry in listed))
        if name is None and len(listed) > 1:
            raise BadConfig(f"the model takes several inputs ({names}); give `input_name`, or a model with one input.")
        declared = next((entry for entry in listed if name in (None, entry.get("name"))), None)
        if declared is None:
            raise BadConfig(f"the model has no input {name!r}; it has {names}. Correct `input_name`.")
        self._fits(declared.get("shape"))
        datatype = datatype or str(declared.get("datatype"))
        if datatype not in DATATYPES:
            raise BadConfig(
                f"the model takes {self._quote(datatype)}; a numeric type is needed. Set `datatype` if that is wrong."
            )
        return str(declared.get("name")), datatype

    def _fits(self, shape: object) -> None:
        """Refuses a shape that cannot be the domain's; -1 fits anything, and a batch dimension may be missing."""
        if not is_list(shape) or not all(type(size) is int for size in shape):
            return
        ours = list(self.box.shape)
        inner = shape[1:] if len(shape) == len(ours) + 1 else shape
        if len(inner) != len(ours) or any(size not in (-1, own) for size, own in zip(inner, ours, strict=True)):
            raise BadConfig(
                f"the model takes inputs of shape {shape}; the target's are {ours} without the batch dimension. Give"
                " the shape the model takes. If its metadata are wrong, set `input_name` and `datatype`; then they are"
                " not read."
            )


def idempotency_key(url: str, body: Body, names: Sequence[bytes]) -> str:
    """The same key for the same queries to the same address, in every process."""
    parts = b"".join(names), url.encode() + b"\n" + body.head + body.tail
    return hashlib.blake2b(b"".join(hashlib.blake2b(part).digest() for part in parts), digest_size=16).hexdigest()
