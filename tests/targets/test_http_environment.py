"""Proxies and certificates of the environment: used, or named with what to do; a target on this machine needs none."""

from pathlib import Path

import numpy as np
import pytest

from gamekeeper.errors import BadConfig, Unreachable
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.http_environment import Route, certificates, route
from gamekeeper.types import Box
from tests.targets.server import serving

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
URL = "http://models.example.com/x"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def oracle(url: str) -> HttpOracle:
    return HttpOracle(HttpConfig(url=url, protocol="v1", model="m", retries=0, timeout=5), Box((2,)), 2)


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"ALL_PROXY": "socks://127.0.0.1:9"},
        {"all_proxy": "what is this"},
        {"NO_PROXY": "localhost,fd00::/8"},
        {"NO_PROXY": "[::1]"},
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/nonexistent/ca.pem"},
        {"SSL_CERT_DIR": "/nonexistent"},
    ],
)
def test_a_target_on_this_machine_is_reached_whatever_the_environment_says(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serving(lambda x: np.full((len(x), 2), 0.5), (2,)) as api:
        assert oracle(api.url)(Box((2,)).uniform(2, 0)).y.tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "[::1]", "0.0.0.0"])
def test_this_machine_has_many_names(host: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example.com:3128")
    assert route(f"http://{host}:8000/x") == Route()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://user:swordfish@127.0.0.1:9"),
        ("http_proxy", "socks://127.0.0.1:9"),
        ("HTTP_PROXY", "http://[:::"),
        ("HTTP_PROXY", "http://"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadConfig, match=f"{name} .*add models.example.com to NO_PROXY") as caught:
        oracle(URL)
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "used"),
    [
        ("", True),
        ("*", False),
        ("example.com", False),
        (".example.com", False),
        ("*.example.com", False),
        ("models.example.com:80", False),
        ("models.example.com:81", True),
        ("http://models.example.com", False),
        ("notexample.com, other.com", True),
        ("le.com", True),
        ("fd00::/8,[::1],10.0.0.0/8", True),
    ],
)
def test_no_proxy_in_every_spelling(no_proxy: str, used: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "proxy.example.net:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    found = route(URL)
    assert (found.proxy is not None) == used
    assert not used or "proxy.example.net of HTTP_PROXY" in found.via


@pytest.mark.parametrize(("entry", "used"), [("10.0.0.0/8", False), ("10.1.2.3", False), ("10.2.0.0/16", True)])
def test_no_proxy_by_network(entry: str, used: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example.net:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    assert (route("https://10.1.2.3/x").proxy is not None) == used


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"through the proxy 127\.0\.0\.1 of HTTP_PROXY"):
        oracle(URL)(Box((2,)).uniform(1, 0))


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for name, value in (
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("SSL_CERT_FILE", str(tmp_path)),
        ("SSL_CERT_FILE", str(broken)),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(BadConfig, match=f"{name} names {value}, which .* unset it"):
            certificates("https://models.example.com", True, Route())
        assert certificates("http://models.example.com", True, Route()) is False
        assert certificates("https://models.example.com", False, Route()) is False
        monkeypatch.delenv(name)
    assert certificates("https://models.example.com", True, Route())
