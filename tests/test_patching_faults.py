"""Tiling slides and annotations that are damaged, odd or at odds: one failed slide each, and the
others tiled."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import as_cohort, geojson, stained_slide, tile_place, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import PatchStore, tile_cohort
from gigaslide.wsi import open_slide
from tiling import SETTINGS, SIDE, made_slide, tile


def test_fault_01_empty_file_does_not_stop_the_batch(cohort, tmp_path):
    (tmp_path / "empty.tif").touch()
    bad = CohortSlide(id="empty", path=tmp_path / "empty.tif", label="normal", split="train")
    gone = CohortSlide(id="gone", path=tmp_path / "gone.tif", label="normal", split="train")
    summary = tile(as_cohort(bad, gone, cohort.slides[1]), tmp_path / "store", normal_per_slide=3)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done"]
    assert "empty.tif: not a slide" in summary.outcomes[0].reason
    assert "gone.tif: no such file" in summary.outcomes[1].reason
    assert summary.exit_status == 2
    store = PatchStore(tmp_path / "store")
    assert [slide.id for slide in store.slides] == ["well"]
    assert "empty.tif: not a slide" in (tmp_path / "store" / "summary.csv").read_text()
    assert "SlideError" in (tmp_path / "store" / "failures.txt").read_text()
    alone = tile(as_cohort(bad), tmp_path / "other")
    assert alone.exit_status == 1


def test_fault_03_patches_on_a_corrupt_tile_are_left_out(tmp_path):
    good = write_tiff(tmp_path / "good" / "a.tif", stained_slide(1), jpeg=True)
    bad = tmp_path / "bad" / "a.tif"
    bad.parent.mkdir()
    shutil.copy(good, bad)
    offset, length = tile_place(bad, 1 * 6 + 2)  # x 512–767, y 256–511
    with bad.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(length))
    stores = []
    for path in (good, bad):
        slide = CohortSlide(id="a", path=path, label="normal", split="train")
        # The file is flat, so that tissue is looked for in the damaged level.
        summary = tile(as_cohort(slide), path.parent / "store", normal_per_slide=2000, stride_px=32)
        stores.append((summary.outcomes[0], path.parent / "store" / "a" / "normal"))
    (whole, first), (torn, second) = stores
    assert whole.status == "done"
    assert torn.status == "partial"
    xy, images = (zarr.open_group(first, mode="r")[name][:] for name in ("xy", "images"))
    touches = ((xy + SIDE > (512, 256)) & (xy < (768, 512))).all(axis=1)
    assert f"{touches.sum()} patches could not be read" in torn.reason
    held_xy, held_images, unreadable = (
        zarr.open_group(second, mode="r")[name][:] for name in ("xy", "images", "unreadable")
    )
    assert unreadable.sum() == touches.sum()
    assert not held_images[unreadable].any()
    left_xy, left_images = held_xy[~unreadable], held_images[~unreadable]
    read = PatchStore(bad.parent / "store")
    assert read.slides[0].counts["normal"] == len(left_xy)
    order = np.random.default_rng(0).permutation(len(left_xy))
    assert np.array_equal(
        read.read("a", "normal", order), left_images[order]
    )  # readers never meet the others
    assert np.array_equal(read.windows("a", "normal").xy, left_xy)
    assert not ((left_xy + SIDE > (512, 256)) & (left_xy < (768, 512))).all(axis=1).any()
    found = dict(zip(map(tuple, left_xy.tolist()), left_images, strict=True))
    shared = [
        (corner, image)
        for corner, image in zip(map(tuple, xy.tolist()), images, strict=True)
        if corner in found
    ]
    # Otsu's threshold moves a little with what is missing, and with it the rim of the tissue.
    assert len(shared) >= 0.97 * (~touches).sum()
    assert len(shared) >= 0.97 * len(found)
    assert all(np.array_equal(image, found[corner]) for corner, image in shared)


def test_slide_of_which_no_patch_can_be_read_has_failed(tmp_path):
    path = write_tiff(
        tmp_path / "torn.tif", stained_slide(1), level_sizes=((383, 282), (96, 71)), jpeg=True
    )
    content = path.read_bytes()
    with path.open("rb+") as file:
        for place in range(6 * 5):
            offset, length = tile_place(path, place)
            file.seek(offset)
            file.write(bytes(length))
    row = CohortSlide(id="torn", path=path, label="normal", split="train")
    for retry_failed in (False, True):  # each reads the slide
        (outcome,) = tile_cohort(
            as_cohort(row),
            tmp_path / "store",
            SETTINGS,
            BatchSettings(workers=0, retry_failed=retry_failed),
        ).outcomes
        assert outcome.status == "failed"
        assert "torn.tif: none of its 50 patches could be read" in outcome.reason
        assert "earlier run" not in outcome.reason
        assert not (tmp_path / "store" / "torn").exists()
    path.write_bytes(content)
    (outcome,) = tile(as_cohort(row), tmp_path / "store").outcomes
    assert (outcome.status, outcome.counts["normal"]) == ("done", 50)


def test_fault_08_mpp_from_the_cohort_or_the_settings(tmp_path):
    path = write_tiff(tmp_path / "bare.tif", stained_slide(1), mpp=None)
    slide = CohortSlide(id="bare", path=path, label="normal", split="train")
    (refused,) = tile(as_cohort(slide), tmp_path / "a").outcomes
    assert refused.status == "failed"
    assert "bare.tif" in refused.reason
    assert "cohort's mpp column" in refused.reason
    (given,) = tile(
        as_cohort(replace(slide, mpp=0.25)), tmp_path / "b", normal_per_slide=4
    ).outcomes
    assert given.status == "done"
    recipe = json.loads((tmp_path / "b" / "bare" / "zarr.json").read_text())["attributes"]["recipe"]
    assert recipe["inputs"]["mpp"] == 0.25
    with open_slide(path, mpp=0.25) as opened:  # 0.5 µm/px is now every second px
        group = zarr.open_group(tmp_path / "b" / "bare" / "normal", mode="r")
        ((_, window),) = opened.read_windows(group["xy"][:1], size=SIDE, mpp=0.5)
    assert np.array_equal(group["images"][0], window)
    x, y = group["xy"][0].tolist()
    halved = (
        stained_slide(1)[y : y + 2 * SIDE, x : x + 2 * SIDE]
        .reshape(SIDE, 2, SIDE, 2, 3)
        .mean(axis=(1, 3))
    )
    assert np.abs(window - halved).max() <= 0.5
    (fallback,) = tile(as_cohort(slide), tmp_path / "c", normal_per_slide=4, slide_mpp=0.5).outcomes
    assert fallback.status == "done"


def test_fault_09_too_coarse_a_slide_is_refused_unless_wanted(cohort, tmp_path):
    one = Cohort(slides=cohort.slides[1:2])
    (refused,) = tile(one, tmp_path / "a", mpp=0.25).outcomes
    assert refused.status == "failed"
    assert "--allow-upsampling" in refused.reason
    (allowed,) = tile(
        one, tmp_path / "a", mpp=0.25, allow_upsampling=True, normal_per_slide=3
    ).outcomes
    assert (allowed.status, allowed.counts["normal"]) == ("done", 3)


NASTY = ["a b.tif", "quo'te\".tif", "new\nline.tif", "-dash.tif", "组织切片.tif"]


def test_fault_13_names_of_all_kinds_are_processed(cohort, tmp_path):
    rows = []
    for name in NASTY:
        shutil.copy(cohort.slides[1].path, tmp_path / name)
        rows.append(
            CohortSlide(id=Path(name).stem, path=tmp_path / name, label="normal", split="train")
        )
    made = as_cohort(*rows)
    made.save(tmp_path / "cohort.csv")
    summary = tile(Cohort.load(tmp_path / "cohort.csv"), tmp_path / "store", normal_per_slide=2)
    assert {o.status for o in summary.outcomes} == {"done"}
    store = PatchStore(tmp_path / "store")
    assert [slide.counts["normal"] for slide in store.slides] == [2] * len(NASTY)
    for slide in store.slides:
        assert store.read(slide.id, "normal", np.arange(2)).shape == (2, SIDE, SIDE, 3)


def test_fault_14_same_name_in_two_folders_gives_two_groups(tmp_path):
    rows = [
        made_slide(tmp_path / k, "a.tif", seed=i, label="normal", split="train")
        for i, k in enumerate("xy", start=1)
    ]
    tile(as_cohort(*rows), tmp_path / "store", normal_per_slide=3)
    store = PatchStore(tmp_path / "store")
    assert len(store.slides) == 2
    for seed, slide in enumerate(store.slides, start=1):
        group = zarr.open_group(store.path / slide.id / "normal", mode="r")
        x, y = group["xy"][0].tolist()
        assert np.array_equal(group["images"][0], stained_slide(seed)[y : y + SIDE, x : x + SIDE])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(geojson(group="Mystery")), "group 'Mystery'"),
        ("", "empty"),
        (json.dumps(geojson(group="normal")), "label is tumor"),
    ],
)
def test_fault_21_bad_annotation_is_a_failed_slide_never_all_normal(
    cohort, tmp_path, content, words
):
    (tmp_path / "a.geojson").write_text(content)
    (outcome,) = tile(
        as_cohort(replace(cohort.slides[0], annotation=tmp_path / "a.geojson")), tmp_path / "store"
    ).outcomes
    assert outcome.status == "failed"
    assert "a.geojson" in outcome.reason
    assert words in outcome.reason
    assert not (tmp_path / "store" / "ill").exists()


def test_labels_and_annotations_must_agree(cohort, tmp_path):
    ill = cohort.slides[0]
    (bare,) = tile(as_cohort(replace(ill, annotation=None)), tmp_path / "a").outcomes
    assert "no annotation" in bare.reason
    (wrong,) = tile(as_cohort(replace(ill, label="normal")), tmp_path / "a").outcomes
    assert "label is normal" in wrong.reason
