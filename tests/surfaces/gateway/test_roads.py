"""One input gets the same bits by every road, also with NVIDIA's own client, unmodified."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest
import torch

from gamekeeper.protocols.v2 import Slot, encode_v2
from tests.surfaces.gateway.live import INFER, answered, body_of, images, model, raw, serving

V1, MLFLOW = "/v1/models/m:predict", "/invocations"


@pytest.fixture(scope="module")
def live():
    with serving() as running:
        yield running


def bits(numbers: object) -> list[int]:
    return np.array(numbers, np.float32).ravel().view(np.int32).tolist()


def by_json(live, body: bytes, path: str = INFER, **headers: object) -> list[int]:
    answer = answered(live, raw(path, body=body, key=live.key, Content_Type="application/json", **headers))
    assert answer.status == 200, answer.body
    text = answer.body
    if answer.headers.get("content-encoding"):
        text = {"gzip": gzip.decompress, "deflate": zlib.decompress}[answer.headers["content-encoding"]](text)
    value = json.loads(text)
    return bits(value["outputs"][0]["data"] if path == INFER else value["predictions"])


def by_bytes(live, x: torch.Tensor) -> list[int]:
    body = encode_v2(x, Slot("input-0", "FP32", True), ())
    length = len(body.head)
    request = raw(body=body.head + body.tail, key=live.key, Inference_Header_Content_Length=length)
    answer = answered(live, request)
    assert answer.status == 200, answer.body
    tail = answer.body[int(answer.headers["inference-header-content-length"]) :]
    return bits(struct.unpack(f"<{len(tail) // 4}f", tail))


def test_one_input_gets_the_same_bits_by_every_road(live):
    for seed in range(5):
        x = images(2, seed)
        x[0, 0, 0, 0] = 0.1 + seed / 7
        x[1, 0, 0, 0] = -0.0
        body, rows = body_of(x), json.dumps(x.tolist())
        got = {
            "JSON": by_json(live, body),
            "nested": by_json(live, json.dumps(tensor_of(x)).encode()),
            "gzip": by_json(live, gzip.compress(body), Content_Encoding="gzip", Accept_Encoding="gzip"),
            "deflate": by_json(live, zlib.compress(body), Content_Encoding="deflate", Accept_Encoding="deflate"),
            "bytes": by_bytes(live, x),
            "v1": by_json(live, f'{{"instances": {rows}}}'.encode(), V1),
            "mlflow": by_json(live, f'{{"inputs": {rows}}}'.encode(), MLFLOW),
            "mlflow instances": by_json(live, f'{{"instances": {rows}}}'.encode(), MLFLOW),
            "version": by_json(live, body, INFER),
        }
        want = bits(model(x.abs()).y.tolist())
        assert got == dict.fromkeys(got, want)


def tensor_of(x: torch.Tensor) -> dict[str, object]:
    return {"inputs": [{"name": "input-0", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}]}


@pytest.fixture(scope="module")
def client(live):
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    with triton.InferenceServerClient(f"127.0.0.1:{live.port}") as running:
        yield running


def given(x: torch.Tensor, binary: bool):
    import tritonclient.http as triton

    one = triton.InferInput("input-0", list(x.shape), "FP32")
    one.set_data_from_numpy(x.numpy(), binary_data=binary)
    return [one]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("back", [False, True, None])
@pytest.mark.parametrize("into", [False, True])
def test_tritonclient_both_ways_with_and_without_compression(live, client, into, back, packed):
    import tritonclient.http as triton

    x = images(2, 3)
    outputs = None if back is None else [triton.InferRequestedOutput("probabilities", binary_data=back)]
    result = client.infer(
        "m",
        given(x, into),
        request_id="request 7",
        outputs=outputs,
        headers={"Authorization": f"Bearer {live.key}"},
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    assert bits(result.as_numpy("probabilities")) == bits(model(x).y.tolist())
    assert result.get_response()["id"] == "request 7"


def test_tritonclient_asks_in_the_background_and_reads_health_and_metadata(live, client):
    headers = {"Authorization": f"Bearer {live.key}"}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.get_model_metadata("m", headers=headers)["inputs"][0]["shape"] == [-1, 1, 2, 3]
    assert client.get_server_metadata(headers=headers)["name"] == "gamekeeper"
    waiting = [client.async_infer("m", given(images(1, seed), True), headers=headers) for seed in range(4)]
    for seed, each in enumerate(waiting):
        assert bits(each.get_result().as_numpy("probabilities")) == bits(model(images(1, seed)).y.tolist())


def test_tritonclient_raises_our_words(live, client):
    from tritonclient.utils import InferenceServerException

    headers = {"Authorization": f"Bearer {live.key}"}
    for x, model_name, words in (
        (torch.zeros(1, 1, 2, 4), "m", "shape"),
        (torch.full((1, 1, 2, 3), 2.0), "m", "0, 1"),
        (images(5), "m", "at most 4"),
        (images(), "other", "nothing at this address"),
    ):
        with pytest.raises(InferenceServerException, match=words):
            client.infer(model_name, given(x, True), headers=headers)
    with pytest.raises(InferenceServerException, match="no valid API key"):
        client.infer("m", given(images(), True))
