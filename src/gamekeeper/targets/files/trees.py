"""Decision trees from skops files, checked before they predict.

skops checks that a tree is a tree, not that its numbers make sense, and scikit-learn follows a tree's child and
feature numbers without checks: out-of-range ones read other memory or crash the process. So the arguments that a tree
is built with are checked in the file (`check_stored`), and its nodes once it is built (`check_built`), both before the
first prediction.
"""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gamekeeper.errors import UnsafeFile

Array = np.ndarray[Any, np.dtype[Any]]
TREE = ("sklearn.tree._tree", "Tree")
PREDICTOR = "TreePredictor"
WIDEST = 2**24
"""Most features that a tree may use."""


def check_stored(path: Path, data: bytes, document: Any) -> None:
    """Raises UnsafeFile unless every tree in the file is built as scikit-learn builds one, with one output.

    skops reuses an object that it has read before by its id. So an id that a tree is built from must mean the same
    thing wherever it occurs in the file.
    """
    every = list(nodes(document))
    for node in every:
        if type_of(node) == ("numpy", "dtype") and node.get("__loader__") not in ("DTypeNode", "CachedNode"):
            raise UnsafeFile(
                f"{path} holds a dtype that is not stored as skops stores one. Save it again with skops.io.dump."
            )
    trees = [node for node in every if node.get("__loader__") == "TreeNode" or type_of(node) == TREE]
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for tree in trees:
            check_arguments(path, archive, tree)
    meant: dict[Any, tuple[Any, ...]] = {}
    for tree in trees:
        arguments = tree["__reduce__"]["args"]
        for node in (tree, arguments, *arguments["content"]):
            meant[node.get("__id__")] = meaning(node)
    tuples = {id(tree["__reduce__"]["args"]) for tree in trees}
    for node in every:
        number = node.get("__id__")
        if number is None or number not in meant or node["__loader__"] == "CachedNode":
            continue
        if meaning(node) != meant[number] or (node["__loader__"] == "TupleNode" and id(node) not in tuples):
            raise UnsafeFile(f"{path} gives two objects one id. Save it again with skops.io.dump.")


def type_of(node: dict[str, Any]) -> tuple[Any, Any]:
    return node.get("__module__"), node.get("__class__")


def meaning(node: dict[str, Any]) -> tuple[Any, ...]:
    """What two occurrences of one object share: its loader, and its value if that is a number or an array."""
    loader = node["__loader__"]
    return (loader, node.get("content") if loader == "JsonNode" else None, node.get("file"))


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every object in a skops schema, in the order in which skops reads them."""
    if isinstance(part, dict):
        if "__class__" in part:
            yield part
        for value in part.values():
            yield from nodes(value)
    elif isinstance(part, list):
        for value in part:
            yield from nodes(value)


def check_arguments(path: Path, archive: zipfile.ZipFile, node: dict[str, Any]) -> None:
    """Tree(n_features, n_classes, n_outputs): the constructor reads n_outputs numbers from n_classes, unchecked."""
    loader = node.get("__loader__")
    arguments = node["__reduce__"]["args"]
    features, classes, outputs = arguments["content"]
    plain = (
        (loader, type_of(node), arguments["__loader__"]) == ("TreeNode", TREE, "TupleNode")
        and features["__loader__"] == outputs["__loader__"] == "JsonNode"
        and (classes["__loader__"], classes.get("type")) == ("NdArrayNode", "numpy")
    )
    if not plain:
        raise UnsafeFile(
            f"{path} holds a tree that is not stored as skops stores one. Save it again with skops.io.dump."
        )
    counts = np.load(BytesIO(archive.read(classes["file"])), allow_pickle=False)
    width, depth = orjson.loads(features["content"]), orjson.loads(outputs["content"])
    sound = type(width) is int and type(depth) is int and 1 <= width <= WIDEST and depth == 1
    if not sound or counts.shape != (1,) or counts.dtype != np.intp or not 1 <= counts[0] <= WIDEST:
        raise UnsafeFile(
            f"{path} holds a tree of {width} features, {depth} outputs and class counts {counts.tolist()};"
            " a classifier's tree has one output with its number of classes. Fit and save it again."
        )


def check_built(path: Path, estimator: Any) -> None:
    """Raises UnsafeFile unless every path in every tree of the estimator stays within the tree's own arrays."""
    for part, width in widths(estimator, WIDEST, set()):
        if (type(part).__module__, type(part).__name__) == TREE:
            check_tree(path, part, width)
        elif type(part).__name__ == PREDICTOR:
            check_predictor(path, part, width)


def parts(estimator: Any) -> list[Any]:
    """Every object inside an estimator, including itself."""
    return [part for part, _ in widths(estimator, WIDEST, set())]


def widths(thing: Any, width: int, seen: set[int]) -> Iterator[tuple[Any, int]]:
    """Every object inside, with the smallest number of input features that any object around it claims to take."""
    if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None))):
        return
    seen.add(id(thing))
    inner: list[Any]
    if isinstance(thing, dict):
        inner = list(thing.values())
    elif isinstance(thing, (list, tuple, set)):
        inner = list(thing)
    elif isinstance(thing, np.ndarray):
        inner = list(thing.ravel()) if thing.dtype.hasobject else []
    else:
        yield thing, width
        attributes: dict[str, Any] = getattr(thing, "__dict__", {})
        claimed = attributes.get("n_features_in_")
        width = min(width, int(claimed)) if isinstance(claimed, (int, np.integer)) else width
        inner = list(attributes.values())
    for part in inner:
        yield from widths(part, width, seen)


def check_tree(path: Path, tree: Any, width: int) -> None:
    count = tree.node_count
    if not 1 <= count <= tree.capacity:
        raise refusal(path, f"claims {count} nodes where {tree.capacity} are stored")
    check_nodes(path, tree.children_left, tree.children_right, tree.feature, tree.children_left == -1, width)


def check_predictor(path: Path, predictor: Any, width: int) -> None:
    held = predictor.nodes
    if not isinstance(held, np.ndarray) or not held.dtype.names or len(held) < 1:
        raise refusal(path, "has no nodes")
    if held["is_categorical"].any():
        raise refusal(path, "splits by categories, which is not supported")
    left, right = held["left"].astype(np.int64), held["right"].astype(np.int64)
    check_nodes(path, left, right, held["feature_idx"], held["is_leaf"] != 0, width)


def check_nodes(path: Path, left: Array, right: Array, feature: Array, leaf: Array, width: int) -> None:
    """Children must come after their parent, inside the array, so every walk ends; features must be the input's."""
    places = np.arange(len(left))[~leaf]
    for child in (left[~leaf], right[~leaf]):
        if (child <= places).any() or (child >= len(left)).any():
            raise refusal(path, "has a node whose child is outside the tree or before it")
    if (feature[~leaf] < 0).any() or (feature[~leaf] >= width).any():
        raise refusal(path, f"asks for a feature beyond the {width} of its input")


def refusal(path: Path, what: str) -> UnsafeFile:
    return UnsafeFile(f"{path} holds a decision tree that {what}. Fit and save it again with skops.io.dump.")
