"""Sizes of detections: the region of touching cells that each lies in, measured another way."""

import json

import numpy as np
import pandas as pd
import pytest
from exporting import Geometry, export, heatmap_of, save_prediction
from gigaslide.eval.predictions.detection_files import DetectionFiles
from gigaslide.inference import PredictSettings, find_detections
from gigaslide.storage import ScoreError
from gigaslide.wsi import Detections, Heatmap, classify_size, find_regions
from predicting import QUICK, predict, write_model, write_slides
from scipy.ndimage import gaussian_filter
from shapely.geometry import Point, shape
from skimage.measure import label, regionprops

GEOMETRY = Geometry((6311, 4703), 130.6, mpp=0.31)
CELL_UM = 130.6 * 0.31
COMPONENTS = PredictSettings(detect="components")


@pytest.fixture(scope="module")
def heatmap() -> Heatmap:
    """Blobs of many sizes, some at the slide's edges, with holes and with cells that touch at a
    corner only."""
    noise = gaussian_filter(np.random.default_rng(5).random(GEOMETRY.shape), 1.2)
    ranks = noise.ravel().argsort().argsort().reshape(noise.shape) / noise.size
    cells = {cell: float(value) for cell, value in np.ndenumerate(ranks) if value > 0.2}
    return heatmap_of(GEOMETRY, cells)


def test_regions_are_those_of_scikit_image(heatmap):
    regions = find_regions(heatmap, threshold=0.6)
    above = np.nan_to_num(heatmap.probability) > 0.6
    expected = regionprops(label(above, connectivity=2), intensity_image=heatmap.probability)
    assert len(regions) == len(expected) > 10
    assert np.array_equal(regions.labels > 0, above)
    order = [regions.labels[tuple(one.coords[0])] - 1 for one in expected]
    assert sorted(order) == list(range(len(expected)))
    for index, one in zip(order, expected, strict=True):
        assert regions.highest[index] == one.intensity_max
        assert regions.mean[index] == pytest.approx(one.intensity_mean, rel=1e-6)
        boxes = (GEOMETRY.box(*cell) for cell in one.coords.tolist())
        area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
        assert regions.area_um2[index] == pytest.approx(area * 0.31**2)
        # scikit-image's cells are points too, in its own moments: the same plus 1 / 12.
        longest = 4 * np.sqrt(one.axis_major_length**2 / 16 + 1 / 12) * CELL_UM
        assert regions.longest_um[index] == pytest.approx(longest, rel=1e-6)


def test_a_long_region_is_as_long_as_its_ellipse():
    cells = {(3, column): 0.9 for column in range(2, 26)}
    found = find_detections(heatmap_of(GEOMETRY, cells), COMPONENTS)
    side = np.sqrt(1 / 12) * 4
    assert found.longest_um == pytest.approx([24 * side * CELL_UM], rel=1e-3)
    turned = find_detections(
        heatmap_of(GEOMETRY, {(column, 3): p for (_, column), p in cells.items()}), COMPONENTS
    )
    assert turned.longest_um.tolist() == found.longest_um.tolist()
    one = find_detections(heatmap_of(GEOMETRY, {(3, 4): 0.9}), COMPONENTS)
    assert one.longest_um == pytest.approx([side * CELL_UM], rel=1e-3)


def test_components_are_one_detection_a_region_at_its_highest_cell(heatmap):
    found = find_detections(heatmap, COMPONENTS)
    above = np.nan_to_num(heatmap.probability) > 0.5
    pieces = label(above, connectivity=2)
    assert len(found) == pieces.max()
    assert (np.diff(found.probability) <= 0).all()
    seen = set()
    for x, y, p in zip(found.x, found.y, found.probability, strict=True):
        cell = int(y / 130.6), int(x / 130.6)
        assert p == heatmap.probability[cell]
        assert p == np.nanmax(heatmap.probability[pieces == pieces[cell]])
        seen.add(pieces[cell])
    assert len(seen) == len(found)


@pytest.mark.parametrize("detect", ["peaks", "components"])
def test_a_detection_has_the_area_of_the_contour_around_it(heatmap, tmp_path, detect):
    settings = PredictSettings(detect=detect, threshold=0.6)
    save_prediction(tmp_path, heatmap, settings)
    export(tmp_path, "geojson", level=(0.6,))
    features = json.loads((tmp_path / "s" / "s.geojson").read_text())["features"]
    contours = [(shape(f["geometry"]), f["properties"]["measurements"]) for f in features]
    found = find_detections(heatmap, settings)
    assert len(found) > len(contours) if detect == "peaks" else len(found) == len(contours)
    for index in range(len(found)):
        place = Point(found.x[index], found.y[index])
        (around,) = (one for one in contours if one[0].contains(place))
        assert around[0].area * 0.31**2 == pytest.approx(found.area_um2[index], rel=1e-4)
        assert around[1]["Area µm^2"] == pytest.approx(found.area_um2[index], abs=1e-3)
        assert around[1]["Longest axis µm"] == pytest.approx(found.longest_um[index], abs=1e-3)
        assert around[1]["Maximum probability"] >= found.probability[index] - 1e-6


def test_peaks_lie_where_they_did_before_sizes(heatmap):
    found = find_detections(heatmap, PredictSettings(threshold=0.7, radius_um=100))
    p = np.nan_to_num(heatmap.probability)
    centres = (np.stack(np.mgrid[: p.shape[0], : p.shape[1]], axis=-1) + 0.5) * CELL_UM
    for x, y, value in zip(found.x, found.y, found.probability, strict=True):
        assert p.max() == value > 0.7
        here = np.array([y, x]) * 0.31
        row, column = np.unravel_index(p.argmax(), p.shape)
        assert (
            np.abs(np.minimum(centres[row, column], np.array([4702, 6310]) * 0.31) - here).max()
            < 1e-6
        )
        p[np.linalg.norm(centres - centres[row, column], axis=-1) <= 100 + 1e-6 * CELL_UM] = 0
    assert p.max() <= 0.7


def test_size_classes_have_the_limits_of_tnm():
    limits = [0.0, 199.999, 200.0, 2000.0, 2000.001, np.nan]
    assert classify_size(np.array(limits)).tolist() == ["itc", "itc", "micro", "micro", "macro", ""]


def test_sizes_are_saved_and_tables_without_them_still_load(heatmap, tmp_path):
    found = find_detections(heatmap, PredictSettings())
    found.save(tmp_path / "d.csv")
    table = pd.read_csv(tmp_path / "d.csv")
    assert list(table) == ["slide", "x", "y", "probability", "area_um2", "longest_um", "size_class"]
    assert table["size_class"].tolist() == classify_size(table["longest_um"]).tolist()
    assert set(table["size_class"]) == {"itc", "micro"}
    loaded = Detections.load(tmp_path / "d.csv")
    loaded.save(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "d.csv").read_bytes()

    (tmp_path / "old.csv").write_text("slide,x,y,probability\nb,1.5,2,0.75\n")
    old = Detections.load(tmp_path / "old.csv")
    assert old.area_um2 is None
    assert old.size_class.tolist() == [""]
    joined = Detections.concatenate([old, loaded])
    joined.save(tmp_path / "joined.csv")
    again = Detections.load(tmp_path / "joined.csv")
    assert np.isnan(again.area_um2).tolist() == [True] + [False] * len(loaded)
    assert again.size_class.tolist() == ["", *loaded.size_class.tolist()]
    assert len(again.on("s")) == len(loaded)

    (tmp_path / "bad.csv").write_text("slide,x,y,probability,area_um2\nb,1,2,0.5,wide\n")
    with pytest.raises(ScoreError, match=r"bad\.csv"):
        Detections.load(tmp_path / "bad.csv")


def test_evaluation_reads_a_table_with_sizes(heatmap, tmp_path, caplog):
    found = find_detections(heatmap, PredictSettings())
    found.save(tmp_path / "all.csv")
    read = DetectionFiles.load(tmp_path / "all.csv", ["s"]).by_slide["s"].detections
    for name in ("x", "y", "probability"):
        assert getattr(read, name).tolist() == getattr(found, name).tolist()
    assert not caplog.messages


def test_another_rule_for_detections_never_runs_the_network(tmp_path):
    cohort, model, out = write_slides(tmp_path, 1), write_model(tmp_path / "m"), tmp_path / "out"
    predict(cohort, model, out)
    peaks = Detections.load(out / "detections.csv")
    scored = []
    other = QUICK.model_copy(update={"detect": "components"})
    summary = predict(cohort, model, out, other, on_block=scored.append)
    assert scored == []
    assert "settings.detect: peaks → components" in summary.outcomes[0].reason
    components = Detections.load(out / "detections.csv")
    assert len(components) != len(peaks)
    assert set(peaks.area_um2) <= set(components.area_um2)
