"""The Open Inference Protocol: exact bytes out, and every answer is read or refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadQuery, Malformed
from gamekeeper.protocols.v2 import Slot, encode_v2
from tests.protocols.examples import EXPECTED, JSONISH, Y, output, read_v2, v2

pytestmark = pytest.mark.thorough


def test_declared_float32_is_written_shortest():
    body = encode_v2(torch.tensor([[0.1, 0.5]]), Slot("a", "FP32", binary=False), ())
    assert b'"data":[0.1,0.5]' in body.head


def test_binary_body_is_little_endian_behind_its_header():
    body = encode_v2(torch.tensor([[0.5, -2.0]]), Slot("a", "FP32", binary=True), ())
    assert body.tail == np.array([0.5, -2.0], "<f4").tobytes()
    assert json.loads(body.head) == {
        "inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "parameters": {"binary_data_output": True},
    }


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "UINT8", "INT32", "UINT64", "BOOL"])
def test_other_datatypes_by_binary(datatype: str):
    dtype = {"FP16": "<f2", "FP64": "<f8", "UINT8": "u1", "INT32": "<i4", "UINT64": "<u8", "BOOL": "?"}[datatype]
    body = encode_v2(torch.tensor([[1.0, 0.0]]), Slot("a", datatype, binary=True), ())
    assert body.tail == np.array([1, 0], dtype).tobytes()


@pytest.mark.parametrize("value", [0.5, 300.0, -1.0])
def test_integer_model_is_not_asked_about_what_it_cannot_see(value: float):
    with pytest.raises(BadQuery, match="UINT8"):
        encode_v2(torch.tensor([[value]]), Slot("a", "UINT8", binary=True), ())


def test_nan_in_binary_passes_for_the_ledger_to_sort_out():
    bad = Y.copy()
    bad[1, 2] = np.nan
    answer = read_v2(*v2([output([2, 3], size=24)], bad.tobytes()), None, EXPECTED)
    assert answer[0].tolist() == [0.5, 0.25, 0.25]
    assert torch.isnan(answer[1, 2])


def test_second_output_is_found_behind_the_first():
    first = {**output([2], "INT64", size=16), "name": "label"}
    tail = np.array([1, 2], "<i8").tobytes() + Y.tobytes()
    answer = read_v2(*v2([first, output([2, 3], size=24)], tail), "y", EXPECTED)
    assert torch.equal(answer, torch.from_numpy(Y))


def test_json_beside_binary():
    first = {**output([2, 3]), "name": "other", "data": [0] * 6}
    answer = read_v2(*v2([first, output([2, 3], size=24)], Y.tobytes()), "y", EXPECTED)
    assert torch.equal(answer, torch.from_numpy(Y))


def test_nested_and_flat_data_are_the_same():
    flat = read_v2(*v2([output([2, 3], data=Y.ravel().tolist())]), None, EXPECTED)
    nested = read_v2(*v2([output([2, 3], data=Y.tolist())]), None, EXPECTED)
    assert torch.equal(flat, nested)
    assert flat.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("datatype", "tail"),
    [
        ("INT64", np.array([2, 0], "<i8").tobytes()),
        ("UINT16", np.array([2, 0], "<u2").tobytes()),
        ("FP64", np.array([2, 0], "<f8").tobytes()),
        ("BYTES", b"\x03\0\0\0cat\x03\0\0\0ant"),
    ],
)
@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_binary_labels(datatype: str, tail: bytes, shape: list[int]):
    body, length = v2([output(shape, datatype, size=len(tail))], tail)
    assert read_v2(body, length, None, EXPECTED).tolist() == [2, 0]


def test_string_labels_in_json():
    assert read_v2(*v2([output([2], "BYTES", data=["cat", "ant"])]), None, EXPECTED).tolist() == [2, 0]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_comes_as_it_is(datatype: str):
    dtype = {"FP16": torch.float16, "BF16": torch.bfloat16}[datatype]
    tail = torch.from_numpy(Y).to(dtype).view(torch.int16).numpy().tobytes()
    answer = read_v2(*v2([output([2, 3], datatype, size=12)], tail), None, EXPECTED)
    assert answer.dtype == dtype
    assert torch.equal(answer.float(), torch.from_numpy(Y))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (v2([output([2, 3], size=24)], Y.tobytes()[:-1]), "claims 24 bytes of binary data; 23 are left"),
        (v2([output([2, 3], size=23)], Y.tobytes()[:-1]), r"\[2, 3\] and datatype FP32 takes 24 bytes; got 23"),
        (v2([output([2, 3], size=20)], Y.tobytes()), "4 bytes of the body belong to no output"),
        (v2([output([2, 3], size=-1)], Y.tobytes()), "claims -1 bytes"),
        (v2([output([2, 3], size=True)], Y.tobytes()), "claims true or false bytes"),
        (v2([output([2, 3], size=24)], Y.tobytes(), "0"), "Inference-Header-Content-Length is '0'"),
        (v2([output([2, 3], size=24)], Y.tobytes(), "-5"), "Inference-Header-Content-Length is '-5'"),
        (v2([output([2, 3], size=24)], Y.tobytes(), "9999"), "Inference-Header-Content-Length is '9999'"),
        (v2([output([2, 3], size=24)], Y.tobytes(), "7, 7"), "Inference-Header-Content-Length is '7, 7'"),
        (v2([output([2, 3], size=24)], Y.tobytes(), "10"), "not valid JSON"),
        (v2([output([2**40, 2**40], size=24)], Y.tobytes()), "2 inputs were sent and 1099511627776 answers"),
        (v2([output([2, 2**40], size=24)], Y.tobytes()), "takes 8796093022208 bytes; got 24"),
        (v2([output([2, -3], size=24)], Y.tobytes()), "an output of shape"),
        (v2([output([2] * 10_000, size=24)], Y.tobytes()), "an output of shape"),
        (v2([output([2, 3], "FP8", size=24)], Y.tobytes()), "datatype 'FP8', which is not one"),
        (v2([output([2], "BYTES", size=9)], b"\x03\0\0\0cat\x09\0"), "cut off in the middle"),
        (v2([output([2, 3], data=[0.5] * 5)]), "needs 6 values; got 5"),
        (v2([output([2, 3], data=[[1, 0], [0, 1, 0, 0]])]), "ragged"),
        (v2([output([2, 3], data=None)]), "null for `data`"),
        (v2([]), "no `outputs`"),
        (v2({"y": 1}), "no `outputs`"),
        ((b"[]", None), "no `outputs`"),
        (v2([], error="no such model"), "error despite its status: no such model"),
    ],
)
def test_malformed_v2(answer: tuple[bytes, str | None], message: str):
    with pytest.raises(Malformed, match=message):
        read_v2(*answer, None, EXPECTED)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": JSONISH,
                "shape": st.lists(st.integers(-1, 3) | st.just(2**63), max_size=3) | JSONISH,
                "datatype": st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", "?"]) | JSONISH,
                "data": JSONISH,
                "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 30) | JSONISH}),
            },
        ),
        max_size=3,
    )
    | JSONISH,
    st.binary(max_size=40),
)
def test_any_v2_answer_is_read_or_refused(outputs: object, tail: bytes):
    try:
        answer = read_v2(*v2(outputs, tail), None, EXPECTED)
    except Malformed:
        return
    assert answer.shape in [(2,), (2, 3)]
