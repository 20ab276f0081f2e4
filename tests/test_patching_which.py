"""Which windows become patches: grid, label rule, border band, lesions, quotas of slides and
patients."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import TUMOR_RINGS, as_cohort, even_odd
from gigaslide.cohort import CohortSlide
from gigaslide.patching import PatchStore
from gigaslide.patching.quota import Quota, compute_quotas
from gigaslide.patching.sampling import share_quota
from hypothesis import given
from hypothesis import strategies as st
from tiling import CENTRE_OFFSET, SETTINGS, tile

LARGE = {"tumor_per_slide": 10_000, "normal_per_slide": 10_000}
CENTRE = 32


@pytest.fixture
def ill(cohort) -> CohortSlide:
    return cohort.slides[0]


def tiled_arrays(slide: CohortSlide, store: Path, **changes) -> dict[str, zarr.Group]:
    (outcome,) = tile(as_cohort(slide), store, **changes).outcomes
    assert outcome.status == "done"
    return {
        name: zarr.open_group(store / slide.id / name, mode="r") for name in ("tumor", "normal")
    }


def centres_of(group: zarr.Group) -> np.ndarray:
    """Top left of the centre squares, level-0 px = window px here."""
    return group["xy"][:] + CENTRE_OFFSET


def rings() -> list[np.ndarray]:
    return [np.array(ring, float) for pair in TUMOR_RINGS for ring in pair if ring]


def distance_to_outline(corner: np.ndarray) -> float:
    """From a square to the nearest point of all outlines, which are walked in steps of a quarter of
    a px."""
    nearest = np.inf
    for ring in rings():
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            steps = np.linspace(0, 1, int(np.hypot(*(end - start)) * 4) + 2)[:, None]
            points = start + steps * (end - start)
            away = np.maximum(np.maximum(corner - points, points - corner - CENTRE), 0)
            nearest = min(nearest, float(np.hypot(*away.T).min()))
    return nearest


def test_stride_and_phase_place_the_grid(ill, tmp_path):
    found = {}
    for phase in ((0, 0), (5, 18)):
        groups = tiled_arrays(ill, tmp_path / str(phase[0]), stride_px=40, phase_px=phase, **LARGE)
        found[phase] = np.concatenate([centres_of(group) for group in groups.values()])
    # A cell of 40 px holds its square of 32 px in the middle, 4 px from its own corner.
    assert {tuple(c) for c in (found[0, 0] % 40).tolist()} == {(4, 4)}
    assert {tuple(c) for c in (found[5, 18] % 40).tolist()} == {(9, 22)}
    assert abs(len(found[0, 0]) - len(found[5, 18])) < 0.2 * len(found[0, 0])


def test_tumor_above_a_share_leaves_out_what_has_less(ill, tmp_path):
    any_pixel = tiled_arrays(ill, tmp_path / "a", stride_px=32, **LARGE)
    above = tiled_arrays(ill, tmp_path / "b", stride_px=32, tumor_above=0.4, **LARGE)
    fractions = any_pixel["tumor"]["tumor_fraction"][:]
    assert 0 < (fractions <= 0.4).sum() < len(fractions)
    wanted = any_pixel["tumor"]["xy"][:][fractions > 0.4]
    assert np.array_equal(above["tumor"]["xy"][:], wanted)
    assert np.array_equal(above["normal"]["xy"][:], any_pixel["normal"]["xy"][:])


def test_band_around_the_border_is_left_out(ill, tmp_path):
    everything = tiled_arrays(ill, tmp_path / "a", stride_px=32, **LARGE)
    clear = tiled_arrays(
        ill, tmp_path / "b", stride_px=32, border_um=11, **LARGE
    )  # 22 px at 0.5 µm/px
    for name in ("tumor", "normal"):
        xy = everything[name]["xy"][:]
        away = np.array([distance_to_outline(corner) for corner in xy + CENTRE_OFFSET])
        assert (np.abs(away - 22) > 0.003).all()  # no case that rounding decides
        assert np.array_equal(clear[name]["xy"][:], xy[away > 22])
    assert 0 < len(clear["tumor"]["xy"][:]) < len(everything["tumor"]["xy"][:])


def test_lesion_of_each_patch(ill, tmp_path):
    groups = tiled_arrays(ill, tmp_path, stride_px=32, tumor_per_slide=60)
    assert set(groups["normal"]["lesion"][:].tolist()) == {-1}
    offsets = np.arange(CENTRE) + 0.5
    ids = {}
    for corner, lesion in zip(
        centres_of(groups["tumor"]), groups["tumor"]["lesion"][:].tolist(), strict=True
    ):
        x, y = np.meshgrid(corner[0] + offsets, corner[1] + offsets)
        (number,) = [n for n, pair in enumerate(TUMOR_RINGS) if even_odd([pair], x, y).any()]
        ids.setdefault(number, set()).add(lesion)
    assert sorted(map(len, ids.values())) == [1, 1]
    assert set.union(*ids.values()) == {0, 1}


def test_small_lesion_keeps_all_its_patches(ill, tmp_path):
    everything = tiled_arrays(
        ill, tmp_path / "a", stride_px=32, tumor_per_slide=10_000, normal_per_slide=0
    )["tumor"]
    few = tiled_arrays(ill, tmp_path / "b", stride_px=32, tumor_per_slide=40, normal_per_slide=0)[
        "tumor"
    ]
    is_small = everything["xy"][:, 0] > 1100
    small = {tuple(corner) for corner in everything["xy"][:][is_small].tolist()}
    assert 3 < len(small) < 20
    kept = {tuple(corner) for corner in few["xy"][:].tolist()}
    assert len(kept) == 40
    assert small < kept
    rows = [corner[::-1] for corner in few["xy"][:].tolist()]
    assert rows == sorted(rows)  # row by row still


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(0, 200))
def test_quota_is_dealt_evenly_and_the_small_are_served_whole(counts, quota):
    shares = share_quota(np.array(counts, np.int64), quota)
    assert shares.sum() == min(quota, sum(counts))
    assert (shares <= counts).all()
    for share, count in zip(shares.tolist(), counts, strict=True):
        # Who did not get everything got no less than anybody else, but for what does not divide.
        assert share == count or share >= shares.max() - 1


def test_slide_that_is_annotated_in_part_gives_tumour_only(ill, tmp_path):
    slide = replace(ill, exhaustive=False)
    groups = tiled_arrays(slide, tmp_path / "store", tumor_per_slide=6)
    assert {name: group["images"].shape[0] for name, group in groups.items()} == {
        "tumor": 6,
        "normal": 0,
    }
    (outcome,) = tile(as_cohort(ill), tmp_path / "store", tumor_per_slide=6).outcomes
    assert "inputs.exhaustive: False → True" in outcome.reason
    assert outcome.counts["normal"] == 50


def test_patients_quota_is_dealt_to_the_slides_that_have_the_class():
    def row(name: str, label: str, patient: str, **fields) -> CohortSlide:
        return CohortSlide(id=name, path=Path(name), label=label, patient=patient, **fields)  # pyright: ignore

    rows = [
        row("b", "tumor", "p"),
        row("a", "tumor", "p", exhaustive=False),
        row("c", "normal", "p"),
        row("d", "tumor", "q"),
        row("e", "tumor", ""),
        row("f", "normal", ""),
    ]
    settings = SETTINGS.model_copy(update={"tumor_per_patient": 25, "normal_per_patient": 75})
    expected = {
        "b": Quota(tumor=12, normal=38),
        "a": Quota(tumor=13, normal=0),
        "c": Quota(tumor=0, normal=37),
        "d": Quota(tumor=25, normal=50),
        "e": Quota(tumor=25, normal=50),  # nobody knows whose: one patient each
        "f": Quota(tumor=0, normal=50),
    }
    assert compute_quotas(rows, settings) == compute_quotas(rows[::-1], settings) == expected


def test_patients_quota_holds_in_the_store(cohort, tmp_path):
    rows = [replace(slide, patient="p", split="train") for slide in cohort.slides[:3]]
    summary = tile(
        as_cohort(*rows), tmp_path / "store", tumor_per_patient=15, normal_per_patient=20
    )
    assert [outcome.counts for outcome in summary.outcomes] == [
        {"tumor": 8, "normal": 7},
        {"tumor": 0, "normal": 6},
        {"tumor": 7, "normal": 7},
    ]
    assert PatchStore(tmp_path / "store").count("tumor", split="train") == 15
    recipe = json.loads((tmp_path / "store" / "ill" / "zarr.json").read_text())["attributes"][
        "recipe"
    ]
    assert recipe["inputs"]["quota"] == {"tumor": 8, "normal": 7}
