"""The four corners of every export lie on the corners of their cells, within half an output px.

Each of four slides has a probability in one corner cell only.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from conftest import write_tiff
from exporting import GEOMETRIES, Geometry, export, heatmap_of, save_prediction
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference.exports import export_slide
from gigaslide.wsi import Annotation, Region, SlideFrame
from PIL import Image
from shapely.geometry import shape

P = np.float32(0.83)
CORNERS = ("top left", "top right", "bottom left", "bottom right")


@pytest.fixture(params=GEOMETRIES)
def geometry(request) -> Geometry:
    return GEOMETRIES[request.param]


@pytest.fixture
def predictions(tmp_path, geometry) -> Path:
    return predict_corners(tmp_path, geometry)


def predict_corners(folder: Path, geometry: Geometry) -> Path:
    for name, cell in zip(CORNERS, geometry.corner_cells, strict=True):
        save_prediction(folder, heatmap_of(geometry, {cell: float(P)}, slide=name))
    return folder


def boxes(geometry: Geometry) -> dict[str, np.ndarray]:
    """Level-0 (left, top, right, bottom) of each slide's cell."""
    cells = zip(CORNERS, geometry.corner_cells, strict=True)
    return {name: np.array(geometry.box(*cell)) for name, cell in cells}


def box_of(shown: np.ndarray, px_level0: float, geometry: Geometry) -> np.ndarray:
    """Level-0 box of the True px of an image that begins at the slide's corner; its last px may
    reach past the slide's edge."""
    rows, columns = np.nonzero(shown)
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return np.minimum(np.array(edges) * px_level0, np.tile(geometry.slide_size, 2))


def read_world_file(path: Path) -> float:
    """Side of a px in level-0 px."""
    across, turn_y, turn_x, down, x, y = map(float, path.read_text().split())
    assert (turn_x, turn_y, down) == (0, 0, across)
    assert (x, y) == (across / 2, across / 2)  # the centre of the first px
    return across


def test_ome_tiff(predictions, geometry):
    export(predictions, "ome-tiff")
    for name, box in boxes(geometry).items():
        with tifffile.TiffFile(predictions / name / f"{name}.probability.ome.tif") as tiff:
            pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
            image = tiff.asarray()
        colours = tifffile.imread(predictions / name / f"{name}.colours.ome.tif")
        assert set(np.unique(image[~np.isnan(image)])) == {P}
        px_level0 = pixels["PhysicalSizeX"] / geometry.mpp
        assert pixels["PhysicalSizeY"] == pixels["PhysicalSizeX"]
        too_long = np.array(image.shape[::-1]) * px_level0 - geometry.slide_size
        assert ((too_long >= -1e-6) & (too_long < px_level0)).all()
        for shown in (~np.isnan(image), (colours != 255).any(axis=2)):
            assert np.abs(box_of(shown, px_level0, geometry) - box).max() <= px_level0 / 2 + 1e-6


def test_transparent_png(predictions, geometry):
    export(predictions, "qupath")
    for name, box in boxes(geometry).items():
        image = np.asarray(Image.open(predictions / name / f"{name}.heatmap.png"))
        px_level0 = read_world_file(predictions / name / f"{name}.heatmap.pgw")
        found = box_of(image[..., 3] == 255, px_level0, geometry)
        assert np.abs(found - box).max() <= px_level0 / 2 + 1e-6


def test_geojson_and_asap(predictions, geometry):
    export(predictions, "geojson", "asap")
    for name, box in boxes(geometry).items():
        features = json.loads((predictions / name / f"{name}.geojson").read_text())["features"]
        points = json.loads((predictions / name / f"{name}.detections.geojson").read_text())
        contour, point = shape(features[0]["geometry"]), points["features"][0]["geometry"]
        assert (len(features), len(points["features"])) == (1, 1)
        assert contour.bounds == pytest.approx(box, abs=2e-3)
        left, top, right, bottom = box
        assert contour.area == pytest.approx((right - left) * (bottom - top), rel=1e-4)
        assert shape(point).within(contour.buffer(1))
        tumor = Annotation.load(predictions / name / f"{name}.xml").tumor
        assert tumor.symmetric_difference(contour).area < 1e-6


def test_ome_zarr(predictions, geometry):
    export(predictions, "ome-zarr")
    left, top = geometry.origin
    for name, (row, column) in zip(CORNERS, geometry.corner_cells, strict=True):
        group = zarr.open_group(predictions / name / f"{name}.ome.zarr", mode="r")
        image: dict = group.attrs["ome"]["multiscales"][0]  # pyright: ignore
        assert [axis["unit"] for axis in image["axes"]] == ["micrometer"] * 2
        for number, dataset in enumerate(image["datasets"]):
            scale, shift = dataset["coordinateTransformations"]
            level = np.asarray(group[dataset["path"]])
            ((r, c),) = np.argwhere(level == P)
            centre_um = np.array([r, c]) * scale["scale"] + shift["translation"]
            half_um = scale["scale"][0] / 2
            cell_centre = (top + (row + 0.5) * geometry.stride) * geometry.mpp
            assert abs(centre_um[0] - cell_centre) <= (half_um if number else 1e-6)
            cell_centre = (left + (column + 0.5) * geometry.stride) * geometry.mpp
            assert abs(centre_um[1] - cell_centre) <= (half_um if number else 1e-6)


SLIDES = {  # size, stride, sizes of the coarser levels
    "no multiples": ((2911, 1383), 130.6, ()),
    "levels": ((2003, 1499), 211.3, ((1001, 749), (500, 374))),
    "downsample 57.375": ((2295, 1721), 3 * 57.375, ((40, 30),)),
}


@pytest.mark.parametrize("name", SLIDES)
def test_overlay_over_the_slide(tmp_path, name):
    """The corner cells are painted dark on the slide too."""
    size, stride, levels = SLIDES[name]
    geometry = Geometry(size, stride, mpp=0.5)
    save_prediction(tmp_path, heatmap_of(geometry, dict.fromkeys(geometry.corner_cells, 0.83)))
    pixels = np.full((*size[::-1], 3), 250, np.uint8)
    for left, top, right, bottom in np.rint(list(boxes(geometry).values())).astype(int):
        pixels[top:bottom, left:right] = 90
    path = write_tiff(tmp_path / "slide.tif", pixels, level_sizes=levels)
    cohort = Cohort.of_rows([CohortSlide(id="s", path=path)])
    export(tmp_path, "png", slides=cohort, picture_px=1000)
    image = np.asarray(Image.open(tmp_path / "s" / "s.overlay.png")).astype(int)
    px_level0 = read_world_file(tmp_path / "s" / "s.overlay.pgw")
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    for corner, box in boxes(geometry).items():
        quarter = np.zeros(image.shape[:2], bool)
        quarter[
            slice(rows) if "top" in corner else slice(rows, None),
            slice(columns) if "left" in corner else slice(columns, None),
        ] = True
        found = box_of(quarter & (np.ptp(image, axis=2) > 20), px_level0, geometry)
        assert np.abs(found - box).max() <= px_level0 / 2 + 1e-6
        dark = box_of(quarter & (image.min(axis=2) < 120), px_level0, geometry)
        assert np.abs(dark - box).max() <= px_level0 + 1


def test_px_counted_from_the_scanned_part(tmp_path, monkeypatch):
    """QuPath crops a MIRAX slide to its bounds: contours and dots move with the corner."""
    geometry = Geometry((2911, 1383), 130.6)
    cohort = Cohort(slides=tuple(CohortSlide(id=one, path=tmp_path) for one in CORNERS))
    predictions = predict_corners(tmp_path / "p", geometry)
    bounds = Region(x=301, y=107, width=2003, height=1009)
    opened = SimpleNamespace(info=SimpleNamespace(bounds=bounds))
    monkeypatch.setattr(export_slide, "open_slide", lambda path, **_: nullcontext(opened))
    export(predictions, "geojson", "asap", out=tmp_path / "o", slides=cohort, origin="bounds")
    for name, box in boxes(geometry).items():
        made = json.loads((tmp_path / "o" / name / f"{name}.geojson").read_text())
        assert made["gigaslide"]["origin_level0"] == [301, 107]
        moved = box - [301, 107, 301, 107]
        assert shape(made["features"][0]["geometry"]).bounds == pytest.approx(moved, abs=2e-3)
        frame = SlideFrame(width=2911, height=1383)
        xml = Annotation.load(tmp_path / "o" / name / f"{name}.xml", slide=frame)
        assert xml.tumor.bounds == pytest.approx(moved, abs=2e-3)
