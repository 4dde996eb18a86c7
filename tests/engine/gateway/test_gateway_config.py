"""The gateway file: what it says is what is served, and whatever is wrong has a line and a key."""

import math

import pytest

from gamekeeper.engine.gateway import gateway_config
from gamekeeper.engine.gateway.gateway_config import Address, parse_address, parse_gateway, read_gateway
from gamekeeper.errors import BadConfig
from gamekeeper.service.journal.accounts import Quota
from gamekeeper.service.principals import Principal
from gamekeeper.service.quotas import Quotas

SECRET = "hunter2"


def parsed(text: str):
    return parse_gateway(text, "gateway.toml")


def test_a_target_is_enough():
    config = parsed('target = "mnist"')
    assert config.tenants == ("default",)
    assert config.quotas == Quotas()
    assert (config.retain, config.batch, config.failure_mode_allow) == (30, 1, False)
    assert parse_address(config.listen).local


def test_the_example_at_the_head_of_the_module_can_be_read():
    example = (gateway_config.__doc__ or "").partition("target = ")[2].partition("Paths are")[0]
    config = parsed(f"target = {example}")
    assert config.tenants == ("default", "acme")
    assert config.tenant["acme"].policy == "acme.toml"


def test_a_tenants_quotas_replace_the_general_ones_level_by_level():
    quotas = parsed(
        "target = 'mnist'\n[quota]\nkey = {queries = 9, seconds = 60}\nnetwork = {queries = 7}\n"
        "[tenant.acme.quota]\nkey = {queries = 2, seconds = 1.5}\n[tenant.bare]"
    ).quotas
    assert quotas.own == {"acme": Quotas(Quota(2, 1.5), None, Quota(7, math.inf))}

    def limits(tenant: str) -> list[int]:
        return [account.limit for account in quotas.accounts(Principal(tenant, "c", "n"), 0.0)]

    assert (limits("acme"), limits("bare"), limits("default")) == ([2, 7], [9, 7], [9, 7])


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80), True),
        ("localhost:0", Address("localhost", 0), True),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False),
        ("[::1]:8080", Address("::1", 8080), True),
        ("[::]:8080", Address("::", 8080), False),
        ("model.example:443", Address("model.example", 443), False),
        ("unix:run/gate.sock", Address(socket="run/gate.sock"), True),
    ],
)
def test_addresses(text: str, address: Address, local: bool):
    assert parse_address(text) == address
    assert (str(address), address.local) == (text, local)


@pytest.mark.parametrize(
    "text", ["", ":80", "8080", "host", "host:", "host:x", "host:65536", "::1:80", "unix:", "a b:1", "a/b:1", "h:١"]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(BadConfig, match="is no address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n\n# nothing", 1, "target: it is missing"),
        ("target = 'mnist'\n\nlissen = 'x'", 3, r"lissen: there is no such key. Did you mean listen\? Known: target, model"),
        ("target = 'mnist'\nlisten = 'here'", 2, "listen: 'here' is no address. Give host:port"),
        ("target = 'mnist'\nmetrics = '127.0.0.1:8080'", 2, "metrics: '127.0.0.1:8080' is where the model is served"),
        ("target = 'mnist'\nmodel = 'a/b'", 2, "model: 'a/b' is no name for an address"),
        ("target = 'mnist'\nalpha = 1.0", 2, "alpha: Input should be less than 1. Got 1.0"),
        ("target = 'mnist'\nbatch = 0", 2, "batch: Input should be greater than or equal to 1. Got 0"),
        ("target = 'mnist'\nbatch = '8'", 2, "batch: Input should be a valid integer. Got '8'"),
        ("target = 'mnist'\nretain = inf", 2, "retain: Input should be a finite number"),
        ("target = 'mnist'\ntrusted_proxy = [\n '10.0.0.0/8',\n '10.0.0.1/8']", 2, r"trusted_proxy\[2\]: 10.0.0.1/8 has host bits"),
        ("target = 'mnist'\n[tls]\ncertificate = 'a'", 2, "tls.key: it is missing"),
        ("target = 'mnist'\n[quota.key]\nqueries = 1\nquery = 5", 4, r"quota.key.query: there is no such key.*Did you mean queries\? Known: queries, seconds"),
        ("target = 'mnist'\n[quota.user]\nqueries = 5", 2, "quota.user: there is no such key.* Known: key, tenant, network"),
        ("target = 'mnist'\n[quota.key]\nqueries = 5\nseconds = 0", 4, "quota.key.seconds: Input should be greater than 0"),
        ("target = 'mnist'\n[tenant.acme]\npolcy = 'x'", 3, r"tenant.acme.polcy: .* Did you mean policy\?"),
        ("target = 'mnist'\n[tenant.acme.quota.key]\nqueries = -1", 3, "tenant.acme.quota.key.queries: Input should be gr"),
        ("target = 'mnist'\n[tenant.\"käse\"]", 2, "tenant.käse: the name of a tenant must be 1 to 128 printable ASCII"),
        ("target = 'mnist'\njournal = 'mysql://host/db'", 2, "journal: a journal is a file or a postgresql:// URL; got mysql"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_has_a_line_and_a_key(text: str, line: int, words: str):
    with pytest.raises(BadConfig, match=rf"the gateway file gateway.toml is wrong:\n  line {line}, .*{words}"):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        f"journal = 'postgresql://me:{SECRET}@host/db'",
        f"journal = 'postgresql://host/db?password={SECRET}'",
        f"secret = '{SECRET}'",
        f"[quota.key]\nqueries = 1\npassword = '{SECRET}'",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str):
    with pytest.raises(BadConfig) as error:
        parsed(f"target = 'mnist'\n{text}")
    assert "line " in str(error.value)
    assert SECRET not in str(error.value)


def test_a_folder_without_a_gateway_says_how_to_begin_one(tmp_path):
    with pytest.raises(BadConfig, match="gamekeeper init gateway --out"):
        read_gateway(tmp_path)
