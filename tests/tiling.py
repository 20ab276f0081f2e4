"""A small cohort tiled with small settings, and what its store holds, read by zarr-python."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import as_cohort, geojson, stained_slide, write_tiff
from gigaslide.batch import BatchSettings, BatchSummary
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import Candidates, PatchStore, TileSettings, tile_cohort
from gigaslide.patching.write import Pixels, create_arrays, layouts, write_rest, write_rows
from gigaslide.storage import GROUP, Location, Output, Recipe, join_location
from gigaslide.wsi import CLASSES

SETTINGS = TileSettings(
    mpp=0.5,
    patch_px=75,
    centre_px=32,
    margin_px=4,
    tumor_per_slide=40,
    normal_per_slide=50,
    min_tissue=0.3,
)
SIDE = 75 + 2 * 4
CENTRE_OFFSET = (
    75 - 32
) // 2 + 4  # from the corner of the stored patch to that of the centre square, px


def made_slide(folder: Path, name: str, *, seed: int, **fields) -> CohortSlide:
    path = write_tiff(folder / name, stained_slide(seed))
    annotation = None
    if fields.get("label") == "tumor":
        annotation = path.with_suffix(".geojson")
        annotation.write_text(json.dumps(geojson()))
    return CohortSlide(id=path.stem, path=path, annotation=annotation, **fields)


def tile(cohort: Cohort, store: Location, workers: int = 0, **changes) -> BatchSummary:
    settings = SETTINGS.model_copy(update=changes)
    return tile_cohort(cohort, store, settings, BatchSettings(workers=workers, memory_gb=1.5))


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Cohort:
    """Five slides: of each label for training, one each for validation and testing, and one without
    a label."""
    folder = tmp_path_factory.mktemp("slides")
    return as_cohort(
        made_slide(folder, "ill.tif", seed=1, label="tumor", patient="p1", split="train"),
        made_slide(folder, "well.tif", seed=2, label="normal", patient="p2", split="train"),
        made_slide(folder, "ill 2.tif", seed=3, label="tumor", patient="p3", split="validation"),
        made_slide(folder, "held out.tif", seed=4, label="tumor", patient="p4", split="test"),
        made_slide(folder, "unknown.tif", seed=5, patient="p5", split="train"),
    )


@pytest.fixture(scope="session")
def tiled(cohort, tmp_path_factory) -> tuple[PatchStore, BatchSummary]:
    """The store of that cohort; not to be written to."""
    path = tmp_path_factory.mktemp("tiled") / "store"
    summary = tile(cohort, path)
    return PatchStore(path), summary


@pytest.fixture
def copied(tiled, tmp_path) -> PatchStore:
    """A copy of it that a test may change."""
    shutil.copytree(tiled[0].path, tmp_path / "store")
    return PatchStore(tmp_path / "store")


def write_group(
    group: Location,
    recipe: Recipe,
    classes: Mapping[str, tuple[Candidates, Iterable[tuple[int, Pixels]]]],
    arrays: Mapping[str, tuple[int, ...]],
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Write a slide's group from windows and (row, pixels) of each class, in one go and without the
    driver; return the number of readable patches by class."""
    made: dict[str, dict[str, Any]] = {"counts": {}, "unreadable": {}, "arrays": {}}
    output = Output(location=group, recipe=recipe, recipe_file=GROUP)
    made["arrays"] = {name: list(shape) for name, shape in arrays.items()}
    made |= attributes or {}
    with output.write(made) as folder:
        for name, (rows, pixels) in classes.items():
            place, lost = join_location(folder, name), np.ones(len(rows), bool)
            create_arrays(place, len(rows), arrays)
            planned = layouts(len(rows), arrays)
            readable, _ = write_rows(place, planned, range(len(rows)), pixels)
            lost[readable] = False
            write_rest(place, rows, lost)
            made["counts"][name] = int((~lost).sum())
            made["unreadable"][name] = int(lost.sum())
    return made["counts"]


def classes_of(store: PatchStore) -> Iterator[tuple[str, str, zarr.Group]]:
    """Every (slide, class, group), read by zarr-python."""
    for slide in store.slides:
        for name in CLASSES:
            yield slide.id, name, zarr.open_group(store.path / slide.id / name, mode="r")


def content_hash(store: PatchStore) -> str:
    digest = hashlib.sha256()
    for slide, name, group in classes_of(store):
        for array in ("images", "xy", "tumor_fraction", "tissue_fraction"):
            values = group[array][:]
            digest.update(
                f"{slide} {name} {array} {values.shape} {values.dtype}".encode() + values.tobytes()
            )
    return digest.hexdigest()
