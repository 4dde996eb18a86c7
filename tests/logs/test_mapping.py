"""Mappings: the built-in ones read logs as their software writes them, and a wrong key is named."""

import base64
import json
import re
from pathlib import Path

import pytest
import torch

from gamekeeper.errors import BadConfig
from gamekeeper.logs import mapping as mapping_module
from gamekeeper.logs.event import Unusable
from gamekeeper.logs.mapping import AnswerTable, InputTable, JoinTable, Mapping, TimeTable, load_mapping, shipped
from gamekeeper.logs.paths import MISSING, at_path, field_path
from gamekeeper.logs.reading import events
from gamekeeper.logs.tensors import tensor
from gamekeeper.protocols.v2 import Slot, encode_v2
from gamekeeper.types import Box
from tests.logs.conftest import WRITTEN

FLOWERS = torch.tensor([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]])
SECOND = torch.tensor([[0.0, 1.0, 0.0]] * 2, dtype=torch.float64)


def test_all_built_in_mappings_are_tested_here():
    assert shipped() == ["databricks", "kserve", "nginx", "openai"]


def test_an_access_log_written_by_nginx_1_22_1():
    reading = events(WRITTEN / "nginx-1.22.1.log", load_mapping("nginx"))
    seen = list(reading)
    assert [(event.client, event.at, event.n, event.size) for event in seen] == [
        ("127.0.0.1", 1795943349.0, 1, size) for size in (3, 15, 15, 3, 15)
    ]
    assert all(event.inputs is None and event.answers is None and not event.hashes for event in seen)
    assert (reading.tally.filtered, reading.tally.skipped) == (2, {})


def test_an_access_log_by_user_where_nginx_checks_passwords(log):
    path = log(
        'like = "nginx"', 'client = ["remote_user", "remote_addr"]', '[filter]\nrequest = "* /v2/*"', name="m.toml"
    )
    reading = events(WRITTEN / "nginx-1.22.1.log", load_mapping(str(path)))
    assert [event.client for event in reading] == ["alice", 'b"o\\b [x] "y', "alice"]
    assert reading.tally.filtered == 4  # the user whose password was wrong, too


def test_cloud_events_after_kserve_s_pages_answer_first_and_request_first():
    reading = events(WRITTEN / "kserve.jsonl", load_mapping("kserve"), classes=3)
    first, second = reading
    assert (first.client, second.client) == ("ann", "bob")
    assert (first.at, second.at) == pytest.approx((1680680393.501752, 1680680400.5), abs=1e-6)
    assert torch.equal(first.inputs, FLOWERS)
    assert torch.equal(first.answers, SECOND)
    assert torch.equal(second.inputs, FLOWERS)
    assert second.answers[0].tolist() == [0.0, 0.97, 0.03]
    assert reading.tally.skipped == {}


@pytest.mark.parametrize("binary", [False, True])
def test_a_v2_request_as_it_goes_over_the_wire_in_json_and_in_binary(log, binary):
    x = torch.rand(3, 2, 2)
    body = encode_v2(x, Slot("x", "FP32", binary), [])
    lines = [
        {"Id": "1", "ReqType": "org.kubeflow.serving.inference.request", "Metadata": {"X-User-Id": ["ann"]}},
        {"Id": "1", "ReqType": "org.kubeflow.serving.inference.response"},
    ]
    lines[0]["Bytes"] = base64.b64encode(body.head + body.tail).decode()
    answer = {"outputs": [{"name": "y", "datatype": "INT64", "shape": [3], "data": [2, 0, 1]}]}
    lines[1]["Bytes"] = base64.b64encode(json.dumps(answer).encode()).decode()
    (event,) = events(log(*map(json.dumps, lines)), load_mapping("kserve"), Box((2, 2)), classes=3)
    assert torch.equal(event.inputs, x)
    assert event.answers.argmax(1).tolist() == [2, 0, 1]


def test_a_binary_body_that_is_cut_off_is_named():
    body = encode_v2(torch.rand(3, 2), Slot("x", "FP32", binary=True), [])
    record = {"b": base64.b64encode(body.head + body.tail[:-1]).decode()}
    with pytest.raises(Unusable, match=r"the path `b\.inputs` leads into text that is not JSON"):
        at_path(record, field_path("b.inputs"))


@pytest.mark.parametrize("shape", [[3], [2, 2, 2], [-1, -4], ["2", 2]])
def test_a_tensor_whose_shape_is_wrong_is_named(shape):
    with pytest.raises(Unusable, match="for 4 values"):
        tensor({"shape": shape, "data": [1, 2, 3, 4]})


def test_records_of_kserve_in_blob_storage():
    (event,) = events(WRITTEN / "kserve-blob.jsonl", load_mapping("kserve"), classes=3)
    assert (event.client, str(event.at)) == ("ann", "nan")
    assert torch.equal(event.inputs, FLOWERS)
    assert torch.equal(event.answers, SECOND)


def test_databricks_tables_old_and_new():
    reading = events(WRITTEN / "databricks.jsonl", load_mapping("databricks"), classes=3)
    old, new = reading
    assert (old.client, old.at, new.client, new.at) == ("ann", 1706790896.0, "bob@example.com", 1772366400.25)
    assert torch.equal(old.inputs, FLOWERS)
    assert torch.equal(old.answers, SECOND)
    assert torch.equal(new.inputs, FLOWERS[:1])
    assert new.answers.tolist() == [[0.1, 0.8, 0.1]]
    assert (reading.tally.filtered, reading.tally.skipped) == (1, {})


def test_a_databricks_table_in_csv_is_the_same():
    (event,) = events(WRITTEN / "databricks.csv", load_mapping("databricks"), classes=3)
    assert (event.client, event.at) == ("ann", 1706790896.0)
    assert torch.equal(event.inputs, FLOWERS)
    assert torch.equal(event.answers, SECOND)


def test_a_batch_file_of_openai_by_hash():
    seen = list(events(WRITTEN / "openai-batch.jsonl", load_mapping("openai")))
    assert [event.client for event in seen] == ["ann", "bob", "ann"]
    assert seen[0].hashes == seen[1].hashes != seen[2].hashes
    assert all(event.n == 1 and len(event.hashes[0]) == 32 for event in seen)


# --- mapping files


@pytest.mark.parametrize("table", [Mapping, TimeTable, InputTable, AnswerTable, JoinTable])
def test_every_key_is_explained_in_the_docs_and_in_the_module(table):
    page = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
    for key in table.model_fields:
        assert re.search(rf"`\[*{key}\]*`", page), key
        assert re.search(rf"^\[*{key}\b", mapping_module.__doc__ or "", re.MULTILINE), key


def test_a_file_like_another_changes_what_it_names(log):
    path = log('like = "databricks"', 'client = "me"', "[input]", "shape = [4]", name="m.toml")
    mapping, under = load_mapping(str(path)), load_mapping("databricks")
    assert [str(each) for each in mapping.client] == ["me"]
    assert mapping.input is not None
    assert under.input is not None
    assert (mapping.input.shape, mapping.input.field) == ([4], under.input.field)
    assert mapping.time == under.time


def test_a_filter_may_be_written_with_dots_or_quotes(log):
    path = log(
        'client = "a"',
        "[filter]",
        'request.status = 200\n"request.heads[0]" = "x"\n[filter.b.c]\nd = [1]',
        name="m.toml",
    )
    assert load_mapping(str(path)).filter == {"request.status": 200, "request.heads[0]": "x", "b.c.d": [1]}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([""], "client: Field required"),
        (['client = "a..b"'], "joined by dots"),
        (["client = 3"], "client: .*path such as"),
        (['client = "a"', "[time]", 'field = "t"', 'format = "epoch"'], "unix-s, unix-ms"),
        (['client = "a"', "[input]", 'field = "x"', "stored = [255, 0]"], "must go up"),
        (['client = "a"', "[input]", 'field = "x"', "scale = 3"], "input.scale"),
        (['client = "a"', "[filter]", "status = [[1]]"], "filter"),
        (['like = "seldon"'], "databricks, kserve, nginx, openai"),
        (["client = "], "not TOML"),
        ([b"\xff\xfe"], "not TOML in UTF-8"),
    ],
)
def test_a_wrong_mapping_is_named(log, lines, words):
    path = log(*lines, name="m.toml")
    with pytest.raises(BadConfig, match=words) as error:
        load_mapping(str(path))
    assert "m.toml" in str(error.value)


def test_a_mapping_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(BadConfig, match=r"neither a file nor a built-in mapping \(databricks, kserve, nginx, openai\)"):
        load_mapping("triton.toml")


# --- paths

RECORD = {"a": {"b": [1, {"c": "two"}]}, "a.b": None, "text": json.dumps({"x": [[7]]}), "base": "eyJ4IjogWzhdfQ=="}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b[1].c", "two"),
        ("a.b[2]", MISSING),
        ("a.b.c", MISSING),
        ("a[0]", MISSING),
        ("text.x[0][0]", 7),
        ("base.x[0]", 8),
        ("nothing.at.all", MISSING),
    ],
)
def test_paths_go_through_lists_objects_and_text(path, value):
    record = json.loads(json.dumps(RECORD))
    assert at_path(record, field_path(path)) == value
    assert at_path(record, field_path(path)) == value  # again, now that text has been read


def test_a_column_named_like_a_path_comes_first():
    assert at_path({"a.b": 1, "a": {"b": 2}}, field_path("a.b")) == 1
    assert at_path({"a": 1}, field_path("$")) == {"a": 1}


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[x]", "a[-1]", "a[", "a]"])
def test_what_is_no_path_is_named(text):
    with pytest.raises(ValueError, match=r"request\.inputs\[0\]\.data"):
        field_path(text)
