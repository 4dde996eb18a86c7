"""torch.export archives: bit-equal answers, and no door by which a file's code runs.

For every door, torch's own loader is shown to run the code of the doctored file (with the torch the pins name), and
ours to refuse the file without running it.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gamekeeper.errors import BadConfig, UnsafeFile
from gamekeeper.targets.files.pt2 import EXPRESSION, OPERATORS, read
from tests.targets.files.models import (
    CONSTANTS,
    MODEL,
    WEIGHTS,
    Members,
    doctored,
    edited,
    export,
    small,
    touching,
    touching_torch,
)

pytestmark = pytest.mark.thorough

Doctor = Callable[[Members, Path], None]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(small(), torch.rand(4, 1, 6, 6), tmp_path_factory.mktemp("pt2") / "plain.pt2")


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_answers_equal_the_original_network_bit_for_bit(plain: Path, n: int):
    x = torch.rand(n, 1, 6, 6)
    with torch.no_grad():
        assert torch.equal(read(plain)(x), small()(x))


def test_a_decomposed_program_answers_as_its_original(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "core.pt2", decompose=True)
    x = torch.rand(5, 1, 6, 6)
    with torch.no_grad():
        assert torch.allclose(read(path)(x), small()(x), rtol=0, atol=1e-6)


class Attention(nn.Module):
    """Several outputs of one operator, lists of tensors, arithmetic on sizes, keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.layer(x).chunk(2, 1)
        top = torch.cat([first, second], 1).max(1).values
        return nn.functional.gelu(top, approximate="tanh")[:, :3].reshape(x.shape[0] * 1, -1)


def test_a_transformer_answers_bit_for_bit(tmp_path: Path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = Attention().eval()
    path = export(net, torch.rand(3, 4, 8), tmp_path / "attention.pt2")
    x = torch.rand(5, 4, 8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # nn.Transformer takes another, fused path in evaluation mode: the exported program is the reference
        assert torch.equal(read(path)(x), torch.export.load(path).module()(x))


def test_the_input_is_not_changed_by_operators_in_place(plain: Path):
    x = torch.rand(3, 1, 6, 6)
    before = x.clone()
    read(plain)(x)
    assert torch.equal(x, before)


def test_values_are_dropped_after_their_last_use(plain: Path):
    done = [name for step in read(plain).steps for name in step.done]
    assert len(done) == len(set(done)) >= 5


def test_a_fixed_batch_shows_in_the_shape(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "fixed.pt2", dynamic=False)
    assert read(path).shape == (4, 1, 6, 6)


# doors


def by_expression(members: Members, canary: Path) -> None:
    def change(document: Any) -> None:
        code = f"__import__('pathlib').Path({str(canary)!r}).touch() or Integer(4)"
        for meta in document["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code

    edited(members, MODEL, change)


def by_name(members: Members, canary: Path) -> None:
    # valid as a parameter list, as the target of an assignment and as its value: the three places torch.fx pastes it
    code = f"p_unused,*_,q=[__import__('pathlib').Path({str(canary)!r}).touch()][0]"
    members[MODEL] = members[MODEL].replace(b'"p_unused"', json.dumps(code).encode())


def by_guard(members: Members, canary: Path) -> None:
    code = f"__import__('pathlib').Path({str(canary)!r}).touch() is None"
    edited(members, MODEL, lambda document: document.update(guards_code=[code]))


def by_weight(members: Members, canary: Path) -> None:
    edited(members, WEIGHTS, lambda document: document["config"]["head.bias"].update(use_pickle=True))
    file = json.loads(members[WEIGHTS])["config"]["head.bias"]["path_name"]
    members[f"data/weights/{file}"] = touching_torch(canary)


def by_old_weights(members: Members, canary: Path) -> None:
    members["data/weights/model.pt"] = touching_torch(canary)


def by_opaque_constant(members: Members, canary: Path) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    edited(members, CONSTANTS, lambda document: document["config"].update(extra=entry))
    members["data/constants/opaque_obj_0"] = touching(canary)


def by_tree(members: Members, canary: Path) -> None:
    (canary.parent / "doorway.py").write_text(f"import pathlib; pathlib.Path({str(canary)!r}).touch()")
    context = json.dumps([{"__enum__": True, "fqn": "doorway:Colour", "name": "RED"}])
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = json.dumps([1, {"type": "builtins.dict", "context": context, "children_spec": [leaf]}])

    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec

    edited(members, MODEL, change)


DOORS: list[Doctor] = [by_expression, by_name, by_guard, by_weight, by_old_weights, by_opaque_constant, by_tree]


def naive(path: Path) -> None:
    """Loads and runs the file as torch's documentation says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.export.load(path).module()(torch.rand(4, 1, 6, 6))
        except Exception:  # noqa: BLE001 - whatever happens afterwards, the code has run or has not
            return


@pytest.mark.parametrize("doctor", DOORS)
def test_a_file_whose_code_torch_would_run_is_refused_and_does_not_run(
    plain: Path, tmp_path: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    canary = tmp_path / "canary"
    path = doctored(plain, tmp_path / "doctored.pt2", lambda members: doctor(members, canary))
    if torch.__version__.startswith("2.13"):
        naive(path)
        assert canary.exists(), "torch ran nothing: this test shows nothing"
        canary.unlink()
        monkeypatch.delitem(sys.modules, "doorway", raising=False)
    with pytest.raises(UnsafeFile):
        read(path)
    assert not canary.exists()


def test_sample_inputs_are_never_opened(plain: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    path = doctored(
        plain,
        tmp_path / "d.pt2",
        lambda members: members.update({"data/sample_inputs/model.pt": touching_torch(canary)}),
    )
    x = torch.rand(3, 1, 6, 6)
    assert torch.equal(read(path)(x), read(plain)(x))
    assert not canary.exists()


def replaced(old: str, new: str) -> Doctor:
    def change(members: Members, _: Path) -> None:
        assert old.encode() in members[MODEL]
        members[MODEL] = members[MODEL].replace(old.encode(), new.encode())

    return change


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.empty.memory_format",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.rand.default",
        "torch.ops.aten.linear.out",
        "torch.ops.mylib.op.default",
        "torch.ops.higher_order.cond",
        "math.__loader__",
        "_operator.methodcaller",
        "#space:op",
        "torch.ops.aten.linear.default ",
        "",
    ],
)
def test_any_other_operator_is_refused(plain: Path, tmp_path: Path, target: str):
    doctor = replaced("torch.ops.aten.linear.default", target)
    path = doctored(plain, tmp_path / "d.pt2", lambda members: doctor(members, tmp_path))
    with pytest.raises(UnsafeFile, match="not among the operators"):
        read(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"as_int": 1}', '"as_custom_obj": {"name": "x", "class_fqn": "y"}}'),
        ('"as_int": 1}', '"as_operator": "torch.os.system"}'),
        ('"as_int": 1}', '"as_graph": {}}'),
        ('"name": "x"', '"name": "x y"'),
        ('"forward_arg_names": ["x"]', '"forward_arg_names": ["x=print()"]'),
        ('"as_bool": false', '"as_bool": "no"'),
        ('"as_float": 1e-05', '"as_float": "1e-5"'),
    ],
)
def test_any_other_argument_or_name_is_refused(plain: Path, tmp_path: Path, old: str, new: str):
    if '"as_int": 1}' in old:
        doctor = replaced(
            '"name": "other", "arg": {"as_tensor": {"name": "b_mean"}}', '"name": "other", "arg": {' + new
        )
    else:
        doctor = replaced(old, new)
    path = doctored(plain, tmp_path / "d.pt2", lambda members: doctor(members, tmp_path))
    with pytest.raises(UnsafeFile):
        read(path)


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/model.so",
        "data/constants/custom_obj_0",
        "models/other.json",
        "../../escape",
        "data/weights/weight_0.pt",
        "code/__torch__.py",
    ],
)
def test_any_other_member_is_refused(plain: Path, tmp_path: Path, name: str):
    path = doctored(plain, tmp_path / "d.pt2", lambda members: members.update({name: b"x"}))
    with pytest.raises(UnsafeFile, match="does not"):
        read(path)


def shape_of(key: str, values: list[int]) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["config"]["head.bias"]["tensor_meta"][key] = [{"as_int": v} for v in values]

    return change


@pytest.mark.parametrize(("key", "values"), [("sizes", [4]), ("sizes", [10**12]), ("strides", [2]), ("sizes", [-1])])
def test_a_weight_beyond_its_bytes_is_refused(plain: Path, tmp_path: Path, key: str, values: list[int]):
    path = doctored(plain, tmp_path / "d.pt2", lambda members: edited(members, WEIGHTS, shape_of(key, values)))
    with pytest.raises(UnsafeFile, match="not a whole"):
        read(path)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path):
    net = small()
    with torch.no_grad():
        net.head.bias[1] = torch.nan
    path = export(net, torch.rand(4, 1, 6, 6), tmp_path / "nan.pt2")
    with pytest.raises(BadConfig, match=r"head\.bias holds NaN"):
        read(path)


def test_a_file_cut_short_is_refused(plain: Path, tmp_path: Path):
    path = tmp_path / "cut.pt2"
    path.write_bytes(plain.read_bytes()[:-200])
    with pytest.raises(UnsafeFile):
        read(path)


@pytest.mark.parametrize("document", [b"{}", b"[]", b"null", b"{", b"[" * 100_000, b'{"graph_module": 3}', b"\xff"])
def test_a_graph_that_is_none_is_refused(plain: Path, tmp_path: Path, document: bytes):
    path = doctored(plain, tmp_path / "d.pt2", lambda members: members.update({MODEL: document}))
    with pytest.raises(UnsafeFile, match="not a whole"):
        read(path)


def test_a_model_that_depends_on_its_batch_size_is_refused(tmp_path: Path):
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.shape[0] * 2 > 5 else x

    path = tmp_path / "b.pt2"
    program = torch.export.export(Branching(), (torch.rand(4, 3),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, path)
    with pytest.raises(UnsafeFile, match="guards"):
        read(path)


@pytest.mark.parametrize(
    "text",
    ["Symbol('s77', positive=True, integer=True)", "Mul(Integer(16), Symbol('s0', integer=True))", "2*s0 + u1//3"],
)
def test_arithmetic_on_sizes_is_an_expression(text: str):
    assert EXPRESSION.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "Symbol('s0').func",
        "().__class__",
        "lambda: 0",
        "s0 if s1 else s2",
        "exec",
        "Symbol('__s')",
        "[s0]",
        "9" * 400 + "!x",
    ],
)
def test_anything_else_is_no_expression(text: str):
    assert not EXPRESSION.fullmatch(text)


def test_every_listed_operator_exists():
    missing = [name for name in OPERATORS if not hasattr(torch.ops.aten, name)]
    assert not missing


def test_no_listed_operator_takes_a_file_or_a_generator():
    wrong = []
    for name in sorted(OPERATORS):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            for argument in getattr(packet, overload)._schema.arguments:
                if str(argument.type) in ("Storage", "Stream") or argument.name in ("filename", "file"):
                    wrong.append(f"{name}.{overload}({argument.name})")
    assert not wrong
