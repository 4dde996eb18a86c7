"""Inputs: every spelling of one batch is the same tensor, and nothing outside the log's folder is opened."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gamekeeper.logs.event import Unusable
from gamekeeper.logs.inputs import InputReader
from gamekeeper.logs.mapping import InputTable
from gamekeeper.types import Box, Ranges

X = torch.tensor([[[[0.0, 0.2], [0.4, 0.6]]], [[[0.8, 1.0], [0.2, 0.4]]]])  # two grey images, (2, 1, 2, 2)
BYTES = (X * 255).round().numpy().astype(np.uint8)


def reader(beside: Path = Path(), domain=Box((1, 2, 2)), **keys) -> InputReader:  # noqa: B008
    return InputReader(InputTable.model_validate({"field": "x", **keys}), domain, beside)


def read(value, beside: Path = Path(), **keys):
    return reader(beside, **keys)({"x": value})[0]


@pytest.mark.parametrize(
    "value",
    [
        X.tolist(),
        X[:, 0].tolist(),
        X.flatten(1).tolist(),
        X.flatten().tolist(),
        X.permute(0, 2, 3, 1).tolist(),
        json.dumps(X.tolist()),
        {"images": X.tolist()},
    ],
)
def test_every_nesting_of_two_images_is_the_same_batch(value):
    assert torch.equal(read(value), X)


def test_one_image_is_a_batch_of_one():
    assert torch.equal(read(X[0].tolist()), X[:1])
    assert torch.equal(read(X[0].flatten().tolist()), X[:1])


def test_colour_images_with_channels_last_are_turned():
    x = torch.arange(24.0).reshape(2, 3, 2, 2) / 24
    last, box = x.permute(0, 2, 3, 1), Box((3, 2, 2))
    assert torch.equal(read(last.tolist(), domain=box), x)
    assert torch.equal(read(last.flatten().tolist(), domain=box, layout="channels-last"), x)
    assert torch.equal(read(x.flatten().tolist(), domain=box), x)


def test_base64_of_bytes_and_of_floats():
    packed = base64.b64encode(BYTES.tobytes()).decode()
    assert torch.allclose(read(packed, kind="base64", dtype="uint8", stored=[0, 255]), X)
    floats = [base64.b64encode(x.numpy().tobytes()).decode() for x in X]
    assert torch.equal(read(floats, kind="base64"), X)


def test_stored_numbers_go_to_the_range_of_the_target():
    values = BYTES.astype(float).tolist()
    assert torch.allclose(read(values, stored=[0, 255]), X)
    assert torch.allclose(read(values, stored=[0, 255], domain=Box((1, 2, 2), -1.0, 1.0)), 2 * X - 1, atol=1e-6)
    with pytest.raises(Unusable, match=r"must lie in \[0, 1\]; got 0 to 255"):
        read(values)


def test_pictures_and_arrays_beside_the_log(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(BYTES[0, 0]).save(tmp_path / "images" / "a.png")
    np.save(tmp_path / "images" / "a.npy", BYTES)
    assert torch.allclose(read("images/a.png", tmp_path, kind="file", stored=[0, 255]), X[:1])
    assert torch.allclose(read(["a.png", "a.png"], tmp_path, kind="file", folder="images", stored=[0, 255]), X[[0, 0]])
    assert torch.allclose(read("a.npy", tmp_path, kind="file", folder="images", stored=[0, 255]), X)


def test_no_path_leads_out_of_the_folder(tmp_path):
    secret, logs = tmp_path / "secret.npy", tmp_path / "logs"
    logs.mkdir()
    np.save(secret, X.numpy())
    (logs / "link.npy").symlink_to(secret)
    (logs / "up").symlink_to(tmp_path)
    for text in [
        "../secret.npy",
        str(secret),
        "link.npy",
        "up/secret.npy",
        "../logs/../secret.npy",
        "a/../../secret.npy",
    ]:
        with pytest.raises(Unusable) as error:
            read(text, logs, kind="file")
        assert error.value.kind == "a path that leads out of the folder"
    for text in ["nothing.npy", ".", "", "a\0b", "x" * 5000]:
        with pytest.raises(Unusable):
            read(text or "up/..", logs, kind="file")


def test_arrays_that_could_run_code_or_fill_memory_are_not_opened(tmp_path):
    np.save(tmp_path / "code.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "huge.npy", np.zeros(4))
    raw = (tmp_path / "huge.npy").read_bytes()
    (tmp_path / "huge.npy").write_bytes(raw.replace(b"(4,), }         ", b"(4000000000,), }"))
    (tmp_path / "text.npy").write_text("no array")
    for name in ["code.npy", "huge.npy", "text.npy"]:
        with pytest.raises(Unusable):
            read(name, tmp_path, kind="file")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[0.1, 0.2], [0.3]], "equally many"),
        ([0.1, 0.2, 0.3], "multiple of 4"),
        ([], "no numbers"),
        ([0.1, None, 0.3, 0.4], "needs numbers"),
        ([0.1, "a\x1b", 0.3, 0.4], "needs numbers"),
        ([0.1, float("nan"), 0.3, 0.4], "NaN"),
        ([0.1, float("inf"), 0.3, 0.4], "must lie in"),
        ([0.1, 10**40, 0.3, 0.4], "needs numbers|must lie in"),
        ("words", "no list of numbers"),
        ({"a": 1, "b": 2}, "name them in `columns`"),
        ([[[[[[[[[[0.1]]]]]]]]]], "multiple of 4"),
    ],
)
def test_what_is_no_input_is_named(value, words):
    with pytest.raises(Unusable, match=words) as error:
        read(value)
    assert str(error.value).isprintable()


def test_lists_nested_a_thousand_deep_are_no_input():
    value: list = [0.1]
    for _ in range(900):
        value = [value]
    with pytest.raises(Unusable):
        read(value)


def test_tables_by_column():
    ranges = Ranges((0.0, 0.0), (100.0, 10.0))
    want = torch.tensor([[30.0, 2.0]])
    assert torch.equal(read({"b": 2, "a": 30, "c": 9}, domain=ranges, columns=["a", "b"]), want)
    assert torch.equal(read([{"b": 2, "a": "30"}], domain=ranges, columns=["a", "b"]), want)
    assert torch.equal(
        reader(domain=ranges, field="$", columns=["a", "b"])({"who": "me", "b": "2", "a": "3e1"})[0], want
    )
    with pytest.raises(Unusable, match="no value for b"):
        read({"a": 30}, domain=ranges, columns=["a", "b"])


def test_without_a_target_a_list_is_one_input_and_nested_lists_are_a_batch():
    assert read([1, 2, 3], domain=None).shape == (1, 3)
    assert read([[1, 2, 3], [4, 5, 6]], domain=None).shape == (2, 3)
    assert read([1, 2, 3, 4], domain=None, shape=[2]).shape == (2, 2)
    with pytest.raises(Unusable, match="NaN, infinities"):
        read([1.0, float("nan")], domain=None)


def test_hashes_are_compared_as_bytes():
    assert reader(kind="hash")({"x": ["0aFF", "0aff", "zz"]}) == (None, (b"\x0a\xff", b"\x0a\xff", b"zz"))
    _, (one,) = reader(kind="hashed")({"x": [{"role": "user", "content": "hi"}]})
    _, (same,) = reader(kind="hashed")({"x": [{"content": "hi", "role": "user"}]})
    _, (other,) = reader(kind="hashed")({"x": [{"content": "hi ", "role": "user"}]})
    assert one == same != other
    assert one == hashlib.sha256(b'[{"content":"hi","role":"user"}]').digest()


def test_a_record_without_the_field_has_no_input():
    assert reader()({"y": 1}) == (None, ())
    assert reader()({"x": None}) == (None, ())
