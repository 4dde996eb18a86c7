"""Models as a server shows them, and requests to them as a client of the protocols would write them."""

import gzip
import json
import zlib

import numpy as np
import torch

from gamekeeper.protocols.served import Limits, Question, Served, Wire
from gamekeeper.types import Box, Ranges, Reply

IMAGES = Served("m", Box((1, 2, 3)), 3)
MAPS = Served("m", Box((1, 2, 3)), 3, maps="maps")
TABLE = Served("t", Ranges((0.0, -5.0), (10.0, 5.0)), 2, columns=("age", "income"))
OPEN = Served("t", Ranges((0.0, -5.0), (10.0, 5.0), closed=False), 2)
LIMITS = Limits(rows=4)
Y = torch.tensor([[0.1, 0.7, 0.2], [1 / 3, 1 / 3, 1 / 3]])
PACK = {"gzip": gzip.compress, "deflate": zlib.compress}


def headers(**given: object) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.replace("_", "-").encode(), str(value).encode()) for name, value in given.items())


def asks(wire: Wire, body: object, **given: object) -> Question:
    """What the server reads of a body, bytes or a JSON document."""
    return wire.read(headers(**given), body if isinstance(body, bytes) else json.dumps(body).encode())


def images(n: int, seed: int = 0) -> torch.Tensor:
    return IMAGES.domain.uniform(n, seed)


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return TABLE.domain.uniform(n, seed)


def binary(
    datatype: str, values: bytes, shape: object = (1, 1, 2, 3), **more: object
) -> tuple[bytes, dict[str, object]]:
    """A body with one tensor behind the JSON, and the header that says where it begins."""
    tensor = {"name": "input-0", "shape": list(shape), "datatype": datatype}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(values)}}], **more}).encode()
    return head + values, {"inference_header_content_length": len(head)}


def tensor(data: object, shape: object = (1, 1, 2, 3), datatype: object = "FP32", **more: object) -> dict[str, object]:
    """A V2 request with its only tensor in the JSON."""
    return {"inputs": [{"name": "input-0", "shape": shape, "datatype": datatype, "data": data, **more}]}


def same(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether two float32 tensors have the same bits."""
    return x.shape == y.shape and np.array_equal(x.numpy().view(np.int32), y.numpy().view(np.int32))


def reply(n: int, classes: int = 3) -> Reply:
    return Reply(torch.softmax(torch.randn((n, classes), generator=torch.Generator().manual_seed(n)), 1))
