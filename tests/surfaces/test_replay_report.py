"""replay.html: who, how sure, what to do; self-contained, escaped, and a pure function of the folder."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.replay_rows import Moment
from gamekeeper.surfaces.replay_report import replay_page, write_replay_report
from gamekeeper.surfaces.report.client_figures import history
from gamekeeper.surfaces.report.client_words import NOBODY_CAN, headline, moment, once, share, standing
from tests.surfaces import replayed
from tests.surfaces.report.test_page import Page


def text_of(**changes) -> str:
    return Page(replay_page(replayed.header(**changes), replayed.clients(), replayed.alarms(), {})).text


WHOLE = replay_page(replayed.header(), replayed.clients(), replayed.alarms(), {"d4c3": replayed.dismissal()})


def test_the_first_screen_says_who_how_sure_and_what_to_do():
    text = Page(WHOLE).text
    first = text[: text.index("What the limits rest on")]
    assert "2 of 40 clients look like thieves." in first  # the third was dismissed
    assert "mallory" in first
    assert "load-test" not in first
    assert "An ordinary client looks as suspicious as the first of them once in 4,800" in first
    assert NOBODY_CAN in first
    assert "gamekeeper review REPLAY" in first
    assert "bans nobody" in first


def test_limits_stand_with_their_bound_and_missing_detectors_with_their_reason():
    text = Page(WHOLE).text
    assert text.count("excludes more than 527 per 1,000 at 95 %") == 2
    assert re.search(r"hardness\s+the victim is not a network", text)
    assert "never raises an alarm" in text


def test_names_from_outside_are_escaped_everywhere():
    clients = [replace(one, linked=(replayed.EVIL,)) for one in replayed.clients()]
    alarms = [replace(one, detector=f"{one.detector}<b>") for one in replayed.alarms()]
    review = replace(replayed.dismissal("a1f0", replayed.EVIL), reason=replayed.EVIL)
    header = replayed.header(log=replayed.EVIL, notes=(replayed.EVIL,), groups=((replayed.EVIL, "b"),), left_out={replayed.EVIL: replayed.EVIL})  # fmt: skip
    whole = replay_page(header, clients, alarms, {"a1f0": review})
    assert "<script" not in whole
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", whole)
    assert r"\x1b[31m\u202eboss" in whole  # two names that differ only there look different
    Page(whole)


def test_the_page_loads_nothing_scrolls_in_boxes_and_its_links_lead_somewhere():
    page = Page(WHOLE)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert (page.tags["svg"], page.unboxed) == (3, [])


def test_decisions_stand_beside_alarms_and_change_the_headline():
    decisions = {each.id: replayed.dismissal(each.id, each.client) for each in replayed.alarms()}
    text = Page(replay_page(replayed.header(), replayed.clients(), replayed.alarms(), decisions)).text
    assert "3 of 40 clients raised an alarm; a person has decided about every one." in text
    assert "dismissed by ann <ops> on 2026-09-22 15:13 UTC: our own load test" in text
    assert "Open." not in text
    half = {"b2e1": replayed.dismissal("b2e1", "mallory")}  # the other alarm of the same client is open
    alarms = [each for each in replayed.alarms() if each.client == "mallory"]
    assert standing(alarms, half) == ""
    confirmed = {"b2e1": replayed.dismissal("b2e1", "mallory", "confirmed")}
    assert standing(alarms, confirmed) == "confirmed"


def test_a_log_that_nobody_could_be_judged_by_says_so():
    header = replayed.header(alarmed=0, ran={"repeats": "evidence"})
    text = Page(replay_page(header, replayed.clients()[3:], [], {})).text
    assert "Nobody could be judged" in text
    assert "The limits aim at" not in text
    assert "What to do now" not in text
    assert headline(replayed.header(alarmed=0), []) == "No alarm among 40 clients."
    assert headline(replayed.header(alarmed=1), [""]) == "1 of 40 clients looks like a thief."


def test_more_clients_than_the_page_lists_are_counted():
    many = [replayed.client(f"c{i}", 0.9, {}, 60, history=()) for i in range(230)]
    text = Page(replay_page(replayed.header(clients=1_000_000, alarmed=0), many, [], {})).text
    assert "999,800 less suspicious clients are not listed." in text


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.0001, "once in 10,000"), (0.00021, "once in 4,800"), (0.9, "more than once in 2"), (0.0, "less than once in 1,000,000")],
)  # fmt: skip
def test_a_p_value_in_words(p: float, words: str):
    assert once(p) == words


def test_small_shares_and_strange_times_are_no_lie():
    assert (share(0.004), share(0.0), share(0.5)) == ("under 1 %", "0 %", "50 %")
    assert (moment(1e30), moment(None), moment(0.0)) == ("unknown", "unknown", "1970-01-01 00:00 UTC")


def test_a_history_is_drawn_with_what_there_is():
    whole = replayed.clients()[0]
    alarms = [each for each in replayed.alarms() if each.client == "mallory"]
    figure = history(whole, alarms)
    assert figure is not None
    drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [text for text in drawn if "alarm after" in text] == ["alarm after 53", "alarm after 103"]  # all queries
    assert len(figure.axes) == 4  # three detectors, and time
    timeless = replace(whole, history=tuple(replace(each, at=None) for each in whole.history))
    assert len(history(timeless, alarms).axes) == 3
    assert history(replace(whole, history=()), alarms) is None
    odd = replace(whole, history=(Moment(1, 0.0, {"mmd": 1.0}), Moment(2, 1e30, {"mmd": float("nan")})))
    assert len(history(odd, alarms).axes) == 1


def test_the_report_is_written_from_the_folder_and_is_a_pure_function_of_it(tmp_path: Path):
    files = ReplayFiles(tmp_path)
    with pytest.raises(BadConfig, match="holds no replayed log"):
        write_replay_report(tmp_path)
    files.write(replayed.header(), replayed.clients(), replayed.alarms())
    first = write_replay_report(tmp_path).read_bytes()
    assert write_replay_report(tmp_path).read_bytes() == first
    files.add(replayed.dismissal())
    assert b"our own load test</b>" in write_replay_report(tmp_path).read_bytes()


def test_linked_accounts_stand_with_their_common_alarm():
    calm = [replace(one, alarmed={}) for one in replayed.clients()]
    text = Page(replay_page(replayed.header(alarmed=0), calm, [replayed.together()], {})).text
    assert "No single one of 40 clients looks like a thief, but 1 group of linked accounts does." in text
    assert "What to do now" in text
    assert "2 accounts mallory , mallory-2" in text
    assert "alarm e5b4" in text
    decided = {"e5b4": replayed.dismissal("e5b4", "mallory")}
    text = Page(replay_page(replayed.header(alarmed=0), calm, [replayed.together()], decided)).text
    assert "No alarm among 40 clients." in text
