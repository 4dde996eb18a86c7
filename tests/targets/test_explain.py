"""Targets that sell attribution maps: from a target file, from the command line, and all the way to a thief who uses them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.engine.run import run_cell
from gamekeeper.errors import BadConfig
from gamekeeper.explain import gradient_x_input, relevance_cam
from gamekeeper.targets.choice import Choice, assumptions, header_entry
from gamekeeper.targets.load import load_target

TOML = """
kind = "torch"
answers = "logits"
classes = 3
[model]
file = "{name}.safetensors"
architecture = "{name}"
{more}
[input]
shape = [1, 16, 16]
[data]
test = "test.npz"
pool = "pool.npz"
"""
NETWORKS = {"lenet": LeNet((1, 16, 16), 3), "mlp": Mlp((1, 16, 16), 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "test.npz", x=generator.random((30, 1, 16, 16)).astype(np.float32), y=np.arange(30) % 3)
    np.savez(tmp_path / "pool.npz", x=generator.random((40, 1, 16, 16)).astype(np.float32))
    for name, architecture in NETWORKS.items():
        save_file(fresh(architecture, 1).state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path


def written(folder: Path, name: str, explain: str | None = None) -> str:
    path = folder / f"{name}-{explain}.toml"
    path.write_text(TOML.format(name=name, more="" if explain is None else f'explain = "{explain}"'))
    return str(path)


def test_a_target_file_and_the_command_line_sell_the_same_maps(folder):
    plain = load_target(written(folder, "lenet"))
    from_file = load_target(written(folder, "lenet", "relevance_cam"))
    chosen = Choice(written(folder, "lenet"), explain="relevance_cam").load()
    x = plain.pool.x[:5]
    assert plain.victim(x).maps is None
    wanted = relevance_cam(plain.victim.net, x, plain.victim(x).y.argmax(1))
    for target in (from_file, chosen):
        assert torch.equal(target.victim(x).y, plain.victim(x).y)
        assert torch.allclose(target.victim(x).maps, wanted, atol=1e-6)
        assert header_entry(target)["explain"] == "relevance_cam"
        assert any("each with its relevance_cam map" in line for line in assumptions(target, target.student))
    assert "explain" not in header_entry(plain)
    assert not any("map" in line for line in assumptions(plain, plain.student))


def test_the_explainer_is_part_of_what_a_target_is(folder):
    name = written(folder, "lenet")
    digests = [Choice(name, explain=explain).load().digest for explain in (None, "gradient", "grad_cam")]
    digests += [load_target(written(folder, "lenet", explain)).digest for explain in ("gradient", "grad_cam")]
    assert len(set(digests)) == 5
    named = written(folder, "lenet", "grad_cam")
    assert Choice(named, explain="grad_cam").load().digest == load_target(named).digest


def test_the_command_line_has_the_last_word(folder):
    target = Choice(written(folder, "lenet", "grad_cam"), explain="gradient_x_input").load()
    x = target.pool.x[:3]
    top = target.victim(x).y.argmax(1)
    assert torch.allclose(target.victim(x).maps, gradient_x_input(target.victim.net, x, top), atol=1e-6)


def test_what_cannot_be_explained_is_refused_before_anything_is_asked(folder):
    for choice in (Choice(written(folder, "mlp", "grad_cam")), Choice(written(folder, "mlp"), explain="grad_cam")):
        with pytest.raises(BadConfig, match=r"explain = grad_cam: .*this network has none"):
            choice.load()
    with pytest.raises(BadConfig, match=r"no explainer 'gradcam'.*grad_cam"):
        Choice(written(folder, "lenet"), explain="gradcam").load()
    with pytest.raises(BadConfig, match=r"model.explain: .*'grad_cam'.*Got 'gradcam'"):
        load_target(written(folder, "lenet", "gradcam"))
    with pytest.raises(BadConfig, match="wine is sklearn"):
        Choice("wine", explain="gradient").load()
    path = folder / "onnx.toml"
    path.write_text(
        TOML.format(name="lenet", more='explain = "gradient"')
        .replace('"torch"', '"onnx"')
        .replace('architecture = "lenet"', "")
    )
    with pytest.raises(BadConfig, match=r"model\.explain needs gradients"):
        load_target(str(path))


def test_a_thief_learns_from_the_maps_and_is_told_when_they_take_another_explainer(folder):
    (folder / "run").mkdir()
    short = "rate=0.01,epochs=1,least_steps=2"
    thieves = [f"knockoff+attribution:explainer={name},{short}" for name in ("grad_cam", "gradient")]
    question = Audit(
        Choice(written(folder, "lenet"), student="lenet:hidden=8", explain="grad_cam"),
        [*thieves, f"knockoff+soft:{short}"], ["none", "label"], [20], [0], uniform=0,
    )  # fmt: skip
    rows = [run_cell(cell, folder / "run") for cell in expand(question, question.target.load())]
    errors = {(row.defense, row.attack): row.error for row in rows}
    assert [errors[defense, thieves[0]] for defense in ("none", "label")] == [None, None]
    assert all("uses another explainer" in errors[defense, thieves[1]] for defense in ("none", "label"))
