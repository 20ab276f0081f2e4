"""Tumour slides whose outline gives no tumour patch: partial with the reason, and no normal patch,
because tissue outside such an outline may be tumour."""

import json
import re
from pathlib import Path

import pytest
from conftest import TUMOR_RINGS, as_cohort, geojson, stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import CohortSlide
from gigaslide.patching import HardSettings, PatchStore, add_hard_negatives
from test_patching_hard import files_of, write_heatmap
from tiling import SETTINGS, made_slide, tile

Rings = list[tuple[list, list]]
GLASS: Rings = [([(1300, 60), (1480, 90), (1460, 250), (1310, 220)], [])]
OUTSIDE: Rings = [([(9000, 4000), (9400, 4100), (9300, 4700)], [])]
BESIDE: Rings = [([(60, 40), (300, 40), (300, 250), (60, 230)], [])]  # a corner meets tissue
HALF_OUTSIDE: Rings = [([(1431, 40), (1631, 40), (1631, 140), (1431, 140)], [])]  # of 1531 px
SMALLER: Rings = [([(x * 0.4, y * 0.4) for x, y in shell], []) for shell, _ in TUMOR_RINGS[:1]]
ANOTHER_ZOOM: Rings = [([(x / 8, y / 8) for x, y in shell], []) for shell, _ in TUMOR_RINGS]
SPECK: Rings = [([(500, 500), (512, 500), (512, 507), (500, 507)], [])]


def drawn_slide(path: Path, rings: Rings, **fields) -> CohortSlide:
    write_tiff(path, stained_slide(1), mpp=fields.pop("file_mpp", 0.5))
    annotation = path.with_suffix(".geojson")
    annotation.write_text(json.dumps(geojson(rings)))
    row = {"label": "tumor", "patient": path.stem, "split": "train", **fields}
    return CohortSlide(id=path.stem, path=path, annotation=annotation, **row)


@pytest.mark.parametrize(
    ("rings", "facts"),
    [
        (GLASS, ["0% of the outlined tumour lies on tissue;"]),
        (OUTSIDE, ["0% of the outlined tumour lies on tissue, 100% outside the slide;"]),
        (HALF_OUTSIDE, ["0% of the outlined tumour lies on tissue, 50% outside the slide;"]),
        (ANOTHER_ZOOM, ["0% of the outlined tumour lies on tissue;", "full resolution"]),
    ],
)
def test_tumour_slide_without_tumour_patches_is_partial_and_gives_no_normal_ones(
    tmp_path, rings, facts
):
    good = made_slide(tmp_path, "good.tif", seed=1, label="tumor", patient="g", split="train")
    cohort = as_cohort(good, drawn_slide(tmp_path / "off.tif", rings))
    summary = tile(cohort, tmp_path / "store")
    done, off = summary.outcomes
    assert (done.status, done.reason, done.counts) == ("done", "", {"tumor": 40, "normal": 50})
    assert (off.status, off.counts) == ("partial", {"tumor": 0, "normal": 0})
    for fact in ("no tumour patch", "50 normal patches left out", *facts):
        assert fact in off.reason
    assert summary.exit_status == 2
    store = PatchStore(tmp_path / "store")
    assert (store.count("tumor", split="train"), store.count("normal", split="train")) == (40, 50)
    assert off.reason in (tmp_path / "store" / "summary.csv").read_text()


@pytest.mark.parametrize(("rings", "is_told"), [(SMALLER, True), (TUMOR_RINGS, False)])
def test_an_outline_that_meets_tissue_by_chance_is_told(tmp_path, caplog, rings, is_told):
    (outcome,) = tile(as_cohort(drawn_slide(tmp_path / "off.tif", rings)), tmp_path / "s").outcomes
    assert outcome.status == "done"
    assert outcome.counts["tumor"] > 0
    told = [message for message in caplog.messages if "lies on tissue" in message]
    assert len(told) == is_told
    assert all(message.startswith("off: only ") and "not in µm" in message for message in told)


def test_an_outline_on_glass_that_touches_tissue_gives_nothing(tmp_path):
    row = drawn_slide(tmp_path / "off.tif", BESIDE)
    (off,) = tile(as_cohort(row), tmp_path / "s", min_tissue=0.01).outcomes
    assert (off.status, off.counts) == ("partial", {"tumor": 0, "normal": 0})
    assert re.search(r"outline on glass: \d% of .*; \d+ tumour and 50 normal patches", off.reason)


@pytest.mark.parametrize("side", [20_000, 4_000])
def test_a_wide_outline_around_all_tissue_fits(tmp_path, caplog, side):
    wide: Rings = [([(-9, -9), (side, -9), (side, side), (-9, side)], [])]
    (wide_one,) = tile(as_cohort(drawn_slide(tmp_path / "w.tif", wide)), tmp_path / "s").outcomes
    assert (wide_one.status, wide_one.counts) == ("done", {"tumor": 40, "normal": 0})
    assert not any("lies on tissue" in message for message in caplog.messages)


def test_a_tumour_slide_smaller_than_a_patch_is_told_as_such(tmp_path):
    row = drawn_slide(tmp_path / "tiny.tif", SPECK)
    write_tiff(tmp_path / "tiny.tif", stained_slide(1)[480:562, 400:600], tile_px=64)
    rings = [([(100, 20), (130, 22), (120, 60)], [])]
    (tmp_path / "tiny.geojson").write_text(json.dumps(geojson(rings)))
    settings = {"tissue": SETTINGS.tissue.model_copy(update={"min_area_um2": 0.0})}
    (outcome,) = tile(as_cohort(row), tmp_path / "store", **settings).outcomes
    assert outcome.status == "partial"
    for fact in ("200 × 82 px", "margin has 83", "100% of the outlined", "--patch-px"):
        assert fact in outcome.reason
    assert "draw the outline again" not in outcome.reason


def test_a_second_run_says_it_again_and_makes_nothing_anew(tmp_path):
    cohort = as_cohort(drawn_slide(tmp_path / "off.tif", GLASS))
    (first,) = tile(cohort, tmp_path / "store").outcomes
    stamps = files_of(tmp_path / "store" / "off")
    again = tile(cohort, tmp_path / "store")
    assert [o.status for o in again.outcomes] == ["partial"]
    assert again.outcomes[0].reason == f"unchanged; {first.reason}"
    assert again.exit_status == 2
    assert files_of(tmp_path / "store" / "off") == stamps


def test_once_the_outline_is_right_the_slide_is_made_again_with_all_its_patches(tmp_path):
    cohort = as_cohort(drawn_slide(tmp_path / "off.tif", GLASS))
    tile(cohort, tmp_path / "store")
    drawn_slide(tmp_path / "off.tif", TUMOR_RINGS)
    (outcome,) = tile(cohort, tmp_path / "store").outcomes
    assert (outcome.status, outcome.counts) == ("done", {"tumor": 40, "normal": 50})
    assert "no tumour" not in outcome.reason


def test_where_no_tumour_patches_are_wanted_the_outline_must_fit_all_the_same(tmp_path):
    # A lesion of 12 px lies between the centre squares of the coarsest grid.
    cohort = as_cohort(
        drawn_slide(tmp_path / "off.tif", GLASS), drawn_slide(tmp_path / "speck.tif", SPECK)
    )
    summary = tile(cohort, tmp_path / "store", tumor_per_slide=0)
    off, fits = summary.outcomes
    assert (off.status, off.counts) == ("partial", {"tumor": 0, "normal": 0})
    assert (fits.status, fits.counts) == ("done", {"tumor": 0, "normal": 50})


def test_a_slide_outlined_in_part_has_no_normal_patches_to_leave_out(tmp_path):
    row = drawn_slide(tmp_path / "off.tif", GLASS, exhaustive=False)
    (outcome,) = tile(as_cohort(row), tmp_path / "store").outcomes
    assert outcome.status == "partial"
    assert "0 normal patches left out" in outcome.reason


def test_several_scales_and_a_quota_of_the_patient_change_nothing(tmp_path):
    rows = [
        drawn_slide(tmp_path / f"{name}.tif", rings, patient="one")
        for name, rings in (("a", TUMOR_RINGS), ("b", TUMOR_RINGS), ("off", GLASS))
    ]
    summary = tile(
        as_cohort(*rows), tmp_path / "store", further_mpp=(1.0, 2.0), tumor_per_patient=1
    )
    assert [o.status for o in summary.outcomes] == ["done", "done", "partial"]  # b's quota is 0
    assert [o.counts["tumor"] for o in summary.outcomes] == [1, 0, 0]
    assert [o.counts["normal"] for o in summary.outcomes] == [50, 50, 0]


def test_an_outline_on_tissue_that_gives_no_patch_names_the_settings_that_decide(tmp_path):
    row = drawn_slide(tmp_path / "speck.tif", SPECK)
    (outcome,) = tile(as_cohort(row), tmp_path / "store", tumor_above=0.5).outcomes
    assert outcome.status == "partial"
    assert "100% of the outlined tumour lies on tissue" in outcome.reason
    assert "--tumor-above" in outcome.reason
    assert "full resolution" not in outcome.reason


def test_slide_without_tissue_names_its_scale(tmp_path):
    grey = stained_slide(1).mean(axis=2, keepdims=True).repeat(3, axis=2).astype("uint8")
    row = drawn_slide(tmp_path / "grey.tif", TUMOR_RINGS)
    write_tiff(row.path, grey)
    (outcome,) = tile(as_cohort(row), tmp_path / "store").outcomes
    assert (outcome.status, outcome.counts) == ("partial", {"tumor": 0, "normal": 0})
    assert outcome.reason.startswith("no tissue; no tumour patch")
    assert "0.5 µm/px" in outcome.reason


def test_hard_negatives_are_not_taken_from_such_a_slide(tmp_path, caplog):
    good = made_slide(tmp_path, "good.tif", seed=1, label="tumor", patient="g", split="train")
    cohort = as_cohort(good, drawn_slide(tmp_path / "off.tif", GLASS))
    tile(cohort, tmp_path / "store")
    for slide in cohort:
        write_heatmap(tmp_path / "predictions", slide.id)
    summary = add_hard_negatives(
        cohort,
        tmp_path / "store",
        tmp_path / "predictions",
        HardSettings(threshold=0.9, per_slide=30),
        BatchSettings(workers=0),
    )
    assert [(o.slide, o.counts) for o in summary.outcomes] == [("good", {"normal": 30})]
    assert "1 slide left out" in caplog.text
    assert "off" in caplog.messages[-1]
    counts = {slide.id: slide.counts["normal"] for slide in PatchStore(tmp_path / "store").slides}
    assert counts == {"good": 80, "off": 0}


@pytest.mark.parametrize(("mpp", "is_told"), [(0.05, True), (0.1, False), (0.5, False)])
def test_a_scale_that_no_scanner_has_is_told_in_each_run_once_per_slide(
    tmp_path, caplog, mpp, is_told
):
    row = drawn_slide(tmp_path / "off.tif", TUMOR_RINGS, file_mpp=mpp)
    for _ in range(2):
        caplog.clear()
        tile(as_cohort(row), tmp_path / "store")
        told = [message for message in caplog.messages if "scanners" in message]
        assert len(told) == is_told
        assert all("off: 0.05 µm/px" in message for message in told)
