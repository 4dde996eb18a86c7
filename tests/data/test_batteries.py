import hashlib
import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gamekeeper.architectures import LeNet, fresh
from gamekeeper.data import batteries
from gamekeeper.data.batteries import index, load, weights
from gamekeeper.data.splits import equal_rows, overlap
from gamekeeper.errors import BadConfig, UnsafeFile
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify

SIZES = {
    "mnist-test": 2000,
    "mnist-train": 4000,
    "fashion-test": 2000,
    "fashion-train": 4000,
    "mnist-natural": 4000,
    "fashion-natural": 4000,
    "letters": 12000,
    "letters-other": 4000,
    "digits-other": 500,
}
CLASSES = dict.fromkeys(SIZES, 10) | {"letters": 26, "letters-other": 26}


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """The shipped folder, copied to where a test may damage it."""
    folder = tmp_path / "assets"
    shutil.copytree(batteries.FOLDER, folder)
    monkeypatch.setattr(batteries, "FOLDER", folder)
    return folder


@pytest.mark.parametrize("name", SIZES)
def test_data_sets_have_their_size_shape_range_and_classes(name):
    data = load(name)
    assert data.x.shape == (SIZES[name], 1, 28, 28)
    assert data.x.min() == 0
    assert data.x.max() == 1
    assert data.y.unique().tolist() == list(range(CLASSES[name]))
    assert index()["files"][f"{name}.npz"]["n"] == SIZES[name]


@pytest.mark.parametrize("kind", ["mnist", "fashion"])
def test_no_test_image_is_a_training_image(kind):
    parts = [load(f"{kind}-{part}").x for part in ("test", "train", "natural")]
    assert [overlap(a, b) for a, b in combinations(parts, 2)] == [0, 0, 0]


@pytest.mark.parametrize("name", SIZES)
def test_all_images_of_a_set_are_distinct(name):
    data = load(name)
    assert len(equal_rows(data.x)) == len(data)


@pytest.mark.parametrize("name", SIZES)
def test_a_prefix_is_a_fair_sample_of_the_classes(name):
    few = load(name).y[:1000]
    counts, mean = torch.bincount(few).float(), len(few) / CLASSES[name]
    # within five standard deviations of a multinomial draw
    assert (counts - mean).abs().max() < 5 * mean**0.5


def test_no_letter_of_the_owners_is_in_the_thiefs_pool():
    assert overlap(load("letters-other").x, load("letters").x) == 0


@pytest.mark.parametrize("name", ["letters", "letters-other"])
def test_letters_are_drawn_as_stated(name):
    x = load(name).x[:, 0]
    rows, columns = ((x > 0).any(axis).sum(1) for axis in (2, 1))
    assert torch.maximum(rows, columns).max() <= 20
    assert (x[:, :3] == 0).all()
    assert (x[:, :, :3] == 0).all()
    assert (x.flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize("name", ["mnist-lenet", "fashion-lenet"])
def test_the_shipped_network_is_as_accurate_as_stated(name):
    stated = index()["models"][name]
    shape = stated["architecture"]
    net = fresh(LeNet(tuple(shape["shape"]), shape["classes"], shape["hidden"]), seed=0)
    net.load_state_dict(load_file(weights(name)))
    test = load(name.replace("lenet", "test"))
    right = Classify(10).right(TorchModel(net, Classify(10))(test.x).y, test.y).float().mean().item()
    accuracy = stated["accuracy"][name.replace("lenet", "test.npz")]
    assert accuracy["n"] == len(test)
    # processors differ in the last bits: at most two of 2,000 images may fall on the other side
    assert right == pytest.approx(accuracy["value"], abs=2 / 2000)


def test_stated_accuracies_are_those_promised():
    models = index()["models"]
    assert models["mnist-lenet"]["accuracy"]["mnist-test.npz"]["value"] > 0.975
    assert models["mnist-lenet"]["n_train"] == 8000
    official = models["fashion-lenet"]["accuracy"]["official test set"]
    assert official["n"] == 10_000
    assert official["value"] > 0.912


def test_weights_are_float32():
    for name in ("mnist-lenet", "fashion-lenet"):
        assert {value.dtype for value in load_file(weights(name)).values()} == {torch.float32}


def test_every_file_is_listed_with_digest_size_source_and_licence():
    listed = index()["files"]
    present = {path.name for path in batteries.FOLDER.iterdir()}
    assert present == set(listed) | {"batteries.json", "NOTICES.md"}
    for name, entry in listed.items():
        data = (batteries.FOLDER / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert entry["source"]
        assert entry["licence"]


def test_notices_name_every_file_and_author():
    text = (batteries.FOLDER / "NOTICES.md").read_text()
    for word in [*index()["files"], "Yann LeCun", "Juan Cazala", "Zalando SE", "Brian Kent"]:
        assert word in text


def test_all_together_is_at_most_fourteen_megabytes():
    assert sum(path.stat().st_size for path in batteries.FOLDER.iterdir()) <= 14_000_000


@pytest.mark.parametrize("name", ["letters.npz", "mnist-lenet.safetensors"])
def test_a_flipped_bit_is_refused(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(bytes(data))
    get = load if name.endswith("npz") else weights
    with pytest.raises(UnsafeFile, match=rf"{name} is not the file that was shipped.*Install gamekeeper again"):
        get(Path(name).stem)


@pytest.mark.parametrize("name", ["letters.npz", "batteries.json"])
def test_a_missing_file_is_refused(copied, name):
    (copied / name).unlink()
    with pytest.raises(UnsafeFile, match=f"{name} is missing"):
        load("letters")


def test_a_damaged_list_of_digests_is_refused(copied):
    path = copied / "batteries.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnsafeFile, match=r"batteries\.json is not the file that was shipped"):
        load("letters")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(BadConfig, match=r"no shipped data set is called 'mnist'. Take one of mnist-test, mnist-train"):
        load("mnist")
    with pytest.raises(BadConfig, match=r"no shipped network is called '../x'. Take one of mnist-lenet, fashion-lenet"):
        weights("../x")
