"""The data files that a target file names: read together, so that columns, classes and units mean the same in all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from torch import Tensor

from gamekeeper.data import batteries
from gamekeeper.data.csv_files import Table
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.labels import SHOWN, listed
from gamekeeper.data.readers import contents
from gamekeeper.data.scale import Scale, channels_last, without_channel
from gamekeeper.data.schema import Contents, Declared, Schema, schema_of
from gamekeeper.errors import BadConfig
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.targets import domains
from gamekeeper.targets.config import TargetConfig
from gamekeeper.targets.files.encoders import check_categories, codes, numbers_encoded
from gamekeeper.targets.files.local import check_gaps, of_rows
from gamekeeper.targets.target import check_data
from gamekeeper.types import Box, Domain

NATURAL, SHIFTED, DRAWN = "data.natural", "data.shifted", "thief.drawings"
FEW = 10
"""Different whole numbers in a column that may be codes."""


def ranges_as_in_pool(config: TargetConfig) -> bool:
    """Whether this is a table without `low` and `high`: an API is then asked in the units of the data."""
    return len(config.input.shape) == 1 and (config.input.low, config.input.high) == (None, None)


def data(
    config: TargetConfig, folder: Path, scale: Scale, victim: SklearnModel | None
) -> tuple[Schema, dict[str, Dataset]]:
    """What the data files have in common, and each of them by its key in the target file. Raises BadConfig."""
    given = config.data
    named = {
        "data.test": given.test,
        "data.pool": given.pool,
        "data.train": given.train,
        "data.auxiliary": given.auxiliary,
        NATURAL: given.natural,
        SHIFTED: given.shifted,
        "thief.seeds": config.thief.seeds,
        DRAWN: config.thief.drawings,
    }
    files = {key: data_file(key, name, folder) for key, name in named.items() if name is not None}
    for key in ("label", "columns", "categories"):
        if getattr(given, key) and not any(isinstance(file, Table) for file in files.values()):
            raise BadConfig(
                f"data.{key} says what the columns of CSV files are; none of the data files is CSV. Leave it out."
            )
    schema = settled(config, list(files.values()), scale, victim)
    if schema.raw and (config.input.low, config.input.high) != (None, None):
        raise BadConfig(
            "the model takes text or cells without a value, so its columns range as in the pool. Leave `low` and `high`"
            " out of [input]."
        )
    sets = {key: schema.read(file) for key, file in files.items()}
    if victim is not None and schema.raw:
        check_gaps(
            of_rows(victim, schema),
            schema,
            sets["data.test"].x,
            [each for each in files.values() if isinstance(each, Table)],
        )
    schema = replace(schema, notes=(*schema.notes, *steps(config, schema, victim, sets["data.pool"])))
    if ranges_as_in_pool(config) and sets["data.pool"].x.shape[1:] == sets["data.test"].x.shape[1:]:
        entries = [entry for each in schema.columns for entry in each.entries]
        domains.check_pool(sets["data.pool"].x, sets["data.test"].x, entries)
    box = domain_of(config, schema, sets["data.pool"].x)
    for key, inputs in sets.items():
        labelled = key in ("data.test", "data.train", SHIFTED, DRAWN) or (key == NATURAL and inputs.y is not None)
        check_data(key, inputs if labelled else Dataset(inputs.x), box, config.classes if labelled else None)
    return schema, sets


def settled(config: TargetConfig, files: Sequence[Contents], scale: Scale, victim: SklearnModel | None) -> Schema:
    """What the files have in common, with the codes that a scikit-learn model's own encoder knows as categories."""
    stated, tables = declared(config, victim), [file for file in files if isinstance(file, Table)]
    if victim is None:
        return schema_of(files, stated, scale)
    features, names = getattr(victim.estimator, "n_features_in_", None), input_names(victim)
    schema = schema_of(files, stated, scale, names, features)
    if not tables or features != len(schema.columns):
        return schema
    coded = codes(victim.estimator, schema.columns, tables) if ranges_as_in_pool(config) else {}
    if coded:
        stated = replace(stated, categories={**stated.categories, **coded})
        schema = schema_of(files, stated, scale, names, features)
    check_categories(victim.estimator, schema.columns, tables, config.data.categories)
    return schema


def steps(config: TargetConfig, schema: Schema, victim: SklearnModel | None, pool: Dataset) -> tuple[str, ...]:
    """In a sentence, which columns of a table are probably codes that a thief may ask about values between."""
    if len(config.input.shape) != 1 or pool.x.ndim != 2:
        return ()
    names = [entry for each in schema.columns for entry in each.entries] or [str(k + 1) for k in range(pool.x.shape[1])]
    if victim is None:
        few = [
            (name, values) for name, column in zip(names, pool.x.T, strict=False) if (values := whole_numbers(column))
        ]
        return (maybe_codes(few),) if few else ()
    taken = numbers_encoded(victim.estimator, len(names)) if not schema.raw else []
    if not taken:
        return ()
    listed_columns = listed([names[each.place] for each in taken])
    return (
        f"The model's {taken[0].encoder} takes the numbers in column {listed_columns} for codes. Thieves who make inputs up, and"
        " uniform fidelity, ask about numbers between them, too. Give the data as CSV without `low` and `high` in [input]:"
        " then only codes are asked about.",
    )


def whole_numbers(column: Tensor) -> list[int]:
    """The values of a column that holds whole numbers, and few; of others, and of zeros and ones, none."""
    values = column.double().unique()
    few = 2 < len(values) <= FEW and len(values) < len(column) / 2
    return [int(each) for each in values.tolist()] if few and bool((values == values.round()).all()) else []


def maybe_codes(few: Sequence[tuple[str, Sequence[int]]]) -> str:
    spelled = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in few[:SHOWN])
    return (
        f"Some columns of the pool hold a few whole numbers only ({spelled}{'; …' * (len(few) > SHOWN)}). If they are codes,"
        " thieves who draw from the pool keep to them; those who make inputs up, and uniform fidelity (`uniform = 0` in"
        " [audit] leaves it out), ask about numbers between, too."
    )


def input_names(victim: SklearnModel | None) -> list[str]:
    """The names of the inputs, of a scikit-learn model that was fitted on a table with names."""
    names = () if victim is None else getattr(victim.estimator, "feature_names_in_", ())
    return [str(name) for name in names]


def declared(config: TargetConfig, victim: SklearnModel | None) -> Declared:
    """What a target file says about its data. Names of classes that the model or the API knows are theirs by default."""
    given, names = config.data, config.class_names
    if victim is not None:
        names = names or victim.names
    if config.http is not None and not names:
        names = config.http.labels or ()
    return Declared(
        given.label,
        tuple(given.columns or ()),
        {name: tuple(categories) for name, categories in given.categories.items()},
        config.classes,
        names,
    )


def scale_of(config: TargetConfig) -> Scale:
    """The model's input as everything here sees it, with channels first, and how files hold it."""
    given = config.input
    last = channels_last(given.shape, given.layout)
    flat = without_channel(given.shape)
    shape = (given.shape[2], *given.shape[:2]) if last else (1, *given.shape) if flat else tuple(given.shape)
    stored = None if given.stored is None else (given.stored[0], given.stored[1])
    return Scale(shape, *domains.outer(given.low, given.high), stored, last, flat)


def domain_of(config: TargetConfig, schema: Schema, pool: Tensor) -> Domain:
    """What may be asked, as everything here sees it."""
    given, scale = config.input, schema.scale or scale_of(config)
    if len(scale.shape) != 1:
        return box_of(scale)
    named = [bool(each.categories) for each in schema.columns for _ in each.entries]
    places = [place for place, category in enumerate(named) if category]
    return domains.domain(scale.shape, given.low, given.high, pool, places)


def box_of(scale: Scale) -> Box:
    return Box(scale.shape, *scale.seen)


def data_file(key: str, name: str, folder: Path) -> Contents:
    """A shipped data set by name, or the file or folder of that path, as it stands."""
    if name in get_args(batteries.DataName):
        return contents(batteries.verified(f"{name}.npz"))
    if not name.isprintable():
        raise BadConfig(
            f"{key}: the file's name {name!r} holds a tab, a line end or the like. In TOML a backslash in double quotes stands"
            r" for such: write 'data\test.csv' in single quotes, or data/test.csv."
        )
    if not (folder / name).exists():
        raise BadConfig(
            f"{key}: {folder / name} does not exist. Give a path relative to the TOML file, or one of the shipped data"
            f" sets: {', '.join(get_args(batteries.DataName))}."
        )
    return contents(folder / name)
