"""The policy file: what it says is what the policy does, and whatever is wrong has a line and a key."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper import policy_file
from gamekeeper.errors import BadConfig
from gamekeeper.methods import InputSpec, parse_defense
from gamekeeper.policy import Level, Policy, Rule
from gamekeeper.policy_file import parse_policy, read_policy
from gamekeeper.toml_file import LIMIT, line_of

RUNNING = ("prada", "mmd:d=64", "repeats")
WHOLE = """
shadow = false

[slow]
per_second = 0.5   # queries
[coarser]
defense = "label"
[defense]
defense = '''mad:eps=0.8'''

[dawn]

[[rule]]
when = "mmd:d=64"
then = "slow"

[[rule]]
when = "any:2"
then = "refuse"
"""


def keeps(text: str) -> bool:
    if text not in ("label", "round", "mad:eps=0.8", "noise", "dawn", "dawn:share=0.01", "round+dawn"):
        raise BadConfig(f"there is no defense {text!r}.")
    return text in ("label", "round")


def parsed(text: str) -> Policy:
    return parse_policy(text, "policy.toml", RUNNING, keeps)


def test_a_file_says_what_the_policy_does():
    assert parsed(WHOLE) == Policy(
        (Rule("mmd:d=64", Level.SLOW), Rule("any:2", Level.REFUSE)),
        False,
        0.5,
        {Level.COARSER: "label", Level.DEFENSE: "mad:eps=0.8", Level.DAWN: "dawn"},
    )


def test_an_empty_file_is_a_shadow_without_rules():
    assert parsed("") == Policy()
    assert Policy().shadow


def test_the_example_at_the_head_of_the_module_can_be_read():
    example = (policy_file.__doc__ or "").partition("shadow = true")
    policy = parsed("shadow = true" + example[2].partition("A level that")[0])
    assert policy.shadow
    assert len(policy.rules) == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\nshade = true\n", 2, r"shade: there is no such key. Did you mean shadow\? Known: shadow, slow"),
        ("shadow = 1", 1, r"shadow: Input should be a valid boolean. Got 1\."),
        ("[slow]\n\n# none", 1, "slow.per_second: it is missing"),
        ("[slow]\nper_second = 0", 2, "slow.per_second: Input should be greater than 0"),
        ("[slow]\nper_second = nan", 2, "slow.per_second: Input should be a finite number"),
        ("[slow]\nper_second = '2'", 2, "slow.per_second: Input should be a valid number"),
        ("slow.per_second = 1\nslow.burst = 3", 2, "slow.burst: there is no such key.* Known: per_second"),
        ("[coarser]\n\ndefense = 'noise'", 3, "coarser.defense: 'noise' may change the top class.*Move it to .defense."),
        ("[coarser]\ndefense = '''\nlabels'''", 2, "coarser.defense: there is no defense"),
        ("[defense]\ndefense = 'dawn:share=0.01'", 2, r"defense.defense: 'dawn:share=0.01' marks answers. Move it to \[dawn\]"),
        ("[defense]\ndefense = 'round+dawn'", 2, r"'round\+dawn' marks answers"),
        ("[dawn]\ndefense = 'noise'", 2, "dawn.defense: 'noise' marks nothing"),
        ("[[rule]]\nwhen = 'prada'\nthen = 'log'\n[[rule]]\nthen = 'log'", 4, r"rule\[2\].when: it is missing"),
        ("[[rule]]\nwhen = 'prado'\nthen = 'log'", 2, r"rule\[1\].when: no detector 'prado' runs. Did you mean 'prada'"),
        ("[[rule]]\nthen = 'log'\nwhen = 'any:4'", 3, r"'any:4' needs a number of detectors, from 1 to the 3"),
        ("[[rule]]\nthen = 'log'\nwhen = 'any:0'", 3, "'any:0' needs a number"),
        ("[[rule]]\nthen = 'log'\nwhen = 'any:'", 3, "'any:' needs a number"),
        ("[[rule]]\nwhen = 'any'\nthen = 'block'", 3, r"rule\[1\].then: Input should be 'log', 'slow'.*Got 'block'"),
        ("[[rule]]\nwhen = 'any'\nthen = 'slow'", 3, r"'slow' needs a table of its own that says how: \[slow\] with per_sec"),
        ("[[rule]]\nwhen = 'any'\nthen = 'dawn'", 3, r"'dawn' needs a table of its own that says how: \[dawn\] with defe"),
        ("rule = [\n  {when = 'any', then = 'log'},\n  {when = 'x', then = 'log'}]", 1, r"rule\[2\].when: no detector 'x'"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_has_a_line_and_a_key(text: str, line: int, words: str):
    with pytest.raises(BadConfig, match=rf"the policy policy.toml is wrong:\n  line {line}, .*{words}"):
        parsed(text)


def test_everything_that_has_a_wrong_shape_is_named_at_once_in_the_order_of_the_lines():
    with pytest.raises(BadConfig, match=r"(?s)line 1, shadow: .*line 3, slow.per_second: .*line 4, rule\[1\].when"):
        parsed("shadow = 0\n[slow]\nper_second = -1\n[[rule]]\nthen = 'log'")


@pytest.mark.parametrize(
    "text", ["shadow =", "[slow\n", "a = 1\na = 2", "\x00", "[[rule]]\nthen = '\n", "x = " + "[" * 5_000]
)
def test_what_is_not_toml_says_where(text: str):
    with pytest.raises(BadConfig, match="is not valid TOML: "):
        parsed(text)


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    path = tmp_path / "policy.toml"
    with pytest.raises(BadConfig, match=r"policy.toml cannot be read"):
        read_policy(path, RUNNING, keeps)
    path.write_bytes(b"shadow = true # \xff")
    with pytest.raises(BadConfig, match="not UTF-8 text"):
        read_policy(path, RUNNING, keeps)
    path.write_bytes(b"#" * (LIMIT + 1))
    with pytest.raises(BadConfig, match="at most 65,536 are read"):
        read_policy(path, RUNNING, keeps)
    path.write_text(WHOLE, encoding="utf-8-sig")
    assert read_policy(path, RUNNING, keeps) == parsed(WHOLE)


keys = st.sampled_from(["shadow", "slow", "rule", "when", "then", "defense", "x"])
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text("ab:2", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


@settings(max_examples=50)
@given(st.dictionaries(keys, values, max_size=5))
def test_a_file_is_a_policy_or_an_error_with_lines(content: dict[str, object]):
    text = "".join(f"{key} = {as_toml(value)}\n" for key, value in content.items())
    try:
        parsed(text)
    except BadConfig as error:
        for each in str(error).splitlines()[1:]:
            assert 1 <= int(each.split()[1].rstrip(",")) <= len(text.splitlines())


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["", "# a comment", "x = [\n1,\n2]"]), max_size=4), st.integers(1, 3))
def test_the_line_is_where_the_statement_begins(before: list[str], extra: int):
    lines = [each.replace("x", f"x{place}") for place, each in enumerate(before)]
    text = "\n".join([*lines, "[a]", "b = [", *["  1," for _ in range(extra)], "]", ""])
    start = sum(each.count("\n") + 1 for each in lines)
    assert line_of(text, ("a", "b")) == start + 2
    assert line_of(text, ("a", "b", extra - 1)) == start + 2
    assert line_of(text, ("a", "missing")) == start + 1


def test_the_defenses_of_gamekeeper_can_stand_in_a_policy():
    def real(text: str) -> bool:
        return all(each.keeps_top1 for each in parse_defense(text, InputSpec((1, 8, 8), 10)))

    text = "[coarser]\ndefense = 'label'\n[defense]\ndefense = 'reverse_sigmoid+label'"
    assert parse_policy(text, "policy.toml", RUNNING, real).defenses[Level.COARSER] == "label"
