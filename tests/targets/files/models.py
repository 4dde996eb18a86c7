"""Small models and the files that hold them, for the tests of targets."""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Small(nn.Module):
    """Three classes from (1, 6, 6): convolution, batch normalisation, a constant, dropout, a size; one unused weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(64, 3)
        self.unused = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.full((1, 1, 1), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body((x - self.mean) / torch.tensor(0.5)).reshape(x.shape[0], -1))


def small(seed: int = 0) -> nn.Module:
    """A Small with weights of its own and running statistics that are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Small()
        net(torch.rand(32, 1, 6, 6))
    return net.eval()


def export(net: nn.Module, example: Tensor, path: Path, dynamic: bool = True, decompose: bool = False) -> Path:
    """Writes a .pt2 file, as a user would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
        program = torch.export.export(net, (example,), dynamic_shapes=shapes)
        torch.export.save(program.run_decompositions() if decompose else program, path)
    return path


Members = dict[str, bytes]


def doctored(source: Path, target: Path, change: Callable[[Members], None]) -> Path:
    """A copy of a zip archive with its members changed; names without the archive's root folder."""
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].split("/")[0] + "/"
        members = {name.removeprefix(root): archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(root + name, data)
    return target


def edited(members: Members, name: str, change: Callable[[Any], None]) -> None:
    """Changes one JSON member."""
    document = json.loads(members[name])
    change(document)
    members[name] = json.dumps(document).encode()


class Touch:
    """What pickles into a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def touching(path: Path) -> bytes:
    return pickle.dumps(Touch(path))


def touching_torch(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Touch(path), buffer)
    return buffer.getvalue()
