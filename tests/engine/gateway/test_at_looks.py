"""What is written down at looks is what the detector said there, however requests were cut; calibration reads first windows."""

import pytest

from gamekeeper.engine.gateway.at_looks import FirstWindow, parsed
from gamekeeper.engine.gateway.client_scores import scores_in_journal
from gamekeeper.engine.gateway.releases import Release
from gamekeeper.engine.gateway.reviews import review_event, review_of
from gamekeeper.errors import Unsuited
from gamekeeper.policy import Level, Standing
from gamekeeper.replay_rows import Review
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.memory import Memories
from tests.engine.gateway.small import AT, LOOKS, Undisturbed, alice, gateway, later, requests, someone


@pytest.mark.parametrize("most", [1, 5, 60])
def test_scores_at_looks_are_those_of_rows_that_come_one_by_one(most: int):
    """60 rows in one request pass two windows of 24 new inputs and a part of a third."""
    journal, twin, memories = InProcessJournal(), Undisturbed(), Memories()
    sent = requests(400 // most, seed=most, tall=0.3, most=most)
    real = gateway(journal)
    wanted: list[dict[str, float]] = []
    for request in sent:
        real.answer(request)
        wanted.append({})
        for row in request.x.split(1):
            standing = memories.get("standing") or twin.lookout.fresh()
            seen = standing.seen
            looked = twin.lookout.looked(row, twin.model(row), request.at, memories)
            if len(looked.new) and seen + 1 in LOOKS:
                wanted[-1][f"tall@{seen + 1}"] = float(looked.scores["tall"][0])
    events = [event for _, event in journal.read("acme") if event.kind == "answer"]
    assert [{name: s for name, s in event.scores.items() if "@" in name} for event in events] == wanted
    assert sum(map(len, wanted)) > len(LOOKS)


def test_a_first_window_is_the_first_that_was_recorded_from_its_beginning():
    looks, window = (4, 8, 16), FirstWindow()
    for scores in ({"a@16": 9.0}, {"a": 1.0}, {"a@4": 1.0, "a@8": 2.0}, {"a@16": 3.0, "a@4": 7.0}, {"a@8": 8.0}):
        window.add(scores, looks)
    assert window.row("a", looks).tolist() == [1.0, 2.0, 3.0]
    assert window.row("b", looks).isnan().all()
    short = FirstWindow()
    for scores in ({"a@4": 1.0}, {"a@4": 5.0}, {"a@8": 6.0}):  # detectors began anew
        short.add(scores, looks)
    assert short.row("a", looks).nan_to_num(-1.0).tolist() == [1.0, -1.0, -1.0]
    assert [parsed(each) for each in ("mmd@50", "ood_share:score=knn@20", "mmd", "a@b", "@5x")] == [
        ("mmd", 50), ("ood_share:score=knn", 20), None, None, None,
    ]  # fmt: skip


def test_calibration_reads_honest_clients_and_those_who_were_dismissed():
    journal = InProcessJournal()
    real = gateway(journal)
    for number in range(6):
        tall = 1.0 if number in (3, 4) else 0.0
        for request in requests(4 if number != 5 else 1, seed=number, who=someone(number), tall=tall, most=3):
            real.answer(request)
    alarms = {event.client: event.id.hex() for _, event in journal.read("acme") if event.kind == "alarm"}
    assert sorted(alarms) == [someone(3).client, someone(4).client]
    journal.append(
        review_event("acme", Review(alarms[someone(3).client], someone(3).client, "dismissed", "a", "b", AT))
    )
    read = scores_in_journal(journal, ["acme"], ["tall"], LOOKS)
    assert read.doubtful == 1
    assert read.honest.clients + read.honest.others == 5
    first = read.honest.scores["tall"][:, 0]
    assert sorted(first.tolist())[-1] >= 3  # the dismissed one, all of whose inputs were tall
    assert (first == 0).sum() == len(first) - 1
    assert scores_in_journal(journal, ["acme"], ["tall"], LOOKS, most=2).honest.clients == 2
    with pytest.raises(Unsuited, match="of 0 clients in the journal none"):
        scores_in_journal(journal, ["rival"], ["tall"], LOOKS)
    journal.append(
        review_event("acme", Review(alarms[someone(3).client], someone(3).client, "confirmed", "a", "b", AT))
    )
    assert scores_in_journal(journal, ["acme"], ["tall"], LOOKS).doubtful == 2


def test_an_alarm_that_was_erased_for_its_age_does_not_make_a_client_honest():
    journal = InProcessJournal()
    real = gateway(journal)
    for request in requests(12, seed=0, tall=1.0, most=3):
        real.answer(request)
    (alarm,) = [event for _, event in journal.read("acme") if event.kind == "alarm"]
    journal.prune("acme", alarm.at + 0.5, AT + 100)
    for request in requests(20, seed=1, tall=1.0, most=3):
        real.answer(later(request, 50))
    assert not any(event.kind == "alarm" for _, event in journal.read("acme"))
    with pytest.raises(Unsuited, match="of 1 clients in the journal none"):
        scores_in_journal(journal, ["acme"], ["tall"], LOOKS)
    Release("acme", alice().client, "ann", "our own load test").carry_out(journal, lambda: AT + 200)
    assert scores_in_journal(journal, ["acme"], ["tall"], LOOKS).honest.clients == 1


def test_who_was_released_may_raise_the_alarm_again(journal: Journal):
    real = gateway(journal)
    for request in requests(6, seed=1, tall=1.0, most=3):
        real.answer(request)
    before = Release("acme", alice().client, "ann", "our own load test").carry_out(journal, lambda: AT + 10)
    assert before == Standing(before.alarms, {}, Level.LOG)
    assert before.alarms
    for each in requests(40, seed=2, tall=1.0, most=3):
        real.answer(each)
    kinds = [event.kind for _, event in journal.read("acme") if event.kind in ("alarm", "release")]
    assert kinds == ["alarm", "release", "alarm"]


def test_a_review_is_stored_as_it_was_given_whatever_is_in_it():
    review = Review("a" * 32, "c1", "dismissed", 'ann "<x>" \x1b[31m', "line\nbreak \u202e", AT)
    event = review_event("acme", review)
    assert (event.kind, event.client, event.n) == ("review", "c1", 0)
    assert review_of(event) == review
