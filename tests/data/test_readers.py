import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gamekeeper.data import limits
from gamekeeper.data.readers import read
from gamekeeper.errors import BadConfig, UnsafeFile

PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 11


def npz(path: Path, **arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def refused(path: Path, match: str, error: type[Exception] = BadConfig, label: str | None = None) -> None:
    with pytest.raises(error, match=match):
        read(path, label)


# all formats


def test_a_missing_file_says_what_can_be_read(tmp_path):
    refused(tmp_path / "no.npz", r"no\.npz does not exist\. Give an \.npz, IDX")


@pytest.mark.parametrize("name", ["a.npz", "a-idx3-ubyte", "a.bin", "a.csv", "a.gz", "a"])
def test_an_empty_file_is_refused(tmp_path, name):
    refused(written(tmp_path / name, b""), "is empty")


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.joblib", "a.pt", "a.pth"])
def test_pickle_suffixes_are_refused_whatever_is_inside(tmp_path, name):
    refused(written(tmp_path / name, b"hello"), "is a pickle, which can run code", UnsafeFile)


@pytest.mark.parametrize("name", ["data_batch_1", "batch.bin", "x.npz", "x.csv", "t10k-images-idx3-ubyte"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_under_any_name_is_refused_with_the_binary_version_named(tmp_path, name, protocol):
    path = written(tmp_path / name, pickle.dumps({"data": [1]}, protocol))
    refused(path, r"take the binary version \(data_batch_1\.bin", UnsafeFile)


def test_an_unknown_format_is_refused(tmp_path):
    refused(written(tmp_path / "a.parquet", b"PAR1"), "format of .* is not known")


def test_a_label_name_is_refused_where_it_would_be_ignored(tmp_path):
    refused(written(tmp_path / "a.bin", bytes(3073)), "`label` names a column", label="y")


def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path):
    (tmp_path / "a.csv").mkdir()
    refused(tmp_path / "a.csv", "cannot be read")


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["a.npz", "a-images-idx3-ubyte", "a.bin", "a.csv", "a.gz"]))
@settings(deadline=None, max_examples=150)
def test_random_bytes_never_raise_anything_else(tmp_path_factory, data, name):
    path = written(tmp_path_factory.getbasetemp() / name, data)
    message = str(path)
    try:
        read(path)
    except (BadConfig, UnsafeFile) as error:
        message = str(error)
    assert str(path) in message


# npz


def test_npz_grey_pixels_become_float32_with_a_channel(tmp_path):
    data = read(npz(tmp_path / "a.npz", x=PIXELS, y=np.array([3, 1])))
    assert data.x.dtype == torch.float32
    assert data.x.shape == (2, 1, 3, 4)
    assert data.x[1, 0, 2, 3] == np.float32(253) / np.float32(255)
    assert data.y.tolist() == [3, 1]
    assert data.y.dtype == torch.int64


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_channels_may_come_first_or_last(tmp_path, channels):
    x = np.random.default_rng(0).integers(0, 256, (2, channels, 5, 4), dtype=np.uint8)
    first, last = (read(npz(tmp_path / "a.npz", x=a)) for a in (x, x.transpose(0, 2, 3, 1)))
    assert torch.equal(first.x, torch.from_numpy(x) / 255)
    assert torch.equal(last.x, first.x)
    assert last.x.is_contiguous()


def test_npz_numbers_other_than_uint8_stay_as_they_are(tmp_path):
    x = np.array([[-1.5, 300.0], [0.25, 7.0]])
    assert read(npz(tmp_path / "a.npz", x=x)).x.tolist() == x.tolist()
    assert read(npz(tmp_path / "b.npz", x=x.astype(np.int64))).x.tolist() == [[-1, 300], [0, 7]]


def test_npz_big_endian_and_fortran_arrays_are_read_right(tmp_path):
    x = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    assert read(npz(tmp_path / "a.npz", x=x)).x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_npz_without_labels_is_an_unlabelled_pool(tmp_path):
    assert read(npz(tmp_path / "a.npz", x=PIXELS)).y is None


@pytest.mark.parametrize("end", ["", "_test", "_train"])
def test_npz_names_that_are_accepted(tmp_path, end):
    data = read(npz(tmp_path / "a.npz", **{"x" + end: PIXELS, "y" + end: np.array([[3], [1]])}))
    assert data.y.tolist() == [3, 1]


def test_npz_with_two_sets_must_be_told_which(tmp_path):
    path = npz(tmp_path / "a.npz", x_train=PIXELS, y_train=[0, 0], x_test=PIXELS[:1], y_test=[5])
    refused(path, "needs exactly one of the arrays x, x_test, x_train; it holds x_test, x_train, y_test, y_train")
    assert read(path, label="y_test").y.tolist() == [5]
    assert len(read(path, label="y_train")) == 2


def test_npz_label_without_its_inputs_is_refused(tmp_path):
    refused(npz(tmp_path / "a.npz", x=PIXELS, y_test=[1, 2]), "needs the inputs with the same ending", label="y_test")


def test_npz_without_an_accepted_name_says_what_it_holds(tmp_path):
    refused(npz(tmp_path / "a.npz", images=PIXELS), "needs exactly one of the arrays .* it holds images")


@pytest.mark.parametrize("name", ["x", "y"])
def test_npz_object_arrays_are_refused_as_unsafe(tmp_path, name):
    arrays = {"x": PIXELS, "y": np.array([1, 2])} | {name: np.array([{}, {}], dtype=object)}
    refused(npz(tmp_path / "a.npz", **arrays), f"array {name} in .* holds Python objects", UnsafeFile)


def test_npz_structured_arrays_with_objects_are_refused_as_unsafe(tmp_path):
    x = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    refused(npz(tmp_path / "a.npz", x=x), "holds Python objects", UnsafeFile)


@pytest.mark.parametrize("x", [np.array(["a"]), np.ones((2, 2)) * 1j, np.array([["2020"]], "M8[Y]")])
def test_npz_other_dtypes_are_refused(tmp_path, x):
    refused(npz(tmp_path / "a.npz", x=x), "needs real numbers; got dtype")


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2, 2), (2, 3, 4, 3), (1, 1, 1, 1, 1)])
def test_npz_other_shapes_are_refused(tmp_path, shape):
    refused(npz(tmp_path / "a.npz", x=np.zeros(shape)), r"needs inputs of shape \(n, d\)")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_npz_values_that_are_not_finite_are_refused_with_the_example(tmp_path, bad):
    x = np.zeros((4, 3))
    x[2, 1] = bad
    refused(npz(tmp_path / "a.npz", x=x), "example 2 .counted from 0. holds NaN or an infinity")


@pytest.mark.parametrize("y", [[0.5, 1], [-1, 0], [b"a", b"b"], [[0, 1], [1, 0]], [["a", "b"]] * 2, [2**40, 0]])
def test_npz_labels_that_are_no_classes_are_refused(tmp_path, y):
    refused(npz(tmp_path / "a.npz", x=PIXELS, y=np.array(y)), "labels in .* must be whole numbers|needs real numbers")


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_npz_labels_may_be_names_which_are_numbered_in_sorted_order(tmp_path, shape):
    y = np.array(["fox", "cat", "dog"]).reshape(shape)
    assert read(npz(tmp_path / "a.npz", x=np.zeros((3, 2)), y=y)).y.tolist() == [2, 0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_labels_in_floating_point_are_class_numbers_where_they_are_whole(tmp_path, dtype):
    y = read(npz(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.array([0, 2, 1], dtype))).y
    assert y.dtype == torch.int64
    assert y.tolist() == [0, 2, 1]
    for bad in (0.5, -1, np.nan, np.inf):
        refused(npz(tmp_path / "a.npz", x=PIXELS, y=np.array([0, bad], dtype)), "must be whole numbers from 0 or names")


def test_npz_one_hot_labels_are_refused_with_what_to_save(tmp_path):
    refused(
        npz(tmp_path / "a.npz", x=PIXELS, y=np.eye(2)), r"float64 of shape \(2, 2\).* of one-hot rows y\.argmax\(1\)"
    )


def test_npz_labels_that_are_numbers_written_as_text_are_class_numbers(tmp_path):
    assert read(npz(tmp_path / "a.npz", x=PIXELS, y=np.array(["3", "1"]))).y.tolist() == [3, 1]


def test_npz_counts_must_agree(tmp_path):
    refused(npz(tmp_path / "a.npz", x=PIXELS, y=[1, 2, 3]), "got 2 inputs and 3 labels")


def test_npz_without_rows_is_refused(tmp_path):
    refused(npz(tmp_path / "a.npz", x=np.zeros((0, 3))), "holds no examples")


def test_npz_cut_short_is_refused(tmp_path):
    data = npz(tmp_path / "a.npz", x=PIXELS).read_bytes()
    for size in (1, 10, len(data) // 2, len(data) - 1):
        refused(written(tmp_path / "b.npz", data[:size]), "is not a whole npz file")


def test_npz_with_a_flipped_byte_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=PIXELS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(PIXELS.tobytes()) + 3] ^= 1
    refused(written(tmp_path / "b.npz", bytes(data)), "is not a whole npz file .*CRC")


def test_npz_whose_header_promises_more_than_there_is_is_refused_before_memory_is_reserved(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**28, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 100)
    refused(tmp_path / "a.npz", "array x in .* is cut short or its header is wrong")


def test_npz_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LIMIT", 10_000)
    path = npz(tmp_path / "a.npz", x=np.zeros((3000, 1), np.uint8))
    refused(path, "unpacks to 12,000 bytes; at most 10,000 are read", UnsafeFile)


def test_the_limit_is_four_gib():
    assert limits.LIMIT == 2**32


# IDX


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("labels_packed", [True, False])
def test_idx_images_find_their_labels(tmp_path, name, packed, labels_packed):
    for file, array, pack in (
        (name, PIXELS, packed),
        (name.replace("images", "labels").replace("3", "1"), [7, 2], labels_packed),
    ):
        data = idx(np.array(array, np.uint8))
        written(tmp_path / (file + ".gz" * pack), gzip.compress(data) if pack else data)
    data = read(tmp_path / (name + ".gz" * packed))
    assert torch.equal(data.x, torch.from_numpy(PIXELS)[:, None] / 255)
    assert data.y.tolist() == [7, 2]


def test_idx_without_labels_is_an_unlabelled_pool(tmp_path):
    assert read(written(tmp_path / "t10k-images-idx3-ubyte", idx(PIXELS))).y is None


def test_idx_is_known_by_its_content_too(tmp_path):
    assert len(read(written(tmp_path / "digits", idx(PIXELS)))) == 2


def test_idx_labels_given_for_images_are_refused(tmp_path):
    path = written(tmp_path / "t10k-labels-idx1-ubyte", idx(np.zeros(5, np.uint8)))
    refused(path, r"Give the \*-images-idx3-ubyte file")


def test_idx_counts_must_agree(tmp_path):
    written(tmp_path / "t10k-labels-idx1-ubyte", idx(np.zeros(3, np.uint8)))
    refused(written(tmp_path / "t10k-images-idx3-ubyte", idx(PIXELS)), "one label for each of the 2 images")


@pytest.mark.parametrize("head", [b"\x89PNG", b"\0\0\x0d\3", b"\0\0\x08\0", b"\0\0\x08\xff", b"\1\0\x08\3", b"\0\0"])
def test_idx_wrong_magic_is_refused(tmp_path, head):
    refused(
        written(tmp_path / "a-images-idx3-ubyte", head + idx(PIXELS)[4:] if len(head) == 4 else head),
        "must start with 00 00 08",
    )


@pytest.mark.parametrize("change", [-1, 1])
def test_idx_with_too_few_or_too_many_bytes_is_refused(tmp_path, change):
    data = (idx(PIXELS) + b"\0")[: len(idx(PIXELS)) + change]
    refused(written(tmp_path / "a-images-idx3-ubyte", data), f"announces 2 x 3 x 4 = 24 bytes; got {24 + change}")


def test_idx_cut_inside_its_header_is_refused(tmp_path):
    refused(written(tmp_path / "a-images-idx3-ubyte", idx(PIXELS)[:10]), "cut short inside its header")


def test_idx_with_huge_announced_counts_is_refused(tmp_path):
    refused(written(tmp_path / "a-idx3-ubyte", b"\0\0\x08\4" + b"\xff" * 16), "announces 4294967295 x")


def test_idx_of_no_images_is_refused(tmp_path):
    refused(written(tmp_path / "a-idx3-ubyte", idx(np.zeros((0, 3, 4), np.uint8))), "holds no examples")


def test_gz_cut_short_or_no_gz_is_refused(tmp_path):
    packed = gzip.compress(idx(PIXELS))
    refused(written(tmp_path / "a-idx3-ubyte.gz", packed[:-5]), "is not a whole gzip file")
    refused(written(tmp_path / "b-idx3-ubyte.gz", idx(PIXELS)), "is not a whole gzip file")


def test_gz_bomb_stops_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LIMIT", 1_000_000)
    monkeypatch.setattr(limits, "CHUNK", 65_536)
    path = written(tmp_path / "a-idx3-ubyte.gz", gzip.compress(bytes(50_000_000)))
    refused(path, "unpacks to 1,048,576 bytes; at most 1,000,000 are read", UnsafeFile)


# CIFAR


def test_cifar10_records(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    data = read(
        written(tmp_path / "test_batch.bin", np.column_stack([np.array([9, 0, 4], np.uint8), pixels]).tobytes())
    )
    assert torch.equal(data.x, torch.from_numpy(pixels.reshape(3, 3, 32, 32)) / 255)
    assert data.y.tolist() == [9, 0, 4]


def test_cifar100_records_give_the_fine_label(tmp_path):
    labels = np.array([[19, 99], [0, 40]], np.uint8)
    data = read(written(tmp_path / "test.bin", np.column_stack([labels, np.ones((2, 3072), np.uint8)]).tobytes()))
    assert data.y.tolist() == [99, 40]
    assert data.x.shape == (2, 3, 32, 32)
    assert (data.x == 1 / 255).all()


@pytest.mark.parametrize("data", [bytes(3072), bytes(3073 * 2 - 1), b"\x0a" + bytes(3072), b"\x14" + bytes(3073)])
def test_cifar_of_wrong_size_or_labels_is_refused(tmp_path, data):
    refused(written(tmp_path / "a.bin", data), "is not a CIFAR binary file")


# folders


def test_folder_with_a_sub_folder_a_class(tmp_path):
    for name, value in (("dog/1.png", 10), ("cat/2.png", 20), ("cat/1.png", 30)):
        picture(tmp_path / name, np.full((4, 5), value, np.uint8))
    (tmp_path / "cat" / ".DS_Store").write_text("x")
    data = read(tmp_path)
    assert data.x.shape == (3, 1, 4, 5)
    assert (data.x[:, 0, 0, 0] * 255).round().tolist() == [30, 20, 10]
    assert data.y.tolist() == [0, 0, 1]


def test_flat_folder_is_an_unlabelled_pool_of_colour_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture(tmp_path / "a.png", pixels)
    picture(tmp_path / "b.bmp", pixels[::-1].copy())
    data = read(tmp_path)
    assert data.y is None
    assert torch.equal(data.x[0], torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert torch.equal(data.x[1], data.x[0].flip(1))


def test_one_colour_image_makes_all_of_them_colour(tmp_path):
    picture(tmp_path / "a.png", np.full((2, 2), 51, np.uint8))
    picture(tmp_path / "b.png", np.full((2, 2, 3), 102, np.uint8))
    data = read(tmp_path)
    assert data.x.shape == (2, 3, 2, 2)
    assert (data.x[0] == 51 / 255).all()


def test_palette_and_one_bit_images_are_read(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 255, np.uint8)).convert("P").save(tmp_path / "a.png")
    Image.fromarray(np.full((2, 2), 255, np.uint8)).convert("1").save(tmp_path / "b.png")
    assert torch.equal(read(tmp_path).x, torch.ones(2, 1, 2, 2))


def test_a_grey_palette_is_grey_and_one_of_colours_is_not(tmp_path):
    shades = np.array([[0, 40], [80, 255]], np.uint8)
    Image.fromarray(shades).convert("P").save(tmp_path / "a.png")
    grey = read(tmp_path).x
    assert torch.equal(grey, torch.from_numpy(shades)[None, None] / 255)
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[0, 0] = (255, 0, 51)
    Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "b.png")
    both = read(tmp_path).x
    assert torch.equal(both[0], grey[0].expand(3, 2, 2))
    assert (both[1, :, 0, 0] * 255).round().tolist() == [255, 0, 51]


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    pixels = np.full((2, 2, 4), 255, np.uint8)
    picture(tmp_path / "a.png", pixels)
    assert torch.equal(read(tmp_path).x, torch.ones(1, 3, 2, 2))
    pixels[0, 0, 3] = 254
    picture(tmp_path / "a.png", pixels)
    refused(tmp_path, "a.png has transparent pixels")


def test_sixteen_bit_images_are_refused(tmp_path):
    picture(tmp_path / "a.png", np.full((2, 2), 40_000, np.uint16))
    refused(tmp_path, "pixels of mode I;16; 8-bit grey or RGB is needed")


def test_what_operating_systems_leave_is_no_class(tmp_path):
    for name in ("__MACOSX", "cat", "dog", ".git", "@eaDir"):
        picture(tmp_path / name / "a.png", PIXELS[0])
    (tmp_path / "Thumbs.db").write_text("x")
    assert read(tmp_path).y.tolist() == [0, 1]


def test_folders_whose_names_are_numbers_are_class_numbers(tmp_path):
    for number in (0, 2, 10):
        picture(tmp_path / str(number) / "a.png", np.full((2, 2), number, np.uint8))
    data = read(tmp_path)
    assert (data.x[:, 0, 0, 0] * 255).round().tolist() == data.y.tolist() == [0, 10, 2]


def test_an_image_that_is_to_be_turned_before_it_is_shown_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.jpg", exif=exif)
    refused(tmp_path, r"a\.jpg says that it is to be turned before it is shown \(EXIF orientation 6\)")


def test_an_image_of_two_frames_is_refused(tmp_path):
    one, two = (Image.fromarray(each) for each in PIXELS)
    one.save(tmp_path / "a.webp", save_all=True, append_images=[two], lossless=True)
    refused(tmp_path, r"a\.webp holds 2 frames")


def test_images_of_two_sizes_are_refused_naming_both(tmp_path):
    picture(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    picture(tmp_path / "b.png", np.zeros((5, 4), np.uint8))
    refused(tmp_path, r"a\.png has 5 x 4 pixels and .*b\.png has 4 x 5")


def test_images_beside_class_folders_are_refused(tmp_path):
    picture(tmp_path / "cat" / "a.png", PIXELS[0])
    picture(tmp_path / "b.png", PIXELS[0])
    refused(tmp_path, "either one sub-folder per class or only images; got both, for example b.png")


def test_a_class_without_images_is_refused(tmp_path):
    picture(tmp_path / "cat" / "a.png", PIXELS[0])
    (tmp_path / "dog").mkdir()
    refused(tmp_path, "needs an image; dog has none")


def test_an_empty_folder_is_refused(tmp_path):
    refused(tmp_path, "holds no images")


def test_a_file_that_is_no_image_is_refused(tmp_path):
    picture(tmp_path / "a.png", PIXELS[0])
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path, "notes.txt is not an image")


def test_an_image_cut_short_is_refused(tmp_path):
    path = picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    refused(tmp_path, "a.png is not a whole image")


def test_a_file_of_another_format_under_an_image_suffix_is_refused(tmp_path):
    picture(tmp_path / "a.bmp", PIXELS[0]).rename(tmp_path / "a.png")
    refused(tmp_path, r"a\.png is not a whole image .* Replace or remove it")
    picture(tmp_path / "b.png", PIXELS[0]).rename(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    refused(tmp_path, r"a\.jpg is not a whole image .* begins like a PNG file: give it that ending")


def test_a_folder_of_splits_is_refused_with_the_folder_to_give(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    picture(tmp_path / "train" / "cat" / "a.png", PIXELS[0])
    refused(tmp_path, r"cat is a folder, where an image is needed: .* Give .*train if its sub-folders are the classes")


def test_an_image_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    picture(tmp_path / "a.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)  # a warning of Pillow's
    refused(tmp_path, "unpacks to too many pixels", UnsafeFile)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)  # an error of Pillow's
    refused(tmp_path, "unpacks to too many pixels", UnsafeFile)


def test_a_folder_that_would_fill_the_memory_is_refused_at_its_first_image(tmp_path, monkeypatch):
    for name in "abc":
        picture(tmp_path / f"{name}.png", np.zeros((10, 10), np.uint8))
    monkeypatch.setattr(limits, "LIMIT", 3000)
    refused(tmp_path, r"a\.png unpacks to 3,600 bytes|at most 3,000", UnsafeFile)


# CSV


def csv(tmp_path: Path, text: str) -> Path:
    return written(tmp_path / "a.csv", text.encode())


def test_csv_numbers_and_one_hot_columns_in_order(tmp_path):
    data = read(csv(tmp_path, "age,job,hours,class\n30,nurse,1.5,yes\n40,clerk,-2e1,no\n50, nurse ,0,no\n"))
    assert data.x.tolist() == [[30, 0, 1, 1.5], [40, 1, 0, -20], [50, 0, 1, 0]]
    assert data.y.tolist() == [1, 0, 0]


def test_csv_label_column_by_name(tmp_path):
    data = read(csv(tmp_path, "kind,a,b\n2,0.5,1\n0,0.25,3\n"), label="kind")
    assert data.x.tolist() == [[0.5, 1], [0.25, 3]]
    assert data.y.tolist() == [2, 0]


def test_csv_empty_label_name_means_no_labels(tmp_path):
    data = read(csv(tmp_path, "a,b\n1,2\n"), label="")
    assert data.x.tolist() == [[1, 2]]
    assert data.y is None


def test_csv_negative_classes_are_numbered_in_sorted_order(tmp_path):
    assert read(csv(tmp_path, "a,y\n1,1\n1,-1\n")).y.tolist() == [1, 0]


def test_csv_quotes_blank_lines_crlf_and_byte_order_mark(tmp_path):
    data = read(csv(tmp_path, '\ufeffa,b,y\r\n1,"x, ""y""",0\r\n\r\n2,z,1\r\n'))
    assert data.x.tolist() == [[1, 1, 0], [2, 0, 1]]


def test_csv_gz(tmp_path):
    assert read(written(tmp_path / "a.csv.gz", gzip.compress(b"a,y\n1,0\n"))).x.tolist() == [[1]]


@pytest.mark.parametrize("text", ["1_000", "0x10", "1e", "१", "1 2", '"1,234"', "10%", "$5", "many"])
def test_csv_a_number_in_another_spelling_is_no_category(tmp_path, text):
    refused(csv(tmp_path, f"a,y\n5,0\n{text},1\n"), "line 3 of .* in column 'a' and the number 5 in line 2")


@pytest.mark.parametrize("text", ["10%", "1'000", "€ 3"])
def test_csv_a_column_of_numbers_in_another_spelling_is_no_column_of_categories(tmp_path, text):
    refused(csv(tmp_path, f"a,y\n{text},0\n{text},1\n"), "line 2 of .* a column holds plain numbers")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "?",
        "NA",
        "n/a",
        "NaN",
        "null",
        "None",
        "-",
        "--",
        ".",
        "#N/A",
        "<NA>",
        "-nan",
        "missing",
        "n.a.",
        "\\N",
    ],
)
def test_csv_missing_values_are_refused_with_line_and_column(tmp_path, value):
    refused(csv(tmp_path, f"a,b,y\n1,2,0\n1,{value},0\n"), "line 3 of .* has no value in column 'b'")


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e400", "1e39"])
def test_csv_infinities_are_refused_with_line_and_column(tmp_path, value):
    refused(csv(tmp_path, f"a,b,y\n1,2,0\n\n1,{value},0\n"), f"line 4 of .* has {value} in column 'b'")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b,y\n1,2,0\n1,2\n", "line 3 of .* has 2 values; 3 are needed"),
        ("1,2,0\n1,2,1\n", "needs a first line with a different name"),
        ("a,a,y\n1,2,0\n", "needs a first line with a different name"),
        ("a,,y\n1,2,0\n", r"needs a first line with a different name for each column; got 'a, , y'\.$"),
        (",a,y\n0,1,2\n", "as where pandas writes its index: save it with index=False"),
        ("a,b,y\n", "holds no examples"),
        ("\n\n", "needs a first line"),
        (
            "a;b;y\n1,5;2,0;0\n",
            r"separates its columns with semicolons; commas are needed, and in numbers a decimal point",
        ),
        ("\na\tb\ty\n1\t2\t0\n", "separates its columns with tabs; commas are needed"),
        ("a,b\n1,5,2,0\n", r"has 4 values; 2 are needed\. .* write them with a point: 1\.5 instead of 1,5"),
        ("a,y\n1,0\n2,0.5\n", "must hold classes .text or whole numbers.; got 0.5"),
        ("a,y\n1,0\n2,1e20\n", "must hold classes .text or whole numbers.; got 1e20"),
        ('a,y\n3,1\n"1,0\n2,1\n', r'line 3 of .* opens a quote \("\) and does not close it .* Close it; a quote that'),
        ('a,y\n"1"5,0\n', "line 2 of .* opens a quote .* does not close it before a comma"),
    ],
)
def test_csv_malformed_tables_are_refused(tmp_path, text, match):
    refused(csv(tmp_path, text), match)


def test_csv_unknown_label_column_is_refused_with_the_columns(tmp_path):
    refused(csv(tmp_path, "a,y\n1,0\n"), "no column 'z' for the label; its columns are a, y", label="z")


def test_csv_in_another_encoding_is_refused(tmp_path):
    refused(written(tmp_path / "a.csv", b"a,y\nM\xfcller,0\n"), "is not a CSV file in UTF-8")
    refused(written(tmp_path / "a.csv", "a,y\n1,0\n".encode("utf-16")), r"in a spreadsheet: CSV UTF-8")


def test_csv_that_one_hot_encoding_would_blow_up_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LIMIT", 30_000)
    text = "a,y\n" + "".join(f"name{i},0\n" for i in range(100))
    refused(csv(tmp_path, text), "unpacks to 40,000 bytes; at most 30,000 are read", UnsafeFile)
