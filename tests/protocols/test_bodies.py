"""Headers that lie, and bodies that are larger than they look, are refused; a truthful body is read whole."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import accepted, compressed, decompressed, received, response
from tests.protocols.exchange import PACK, headers


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "", "identity", "GZIP"]))
def test_a_body_is_read_as_it_was_before_compression(body: bytes, encoding: str):
    packed = PACK.get(encoding.lower(), bytes)(body)
    request = received(headers(content_encoding=encoding, content_length=len(packed)), packed, 1000)
    assert request.body == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_compressed_for_a_client_is_what_the_standard_library_reads(encoding: str):
    body = b"0.25," * 1000
    packed = compressed(body, encoding)
    assert {"gzip": gzip.decompress, "deflate": zlib.decompress}[encoding](packed) == body
    assert packed == compressed(body, encoding)  # no time stamp


def test_a_bomb_is_refused_within_the_limit_s_memory():
    bomb = gzip.compress(bytes(200_000_000))
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(BadRequest, match=r"longer than 1,000,000 bytes.*Send fewer inputs") as error:
        decompressed(bomb, "gzip", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.value.status == 413
    assert peak < 3_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_limit_is_exact(encoding: str):
    assert decompressed(PACK[encoding](bytes(100)), encoding, 100) == bytes(100)
    with pytest.raises(BadRequest, match="longer than 100 bytes"):
        decompressed(PACK[encoding](bytes(101)), encoding, 100)


# without the time, which would be part of the names of tests: workers must agree on those
GZIP, ZLIB = gzip.compress(b"{}", mtime=0), zlib.compress(b"{}")


@pytest.mark.parametrize(
    ("body", "encoding", "status", "message"),
    [
        (GZIP[:-1], "gzip", 400, "breaks off"),
        (b"", "gzip", 400, "breaks off"),
        (GZIP + b"x", "gzip", 400, "1 bytes follow"),
        (GZIP + GZIP, "gzip", 400, "bytes follow the gzip stream"),
        (ZLIB, "gzip", 400, "not gzip, as Content-Encoding says"),
        (GZIP, "deflate", 400, "not deflate"),
        (ZLIB[2:-4], "deflate", 400, "not deflate"),
        (b"{}", "gzip", 400, "not gzip"),
        (GZIP[:-8] + bytes(8), "gzip", 400, "not gzip"),  # a checksum that is wrong
        (gzip.compress(GZIP, mtime=0), "gzip, gzip", 415, "'gzip, gzip'; send it as gzip, deflate"),
        (GZIP, "br", 415, "'br'"),
        (GZIP, "gzip\0", 415, "gzip"),
    ],
)
def test_a_stream_that_is_not_what_the_header_says(body: bytes, encoding: str, status: int, message: str):
    with pytest.raises(BadRequest, match=message) as error:
        decompressed(body, encoding, 100)
    assert error.value.status == status


@pytest.mark.parametrize("length", ["1", "3", "-2", "2.0", "2, 2", "0x2", "", "٢", "9" * 30])
def test_a_content_length_that_is_not_the_body_s(length: str):
    with pytest.raises(BadRequest, match=r"Content-Length is .* for a body of 2 bytes"):
        received(((b"content-length", length.encode()),), b"{}", 100)


@pytest.mark.parametrize(
    "name", ["content-length", "Content-Encoding", "content-type", "Inference-Header-Content-Length"]
)
def test_a_header_about_the_body_that_comes_twice(name: str):
    twice = ((name.encode(), b"2"), (name.lower().encode(), b"2"))
    with pytest.raises(BadRequest, match=f"{name.lower()} is given twice"):
        received(twice, b"{}", 100)


def test_other_headers_may_come_twice():
    request = received(((b"Accept-Encoding", b"br"), (b"accept-encoding", b"gzip")), b"{}", 100)
    assert request.encoding == "gzip"


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, Deflate;q=0.5 , GZIP", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.000", None),
        ("gzip; q=0.001", "gzip"),
        ("identity", None),
        ("*", None),
        (";;,,=", None),
    ],
)
def test_the_compression_a_client_accepts(header: str, encoding: str | None):
    assert accepted(header) == encoding


def test_short_answers_are_not_compressed():
    assert response(b"{}", encoding="gzip").body == b"{}"
    long = response(b"[" + b"0," * 1000 + b"0]", encoding="gzip")
    assert ("Content-Encoding", "gzip") in long.headers
    assert len(long.body) < 100


def test_the_head_of_a_compressed_answer_is_counted_before_compression():
    sent = dict(response(b"{}", bytes(5000), "deflate").headers)
    assert sent["Inference-Header-Content-Length"] == "2"
    assert sent["Content-Type"] == "application/octet-stream"
