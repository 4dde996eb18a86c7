"""Tables whose columns a model takes as they stand: there and back without a change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gamekeeper.data.columns import Column
from gamekeeper.data.raw_rows import RawRows, every_category
from gamekeeper.data.readers import contents
from gamekeeper.data.scale import Scale
from gamekeeper.data.schema import Declared, schema_of
from gamekeeper.errors import BadConfig

TEST = "age,sex,member,y\n30,m,True,0\n,f,,1\n"
POOL = "sex,member,age\nf,False,10\nNaN,True,20\nm,False,90\n"


def written(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return [folder / f"{name}.csv" for name in texts]


def test_rows_come_back_as_they_stand_in_the_files(tmp_path: Path):
    files = [contents(path) for path in written(tmp_path, test=TEST, pool=POOL)]
    schema = schema_of(files, Declared(), Scale((3,)), ["age", "sex", "member"], 3)
    assert schema.raw
    assert schema.scale is not None
    assert schema.scale.shape == (8,)
    x = [schema.read(file).x for file in files]
    # age's gap holds the pool's median; then 1 for it; categories are sorted, a missing one first
    assert x[0].tolist() == [[30, 0, 0, 0, 1, 0, 0, 1], [20, 1, 0, 1, 0, 1, 0, 0]]
    rows = [RawRows(schema.columns)(each).tolist() for each in x]
    assert repr(rows[0]) == "[[30.0, 'm', True], [nan, 'f', nan]]"
    assert repr(rows[1]) == "[[10.0, 'f', False], [20.0, nan, True], [90.0, 'm', False]]"
    assert "one more for age, 1 where there is no value" in schema.notes[-1]


def test_numbers_alone_stay_an_array_of_numbers(tmp_path: Path):
    files = [contents(path) for path in written(tmp_path, test="a,b,y\n1,2,0\n,4,1\n")]
    schema = schema_of(files, Declared(), Scale((2,)), features=2)
    rows = RawRows(schema.columns)(schema.read(files[0]).x)
    assert rows.dtype == np.float64
    assert np.array_equal(rows, [[1, 2], [np.nan, 4]], equal_nan=True)


def test_between_categories_the_largest_entry_counts():
    columns = (Column("c", ("red", "blue")), Column("n", fill=0.0))
    x = torch.tensor([[0.2, 0.3, 7.0, 0.4], [0.5, 0.5, 7.0, 0.6]])
    assert repr(RawRows(columns)(x).tolist()) == "[['blue', 7.0], ['red', nan]]"


def test_every_category_and_gap_is_tried_once():
    columns = (Column("c", ("red", "blue")), Column("a"), Column("n", fill=0.0))
    rows = RawRows(columns)(every_category(columns, torch.tensor([[1.0, 0.0, 5.0, 7.0, 0.0]]))).tolist()
    assert repr(rows) == "[['red', 5.0, 7.0], ['red', 5.0, 7.0], ['blue', 5.0, 7.0], ['red', 5.0, nan]]"


@pytest.mark.parametrize("features", [None, 8])
def test_another_model_takes_no_gap(tmp_path: Path, features: int | None):
    files = [contents(path) for path in written(tmp_path, test=TEST, pool=POOL)]
    with pytest.raises(BadConfig, match=r"line 3 of .*test\.csv has no value in column 'age'"):
        schema_of(files, Declared(), Scale((8,)), features=features)


@pytest.mark.parametrize("text", ["?", "-", "missing"])
def test_what_may_be_a_category_is_not_guessed_to_be_a_gap(tmp_path: Path, text: str):
    files = [contents(path) for path in written(tmp_path, test=f"a,b,y\n1,m,0\n2,{text},1\n")]
    with pytest.raises(BadConfig, match="has no value in column 'b'"):
        schema_of(files, Declared(), features=2)
    schema = schema_of(files, Declared(categories={"b": ("m", text)}), features=2)
    assert RawRows(schema.columns)(schema.read(files[0]).x)[:, 1].tolist() == ["m", text]


def test_the_shape_of_raw_columns_is_their_number(tmp_path: Path):
    files = [contents(path) for path in written(tmp_path, test=TEST, pool=POOL)]
    with pytest.raises(BadConfig, match=r"the 3 columns age, sex, member as they stand; .* Write `shape = \[3\]`"):
        schema_of(files, Declared(), Scale((8,)), features=3)
