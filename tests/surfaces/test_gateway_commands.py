"""The commands of a gateway's folder do what they say, show no name as a command to the terminal, and keep tenants apart."""

import json
import os
import re
import stat

import pytest

from gamekeeper.engine.gateway.folder import GatewayFolder, gateway_folder
from gamekeeper.engine.gateway.reviews import decisions
from gamekeeper.policy import Level, Standing, unpacked
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.service.journal.event import Event
from gamekeeper.service.principals import Principals
from gamekeeper.surfaces.cli import guarded
from tests.surfaces import replayed
from tests.surfaces.gateway_folder import EVIL, START, client, filled, made

MINE = ("--by", "ann", "--why", "our own load test")


@pytest.fixture
def folder(tmp_path) -> GatewayFolder:
    gate = made(tmp_path)
    filled(gate)
    return gate


def run(capsys, *arguments: object) -> str:
    assert guarded([str(each) for each in arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments: object) -> str:
    assert guarded([str(each) for each in arguments]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def events(folder: GatewayFolder, tenant: str = "default") -> list[Event]:
    with folder.open_journal() as journal:
        return [event for _, event in journal.read(tenant)]


# init


def test_init_writes_a_gateway_that_only_watches_and_a_secret_of_its_owners_alone(tmp_path, capsys):
    path = tmp_path / "gate"
    out = run(capsys, "init", "gateway", "--out", path, "--target", "digits")
    assert f"gamekeeper serve {path}" in out
    folder = gateway_folder(path)
    assert (folder.config.target, folder.target, folder.model) == ("digits", "digits", "digits")
    assert sorted(each.name for each in path.iterdir()) == ["gateway.toml", "policy.toml", "secret.key"]
    assert stat.S_IMODE((path / "secret.key").stat().st_mode) == 0o600
    assert (path / "secret.key").read_text().strip() not in (path / "gateway.toml").read_text()
    before = {each: each.read_bytes() for each in path.iterdir()}
    assert "already exists" in refused(capsys, "init", "gateway", "--out", path)
    (path / "gateway.toml").unlink()  # a key that is overwritten is lost
    assert "already exists" in refused(capsys, "init", "gateway", "--out", path)
    assert all(each.read_bytes() == data for each, data in before.items() if each.exists())


def test_a_target_file_is_named_as_seen_from_the_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Did you mean mnist?" in refused(capsys, "init", "gateway", "--out", "some/gate", "--target", "mnits")
    assert not (tmp_path / "some").exists()
    (tmp_path / 'my "model".toml').touch()
    run(capsys, "init", "gateway", "--out", "some/gate", "--target", 'my "model".toml')
    folder = gateway_folder(tmp_path / "some/gate")
    assert os.path.normpath(folder.target) == str(tmp_path / 'my "model".toml')
    assert folder.model == "my-model-"


def test_two_secrets_are_one_too_many(tmp_path, monkeypatch):
    folder = made(tmp_path)
    monkeypatch.setenv("GAMEKEEPER_SECRET", "ab" * 32)
    with pytest.raises(Exception, match="got both"):
        folder.pseudonyms()
    (folder.path / "secret.key").unlink()
    assert folder.pseudonyms().secret == b"\xab" * 32


# keys


def test_a_key_is_shown_once_rotated_and_revoked(tmp_path, capsys):
    folder = made(tmp_path)
    assert "No keys yet" in run(capsys, "keys", folder.path)
    text = run(capsys, "keys", folder.path, "--new", "ann", "--tenant", "rival").strip()
    assert re.fullmatch(r"gk_[0-9a-f]{16}_[0-9a-f]{64}", text)
    public = text.split("_")[1]
    listed = run(capsys, "keys", folder.path)
    assert public in listed
    assert text.split("_")[2] not in listed
    (row,) = json.loads(run(capsys, "keys", folder.path, "--json"))
    assert list(row) == ["id", "tenant", "account", "client", "since", "until"]
    assert (row["id"], row["tenant"], row["account"], row["until"]) == (public, "rival", "ann", None)
    other = run(capsys, "keys", folder.path, "--rotate", public, "--overlap", "1000").strip()
    with folder.open_journal() as journal:
        principals = Principals(journal, folder.pseudonyms())
        now = journal.key(public).since + 1.0
        who = principals.principal(text, "10.0.0.1", now)
        assert who == principals.principal(other, "10.0.0.1", now)
        assert who.client == client(folder, "ann", "rival")
        assert 998 < journal.key(public).until - now < 1_100
    run(capsys, "keys", folder.path, "--revoke", other.split("_")[1])
    assert json.loads(run(capsys, "keys", folder.path, "--json", "--tenant", "default")) == []
    assert {row["until"] is None for row in json.loads(run(capsys, "keys", folder.path, "--json"))} == {False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new", "a", "--revoke", "b"], "give one of --new, --rotate and --revoke"),
        (["--new", "a", "--tenant", "rivel"], "no tenant 'rivel'. Did you mean rival?"),
        (["--new", "a\x1b[31m"], "the name of a account must be"),
        (["--revoke", "0" * 16], "there is no key"),
        (["--rotate", "0" * 16, "--overlap", "-1"], "--overlap is 0 or more"),
    ],
)
def test_what_keys_cannot_do(tmp_path, capsys, arguments, message):
    error = refused(capsys, "keys", made(tmp_path).path, *arguments)
    assert message in error
    assert "\x1b" not in error


def test_a_key_of_another_tenant_is_not_revoked_for_this_one(tmp_path, capsys):
    folder = made(tmp_path)
    public = run(capsys, "keys", folder.path, "--new", "ann").split("_")[1]
    assert "has no key" in refused(capsys, "keys", folder.path, "--revoke", public, "--tenant", "rival")
    with folder.open_journal() as journal:
        assert journal.key(public).until == float("inf")


# clients


def test_clients_are_listed_with_those_of_most_concern_first(folder, capsys):
    rows = json.loads(run(capsys, "clients", folder.path, "--json"))
    assert list(rows[0]) == ["tenant", "client", "level", "queries", "denied", "alarms", "open", "last"]
    thief = client(folder, "thief")
    assert rows[0] == {
        "tenant": "default", "client": thief, "level": "slow", "queries": 50, "denied": 3, "alarms": 2, "open": 2, "last": START + 7,
    }  # fmt: skip
    assert [row["tenant"] for row in rows] == ["default", "rival", "default"]
    out = run(capsys, "clients", folder.path)
    assert "3 clients; 3 above level log; 4 alarms are open." in out  # an alarm's event says `slow` here
    (row,) = json.loads(run(capsys, "clients", folder.path, thief[:5], "--json"))
    assert row["client"] == thief
    (row,) = json.loads(run(capsys, "clients", folder.path, "--account", "thief", "--json"))
    assert row["client"] == thief


def test_tenants_never_see_each_other(folder, capsys):
    mine, theirs = client(folder, "ann"), client(folder, "ann", "rival")
    assert mine != theirs
    for command in (("clients", "--json"), ("alarms",), ("review",)):
        name, *rest = command
        ours = run(capsys, name, folder.path, "--tenant", "default", *rest)
        rival = run(capsys, name, folder.path, "--tenant", "rival", *rest)
        assert mine[:6] in ours.replace("\n", "")
        assert theirs[:6] not in ours
        assert theirs[:6] in rival.replace("\n", "")
        assert mine[:6] not in rival
    assert "there is no client" in refused(capsys, "clients", folder.path, mine, "--tenant", "rival")
    assert "there is no client" in refused(capsys, "forget", folder.path, mine, "--tenant", "rival")
    (alarm,) = [json.loads(line) for line in run(capsys, "alarms", folder.path, "--tenant", "rival").splitlines()]
    assert "there is no alarm" in refused(
        capsys, "review", folder.path, alarm["id"], "--dismiss", *MINE, "--tenant", "default"
    )
    (row,) = json.loads(run(capsys, "clients", folder.path, "--account", "ann", "--tenant", "rival", "--json"))
    assert row["client"] == theirs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zz"], "there is no client 'zz'"),
        ([""], "there is no client ''"),
        (["a\x1b[31m"], r"there is no client 'a\x1b[31m'"),
        (["--account", "nobody"], "nobody of account 'nobody' of tenant default has come yet"),
        (["0", "--account", "thief"], "name one client"),
        (["--tenant", "x\u202e"], "has no tenant"),
    ],
)
def test_a_name_that_is_nobody_or_several_is_refused(folder, capsys, arguments, message):
    error = refused(capsys, "clients", folder.path, *arguments)
    assert message in error
    assert "\x1b" not in error
    assert "\u202e" not in error


# review and alarms


def test_alarms_are_rows_like_those_of_a_replay(folder, capsys):
    rows = [json.loads(line) for line in run(capsys, "alarms", folder.path).splitlines()]
    assert [(row["detector"], row["query"], row["queries"]) for row in rows] == [
        ("mmd", 20, 24), ("prada:floor=0", 1_050, 1_054), ("mmd", 20, 24), ("mmd", 50, 54),
    ]  # fmt: skip
    first = rows[0]
    assert (first["client"], first["p"], first["score"]) == (client(folder, "thief"), 0.0005, 9.25)
    assert (first["per_hour"], first["exact"], first["near"], first["review"]) == (90.0, 0.25, None, None)
    assert first["inputs"] == {"mean": 0.13, "sd": 0.31, "low": 0.0, "high": 1.0}
    finding = json.loads(run(capsys, "alarms", folder.path, "--format", "ocsf").splitlines()[0])
    assert (finding["class_uid"], finding["time"]) == (2004, round(1_000 * (START + 5)))
    assert finding["evidences"][0]["actor"]["user"]["name"] == client(folder, "thief")
    assert (finding["metadata"]["tenant_uid"], rows[3]["tenant"]) == ("default", "rival")


def test_a_decision_is_an_event_of_the_journal_and_the_last_one_counts(folder, capsys):
    assert "4 of 4 alarms are open." in run(capsys, "review", folder.path)
    out = run(
        capsys, "review", folder.path, "--client", client(folder, "thief")[:6], "--confirm", "--by", EVIL, "--why", EVIL
    )
    assert "2 of 4 alarms are open." in out
    assert "\x1b" not in out
    ann = next(event for event in events(folder) if event.kind == "alarm" and event.client == client(folder, "ann"))
    run(capsys, "review", folder.path, ann.id.hex()[:8], "--confirm", *MINE)
    run(capsys, "review", folder.path, ann.id.hex(), "--dismiss", *MINE)
    reviews = [event for event in events(folder) if event.kind == "review"]
    assert [json.loads(event.reason)["decision"] for event in reviews] == ["confirmed"] * 3 + ["dismissed"]
    last = decisions(events(folder))[ann.id.hex()]
    assert (last.client, last.decision, last.by, last.reason) == (ann.client, "dismissed", "ann", MINE[3])
    assert decisions(events(folder, "rival")) == {}
    rows = json.loads(run(capsys, "clients", folder.path, "--json"))
    assert {row["client"]: row["open"] for row in rows} == {
        client(folder, "thief"): 0, client(folder, "ann"): 0, client(folder, "ann", "rival"): 1,
    }  # fmt: skip
    lines = run(capsys, "alarms", folder.path).splitlines()
    assert json.loads(lines[0])["review"]["by"] == EVIL  # JSON holds it as it is, escaped
    assert not any("\x1b" in line for line in lines)


def test_a_review_may_name_the_account(folder, tmp_path, capsys):
    assert "1 of 4" not in run(capsys, "review", folder.path, "--account", "thief", "--confirm", *MINE)
    reviewed = {event.client for event in events(folder) if event.kind == "review"}
    assert reviewed == {client(folder, "thief")}
    ReplayFiles(tmp_path / "replay").write(replayed.header(), replayed.clients(), replayed.alarms())
    replay = tmp_path / "replay"
    assert "--account is of a gateway" in refused(capsys, "review", replay, "--account", "thief", "--confirm", *MINE)
    assert "--tenant is of a gateway" in refused(capsys, "alarms", replay, "--tenant", "acme")


def test_half_a_decision_writes_nothing(folder, capsys):
    before = len(events(folder))
    ann = client(folder, "ann")
    assert "got neither" in refused(capsys, "review", folder.path, "--client", ann, *MINE)
    assert "needs --by" in refused(capsys, "review", folder.path, "--client", ann, "--confirm")
    assert "needs --by" in refused(capsys, "release", folder.path, ann, "--by", "ann")
    assert len(events(folder)) == before


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_client_is_one_short_word_in_every_table(folder, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    key = run(capsys, "keys", folder.path, "--new", "thief").split("_")[1]
    thief = client(folder, "thief")[:6]
    for command in ("review", "clients", "keys"):
        assert thief in run(capsys, command, folder.path).split(), command
    (line,) = [line for line in run(capsys, "keys", folder.path).splitlines() if line.startswith(key)]
    assert line.split()[1:4] == ["default", "thief", thief]
    lines = [line for line in run(capsys, "review", folder.path).splitlines() if " mmd " in line]
    assert sorted(line.split()[1] for line in lines) == ["default", "default", "rival"]
    assert run(capsys, "clients", folder.path, thief).count("\n") == 3  # header, the client, the sum


def test_a_decision_says_that_it_releases_nobody(folder, capsys):
    thief = client(folder, "thief")
    out = run(capsys, "review", folder.path, "--account", "thief", "--dismiss", *MINE)
    assert f"client {thief} stays at level slow until gamekeeper release" in out
    run(capsys, "release", folder.path, thief, *MINE)
    first = next(event for event in events(folder) if event.client == thief and event.kind == "alarm")
    assert "stays at level" not in run(capsys, "review", folder.path, first.id.hex(), "--confirm", *MINE)


# release and forget


def test_a_release_is_written_down_and_sets_todays_alarms_aside(folder, capsys):
    thief = client(folder, "thief")
    out = run(capsys, "release", folder.path, thief[:6], "--by", "ann", "--why", EVIL)
    assert f"released: client {thief} is at level log, from slow; 2 alarms are set aside." in out
    event = events(folder)[-1]
    assert (event.kind, event.level) == ("release", "log")
    assert event.reason.startswith("slow -> log by ann: [red]")
    with folder.open_journal() as journal:
        standing = unpacked(journal.remembered("default", thief).parts["policy"])
        assert standing == Standing({"mmd": 20, "prada:floor=0": 50}, {"mmd": 20, "prada:floor=0": 50}, Level.LOG)
        assert journal.clients("default")[-1].level in ("log", "slow")
    (row,) = json.loads(run(capsys, "clients", folder.path, "--account", "thief", "--json"))
    assert (row["level"], row["last"]) == ("log", START + 7)  # a release is no visit


def test_forgetting_leaves_one_row_and_nobody_else_is_touched(folder, capsys):
    thief, ann = client(folder, "thief"), client(folder, "ann")
    others = [event for event in events(folder) if event.client == ann]
    assert "8 events" in run(capsys, "forget", folder.path, "--account", "thief")
    left = events(folder)
    assert [event.kind for event in left if event.client == thief] == ["forget"]
    assert [event for event in left if event.client == ann] == others
    assert len(events(folder, "rival")) == 2
    with folder.open_journal() as journal:
        assert journal.remembered("default", thief).parts == {}
    assert "nobody of account 'thief'" in refused(capsys, "forget", folder.path, "--account", "thief")
