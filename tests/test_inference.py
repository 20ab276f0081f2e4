"""Heatmaps and detections from a predict function that can be computed by hand: no network here."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HEIGHT, WIDTH, position_coded, stained_slide, tile_place, write_tiff
from gigaslide.inference import (
    PredictSettings,
    find_detections,
    find_peaks,
    predict_slide,
)
from gigaslide.storage import SpacingError
from gigaslide.wsi import CellStatus, Heatmap, fit_stain_to_patches, open_slide, orient
from stand_in import predictor_of

SIDE, CENTRE = 75, 32  # of `predictor_of`


def position_score(patches: np.ndarray) -> np.ndarray:
    """Rotation-free function of the middle pixel, whose value tells its place."""
    return patches[:, SIDE // 2, SIDE // 2].astype(np.float64) @ (1.0, 3.0, 7.0) / (11 * 255)


def test_a_network_of_normalised_pixels_gets_them(tmp_path):
    """One fit for the slide, to windows spread over its tissue."""
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    settings = PredictSettings(orientations=1)
    seen = []

    def keep(patches: np.ndarray) -> np.ndarray:
        seen.extend(patches.copy())
        return np.zeros(len(patches))

    with open_slide(path) as slide:
        for stain in (None, "reinhard"):
            predict_slide(slide, predictor_of(keep, stain=stain), settings, slide_id="s")
    plain, normalised = np.array_split(np.array(seen), 2)
    fit = fit_stain_to_patches(plain, "reinhard")
    assert np.abs(plain.mean(axis=(0, 1, 2)) - normalised.mean(axis=(0, 1, 2))).max() > 2
    difference = fit.apply(plain).astype(np.float64) - normalised
    assert np.abs(difference).mean() < 1  # that of the slide is fitted to 48 windows


def test_each_cell_shows_the_window_around_it(coded_slide):
    with open_slide(coded_slide) as slide:
        heatmap = predict_slide(
            slide,
            predictor_of(position_score),
            PredictSettings(tissue={"method": "grey"}),
            slide_id="s",
        )
    pixels = position_coded().astype(np.float64)
    scored = np.argwhere(heatmap.scored)
    assert len(scored) > 200
    for row, column in scored:
        # The window starts 21 px before its centre square of 32 px, and its middle pixel is its
        # 37th.
        y, x = row * CENTRE - 21 + 37, column * CENTRE - 21 + 37
        if y < HEIGHT and x < WIDTH:
            assert heatmap.probability[row, column] == pytest.approx(
                pixels[y, x] @ (1, 3, 7) / (11 * 255), abs=1e-6
            )
    assert heatmap.probability.shape == (-(-HEIGHT // CENTRE), -(-WIDTH // CENTRE))
    assert heatmap.cell_centres(np.array([[2, 5]])).tolist() == [[5.5 * CENTRE, 2.5 * CENTRE]]


def test_fault_46_the_score_is_the_mean_of_8_explicit_runs(coded_slide):
    seen = []

    def one_pixel(patches):
        seen.append(len(patches))
        return patches[:, 3, 5, 1] / 255.0

    def of_orientation(k):
        return lambda patches: one_pixel(np.stack([orient(patch, k) for patch in patches]))

    def probability(score, orientations, runtime=""):
        settings = PredictSettings(
            tissue={"method": "grey"}, orientations=orientations, batch_size=56
        )
        predictor = replace(predictor_of(score), runtime=runtime)
        with open_slide(coded_slide) as slide:
            found = predict_slide(slide, predictor, settings, slide_id="s").probability
        return found[~np.isnan(found)]

    got = probability(one_pixel, 8)
    assert set(seen) == {56}
    assert len(got) % 7 != 0  # cells of a call
    seen.clear()
    np.testing.assert_array_equal(probability(one_pixel, 8, "openvino"), got)
    assert sum(seen) == 8 * len(got)  # a last batch of another size
    assert len(set(seen)) == 2
    by_hand = [probability(of_orientation(k), 1) for k in range(8)]
    np.testing.assert_allclose(got, np.mean(by_hand, axis=0), rtol=1e-6)
    assert not np.allclose(by_hand[0], got)


@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
def test_fault_45_any_batch_gives_the_same_scores(coded_slide, batch_size):
    settings = PredictSettings(tissue={"method": "grey"}, batch_size=batch_size, orientations=1)
    with open_slide(coded_slide) as slide:
        heatmap = predict_slide(slide, predictor_of(position_score), settings, slide_id="s")
        reference = predict_slide(
            slide,
            predictor_of(position_score),
            settings.model_copy(update={"batch_size": 64}),
            slide_id="s",
        )
    np.testing.assert_array_equal(heatmap.probability, reference.probability)


def test_fault_44_nan_is_marked_and_never_zero(tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))

    def sometimes_nan(patches):
        scores = patches.mean(axis=(1, 2, 3)) / 255
        return np.where(scores > np.median(scores), scores, np.nan)

    with open_slide(path) as slide:
        heatmap = predict_slide(
            slide, predictor_of(sometimes_nan), PredictSettings(orientations=1), slide_id="s"
        )
    nan = heatmap.count(CellStatus.FAILED)
    assert nan > 50
    assert np.isnan(heatmap.probability[heatmap.status == CellStatus.FAILED]).all()
    assert np.isnan(heatmap.probability[heatmap.status == CellStatus.BACKGROUND]).all()
    assert not np.isnan(heatmap.probability[heatmap.scored]).any()


def test_fault_03_only_cells_that_touch_a_corrupt_tile_are_lost(tmp_path):
    good = write_tiff(tmp_path / "good.tif", stained_slide(2), jpeg=True)
    bad = tmp_path / "bad.tif"
    content = bytearray(good.read_bytes())
    offset, length = tile_place(good, 6 * 1 + 2)  # 6 tiles a row: x 512 to 768, y 256 to 512
    content[offset : offset + length] = bytes(length)
    bad.write_bytes(content)

    def mean(patches):
        return patches.mean(axis=(1, 2, 3)) / 255

    settings = PredictSettings(min_tissue=0.5)
    maps = []
    for path in (good, bad):
        with open_slide(path) as slide:
            # The corrupt tile would also spoil the search for tissue; that is asked of the good
            # file here.
            maps.append(
                predict_slide(slide, predictor_of(mean), settings, slide_id="s")
                if path == good
                else None
            )
    with open_slide(bad) as slide, open_slide(good) as whole:
        slide.overview = whole.overview
        damaged = predict_slide(slide, predictor_of(mean), settings, slide_id="s")
    lost = damaged.status == CellStatus.UNREADABLE
    row, column = np.nonzero(lost)
    x, y = column * CENTRE - 21, row * CENTRE - 21
    assert lost.any()
    assert ((x < 768) & (x + SIDE > 512) & (y < 512) & (y + SIDE > 256)).all()
    same = damaged.scored
    assert same.sum() > 300
    np.testing.assert_array_equal(damaged.probability[same], maps[0].probability[same])


def test_fault_11_slide_smaller_than_a_window_is_padded(tmp_path):
    path = write_tiff(
        tmp_path / "small.tif", np.full((41, 53, 3), (190, 110, 160), np.uint8), tile_px=64
    )
    settings = PredictSettings(tissue={"min_area_um2": 0})
    with open_slide(path) as slide:
        heatmap = predict_slide(
            slide, predictor_of(lambda p: np.full(len(p), 0.9)), settings, slide_id="s"
        )
    detections = find_detections(heatmap, settings)
    assert len(detections) == 1
    assert 0 <= detections.x[0] < 53
    assert 0 <= detections.y[0] < 41


def test_fault_12_no_tissue_is_a_result(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(3, tissue=False))
    with open_slide(path) as slide:
        heatmap = predict_slide(
            slide, predictor_of(position_score), PredictSettings(), slide_id="s"
        )
    assert (heatmap.status == CellStatus.BACKGROUND).all()
    assert len(find_detections(heatmap, PredictSettings())) == 0


@pytest.mark.parametrize(("mpp", "is_scanner_mpp"), [(0.5, True), (2.5, False)])
def test_fault_09_a_slide_coarser_than_the_model_is_refused(coded_slide, mpp, is_scanner_mpp):
    with open_slide(coded_slide, mpp=mpp) as slide, pytest.raises(SpacingError) as refused:
        predict_slide(
            slide, predictor_of(position_score, mpp=0.25), PredictSettings(), slide_id="s"
        )
    for fact in ("coded.tif", f"has {mpp:g} µm/px", "0.25 µm/px of the model", "another model"):
        assert fact in str(refused.value)
    for advice in ("--allow-upsampling", f"gigaslide tile --mpp {mpp:g}"):
        assert advice in str(refused.value)
    assert ("slide scanners have" in str(refused.value)) is not is_scanner_mpp


def slow_peaks(probability: np.ndarray, radius: float, threshold: float) -> list[tuple[int, int]]:
    """The paper's words, one after the other."""
    left = np.nan_to_num(probability.astype(np.float64))
    rows, columns = np.indices(left.shape)
    peaks = []
    while (left > threshold).any():
        row, column = np.unravel_index(left.argmax(), left.shape)
        peaks.append((int(row), int(column)))
        left[np.hypot(rows - row, columns - column) <= radius] = 0
    return peaks


@pytest.mark.parametrize(("radius", "threshold"), [(6, 0.5), (2.4, 0.3), (0.5, 0.9), (40, 0.1)])
def test_peaks_equal_the_slow_way(radius, threshold):
    rng = np.random.default_rng(int(radius * 10))
    probability = np.round(rng.random((37, 52)), 2).astype(np.float32)  # many ties
    probability[rng.random(probability.shape) < 0.2] = np.nan
    got = find_peaks(probability, radius_cells=radius, threshold=threshold)
    assert [tuple(cell) for cell in got.tolist()] == slow_peaks(probability, radius, threshold)


def test_detections_lie_at_the_middle_of_their_cells_in_level_0():
    probability = np.full((9, 14), np.nan, np.float32)
    status = np.zeros(probability.shape, np.uint8)
    for (row, column), p in {(2, 11): 0.9, (7, 3): 0.8, (2, 10): 0.7, (0, 0): 0.4}.items():
        probability[row, column], status[row, column] = p, CellStatus.SCORED
    heatmap = Heatmap(
        slide="s",
        probability=probability,
        status=status,
        origin_level0=(10.0, 20.0),
        stride_level0=65.5,
        centre_level0=65.5,
        centre_px=32,
        slide_size=(1000, 700),
        slide_mpp=0.5,
        model_hash="h",
    )
    found = find_detections(heatmap, PredictSettings(radius_um=40))  # 1.2 cells
    assert found.probability.tolist() == pytest.approx([0.9, 0.8])
    assert found.x.tolist() == [11.5 * 65.5 + 10, 3.5 * 65.5 + 10]
    assert found.y.tolist() == [2.5 * 65.5 + 20, 7.5 * 65.5 + 20]
