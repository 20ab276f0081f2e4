"""Stain normalisation: truth that is known, statistics by other means, and patches that nobody can
fit."""

import json

import cv2
import numpy as np
import pytest
from conftest import as_cohort
from gigaslide.patching import PatchStore
from gigaslide.storage import StoreError
from gigaslide.wsi import StainFit, StainMethod, fit_stain
from hypothesis import given, settings
from hypothesis import strategies as st
from tiling import made_slide, tile

METHODS: tuple[StainMethod, ...] = ("macenko", "reinhard", "hsd")
REFERENCE_STAINS = np.array([[0.4422, 0.8438, 0.3038], [0.0565, 0.9794, 0.1619]])
REFERENCE_STAINS /= np.linalg.norm(REFERENCE_STAINS, axis=1, keepdims=True)


def unit(*vector: float) -> np.ndarray:
    return np.array(vector) / np.linalg.norm(vector)


def stained(h: np.ndarray, e: np.ndarray, *, seed: int = 0, darker: float = 1.0) -> np.ndarray:
    """(150, 150, 3) of two stains: nuclei of h, fibres of e, mixtures, and a border of glass."""
    rng = np.random.default_rng(seed)
    amounts = np.stack([rng.gamma(1.5, 0.5, (150, 150)), rng.gamma(1.5, 0.35, (150, 150))], axis=2)
    kind = rng.integers(0, 3, (150, 150))
    amounts[kind == 0, 1] = 0
    amounts[kind == 1, 0] = 0
    density = darker * amounts @ np.stack([h, e])
    density[:20] = 0
    return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(
        np.degrees(
            np.arccos(min(1.0, float(one @ other) / np.linalg.norm(one) / np.linalg.norm(other)))
        )
    )


def test_macenko_finds_the_stains_that_were_mixed():
    h, e = unit(0.60, 0.70, 0.35), unit(0.10, 0.95, 0.25)
    fit = fit_stain(stained(h, e).reshape(-1, 3), "macenko")
    found = np.array(fit.parameters["stains"])
    assert angle(found[0], h) < 2
    assert angle(found[1], e) < 2
    assert angle(found[0], e) > 15  # haematoxylin first


def test_macenko_brings_both_stains_to_the_reference():
    h, e = unit(0.62, 0.68, 0.38), unit(0.12, 0.93, 0.33)
    image = stained(h, e, darker=0.7)
    made = fit_stain(image.reshape(-1, 3), "macenko").apply(image)
    again = fit_stain(made.reshape(-1, 3), "macenko")
    found = np.array(again.parameters["stains"])
    assert angle(found[0], REFERENCE_STAINS[0]) < 2.5
    assert angle(found[1], REFERENCE_STAINS[1]) < 2.5
    assert again.parameters["amounts"] == pytest.approx([1.988, 1.026], rel=0.06)


def tissue_of(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Pixels of one image where another, the one that was fitted, has tissue."""
    return image[-np.log((like.astype(float) + 1) / 256).mean(axis=2) > 0.15]


def test_reinhard_gives_the_reference_mean_and_spread():
    image = stained(unit(0.6, 0.7, 0.35), unit(0.1, 0.95, 0.25), darker=0.6)
    made = fit_stain(image.reshape(-1, 3), "reinhard").apply(image)
    lab = cv2.cvtColor(tissue_of(made, image)[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    # What leaves the range of colours is cut, so nearly.
    assert lab.mean(axis=0) == pytest.approx([55.73, 48.08, -28.74], abs=2.5)
    assert lab.std(axis=0) == pytest.approx([12.6, 8.86, 7.77], rel=0.3)


def test_hsd_gives_the_reference_colour_and_density():
    image = np.clip(stained(unit(0.6, 0.7, 0.35), unit(0.2, 0.9, 0.3), darker=0.5), 10, 250)
    fit = fit_stain(image.reshape(-1, 3), "hsd")
    made = fit.apply(image)
    red, green, blue = -np.log((tissue_of(made, image).astype(float) + 1) / 257).T
    mean = (red + green + blue) / 3
    x, y = red / mean - 1, (green - blue) / (np.sqrt(3) * mean)
    assert x.mean() == pytest.approx(-0.4793, abs=0.03)
    assert y.mean() == pytest.approx(0.7482, abs=0.03)
    assert np.cov(x, y) == pytest.approx(np.array([[0.0236, -0.013], [-0.013, 0.0159]]), abs=0.01)
    assert mean.mean() == pytest.approx(0.5506, rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_two_slides_of_unlike_stain_become_alike(method):
    pale = stained(unit(0.65, 0.65, 0.40), unit(0.05, 0.98, 0.15), seed=3, darker=0.55)
    dark = stained(unit(0.50, 0.78, 0.38), unit(0.20, 0.90, 0.40), seed=3, darker=1.1)
    one, other = (fit_stain(image.reshape(-1, 3), method).apply(image) for image in (pale, dark))
    before = np.abs(pale[20:].mean(axis=(0, 1)) - dark[20:].mean(axis=(0, 1))).max()
    assert np.abs(one[20:].mean(axis=(0, 1)) - other[20:].mean(axis=(0, 1))).max() < before / 2.5


@pytest.mark.parametrize(("method", "least"), [("macenko", 254), ("hsd", 245)])
def test_glass_stays_glass(method, least):
    image = stained(unit(0.6, 0.7, 0.35), unit(0.1, 0.95, 0.25))
    made = fit_stain(image.reshape(-1, 3), method).apply(image)
    assert made[:20].min() >= least  # hsd gives white itself a little density


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "colour", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 140), (255, 0, 0)]
)
def test_white_and_monochrome_patches_are_left_as_they_are_with_a_reason(method, colour):
    patch = np.full((64, 64, 3), colour, np.uint8)
    fit = fit_stain(patch.reshape(-1, 3), method)
    assert fit.reason
    assert np.array_equal(fit.apply(patch), patch)


@st.composite
def odd_patches(draw) -> np.ndarray:
    """Few colours, gradients of one hue, noise of one channel, mixtures with black and white."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    colours = np.array(
        draw(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=4)), np.float64
    )
    shares = rng.random((23, 31, len(colours))) ** draw(st.sampled_from([0.1, 1.0, 8.0]))
    image = shares @ colours / shares.sum(axis=2, keepdims=True)
    image[..., draw(st.integers(0, 2))] += rng.normal(
        0, draw(st.sampled_from([0.0, 1.0, 90.0])), (23, 31)
    )
    image[: draw(st.integers(0, 23))] = draw(st.sampled_from([0, 255]))
    return np.clip(image, 0, 255).astype(np.uint8)


@given(odd_patches(), odd_patches(), st.sampled_from(METHODS))
@settings(max_examples=150, deadline=None)
def test_odd_patches_never_crash_it(fitted, other, method):
    fit = fit_stain(fitted.reshape(-1, 3), method)
    assert bool(fit.parameters) != bool(fit.reason)
    assert StainFit.from_json(json.loads(json.dumps(fit.to_json(), allow_nan=False))) == fit
    for patch in (fitted, other, np.full((5, 7, 3), 255, np.uint8), np.zeros((5, 7, 3), np.uint8)):
        made = fit.apply(patch)
        assert made.shape == patch.shape
        assert made.dtype == np.uint8


@pytest.mark.parametrize("method", METHODS)
def test_batches_are_changed_patch_by_patch(method):
    image = stained(unit(0.6, 0.7, 0.35), unit(0.1, 0.95, 0.25))
    fit = fit_stain(image.reshape(-1, 3), method)
    batch = np.stack([image, image[::-1]])
    assert np.array_equal(fit.apply(batch), np.stack([fit.apply(patch) for patch in batch]))
    by_pixel = fit.apply(image.reshape(-1, 1, 3)).reshape(image.shape)
    assert np.array_equal(fit.apply(image), by_pixel)
    assert fit.apply(batch[:0]).shape == (0, 150, 150, 3)  # a slide may have no patch of a class


def test_fits_are_kept_in_the_store_and_patches_stay_as_they_are(tmp_path):
    few = {"normal_per_slide": 9, "tumor_per_slide": 8, "stride_px": 32}
    slides = [
        made_slide(tmp_path, "ill.tif", seed=1, label="tumor", patient="p1", split="train"),
        made_slide(tmp_path, "well.tif", seed=2, label="normal", patient="p2", split="train"),
    ]
    assert tile(as_cohort(*slides), tmp_path / "store", stain=METHODS, **few).exit_status == 0
    tile(as_cohort(*slides), tmp_path / "plain", **few)
    store, plain = PatchStore(tmp_path / "store"), PatchStore(tmp_path / "plain")
    for slide in store.slides:
        for method in METHODS:
            fit = store.stain(slide.id, method)
            assert fit.parameters
            patches = store.read(slide.id, "normal", np.arange(9))
            assert np.array_equal(patches, plain.read(slide.id, "normal", np.arange(9)))
            assert fit.apply(patches).shape == patches.shape
    with pytest.raises(StoreError, match=r"ill.*hsd"):
        plain.stain("ill", "hsd")
