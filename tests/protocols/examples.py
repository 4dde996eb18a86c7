"""Answers of the Open Inference Protocol, built by hand, and JSON of any shape."""

import numpy as np
import orjson
import torch
from hypothesis import strategies as st

from gamekeeper.protocols.json import Expected
from gamekeeper.protocols.v2 import answers_v2, decode_v2

EXPECTED = Expected(2, 3, ("ant", "bee", "cat"))
Y = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], "<f4")
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["outputs", "shape", "data", "name", "datatype", "parameters", "a"]), inner)
    ),
    max_leaves=12,
)


def v2(outputs: object, tail: bytes = b"", length: str | None = None, **document: object) -> tuple[bytes, str | None]:
    head = orjson.dumps({"outputs": outputs, **document})
    return head + tail, (str(len(head)) if tail and length is None else length)


def output(shape: list[int], datatype: str = "FP32", size: object = None, **rest: object) -> dict:
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"name": "y", "shape": shape, "datatype": datatype, **parameters, **rest}


def read_v2(body: bytes, head: str | None, name: str | None, expected: Expected) -> torch.Tensor:
    return answers_v2(decode_v2(body, head, expected.quote), name, expected)
