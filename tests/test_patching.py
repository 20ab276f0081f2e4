"""From slides to patches: which windows, which label, which pixels, drawn how."""

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr
from conftest import (
    HEIGHT,
    TUMOR_RINGS,
    WIDTH,
    as_cohort,
    brute_fraction,
    geojson,
    stained_slide,
    write_tiff,
)
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import PatchStore, TileSettings
from gigaslide.patching.sampling import candidates
from gigaslide.storage import SettingsError
from gigaslide.wsi import Annotation, CellGrid, open_slide, tissue_mask
from pydantic import ValidationError
from tiling import CENTRE_OFFSET, SETTINGS, SIDE, classes_of, content_hash, tile


def test_labelled_slides_of_the_wanted_splits_are_tiled(tiled):
    store, summary = tiled
    assert summary.exit_status == 0
    assert {o.slide: o.status for o in summary.outcomes} == {
        "ill": "done",
        "well": "done",
        "ill_2": "done",
    }
    assert [(s.id, s.patient, s.split) for s in store.slides] == [
        ("ill", "p1", "train"),
        ("well", "p2", "train"),
        ("ill_2", "p3", "validation"),
    ]
    assert (store.path / "summary.csv").exists()
    assert TileSettings(**store.settings) == SETTINGS


def test_quotas_are_upper_limits_and_counts_agree_everywhere(tiled):
    store, summary = tiled
    counts = {slide.id: slide.counts for slide in store.slides}
    assert counts["ill"] == {"tumor": 40, "normal": 50}
    assert counts["well"] == {"tumor": 0, "normal": 50}
    assert counts == {o.slide: o.counts for o in summary.outcomes}
    assert store.count("tumor", split="train") == 40
    assert store.count("normal", split="train") == 100
    assert store.count("tumor", split="validation") == counts["ill_2"]["tumor"]
    for slide, name, group in classes_of(store):
        lengths = {
            group[array].shape[0] for array in ("images", "xy", "tumor_fraction", "tissue_fraction")
        }
        assert lengths == {counts[slide][name]}


def test_stored_pixels_are_the_slides_pixels_at_xy(tiled):
    store, _ = tiled
    for slide, name, group in classes_of(store):
        pixels = stained_slide({"ill": 1, "well": 2, "ill_2": 3}[slide])
        xy = group["xy"][:]
        assert len({tuple(corner) for corner in xy.tolist()}) == len(xy)
        for (x, y), patch in zip(xy.tolist(), group["images"][:], strict=True):
            assert 0 <= x <= WIDTH - SIDE
            assert 0 <= y <= HEIGHT - SIDE
            assert np.array_equal(patch, pixels[y : y + SIDE, x : x + SIDE]), (
                f"{slide}/{name} at {x}, {y}"
            )


def test_labels_are_those_of_the_polygons(tiled):
    store, _ = tiled
    for slide, name, group in classes_of(store):
        rings = TUMOR_RINGS if slide != "well" else []
        corners = group["xy"][:] + CENTRE_OFFSET
        stored = group["tumor_fraction"][:]
        # Some pixel centres lie exactly on a line, where rounding decides: rings moved by a hair
        # bound the answer.
        counts = [
            [
                brute_fraction(rings, (x + dx, y + dy), side_level0=32, side_px=32)
                for x, y in corners.tolist()
            ]
            for dx, dy in [(1e-6, 1.7e-6), (-1e-6, 1.7e-6), (1e-6, -1.7e-6), (-1e-6, -1.7e-6)]
        ]
        assert (stored >= np.min(counts, axis=0) - 1e-6).all()
        assert (stored <= np.max(counts, axis=0) + 1e-6).all()
        assert (np.ptp(counts, axis=0) < 0.02).all()
        assert ((stored > 0) == (name == "tumor")).all()


def test_tissue_is_under_every_patch(tiled):
    store, _ = tiled
    for slide, _, group in classes_of(store):
        pixels = stained_slide({"ill": 1, "well": 2, "ill_2": 3}[slide])
        for (x, y), share in zip(
            (group["xy"][:] + CENTRE_OFFSET).tolist(), group["tissue_fraction"][:], strict=True
        ):
            pink = pixels[y : y + 32, x : x + 32].mean(axis=2) < 235
            assert share >= 0.3
            assert (
                abs(pink.mean() - share) < 0.6
            )  # the mask has 16 level-0 px a pixel, the square is 2 × 2 of them
            assert pink.mean() > 0.1


def test_patches_spread_over_the_whole_tumour(tiled):
    store, _ = tiled
    middles = (
        np.concatenate([g["xy"][:] for _, name, g in classes_of(store) if name == "tumor"])
        + SIDE / 2
    )
    assert (middles[:, 0] > 1200).any()  # the small lesion
    assert (middles[:, 1] > 600).any()
    assert (middles[:, 0] < 420).any()


def test_windows_at_the_border_lie_inside(tmp_path):
    pixels = np.clip(
        np.random.default_rng(0).normal((190, 110, 160), 25, (211, 307, 3)), 0, 220
    ).astype(np.uint8)
    path = write_tiff(tmp_path / "full.tif", pixels)
    slide = CohortSlide(id="full", path=path, label="normal", split="train")
    tile(as_cohort(slide), tmp_path / "store", normal_per_slide=1000)
    xy = zarr.open_group(tmp_path / "store" / "full" / "normal", mode="r")["xy"][:]
    assert len(xy) > 10
    assert xy.min() >= 0
    assert (xy <= (307 - SIDE, 211 - SIDE)).all()
    # The finest grid has steps of 8 px, so no room for another column or row is left unused.
    assert ((307 - SIDE, 211 - SIDE) - xy.max(axis=0) < 8).all()
    assert (xy.min(axis=0) < 8).all()


def test_fault_11_slide_smaller_than_a_patch_has_none(tmp_path):
    path = write_tiff(tmp_path / "tiny.tif", stained_slide(1)[500:570, 400:600], tile_px=64)
    slide = CohortSlide(id="tiny", path=path, label="normal", split="train")
    settings = {"tissue": SETTINGS.tissue.model_copy(update={"min_area_um2": 0.0})}
    (outcome,) = tile(as_cohort(slide), tmp_path / "store", **settings).outcomes
    assert (outcome.status, outcome.counts) == ("done", {"tumor": 0, "normal": 0})
    assert "no window fits over its tissue: 200 × 70 px at 0.5 µm/px" in outcome.reason
    assert f"margin has {SIDE}" in outcome.reason
    group = zarr.open_group(tmp_path / "store" / "tiny" / "normal", mode="r")
    assert group["images"].shape == (0, SIDE, SIDE, 3)
    assert group["xy"].shape == (0, 2)


def test_fault_12_no_tissue_is_done_with_a_reason(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(1, tissue=False))
    slide = CohortSlide(id="glass", path=path, label="normal", split="train")
    summary = tile(as_cohort(slide), tmp_path / "store")
    (outcome,) = summary.outcomes
    assert (outcome.status, outcome.reason, outcome.counts) == (
        "done",
        "no tissue",
        {"tumor": 0, "normal": 0},
    )
    assert summary.exit_status == 0
    assert "no tissue" in (tmp_path / "store" / "summary.csv").read_text()
    assert tile(as_cohort(slide), tmp_path / "store").outcomes[0].status == "skipped"


def test_windows_over_tissue_do_not_depend_on_the_parts_they_are_sought_in(cohort, monkeypatch):
    annotation = cohort.slides[0].annotation
    assert annotation is not None
    tumor, parts = Annotation.load(annotation).tumor, CellGrid.cells_in_parts
    with open_slide(cohort.slides[0].path) as slide:
        tissue = tissue_mask(slide, SETTINGS.tissue)
        whole = candidates(slide, tissue, tumor, SETTINGS)
        monkeypatch.setattr(CellGrid, "cells_in_parts", lambda grid: parts(grid, 101))
        in_parts = candidates(slide, tissue, tumor, SETTINGS)
    for name in ("xy", "tumor_fraction", "tissue_fraction"):
        assert np.array_equal(getattr(whole, name), getattr(in_parts, name))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_makes_the_same_store(cohort, tiled, tmp_path, workers):
    store, summary = tiled
    again = tile(cohort, tmp_path / "store", workers=workers)
    assert [(o.slide, o.status, o.counts) for o in again.outcomes] == [
        (o.slide, o.status, o.counts) for o in summary.outcomes
    ]
    assert content_hash(PatchStore(tmp_path / "store")) == content_hash(store)


def test_another_order_or_company_makes_the_same_patches(cohort, tiled, tmp_path):
    store, _ = tiled
    tile(Cohort(slides=(cohort.slides[2], cohort.slides[0])), tmp_path / "store")
    for slide, name, group in classes_of(PatchStore(tmp_path / "store")):
        first = zarr.open_group(store.path / slide / name, mode="r")
        assert np.array_equal(group["xy"][:], first["xy"][:])
        assert np.array_equal(group["images"][:], first["images"][:])


def test_another_seed_draws_other_patches(cohort, tiled, tmp_path):
    tile(Cohort(slides=cohort.slides[:1]), tmp_path / "store", seed=1)
    first = zarr.open_group(tiled[0].path / "ill" / "normal", mode="r")["xy"][:]
    second = zarr.open_group(tmp_path / "store" / "ill" / "normal", mode="r")["xy"][:]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_further_groups_are_given_in_the_settings(cohort, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps(geojson(group="Mystery")))
    slide = replace(cohort.slides[0], annotation=tmp_path / "a.geojson")
    assert not Annotation.load(cohort.slides[0].annotation).tumor.is_empty
    (outcome,) = tile(as_cohort(slide), tmp_path / "store", groups={"mystery": "tumor"}).outcomes
    assert outcome.counts["tumor"] == 40


def test_nothing_to_tile_is_told_before_the_work(cohort, tmp_path):
    with pytest.raises(
        SettingsError,
        match="no slide to tile: none has a label and a split among train, validation",
    ):
        tile(Cohort(slides=cohort.slides[3:]), tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"splits": ("train", "tests")}])
def test_settings_refuse_negative_seeds_and_unknown_splits(wrong):
    with pytest.raises(ValidationError):
        TileSettings(**wrong)


def test_settings_refuse_what_cannot_be():
    for wrong in (
        {"mpp": 0},
        {"patch_px": 10},
        {"centre_px": 400},
        {"stride_px": 0},
        {"min_tissue": 2},
        {"colour": 1},
    ):
        with pytest.raises(ValidationError):
            TileSettings(**wrong)
