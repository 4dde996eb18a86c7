"""Stamps of a local authority: verified offline, and none whose message or time was touched."""

import base64
import calendar
import hashlib
import shutil
import time

import pytest
from examples.local_authority import authority
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.stamps import MOST_BYTES, read_roots, request, verified

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
MESSAGE = b"a claim's digest"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def asked():
    return request(MESSAGE)


@pytest.fixture(scope="module")
def response(local, asked):
    return local.stamp(asked.body)


def test_a_stamp_is_verified_and_dated_at_its_latest(local, asked, response):
    stamp = verified(response, MESSAGE, [local.root], asked.nonce)
    assert stamp.serial == 2  # openssl counts on before it signs
    stated = stated_time(local)
    assert stamp.at == stated + 2  # 1.5 s of inaccuracy, rounded up
    assert abs(stated - time.time()) < 600
    assert verified(response, MESSAGE, [local.root]) == stamp


def stated_time(local) -> int:

    text = local.openssl("ts -reply -in response -text")
    line = next(line for line in text.splitlines() if line.startswith("Time stamp: "))
    return calendar.timegm(time.strptime(line.removeprefix("Time stamp: "), "%b %d %H:%M:%S %Y GMT"))


def test_openssl_agrees(local, response):
    (local.folder / "response").write_bytes(response)
    digest = hashlib.sha256(MESSAGE).hexdigest()
    assert (
        local.openssl(f"ts -verify -digest {digest} -in response -CAfile root.pem")
        .strip()
        .startswith("Verification: OK")
    )


def test_a_request_shows_a_hash_of_the_message_and_a_fresh_nonce(asked):
    assert hashlib.sha256(MESSAGE).digest() in asked.body
    assert MESSAGE not in asked.body
    assert request(MESSAGE).nonce != asked.nonce


def test_other_messages_and_replayed_responses_are_refused(local, asked, response):
    with pytest.raises(BadClaim, match="Mismatch between messages"):
        verified(response, MESSAGE + b" ", [local.root])
    with pytest.raises(BadClaim, match="Nonce mismatch"):
        verified(response, MESSAGE, [local.root], request(MESSAGE).nonce)


def test_an_authority_of_the_claimants_own_is_refused(local, asked, tmp_path):
    """Its root has the same name as the trusted one."""
    own = authority(tmp_path)
    with pytest.raises(BadClaim, match="does not hold"):
        verified(own.stamp(asked.body), MESSAGE, [local.root])
    with pytest.raises(BadClaim, match="root certificate that you trust"):
        verified(own.stamp(asked.body), MESSAGE, [])


def test_a_certificate_that_had_expired_when_it_stamped_is_refused(asked, tmp_path):
    old = authority(tmp_path, days=-1)
    with pytest.raises(BadClaim, match="does not hold"):
        verified(old.stamp(asked.body), MESSAGE, [old.root])


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body


def test_a_certificate_for_another_purpose_is_refused(local, response):
    """One that the same root gave to a web server signs the very same content."""
    (local.folder / "response").write_bytes(response)
    local.openssl("ts -reply -in response -token_out -out token")
    local.openssl("cms -verify -noverify -inform DER -in token -out content -binary")
    forms = "-binary -nodetach -outform DER -econtent_type 1.2.840.113549.1.9.16.1.4"

    def signed(who: str) -> bytes:
        local.openssl(f"cms -sign -in content -signer {who}.pem -inkey {who}.key -md sha256 -out forged {forms}")
        granted = b"\x30\x03\x02\x01\x00"
        return der(0x30, granted, (local.folder / "forged").read_bytes())

    assert verified(signed("authority"), MESSAGE, [local.root]).serial == 2  # the construction is right
    with pytest.raises(BadClaim, match="time"):
        verified(signed("web"), MESSAGE, [local.root])


def test_a_stamp_over_another_hash_is_refused(local):
    """SHA-512 of a message is not the SHA-256 that was committed to."""
    (local.folder / "message").write_bytes(MESSAGE)
    local.openssl("ts -query -data message -sha512 -cert -out longer")
    longer = local.stamp((local.folder / "longer").read_bytes())
    with pytest.raises(BadClaim, match="Mismatch"):
        verified(longer, MESSAGE, [local.root])


def test_no_flipped_bit_changes_what_a_stamp_says(local, response):
    """Every third bit: 77 of all 6,864 flips of one response were still accepted, in bits that nobody signed."""
    genuine = verified(response, MESSAGE, [local.root])
    accepted = 0
    for bit in range(0, 8 * len(response), 3):
        flipped = bytearray(response)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            stamp = verified(bytes(flipped), MESSAGE, [local.root])
        except BadClaim:
            continue
        assert stamp == genuine
        accepted += 1
    assert accepted < 0.03 * 8 * len(response) / 3


@given(st.binary(max_size=100), st.integers(0, 900))
def test_nothing_else_is_raised(local, response, noise, at):
    for data in (noise, response[:at], response[:at] + noise + response[at + len(noise) :]):
        try:
            verified(data, MESSAGE, [local.root])
        except BadClaim:
            continue
    with pytest.raises(BadClaim, match="at most"):
        verified(bytes(MOST_BYTES + 1), MESSAGE, [local.root])


def test_roots_are_read_from_pem(local, tmp_path):
    assert read_roots(local.folder / "root.pem") == [local.root]
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(BadClaim, match="It holds none"):
        read_roots(tmp_path / "empty.pem")
    with pytest.raises(BadClaim, match="cannot be read"):
        read_roots(tmp_path / "none.pem")


RESPONSE = """
MIIDMTADAgEAMIIDKAYJKoZIhvcNAQcCoIIDGTCCAxUCAQMxDzANBglghkgBZQMEAgEFADB2BgsqhkiG9w0BCRABBKBnBGUwYwIBAQYEKgMEATAx
MA0GCWCGSAFlAwQCAQUABCD+o3vbbU+H7/lzJ2nhFHRSmOKFurON2niMM4jr38JVpQIBAhgPMjAyNjExMjkxMDE4MThaMAcCAQGAAgH0AghKjIuw
v1x596CCAUwwggFIMIHvoAMCAQICFCgJ1ARrO+tju37iNE6EIzQUjOplMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCXRlc3Qgcm9vdDAeFw0yNjA4
MjExMDE4MThaFw0yNjExMjkxMDE4MzhaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzG47Cx+o
G34/lRTtH6w72JoWJ4c3m7yVE1Cy6guv6ytQx3m7YW/Bhx3SMbsltKz0vcmwxTQXVcMak67btRy6SaMaMBgwFgYDVR0lAQH/BAwwCgYIKwYBBQUH
AwgwCgYIKoZIzj0EAwIDSAAwRQIhAK88301ESI7ZpSCdpbFqwFqV7q19HZAH5juSQSim8oyYAiAPYZVo0KIAPCRl46mMm/7sat+7LkZpttuAq6cz
ZgwNKjGCATUwggExAgEBMCwwFDESMBAGA1UEAwwJdGVzdCByb290AhQoCdQEazvrY7t+4jROhCM0FIzqZTANBglghkgBZQMEAgEFAKCBmDAaBgkq
hkiG9w0BCQMxDQYLKoZIhvcNAQkQAQQwHAYJKoZIhvcNAQkFMQ8XDTI2MTEyOTEwMTgxOFowKwYLKoZIhvcNAQkQAgwxHDAaMBgwFgQUIbiRvfYx
8h66STSDdZkPbJ0jyOswLwYJKoZIhvcNAQkEMSIEIA5/sYRkViEV4F7pZGtxmL8c3DwaYwgci4f+AQp3v4MHMAoGCCqGSM49BAMCBEgwRgIhAPtd
7UW6sLliUVm3bOfHj9mH6IDwbw1T6VJxzn8XJ1WPAiEAqx26MPOZ0NRCmL83NoUrOzkJfiA3YnhHipvIBE8y9Yg=
"""
ROOT = """-----BEGIN CERTIFICATE-----
MIIBPTCB46ADAgECAhQCFhn6651eheMQA6g8eLleuulL/TAKBggqhkjOPQQDAjAU
MRIwEAYDVQQDDAl0ZXN0IHJvb3QwHhcNMjYwODIxMTAxODE4WhcNMzYxMTI2MTAx
ODE4WjAUMRIwEAYDVQQDDAl0ZXN0IHJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAATjjE9JMNc6dnIR+vVZw/Rx1nHYJzbt3wBqjUx5oUhiucEea99mqiCiWooX
XGPPQ6TYiJGB+EtjXk+UC/+mnHIAoxMwETAPBgNVHRMBAf8EBTADAQH/MAoGCCqG
SM49BAMCA0kAMEYCIQCsby5VnZOnaS0Y7zUdDhPrVal4e3Wv8oY9qAzIV5emzgIh
APijE6ZR/t0Ik5PmARJIqWb+emOkZOJOnrO7jWYtM2B5
-----END CERTIFICATE-----
"""


def test_a_stamp_outlives_the_certificate_that_made_it(tmp_path):
    """It was made on 29 November 2026, twenty seconds before the authority's certificate expired."""
    (tmp_path / "root.pem").write_text(ROOT)
    stamp = verified(base64.b64decode(RESPONSE), MESSAGE, read_roots(tmp_path / "root.pem"))
    assert stamp.at == 1795947500
