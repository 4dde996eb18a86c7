"""Folders of images: one sub-folder per class, or images without classes."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from gamekeeper.data.limits import within_limit
from gamekeeper.errors import BadConfig, UnsafeFile

Array = np.ndarray[Any, np.dtype[Any]]
IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".pgm": "PPM", ".ppm": "PPM", ".webp": "WEBP"}


HEADS = {"PNG": b"\x89PNG", "JPEG": b"\xff\xd8\xff", "WEBP": b"WEBP", "GIF": b"GIF8", "TIFF": b"II*\0"}
"""What files of these formats have among their first twelve bytes."""
LEFT_OVER = {"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"}
"""What operating systems leave in folders and archives."""
TURNED = 0x0112
"""The EXIF tag that says how to turn an image before it is shown."""


def read_folder(folder: Path) -> tuple[Array, list[str] | None]:
    """The images, and for each the name of its sub-folder, if there are any."""
    entries = visible(folder)
    classes = [entry for entry in entries if entry.is_dir()]
    if classes and len(classes) < len(entries):
        stray = next(entry for entry in entries if not entry.is_dir())
        raise BadConfig(
            f"{folder} needs either one sub-folder per class or only images; got both, for example {stray.name}."
            " Move it."
        )
    if not classes:
        return load_images(folder, entries), None
    groups = [visible(entry) for entry in classes]
    empty = [entry.name for entry, group in zip(classes, groups, strict=True) if not group]
    if empty:
        raise BadConfig(
            f"every class of {folder} needs an image; {', '.join(empty)} has none. Remove the empty folder."
        )
    names = [entry.name for entry, group in zip(classes, groups, strict=True) for _ in group]
    return load_images(folder, [file for group in groups for file in group]), names


def visible(folder: Path) -> list[Path]:
    """Entries in sorted order, without hidden ones and those that operating systems leave."""
    return sorted(each for each in folder.iterdir() if not each.name.startswith(".") and each.name not in LEFT_OVER)


def load_images(folder: Path, files: list[Path]) -> UInt8[np.ndarray, "n c h w"]:
    """All images, grey if every one is grey, else RGB. No image is decoded before its size has been checked."""
    if not files:
        raise BadConfig(
            f"{folder} holds no images. Give a folder of {', '.join(IMAGES)} files, or one sub-folder per class."
        )
    images: list[Array] = []
    for file in files:
        images.append(load_image(file, images[0].shape[:2] if images else None, files[0], len(files)))
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    colour = [np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image for image in images]
    return np.stack(colour).transpose(0, 3, 1, 2)


def load_image(file: Path, size: tuple[int, ...] | None, first: Path, count: int) -> UInt8[np.ndarray, "h w ..."]:
    """One image, (h, w) if it is grey and (h, w, 3) if not; `size`, if given, is the size it must have."""
    if file.is_dir():
        raise BadConfig(
            f"{file} is a folder, where an image is needed: classes are the sub-folders of the folder that is given, one level"
            f" deep. Give {file.parent} if its sub-folders are the classes."
        )
    if file.suffix.lower() not in IMAGES or not file.is_file():
        raise BadConfig(
            f"{file} is not an image. Images are {', '.join(IMAGES)} files; convert others, or move them away."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=[IMAGES[file.suffix.lower()]]) as image:
                width, height = image.size
                if size not in (None, (height, width)):
                    raise BadConfig(
                        f"all images must have the same size; {first} has {size[1]} x {size[0]} pixels and"
                        f" {file} has {width} x {height}. Resize them first."
                    )
                within_limit(file, 4 * 3 * width * height * count)
                as_shown(file, image)
                return pixels(file, image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnsafeFile(f"{file} unpacks to too many pixels ({error}). Make it smaller.") from error
    # what Pillow's decoders raise for damaged files
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise BadConfig(f"{file} is not a whole image ({error}). {mended(file)}") from error


def mended(file: Path) -> str:
    """What to do about a file that cannot be decoded as what its name says."""
    with file.open("rb") as opened:
        head = opened.read(12)
    kind = next((name for name, start in HEADS.items() if start in head), None)
    if kind in (None, IMAGES[file.suffix.lower()]):
        return "Replace or remove it."
    return f"It begins like a {kind} file: give it that ending, or convert it."


def as_shown(file: Path, image: Image.Image) -> None:
    """Raises BadConfig where programs differ in what they show: images to be turned first, or of several frames."""
    turn = image.getexif().get(TURNED, 1)
    if turn not in (0, 1):
        raise BadConfig(
            f"{file} says that it is to be turned before it is shown (EXIF orientation {turn}); some programs do so and"
            " some do not. Save it as the model is to see it, without that mark."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise BadConfig(f"{file} holds {frames} frames; one is needed. Save the one that the model is to see.")


def pixels(file: Path, image: Image.Image) -> UInt8[np.ndarray, "h w ..."]:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode not in ("P", "RGB", "RGBA", "LA"):
        raise BadConfig(f"{file} has pixels of mode {image.mode}; 8-bit grey or RGB is needed. Convert it.")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[:, :, 3].min() < 255:
        raise BadConfig(f"{file} has transparent pixels, whose colour is undefined. Put it on a background first.")
    shown = np.asarray(image.convert("L" if image.mode == "LA" else "RGB"))
    # a palette says nothing of the image: programs that save space give one to grey images as well
    grey = image.mode == "P" and (shown == shown[:, :, :1]).all()
    return shown[:, :, 0] if grey else shown
