"""The policy: a ladder that is only climbed, by rules that the owner wrote, and by default changes nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import Malformed
from gamekeeper.policy import (
    AS_USUAL,
    Level,
    Policy,
    Rule,
    Standing,
    Treatment,
    climbed,
    packed,
    release,
    unpacked,
)

NAMES = ("prada", "mmd", "repeats")
LADDER = Policy(
    (Rule("prada", Level.SLOW), Rule("any:2", Level.DEFENSE), Rule("any:3", Level.REFUSE)),
    shadow=False,
    per_second=2.0,
    defenses={Level.DEFENSE: "mad:eps=0.8"},
)
levels = st.sampled_from(Level)
alarms = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5))
rules = st.builds(Rule, st.sampled_from([*NAMES, "any", "any:1", "any:2", "any:3"]), levels)
parts = st.tuples(
    st.lists(rules, max_size=5).map(tuple),
    st.booleans(),
    st.none() | st.floats(0.1, 10),
    st.dictionaries(st.sampled_from([Level.COARSER, Level.DEFENSE, Level.DAWN]), st.sampled_from(["a", "b", "c"])),
)
"""Of a policy, which is put together inside a test: checks of types there draw at random, which no strategy may."""
standings = st.builds(Standing, alarms, alarms, levels)


def test_two_detectors_are_more_than_one_and_three_are_refused():
    one = LADDER.decide(Standing({"prada": 120}))
    assert (one.level, one.treatment) == (Level.SLOW, Treatment(per_second=2.0))
    assert one.reason == "prada (prada): log -> slow"
    other = LADDER.decide(Standing({"mmd": 120}))
    assert (other.level, other.climbed, other.treatment) == (Level.LOG, False, AS_USUAL)
    two = LADDER.decide(Standing({"repeats": 3, "mmd": 120}))
    assert two.treatment == Treatment(2.0, "mad:eps=0.8")
    assert two.reason == "any:2 (mmd, repeats): log -> defense"
    three = LADDER.decide(Standing(dict.fromkeys(NAMES, 1), level=Level.SLOW))
    assert three.treatment == Treatment(2.0, "mad:eps=0.8", refuse=True)
    assert three.reason == "any:3 (mmd, prada, repeats): slow -> refuse"


def test_the_order_of_levels_is_the_ladder():
    assert [str(level) for level in sorted(Level)] == ["log", "slow", "coarser", "defense", "dawn", "refuse"]


def test_of_several_defenses_the_one_of_the_highest_level_reached_counts():
    texts = {Level.COARSER: "label", Level.DEFENSE: "mad", Level.DAWN: "dawn"}
    policy = Policy(defenses=texts)
    reached = {str(level): policy.treatment(level).defense for level in Level}
    assert reached == {
        "log": "",
        "slow": "",
        "coarser": "label",
        "defense": "mad",
        "dawn": "dawn",
        "refuse": "dawn",
    }
    assert Policy(defenses={Level.COARSER: "label"}).treatment(Level.DAWN).defense == "label"


@given(st.lists(rules, max_size=5).map(tuple), st.booleans(), standings)
def test_no_default_alters_an_answer_or_slows_anybody(rules, shadow, standing):
    bare = Policy(rules, shadow)
    decision = bare.decide(standing)
    assert (decision.meant.defense, decision.meant.per_second) == ("", None)
    assert decision.meant.refuse == (decision.level == Level.REFUSE)
    assert Policy(rules).decide(standing).treatment == AS_USUAL, "and shadow is the default"


@given(parts, st.lists(alarms, max_size=8))
def test_a_level_never_falls_without_a_release_whatever_alarms_come_and_go(whole: tuple, history):
    policy, standing = Policy(*whole), Standing()
    for now in history:
        standing = replace(standing, alarms=now)
        decision = policy.decide(standing)
        assert decision.level >= standing.level
        assert decision.climbed == (decision.level > standing.level) == bool(decision.reason)
        standing = climbed(standing, decision)
        assert standing.level == decision.level
        assert not policy.decide(standing).climbed, "nothing new, no second event"


@given(parts, parts, standings)
def test_another_policy_does_not_let_a_client_down(first: tuple, second: tuple, standing: Standing):
    before, after = Policy(*first), Policy(*second)
    reached = climbed(standing, before.decide(standing))
    assert after.decide(reached).level >= reached.level


@given(parts, standings)
def test_a_shadow_decides_the_same_and_changes_nothing(whole: tuple, standing: Standing):
    policy = Policy(*whole)
    shadow, live = replace(policy, shadow=True), replace(policy, shadow=False)
    watched, acted = shadow.decide(standing), live.decide(standing)
    assert watched.treatment == AS_USUAL
    assert replace(watched, treatment=acted.treatment) == acted
    assert acted.treatment == acted.meant


@given(parts, standings, st.sampled_from(NAMES))
def test_who_was_released_stays_down_until_a_later_alarm(whole: tuple, standing: Standing, name: str):
    policy = Policy(*whole)
    free = release(standing)
    assert (free.level, free.counted()) == (Level.LOG, frozenset())
    assert not policy.decide(free).climbed
    later = max([*standing.alarms.values(), *standing.released.values(), 0]) + 1
    again = replace(free, alarms={**free.alarms, name: later})
    assert again.counted() == {name}
    fresh = policy.decide(Standing({name: later}))
    assert policy.decide(again).level == fresh.level


@given(parts, standings)
def test_more_alarms_never_bring_a_milder_level(whole: tuple, standing: Standing):
    policy = Policy(*whole)
    more = replace(standing, alarms=dict.fromkeys(NAMES, 9))
    assert policy.decide(more).level >= policy.decide(standing).level


@given(standings)
def test_a_standing_comes_back_as_it_was(standing: Standing):
    assert unpacked(packed(standing)) == standing


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"alarms":{},"released":{},"level":9}', b'{"alarms":[1]}'])
def test_what_is_not_a_standing_is_refused(data: bytes):
    with pytest.raises(Malformed, match="standing cannot be read"):
        unpacked(data)


@given(parts, parts)
def test_policies_have_one_digest_if_they_say_the_same(first: tuple, second: tuple):
    one, other = Policy(*first), Policy(*second)
    assert Policy(*first).digest == one.digest
    assert (one.digest == other.digest) == (one == other)
