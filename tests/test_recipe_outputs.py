"""Outputs are whole or absent, and a recipe tells what changed."""

import json
import os
from pathlib import Path

import pytest
from gigaslide.wsi import Recipe, StoreError, file_identity, gigaslide_version, whole_file, whole_folder


class Stop(Exception):  # noqa: N818 - not an error of the program
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_absent_until_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.csv"
    with whole_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent  # a rename over file systems would copy
        assert partial.name.startswith(".")
        assert partial.name.endswith(".partial")
    assert path.read_text() == "half"
    assert names(path.parent) == ["a.csv"]


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, SystemExit])
def test_exception_leaves_no_file_and_keeps_the_old_one(tmp_path, kind):
    path = tmp_path / "a.csv"

    def broken() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise kind

    with pytest.raises(kind):
        broken()
    assert names(tmp_path) == []
    path.write_text("old")
    with pytest.raises(kind):
        broken()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with path.open() as reader, whole_file(path) as partial:
        partial.write_text("new and longer")
        assert path.read_text() == "old"
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


def test_file_that_was_never_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.csv"):
        pass
    assert names(tmp_path) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.csv"
    with whole_file(path) as one, whole_file(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def fill(folder: Path, text: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.txt").write_text(text)


def test_folder_is_whole_or_absent(tmp_path):
    path = tmp_path / "new" / "out"
    with whole_folder(path) as partial:
        fill(partial, "x")
        assert not path.exists()
    assert (path / "deep" / "a.txt").read_text() == "x"
    assert names(path.parent) == ["out"]


def test_exception_leaves_no_folder_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "out"

    def broken() -> None:
        with whole_folder(path) as partial:
            fill(partial, "half")
            raise Stop

    with pytest.raises(Stop):
        broken()
    assert names(tmp_path) == []
    with whole_folder(path) as partial:
        fill(partial, "old")
    with pytest.raises(Stop):
        broken()
    assert (path / "deep" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_replaced_folder_holds_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "out"
    with whole_folder(path) as partial:
        fill(partial, "old")
        (partial / "left over").write_text("old")
    with whole_folder(path) as partial:
        fill(partial, "new")
    assert names(path) == ["deep"]
    assert (path / "deep" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def recipe(**changes) -> Recipe:
    fields = {
        "stage": "tile",
        "settings": {"stride_px": 128, "tissue": {"method": "density", "mpp": 8.0}, "splits": ["train"]},
        "inputs": {"slide": {"name": "a.tif", "bytes": 10}, "annotation": None},
    }
    return Recipe(**{**fields, **changes})


def test_equal_recipes_differ_nowhere_whatever_version_made_them():
    assert recipe().differences(recipe()) == []
    assert recipe().differences(recipe(made_with={"gigaslide": "0.0.1"})) == []
    assert recipe().made_with == {"gigaslide": gigaslide_version()}


def test_differences_are_told_in_words():
    tissue = {"stride_px": 64, "tissue": {"method": "grey", "mpp": 8.0}, "splits": ["train", "test"], "new": 1}
    inputs = {"slide": {"name": "a.tif", "bytes": 11}, "annotation": {"name": "a.xml"}}
    assert recipe().differences(recipe(settings=tissue, inputs=inputs)) == [
        "inputs.annotation: None → (none)",
        "inputs.annotation.name: (none) → a.xml",
        "inputs.slide.bytes: 10 → 11",
        "settings.new: (none) → 1",
        "settings.splits: ['train'] → ['train', 'test']",
        "settings.stride_px: 128 → 64",
        "settings.tissue.method: density → grey",
    ]
    assert recipe().differences(recipe(stage="predict")) == ["stage: tile → predict"]


def test_recipe_round_trip_is_no_difference(tmp_path):
    made = recipe(settings={"side": (1, 2), "path": Path("/x/组织"), "none": None, "third": 1 / 3})
    made.save(tmp_path / "recipe.json")
    loaded = Recipe.load(tmp_path / "recipe.json")
    assert loaded is not None
    assert loaded.differences(made) == []
    assert json.loads((tmp_path / "recipe.json").read_text("utf-8"))["made_with"] == made.made_with


def test_no_recipe_is_none_and_a_damaged_one_an_error(tmp_path):
    assert Recipe.load(tmp_path / "gone.json") is None
    for content in ("", "{", "[]", '{"stage": "tile"}', "17"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(StoreError, match=r"bad\.json: not a recipe"):
            Recipe.load(tmp_path / "bad.json")


def test_fault_16_identity_changes_when_a_file_is_replaced(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, 1_700_000_000_123_456_000))
    first = file_identity(path)
    assert first == {"name": "a.tif", "bytes": 3, "modified": "2023-11-14T22:13:20.123456+00:00"}
    os.utime(path, ns=(0, 1_700_000_000_123_457_000))
    assert file_identity(path) != first
    path.write_bytes(b"abcd")
    os.utime(path, ns=(0, 1_700_000_000_123_456_000))
    assert file_identity(path) != first
