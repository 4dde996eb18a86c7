"""One meaning for all files of a target: columns, categories and classes by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gamekeeper.data.labels import names_over
from gamekeeper.data.readers import contents
from gamekeeper.data.scale import Scale
from gamekeeper.data.schema import Declared, Schema, schema_of
from gamekeeper.errors import BadConfig


def csv(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text.replace(" ", "\n") + "\n")
    return folder / name


def pictures(folder: Path, *names: str) -> Path:
    for value, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(folder / name / "a.png")
    return folder


def settled(*paths: Path, declared: Declared | None = None, scale: Scale | None = None) -> Schema:
    return schema_of([contents(path) for path in paths], declared or Declared(), scale)


def values(schema: Schema, path: Path) -> list[list[float]]:
    return schema.read(contents(path)).x.tolist()


def classes(schema: Schema, path: Path) -> list[int]:
    y = schema.read(contents(path)).y
    assert y is not None
    return y.tolist()


# columns


def test_columns_are_matched_by_name_in_the_order_of_the_first_file(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "a,b,y 1,2,0"), csv(tmp_path, "p.csv", "y,b,a 1,4,3")
    schema = settled(test, pool)
    assert values(schema, test) == [[1, 2]]
    assert values(schema, pool) == [[3, 4]]
    assert classes(schema, pool) == [1]
    assert schema.header_entry() == {"columns": ["a", "b"], "label": "y"}


@pytest.mark.parametrize(
    ("head", "message"),
    [("u,v,y", "lacks a, b and also has u, v"), ("a,b,c,y", "also has c"), ("a,y", "lacks b"), ("A,b,y", "lacks a")],
)
def test_a_file_with_other_columns_is_refused(tmp_path: Path, head: str, message: str):
    row = ",".join("1" for _ in head.split(","))
    with pytest.raises(
        BadConfig, match=rf"p\.csv needs the columns of .*t\.csv, by name and in any order: it {message}"
    ):
        settled(csv(tmp_path, "t.csv", "a,b,y 1,2,0"), csv(tmp_path, "p.csv", f"{head} {row}"))


def test_declared_columns_give_the_order_and_leave_others_out(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "id,a,b,y 9,1,2,0"), csv(tmp_path, "p.csv", "b,a 4,3")
    schema = settled(test, pool, declared=Declared(columns=("b", "a")))
    assert values(schema, test) == [[2, 1]]
    assert values(schema, pool) == [[4, 3]]


@pytest.mark.parametrize("head", ["label,a,b", "a,Class,b", "a,b,target", "y,a,b", "a,b,y", "kind,a,b"])
def test_a_label_column_is_known_by_its_name_wherever_it_stands(tmp_path: Path, head: str):
    path = csv(tmp_path, "t.csv", f"{head} 1,1,1")
    assert values(settled(path), path) == [[1, 1]]
    assert classes(settled(path), path) == [1]


@pytest.mark.parametrize("head", ["a,b,income", "a,y,b", "x,y,a", "x,a,y", "label,a,class"])
def test_without_a_clear_name_the_run_stops(tmp_path: Path, head: str):
    with pytest.raises(BadConfig, match=r"which column of .* holds the classes\? Name it: `label` in"):
        settled(csv(tmp_path, "t.csv", f"{head} 1,1,1"))


def test_a_column_of_classes_is_no_input(tmp_path: Path):
    with pytest.raises(BadConfig, match="lists y, the column of the classes"):
        settled(csv(tmp_path, "t.csv", "a,y 1,0"), declared=Declared(columns=("a", "y")))


def test_what_is_taken_for_granted_is_said(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "a,c,y 1,red,0 1,zinc,1"), csv(tmp_path, "p.csv", "c,a zinc,2")
    (order,) = settled(test, pool).notes
    assert "in the order of t.csv; p.csv has them in another" in order
    declared = Declared(columns=("a", "c"), categories={"c": ("red", "zinc")})
    assert settled(test, pool, declared=declared).notes == settled(test).notes == ()


# categories


def test_categories_have_one_order_over_all_files(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "c,y red,0 blue,1 green,1"), csv(tmp_path, "p.csv", "c green blue")
    schema = settled(test, pool)
    assert values(schema, test) == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert values(schema, pool) == [[0, 1, 0], [1, 0, 0]]
    assert schema.header_entry()["categories"] == {"c": ["blue", "green", "red"]}


def test_declared_categories_keep_the_models_order_and_no_other_is_read(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "c,y red,0 NA,1"), csv(tmp_path, "p.csv", "c red green")
    declared = Declared(categories={"c": ("red", "NA")})
    assert values(settled(test, declared=declared), test) == [[1, 0], [0, 1]]
    schema = settled(test, pool, declared=declared)
    with pytest.raises(BadConfig, match=r"line 3 of .*p\.csv has 'green' in column 'c', which is not one of its categ"):
        schema.read(contents(pool))


def test_categories_that_make_another_shape_are_named_with_the_file_that_lacks_them(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "c,y red,0 blue,1"), csv(tmp_path, "p.csv", "c red zinc")
    with pytest.raises(BadConfig, match=r"make 3 inputs.*is \[2\].*c has 3 categories.*'zinc' of c is not in .*t\.csv"):
        settled(test, pool, scale=Scale((2,)))


def test_a_category_of_the_pool_alone_is_not_taken_for_one_that_the_model_knows(tmp_path: Path):
    """A model of amber, blue and red, a test set without red and a pool with zinc: the count is right by chance."""
    test = csv(tmp_path, "t.csv", "c,a,y amber,1,0 blue,2,1")
    pool = csv(tmp_path, "p.csv", "c,a amber,1 zinc,2")
    with pytest.raises(
        BadConfig, match=r"c of .*t\.csv has no zinc, which other.*`categories = \{ c =.*\"blue\", \"zinc\"\."
    ):
        settled(test, pool)
    with pytest.raises(BadConfig, match="zinc"):
        settled(test, pool, declared=Declared(categories={"c": ("amber", "blue", "red")})).read(contents(pool))
    named = ["c_amber", "c_blue", "c_zinc", "a"]
    by_model = schema_of([contents(test), contents(pool)], Declared(), entries=named)
    assert by_model.read(contents(pool)).x.tolist() == [[1, 0, 0, 1], [0, 0, 1, 2]]
    subset = csv(tmp_path, "q.csv", "c,a blue,2")
    assert settled(test, subset).read(contents(subset)).x.tolist() == [[0, 1, 2]]


def test_a_column_that_is_text_in_one_file_only_is_refused(tmp_path: Path):
    with pytest.raises(
        BadConfig, match=r"line 2 of .*p\.csv has 'low' in column 'a' and the number 5 in line 2 of .*t\.csv"
    ):
        settled(csv(tmp_path, "t.csv", "a,y 5,0"), csv(tmp_path, "p.csv", "a low"))


def test_a_model_that_knows_its_inputs_by_name_gets_them_in_its_order(tmp_path: Path):
    test = contents(csv(tmp_path, "t.csv", "c,a,y red,5,0 blue,6,1"))
    by_column = schema_of([test], Declared(), None, ["a", "c"])
    assert by_column.read(test).x.tolist() == [[5, 0, 1], [6, 1, 0]]
    by_entry = schema_of([test], Declared(), None, ["a", "c_red", "c_blue"])
    assert by_entry.read(test).x.tolist() == [[5, 1, 0], [6, 0, 1]]
    assert schema_of([test], Declared(), None, ["x0", "x1", "x2"]).read(test).x.tolist() == [[0, 1, 5], [1, 0, 6]]
    with pytest.raises(BadConfig, match="the model was fitted on inputs named c_green"):
        schema_of([test], Declared(), None, ["a", "c_red", "c_green"])


# classes


def test_text_labels_have_one_numbering_over_all_files(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "a,y 1,dog 2,fox"), csv(tmp_path, "p.csv", "a,y 1,cat")
    schema = settled(test, pool, declared=Declared(classes=3))
    assert classes(schema, test) == [1, 2]
    assert schema.header_entry()["names"] == ["cat", "dog", "fox"]


def test_names_in_folders_and_tables_are_the_same_classes(tmp_path: Path):
    test, train = pictures(tmp_path / "t", "dog", "fox"), pictures(tmp_path / "r", "cat", "dog", "fox")
    schema = settled(test, train, declared=Declared(classes=3))
    assert classes(schema, test) == [1, 2]
    assert classes(schema, train) == [0, 1, 2]


@pytest.mark.parametrize("names", [("dog", "fox"), ("a", "b", "c", "d")])
def test_a_count_of_names_unlike_the_number_of_classes_needs_a_map(tmp_path: Path, names: tuple[str, ...]):
    with pytest.raises(BadConfig, match=rf"have {len(names)} names .*`classes` is 3.*classes = \["):
        settled(pictures(tmp_path / "t", *names), declared=Declared(classes=3))


def test_declared_names_number_the_classes(tmp_path: Path):
    test = pictures(tmp_path / "t", "dog", "fox")
    assert classes(settled(test, declared=Declared(classes=3, names=("fox", "cat", "dog"))), test) == [2, 0]
    with pytest.raises(BadConfig, match=r"has the label 'fox' .* not one of the classes cat, dog"):
        classes(settled(test, declared=Declared(classes=2, names=("cat", "dog"))), test)


def test_folders_with_numbers_are_class_numbers_and_a_gap_shifts_nothing(tmp_path: Path):
    test = pictures(tmp_path / "t", "3", "07", "9")
    assert classes(settled(test, declared=Declared(classes=10)), test) == [7, 3, 9]


def test_numbers_are_names_where_they_are_declared_as_names(tmp_path: Path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.array([1, 3, 2]))
    declared = Declared(classes=3, names=("1", "2", "3"))
    assert classes(settled(path, declared=declared), path) == [0, 2, 1]
    assert classes(settled(path, declared=Declared(names=("a", "b", "c", "d"))), path) == [1, 3, 2]


@pytest.mark.parametrize("number", ["9" * 18, "9" * 400, "1e400"])
def test_numbers_that_are_no_class_numbers_end_in_a_sentence(tmp_path: Path, number: str):
    path = csv(tmp_path, "t.csv", f"a,y 1,{number}")
    with pytest.raises(BadConfig, match="must hold classes"):
        settled(path)
    path = csv(tmp_path, "t.csv", f"a,y 1,{number} 2,cat")
    assert sorted(classes(settled(path), path)) == [0, 1]


def test_minus_one_and_one_are_two_classes(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "a,y 1,1"), csv(tmp_path, "p.csv", "a,y 1,-1")
    assert classes(settled(test, pool, declared=Declared(classes=2)), test) == [1]
    with pytest.raises(BadConfig, match="have 1 names"):
        settled(csv(tmp_path, "t.csv", "a,y 1,-1"), declared=Declared(classes=2))


def test_names_in_one_file_and_numbers_in_the_other_need_a_map(tmp_path: Path):
    with pytest.raises(BadConfig, match=r"are names and those of .* are numbers"):
        settled(csv(tmp_path, "t.csv", "a,y 1,cat"), csv(tmp_path, "p.csv", "a,y 1,0"))


def test_a_pool_whose_labels_are_all_missing_has_none(tmp_path: Path):
    test, pool = csv(tmp_path, "t.csv", "a,y 1,0"), csv(tmp_path, "p.csv", "a,y 1,NA 2,")
    assert settled(test, pool).read(contents(pool)).y is None
    with pytest.raises(BadConfig, match=r"line 3 of .*q\.csv has no value in column 'y'.*holds the classes"):
        settled(test, csv(tmp_path, "q.csv", "a,y 1,0 2,NA"))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1, 2], ()),  # 0 is none of the names, so these are class numbers
        ([1, 2, 3], ("1", "2", "3")),
        ([1, 2], ("1", "2", "3")),  # a class is missing from the files, which shifts nothing
        ([3, 4], ("1", "2", "3")),  # neither: refused when they are read
    ],
)
def test_classes_named_by_numbers_are_told_from_class_numbers_over_all_files(labels: list[int], names: tuple[str, ...]):
    held = [(Path("test.npz"), np.array(labels[:1])), (Path("pool.npz"), np.array(labels[1:]))]
    assert names_over(held, ("1", "2", "3")) == names
    assert names_over(held, ("cat", "dog", "fox")) == ("cat", "dog", "fox")
