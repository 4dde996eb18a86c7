"""The server's side of the Open Inference Protocol: documented requests, exact bytes, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gamekeeper.data.scale import Arrays, Scale
from gamekeeper.errors import BadRequest, Malformed
from gamekeeper.protocols.served import Limits, Served, Wanted
from gamekeeper.protocols.v2 import V2, metadata_v2
from gamekeeper.types import Box, Reply
from tests.protocols.exchange import IMAGES, LIMITS, MAPS, OPEN, PACK, TABLE, Y, asks, binary, images, same, tensor

WIRE = V2(IMAGES, LIMITS)
ROW = [0.0, 0.25, 0.5, 0.75, 1.0, 0.125]
DOCUMENTED = V2(Served("mymodel", Box((2,), 0.0, 4.0), 2, input="input0", output="output0"))
"""The model of the examples in the protocol's text, with the one input that this server takes."""


def test_the_protocol_s_own_example():
    request = {
        "id": "42",
        "inputs": [{"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]}],
        "outputs": [{"name": "output0"}],
    }
    question = asks(DOCUMENTED, request)
    assert question.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    answer = DOCUMENTED.write(question, Reply(torch.tensor([[1.0, 1.1], [2.0, 2.1]])))
    assert dict(answer.headers) == {"Content-Type": "application/json"}
    assert json.loads(answer.body) == {
        "model_name": "mymodel",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "output0", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 1.1, 2.0, 2.1]}],
    }


def test_the_binary_extension_s_own_example():
    head = json.dumps(
        {
            "model_name": "mymodel",
            "inputs": [
                {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "parameters": {"binary_data_size": 16}}
            ],
            "outputs": [{"name": "output0", "parameters": {"binary_data": True}}],
        }
    ).encode()
    body = head + b"\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"
    question = asks(
        DOCUMENTED, body, Content_Type="application/octet-stream", Inference_Header_Content_Length=len(head)
    )
    assert question.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    answer = DOCUMENTED.write(question, Reply(torch.tensor([[1.0, 1.5], [2.0, -2.0]])))
    length = int(dict(answer.headers)["Inference-Header-Content-Length"])
    assert json.loads(answer.body[:length])["outputs"] == [
        {"name": "output0", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    ]
    assert answer.body[length:] == bytes.fromhex("0000803f 0000c03f 00000040 000000c0".replace(" ", ""))


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_flat_nested_and_binary_are_the_same_question(packed: str | None):
    x = images(3)
    values = x.numpy().astype(float)
    flat = json.dumps(tensor(values.ravel().tolist(), [3, 1, 2, 3])).encode(), {}
    nested = json.dumps(tensor(values.tolist(), [3, 1, 2, 3])).encode(), {}
    for body, given in (flat, nested, binary("FP32", x.numpy().tobytes(), x.shape)):
        sent = (body, given) if packed is None else (PACK[packed](body), {**given, "content_encoding": packed})
        assert same(asks(WIRE, sent[0], **sent[1]).x, x)


DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8"}
DTYPES |= {"UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8"}


@pytest.mark.parametrize("datatype", DTYPES)
def test_numbers_of_every_datatype_are_in_the_model_s_units(datatype: str):
    row = ROW if datatype.startswith("FP") else [0, 1, 1, 0, 0, 1]
    body, given = binary(datatype, np.array(row, DTYPES[datatype]).tobytes())
    by_bytes = asks(WIRE, body, **given)
    by_text = asks(WIRE, tensor(row, datatype=datatype))
    assert by_bytes.x.flatten().tolist() == by_text.x.flatten().tolist() == row
    assert by_bytes.x.dtype == torch.float32


def test_half_numbers_without_a_numpy_type():
    x = torch.tensor([ROW]).bfloat16()
    body, given = binary("BF16", x.view(torch.int16).numpy().tobytes())
    assert asks(WIRE, body, **given).x.flatten().tolist() == ROW
    text = asks(WIRE, tensor([0.1] * 6, datatype="BF16")).x
    assert same(text.flatten(), torch.full((6,), 0.1).bfloat16().float())


def test_truth_values():
    body, given = binary("BOOL", b"\0\1\1\0\0\1")
    assert asks(WIRE, body, **given).x.flatten().tolist() == [0, 1, 1, 0, 0, 1]
    data = [False, True, True, False, False, True]
    assert asks(WIRE, tensor(data, datatype="BOOL")).x.flatten().tolist() == data


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_bytes_are_pixels_as_in_files(low: float, high: float):
    served = Served("m", Box((1, 16, 16), low, high), 2)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    body, given = binary("UINT8", pixels.tobytes(), pixels.shape)
    x = asks(V2(served), body, **given).x
    unit = Scale((1, 16, 16)).read(Arrays(Path("x"), pixels))
    assert same(x, torch.arange(256.0).reshape(1, 1, 16, 16) if high == 255 else unit * (high - low) + low)
    assert (x.min(), x.max()) == (low, high)
    assert same(asks(V2(served), tensor(pixels.tolist(), list(pixels.shape), "UINT8")).x, x)


def test_bytes_of_a_table_are_its_numbers():
    body, given = binary("UINT8", b"\7\3", [1, 2])
    assert asks(V2(TABLE), body, **given).x.tolist() == [[7.0, 3.0]]


def test_minus_zero_and_zero_are_one_question():
    zero = torch.zeros(1, 1, 2, 3)
    body, given = binary("FP32", (-zero).numpy().tobytes())
    assert same(asks(WIRE, body, **given).x, zero)
    assert same(asks(WIRE, tensor([-0.0] * 6)).x, zero)


# --- outputs


def test_a_client_that_names_no_output_gets_all_of_them():
    assert asks(V2(MAPS), tensor(ROW)).outputs == (Wanted("probabilities"), Wanted("maps"))
    question = asks(V2(MAPS), {**tensor(ROW), "parameters": {"binary_data_output": True}, "outputs": []})
    assert question.outputs == (Wanted("probabilities", True), Wanted("maps", True))


def test_outputs_come_in_the_order_asked_and_in_the_form_asked():
    outputs = [{"name": "maps", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    question = asks(V2(MAPS), {**tensor(ROW), "parameters": {"binary_data_output": True}, "outputs": outputs})
    answer = V2(MAPS).write(question, Reply(Y[:1], torch.tensor([[[0.5, 0.25]]])))
    length = int(dict(answer.headers)["Inference-Header-Content-Length"])
    maps, y = json.loads(answer.body[:length])["outputs"]
    assert maps == {"name": "maps", "shape": [1, 1, 2], "datatype": "FP32", "data": [0.5, 0.25]}
    assert y["parameters"] == {"binary_data_size": 12}
    assert np.frombuffer(answer.body[length:], "<f4").tolist() == Y[0].tolist()


def test_metadata_tell_a_client_what_to_send():
    value = json.loads(metadata_v2(MAPS).body)
    assert value["inputs"] == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 1, 2, 3]}]
    assert value["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert value["outputs"][1]["name"] == "maps"


# --- refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "`inputs` must hold one object, the tensor `input-0`; got null"),
        ({"inputs": []}, "got a list of 0"),
        ({"inputs": [1]}, "`inputs` must hold one object"),
        ({"inputs": tensor(ROW)["inputs"] * 2}, "got a list of 2"),
        ({"inputs": [{**tensor(ROW)["inputs"][0], "name": "x\n"}]}, "the model's input is 'input-0'; got 'x'"),
        (tensor(ROW, datatype="FP8"), "`datatype` must be one of FP16, .*, best FP32; got 'FP8'"),
        (tensor(ROW, datatype="BYTES"), "got 'BYTES'"),
        (tensor(ROW, datatype=["FP32"]), "`datatype` must be one of"),
        (tensor(ROW, [1, 6]), r"shape \[n, 1, 2, 3\]; got \[1, 6\]"),
        (tensor(ROW, [1, 1, 3, 2]), r"got \[1, 1, 3, 2\]"),
        (tensor(ROW, [1, 1, 2, 3.0]), r"got \[1, 1, 2, 3.0\]"),
        (tensor(ROW, [True, 1, 2, 3]), "whole number for n; got true or false"),
        (tensor(ROW, [-1, 1, 2, 3]), "whole number for n"),
        (tensor([], [0, 1, 2, 3]), "at least one input"),
        (tensor(ROW, [2**40, 2**40]), r"got \[1099511627776, 1099511627776\]"),
        (tensor(ROW, [2**40, 1, 2, 3]), "at most 4 inputs; got 1099511627776"),
        (tensor(ROW, [1] * 50), "got a list of 50"),
        (tensor(ROW, None), "got null"),
        (tensor(ROW[:5]), r"`data` must be lists of shape \[6\]; got a list of 5 where a list of 6 belongs"),
        (tensor(ROW * 2), "got a list of 12"),
        (tensor(None), "got null where"),
        (tensor([[[ROW[:3], ROW[:2]]]]), "Rows of different lengths"),
        (tensor([0.1, 0.2, 0.3, 0.4, 0.5, "0.6"]), "numbers only; got a string"),
        (tensor([0.1, 0.2, 0.3, 0.4, 0.5, True]), "numbers only; got true or false"),
        (tensor([0.1, 0.2, 0.3, 0.4, 0.5, None]), "numbers only; got null"),
        (tensor([0.1, 0.2, 0.3, 0.4, 0.5, 1.5]), r"must lie in \[0, 1\]; got 0.1 to 1.5"),
        (tensor([0.1, 0.2, 0.3, 0.4, 0.5, 1e300]), "between -2"),
        (tensor([0, 1, 0, 1, 0, 2**60]), "between -2"),
        (tensor([0.5] * 6, datatype="INT32"), "must hold whole numbers from -2147483648 to 2147483647"),
        (tensor([256] * 6, datatype="UINT8"), "whole numbers from 0 to 255"),
        (tensor([-1] * 6, datatype="UINT8"), "whole numbers from 0 to 255"),
        (tensor([1e6] * 6, datatype="FP16"), "infinities are refused"),
        (tensor([0, 1, 0, 1, 0, 1], datatype="BOOL"), "true and false only"),
        ({**tensor(ROW), "id": 7}, "`id` must be a string of at most 256 characters; got a number"),
        ({**tensor(ROW), "id": "x" * 257}, "`id` must be"),
        ({**tensor(ROW), "parameters": []}, "`parameters` must be an object; got a list of 0"),
        ({**tensor(ROW), "parameters": {"binary_data_output": 1}}, "must be true or false; got a number"),
        (tensor(ROW, parameters={"shared_memory_region": "r"}), "`shared_memory_region` is not offered"),
        (tensor(ROW, parameters={"binary_data_size": 24}), "without `data` in it"),
        ({**tensor(ROW), "outputs": {}}, "`outputs` must be a list of objects; got an object"),
        ({**tensor(ROW), "outputs": ["probabilities"]}, "`outputs` must be a list of objects"),
        ({**tensor(ROW), "outputs": [{"name": "logits"}]}, "must name some of probabilities, each once; got 'logits'"),
        ({**tensor(ROW), "outputs": [{"name": "probabilities"}] * 2}, "each once"),
        ({**tensor(ROW), "outputs": [{"name": ["probabilities"]}]}, "must name some of"),
        (
            {**tensor(ROW), "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}]},
            "`classification` is not offered",
        ),
    ],
)
def test_what_json_cannot_ask(body: object, message: str):
    with pytest.raises(BadRequest, match=message):
        asks(WIRE, body)


F4 = np.array(ROW, "<f4").tobytes()


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (F4 + b"x", {}, "must be 24 bytes behind the JSON"),
        (F4[:-1], {}, "`binary_data_size` is 23, and 23 bytes follow"),
        (b"", {}, "must be 24 bytes"),
        (np.array([*ROW[:5], np.nan], "<f4").tobytes(), {}, "NaN"),
        (np.array([*ROW[:5], np.inf], "<f4").tobytes(), {}, "infinities are refused"),
        (F4[:-4] + b"\1\0\x80\x7f", {}, "NaN and infinities are refused"),  # a NaN that signals
        (F4, {"inference_header_content_length": ""}, "1 to .*; got ''"),
        (F4, {"inference_header_content_length": "0"}, "got '0'"),
        (F4, {"inference_header_content_length": "-5"}, "got '-5'"),
        (F4, {"inference_header_content_length": "99999"}, "got '99999'"),
        (F4, {"inference_header_content_length": "7, 7"}, "got '7, 7'"),
        (F4, {"inference_header_content_length": "1_0"}, "got '1_0'"),
        (F4, {"inference_header_content_length": "10"}, "must be JSON"),
        (F4, {"inference_header_content_length": "²"}, "Inference-Header-Content-Length must be"),
    ],
)
def test_what_bytes_cannot_ask(values: bytes, more: dict[str, object], message: str):
    body, given = binary("FP32", values)
    with pytest.raises(BadRequest, match=message):
        asks(WIRE, body, **{**given, **more})


def test_bytes_need_their_header_and_their_size():
    body, given = binary("FP32", F4)
    with pytest.raises(BadRequest, match="must be JSON"):
        asks(WIRE, body)
    head = json.dumps(tensor(ROW)).encode()
    with pytest.raises(BadRequest, match="24 bytes follow the JSON, but the input has no `binary_data_size`"):
        asks(WIRE, head + F4, inference_header_content_length=len(head))
    lie = body.replace(b'"binary_data_size": 24', b'"binary_data_size": 12')
    with pytest.raises(BadRequest, match="`binary_data_size` is 12, and 24 bytes follow"):
        asks(WIRE, lie, **given)
    truth = body.replace(b'"binary_data_size": 24', b'"binary_data_size": 24.0').replace(b"}]}", b"}]}", 1)
    with pytest.raises(BadRequest, match=r"`binary_data_size` is 24\.0"):
        asks(WIRE, truth, inference_header_content_length=given["inference_header_content_length"] + 2)


def test_truth_values_are_nought_or_one():
    body, given = binary("BOOL", b"\0\1\1\0\0\2")
    with pytest.raises(BadRequest, match="BOOL must be bytes of 0 and 1; got 2"):
        asks(WIRE, body, **given)


@pytest.mark.parametrize("datatype", ["INT64", "UINT64"])
def test_whole_numbers_that_no_double_holds(datatype: str):
    body, given = binary(datatype, np.array([2**53 + 1, 0], DTYPES[datatype]).tobytes(), [1, 2])
    with pytest.raises(BadRequest, match=f"{datatype} numbers beyond that"):
        asks(V2(OPEN), body, **given)


def test_an_open_table_takes_any_finite_number():
    body, given = binary("FP64", np.array([1e30, -1e30], "<f8").tobytes(), [1, 2])
    assert asks(V2(OPEN), body, **given).x.isfinite().all()
    body, given = binary("FP64", np.array([1e39, 0], "<f8").tobytes(), [1, 2])
    with pytest.raises(BadRequest, match="finite"):
        asks(V2(OPEN), body, **given)


@pytest.mark.parametrize("key", ["id", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "output"])
@pytest.mark.parametrize("deep", ["[" * 900 + "]" * 900, '{"a":' * 60 + "1" + "}" * 60])
def test_a_deep_value_is_refused_wherever_it_stands(key: str, deep: str):
    wire = V2(IMAGES, Limits(rows=500))
    value = {**tensor(ROW), "outputs": [{"name": "probabilities"}, {"name": "probabilities"}]}
    places = {"id": value, "output": value["outputs"][1], "binary_data_size": {}}
    place = places.get(key, value["inputs"][0])
    if key == "binary_data_size":
        value["inputs"][0]["parameters"] = place
    place["name" if key == "output" else key] = "DEEP"
    with pytest.raises(BadRequest):
        asks(wire, json.dumps(value).replace('"DEEP"', deep).encode())


def test_null_stands_for_what_is_left_out():
    value = {**tensor(ROW, parameters=None), "id": None, "outputs": None, "parameters": None}
    assert asks(WIRE, value).x.flatten().tolist() == ROW


def test_limits_follow_from_the_model_and_refuse_unread():
    wire = V2(IMAGES, Limits(body=500, rows=4))
    assert wire.most == 500
    assert V2(IMAGES, LIMITS).most < 70_000
    with pytest.raises(BadRequest, match="longer than 500 bytes") as error:
        asks(wire, b" " * 501)
    assert error.value.status == 413


# --- answers


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0.5, 0.5, float("nan")]], "hold NaN or infinity"),
        ([[0.5, 0.5, float("inf")]], "hold NaN or infinity"),
        ([[0.5, 0.5]], r"shape \(1, 3\) was needed; the model gave \(1, 2\)"),
        ([[0.5, 0.5, 0.0]] * 2, r"gave \(2, 3\)"),
    ],
)
def test_an_answer_is_checked_before_it_is_written(y: list[list[float]], message: str):
    with pytest.raises(Malformed, match=message):
        WIRE.write(asks(WIRE, tensor(ROW)), Reply(torch.tensor(y)))


def test_doubles_beyond_float32_are_no_answer():
    with pytest.raises(Malformed, match="infinity"):
        WIRE.write(asks(WIRE, tensor(ROW)), Reply(torch.tensor([[1e300, 0, 0]], dtype=torch.float64)))


@pytest.mark.parametrize("maps", [None, torch.full((1, 2, 2), torch.nan)])
def test_maps_are_checked_too(maps: torch.Tensor | None):
    with pytest.raises(Malformed, match="maps"):
        V2(MAPS).write(asks(V2(MAPS), tensor(ROW)), Reply(Y[:1], maps))


def test_an_error_is_in_the_protocol_s_form():
    answer = WIRE.refuse(413, "too much.")
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "too much."})
