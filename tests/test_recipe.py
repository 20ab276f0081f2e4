"""A recipe tells what changed."""

import json
import os
from pathlib import Path

import pytest
from gigaslide.storage import (
    Recipe,
    StoreError,
    file_identity,
    gigaslide_version,
)


def recipe(**changes) -> Recipe:
    fields = {
        "stage": "tile",
        "settings": {
            "stride_px": 128,
            "tissue": {"method": "density", "mpp": 8.0},
            "splits": ["train"],
        },
        "inputs": {"slide": {"name": "a.tif", "bytes": 10}, "annotation": None},
    }
    return Recipe(**{**fields, **changes})


def test_equal_recipes_differ_nowhere_whatever_version_made_them():
    assert recipe().differences(recipe()) == []
    assert recipe().differences(recipe(made_with={"gigaslide": "0.0.1"})) == []
    assert recipe().made_with == {"gigaslide": gigaslide_version()}


def test_differences_are_told_in_words():
    tissue = {
        "stride_px": 64,
        "tissue": {"method": "grey", "mpp": 8.0},
        "splits": ["train", "test"],
        "new": 1,
    }
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


def test_extent_is_no_difference_and_its_change_has_a_direction():
    short, long = recipe(extent={"examples": 100}), recipe(extent={"examples": 200})
    assert short.differences(long) == []
    assert short.extent_change(long) == "larger"
    assert long.extent_change(short) == "smaller"
    assert short.extent_change(recipe(extent={"examples": 100})) == "same"
    assert recipe().extent_change(recipe()) == "same"
    both = recipe(extent={"examples": 50, "interval": 9})
    assert recipe(extent={"examples": 100, "interval": 5}).extent_change(both) == "mixed"
    assert recipe(extent={"mode": "a"}).extent_change(recipe(extent={"mode": "b"})) == "mixed"


def test_recipe_made_before_a_setting_became_extent_is_recognised(tmp_path):
    old = recipe(settings={"examples": 100, "seed": 1})
    old.save(tmp_path / "recipe.json")
    assert "extent" not in json.loads((tmp_path / "recipe.json").read_text("utf-8"))
    loaded = Recipe.load(tmp_path / "recipe.json")
    now = recipe(settings={"seed": 1}, extent={"examples": 200})
    assert loaded is not None
    assert loaded.differences(now) == []
    assert loaded.extent_change(now) == "larger"
    now.save(tmp_path / "recipe.json")
    again = Recipe.load(tmp_path / "recipe.json")
    assert again is not None
    assert again.extent == {"examples": 200}
