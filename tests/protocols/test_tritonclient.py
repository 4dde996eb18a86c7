"""NVIDIA's own client as the oracle: its requests are read as it meant them, it reads our answers; without a socket."""

import gzip
import zlib
from typing import Any

import numpy as np
import pytest
import torch

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.served import Limits
from gamekeeper.protocols.v2 import V2
from gamekeeper.types import Reply
from tests.protocols.exchange import IMAGES, MAPS, Y, headers, images, same

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed (make test installs it)")
from tritonclient.http._utils import _get_inference_request, _raise_if_error  # noqa: E402

pytestmark = pytest.mark.thorough


def asked(array: np.ndarray, datatype: str, binary: bool, outputs: list[Any] | None, id: str = "") -> tuple[bytes, Any]:  # noqa: A002
    """Body and length of its head, as the client would send them."""
    given = triton.InferInput("input-0", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    body, length = _get_inference_request(
        inputs=[given],
        request_id=id,
        outputs=outputs,
        sequence_id=0,
        sequence_start=False,
        sequence_end=False,
        priority=0,
        timeout=None,
        custom_parameters=None,
    )
    return body if isinstance(body, bytes) else body.encode(), length


def exchanged(body: bytes, length: Any, reply: Reply, wire: V2, packed: str | None = None) -> tuple[torch.Tensor, Any]:
    """Our reading of the client's request, and its reading of our answer."""
    sent = {} if length is None else {"Inference_Header_Content_Length": length}
    if packed is not None:
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[packed](body)
        sent |= {"Content_Encoding": packed, "Accept_Encoding": packed}
    question = wire.read(headers(**sent), body)
    answer = wire.write(question, reply)
    about = dict(answer.headers)
    size = about.get("Inference-Header-Content-Length")
    result = triton.InferResult.from_response_body(
        answer.body,
        header_length=None if size is None else int(size),
        content_encoding=about.get("Content-Encoding"),
    )
    return question.x, result


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("back", [False, True, None])
def test_binary_and_json_both_ways_with_and_without_compression(into: bool, back: bool | None, packed: str | None):
    x = images(2)
    outputs = None if back is None else [triton.InferRequestedOutput("probabilities", binary_data=back)]
    body, length = asked(x.numpy(), "FP32", into, outputs, "seven")
    read, result = exchanged(body, length, Reply(Y), V2(IMAGES), packed)
    assert same(read, x)
    assert np.array_equal(result.as_numpy("probabilities"), Y.numpy())
    assert result.get_response()["id"] == "seven"


def test_a_long_answer_is_read_from_its_compressed_form():
    x, y = images(200), torch.softmax(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), 1)
    body, length = asked(x.numpy(), "FP32", True, None)
    for packed in ("gzip", "deflate"):
        read, result = exchanged(body, length, Reply(y), V2(IMAGES, Limits(rows=200)), packed)
        assert same(read, x)
        assert np.array_equal(result.as_numpy("probabilities"), y.numpy())


BOTH = {"FP64": "f8", "INT8": "i1", "INT64": "i8", "UINT16": "u2", "UINT64": "u8", "BOOL": "?"}


@pytest.mark.parametrize(
    ("datatype", "dtype", "into"),
    [*((name, dtype, into) for name, dtype in BOTH.items() for into in (False, True)), ("FP16", "f2", True)],
)
def test_its_other_datatypes(datatype: str, dtype: str, into: bool):
    """The client itself sends FP16 as bytes only."""
    array = np.array([0, 1, 1, 0, 1, 0]).astype(dtype).reshape(1, 1, 2, 3)
    body, length = asked(array, datatype, into, None)
    read, _ = exchanged(body, length, Reply(Y[:1]), V2(IMAGES))
    assert read.flatten().tolist() == [0, 1, 1, 0, 1, 0]


def test_maps_by_name_and_in_another_order():
    maps = torch.rand((1, 3, 2), generator=torch.Generator().manual_seed(1))
    outputs = [triton.InferRequestedOutput("maps", binary_data=True), triton.InferRequestedOutput("probabilities")]
    body, length = asked(images(1).numpy(), "FP32", True, outputs)
    _, result = exchanged(body, length, Reply(Y[:1], maps), V2(MAPS))
    assert np.array_equal(result.as_numpy("maps"), maps.numpy())
    assert np.array_equal(result.as_numpy("probabilities"), Y[:1].numpy())


def test_a_text_that_classification_would_bring_is_refused():
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    body, length = asked(images(1).numpy(), "FP32", True, outputs)
    with pytest.raises(BadRequest, match="`classification` is not offered"):
        exchanged(body, length, Reply(Y[:1]), V2(IMAGES))


def test_it_shows_our_refusals_to_its_user():
    answer = V2(IMAGES).refuse(400, "the model needs images.")

    class Received:
        status_code = answer.status

        def read(self) -> bytes:
            return answer.body

    with pytest.raises(triton.InferenceServerException, match="the model needs images"):
        _raise_if_error(Received())
