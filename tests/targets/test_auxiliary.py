"""The owner's auxiliary inputs: where they come from, what they change, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gamekeeper.data import batteries
from gamekeeper.data.splits import overlap
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.errors import BadConfig
from gamekeeper.targets.choice import Choice, assumptions, header_entry
from gamekeeper.targets.load import load_target

FILE = """
kind = "torch"
answers = "logits"
classes = 10
[model]
file = "mnist-lenet"
architecture = "lenet"
[input]
shape = [1, 28, 28]
[data]
test = "mnist-test"
pool = "letters"
train = "mnist-train"
"""


def asked(choice: Choice) -> None:
    expand(Audit(choice, ["knockoff"], ["none"], [10], [0]), choice.load())


@pytest.mark.parametrize(("target", "other"), [("mnist", "fashion-train"), ("fashion", "mnist-train")])
def test_related_are_letters_that_the_thief_does_not_hold_and_unrelated_no_letters(target: str, other: str):
    for word, battery in (("related", "letters-other"), ("unrelated", other)):
        found = Choice(target, auxiliary=word).load()
        assert found.owner.ood is not None
        assert torch.equal(found.owner.ood, batteries.load(battery).x)
        assert overlap(found.owner.ood, found.pool.x) == 0
        assert header_entry(found)["auxiliary"] == word
        assert word in assumptions(found, found.student)[-1]
        asked(Choice(target, auxiliary=word))


def test_the_set_enters_the_digest_and_without_one_nothing_changes():
    plain = load_target("mnist")
    digests = [Choice("mnist", auxiliary=each).load().digest for each in (None, "related", "unrelated")]
    assert digests[0] == plain.digest
    assert len(set(digests)) == 3
    assert Choice("mnist", auxiliary="letters-other").load().digest == digests[1]
    assert "auxiliary" not in header_entry(plain)


def test_a_target_file_names_them_as_the_command_line_does(tmp_path: Path):
    (tmp_path / "plain.toml").write_text(FILE)
    (tmp_path / "told.toml").write_text(FILE + 'auxiliary = "letters-other"\n')
    told = load_target(str(tmp_path / "told.toml"))
    assert told.digest == Choice(str(tmp_path / "plain.toml"), auxiliary="letters-other").load().digest
    assert told.owner.ood is not None


def test_a_data_file_of_the_users(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x=x)
    found = Choice("mnist", auxiliary=str(tmp_path / "mine.npz")).load()
    assert found.owner.ood is not None
    assert found.owner.ood.shape == (7, 1, 28, 28)


def test_what_the_thief_asks_about_or_is_judged_on_is_refused_before_anything_is_asked():
    with pytest.raises(
        BadConfig, match=r"12,000 of the 12,000 auxiliary inputs \(letters\) are also in the thief's pool"
    ):
        asked(Choice("mnist", auxiliary="letters"))
    with pytest.raises(BadConfig, match="also in the test set"):
        asked(Choice("mnist", auxiliary="mnist-test"))
    one = Choice("mnist", auxiliary="related").load()
    ood = one.owner.ood
    assert ood is not None
    leaky = replace(one, owner=replace(one.owner, ood=torch.cat([ood[:50], one.pool.x[7:8]])))
    with pytest.raises(BadConfig, match="1 of the 51 auxiliary inputs"):
        expand(Audit(Choice("mnist"), ["knockoff"], ["none"], [10], [0]), leaky)


def test_wrong_words_and_shapes_are_said():
    with pytest.raises(BadConfig, match="is known for mnist and fashion only"):
        Choice("digits", auxiliary="related").load()
    with pytest.raises(BadConfig, match="--auxiliary: its inputs have shape"):
        Choice("digits", auxiliary="letters-other").load()
    with pytest.raises(BadConfig, match=r"nowhere\.npz does not exist"):
        Choice("mnist", auxiliary="nowhere.npz").load()
