"""Whatever stands in a log, reading it ends in events or in one error that gamekeeper raises on purpose."""

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadConfig
from gamekeeper.logs.mapping import Mapping, load_mapping, shipped
from gamekeeper.logs.reading import Tolerance, events
from gamekeeper.types import Box
from tests.logs.conftest import WRITTEN, mapping

ALL = Tolerance(unreadable=1.0, back=math.inf)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400) | st.just("[[1]]")
)
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=12
)
KINDS = ["numbers", "base64", "file", "hash", "hashed"]
RECORDS = st.fixed_dictionaries(
    {"who": st.just("a") | VALUES}, optional=dict.fromkeys(["at", "x", "y", "rows", "bytes"], VALUES)
)
PATTERNS = ["unix-s", "unix-ns", "iso8601", "%Y"]
FORMS = [None, "probabilities", "logits", "labels"]
QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def sound(path: Path, how: Mapping) -> None:
    """Reads a log and checks every event."""
    reading = events(path, how, Box((2,)), classes=3, tolerance=ALL)
    for event in reading:
        assert event.n >= 0
        assert event.inputs is None or (
            tuple(event.inputs.shape) == (event.n, 2) and event.inputs.dtype == torch.float32
        )
        assert event.answers is None or event.inputs is None or len(event.answers) == event.n
        assert not event.hashes or len(event.hashes) == event.n
        assert len(event.client) <= 256
    assert all(sentence.isprintable() for sentence in reading.tally.sentences())


@QUICK
@given(st.lists(RECORDS, max_size=4), st.sampled_from(PATTERNS), st.sampled_from(KINDS), st.sampled_from(FORMS))
def test_any_json(tmp_path, records, pattern, kind, form):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    how = mapping(
        time={"field": "at", "format": pattern},
        input={"field": ["x", "x.x", "x[0]"], "kind": kind},
        answer={"field": ["y", "y.y"], "form": form},
        count="rows",
        size="bytes",
    )
    sound(path, how)


@QUICK
@given(st.binary(max_size=200), st.sampled_from([None, "jsonl", "csv", "combined"]))
def test_any_bytes(tmp_path, content, form):
    path = tmp_path / "a.log"
    path.write_bytes(content)
    with suppress(BadConfig):  # no text, or no names of columns
        sound(path, mapping(format=form))


@pytest.mark.parametrize("name", sorted(path.name for path in WRITTEN.iterdir() if path.suffix != ".md"))
def test_any_byte_of_a_real_log_may_be_another(tmp_path, name):
    content = bytearray((WRITTEN / name).read_bytes())
    path = tmp_path / name
    how = load_mapping(next(mapping for mapping in shipped() if name.startswith(mapping)))
    for place in range(0, len(content), 29):
        before, content[place] = content[place], content[place] ^ (1 << place % 8)
        path.write_bytes(content)
        content[place] = before
        with suppress(BadConfig):
            for event in events(path, how, classes=3, tolerance=ALL):
                assert event.inputs is None or bool(event.inputs.isfinite().all())
