"""What exports hold: read back with the libraries that people use, compared with the heatmap."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
import tifffile
import zarr
from exporting import Geometry, export, heatmap_of, save_prediction
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings
from gigaslide.wsi import Annotation, CellStatus, Heatmap, open_slide
from PIL import Image
from shapely.geometry import shape

GEOMETRY = Geometry((9973, 14_407), 130.6, mpp=0.2431)
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
RING = [(r, c) for r in range(20, 31) for c in range(30, 44) if not (23 <= r < 27 and 34 <= c < 39)]
INSIDE = [(24, 36), (25, 36)]  # an island in the ring's hole
YELLOW = [208, 225, 28]  # viridis at 0.93
DIAGONAL = [(50, 10), (51, 11), (52, 11)]


@pytest.fixture(scope="module")
def heatmap() -> Heatmap:
    rng = np.random.default_rng(3)
    rows, columns = GEOMETRY.shape
    cells = {(r, c): float(rng.random() * 0.4) for r in range(8, rows) for c in range(columns - 5)}
    cells |= dict.fromkeys(RING, 0.93) | dict.fromkeys(INSIDE + DIAGONAL, 0.71)
    made = heatmap_of(GEOMETRY, cells)
    made.probability[60, 5], made.status[60, 5] = np.nan, CellStatus.FAILED
    return made


@pytest.fixture(scope="module")
def exported(heatmap, tmp_path_factory) -> Path:
    """Folder of the slide."""
    folder = tmp_path_factory.mktemp("p")
    save_prediction(folder, heatmap)
    export(folder, "geojson", "asap", "ome-tiff", "ome-zarr", "csv", "qupath", level=(0.9, 0.5))
    return folder / "s"


def test_tifffile_reads_the_exact_probabilities(exported, heatmap):
    with tifffile.TiffFile(exported / "s.probability.ome.tif") as tiff:
        series = tiff.series[0]
        assert tiff.is_ome
        levels = [level.asarray() for level in series.levels]
        assert all(page.is_tiled for page in series.pages)
    image = levels[0]
    assert (image.dtype, series.axes) == (np.float32, "YX")
    side = 130.6 / 10  # px: 1000 px for 14 407 level-0 px, rounded up to whole px a cell
    assert image.shape == (int(-(-14_407 // side)), int(-(-9973 // side)))
    once = image[::10, ::10]
    assert np.array_equal(once, heatmap.probability, equal_nan=True)
    for finer, coarser in pairwise(levels):
        assert coarser.shape == tuple(-(-length // 2) for length in finer.shape)
        assert np.nanmax(coarser) == np.nanmax(finer)  # small lesions stay visible
        assert np.nanmin(coarser[:20, :20], initial=1) >= np.nanmin(finer[:40, :40], initial=1)
    assert max(levels[-1].shape) <= 256 < max(levels[-2].shape)


def test_ome_xml_says_what_the_image_is(exported):
    with tifffile.TiffFile(exported / "s.colours.ome.tif") as tiff:
        root = fromstring(tiff.ome_metadata)
        resolution = [page.tags["XResolution"].value for page in tiff.series[0].pages]
    (image,) = root.findall(f"{OME}Image")
    pixels = image.find(f"{OME}Pixels")
    assert image.get("Name") == "s viridis"
    assert (pixels.get("Type"), pixels.get("SizeC"), pixels.get("PhysicalSizeXUnit")) == (
        "uint8",
        "3",
        "µm",
    )
    assert float(pixels.get("PhysicalSizeX")) == pytest.approx(13.06 * 0.2431)
    assert int(pixels.get("SizeX")) * 13.06 == pytest.approx(9973, abs=13.06)
    assert resolution[0][0] / resolution[0][1] == pytest.approx(1e4 / (13.06 * 0.2431), rel=1e-4)


def test_slide_readers_open_the_coloured_image(exported, heatmap):
    path = exported / "s.colours.ome.tif"
    with open_slide(path) as slide:
        assert slide.info.mpp == pytest.approx(13.06 * 0.2431, rel=1e-6)
        assert slide.info.level_sizes[0] == openslide.OpenSlide(str(path)).dimensions
    seen = openslide.OpenSlide(str(path)).read_region((355, 205), 0, (1, 1)).getpixel((0, 0))
    image = tifffile.imread(path)
    assert seen[:3] == tuple(image[205, 355].tolist())
    hot, background, failed = image[205, 355], image[5, 5], image[605, 55]
    assert hot.tolist() == YELLOW
    assert background.tolist() == [255, 255, 255]
    assert failed.tolist() == [128, 128, 128]


def test_zarr_reads_the_exact_probabilities(exported, heatmap):
    group = zarr.open_group(exported / "s.ome.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert np.array_equal(group["0"][:], heatmap.probability, equal_nan=True)
    assert group["0"].metadata.dimension_names == ("y", "x")
    ome: dict = group.attrs["ome"]  # pyright: ignore
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["y", "x"]
    assert {axis["type"] for axis in image["axes"]} == {"space"}
    assert [
        transform["type"] for transform in image["datasets"][0]["coordinateTransformations"]
    ] == [
        "scale",
        "translation",
    ]
    assert {dataset["path"] for dataset in image["datasets"]} == set(group.array_keys())


def features(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["features"]


def test_geojson_has_holes_islands_levels_and_measurements(exported, heatmap):
    found = features(exported / "s.geojson")
    by_class: dict[str, list] = {"Tumor: 0.5": [], "Tumor: 0.9": []}
    for feature in found:
        properties = feature["properties"]
        assert properties["objectType"] == "annotation"
        assert len(properties["classification"]["color"]) == 3
        assert shape(feature["geometry"]).is_valid
        by_class[properties["classification"]["name"]].append(feature)
    assert {name: len(features) for name, features in by_class.items()} == {
        "Tumor: 0.5": 3,
        "Tumor: 0.9": 1,
    }
    assert len({feature["id"] for feature in found}) == 4
    (ring,) = by_class["Tumor: 0.9"]
    polygon = shape(ring["geometry"])
    assert len(polygon.interiors) == 1
    hole = shapely.box(34 * 130.6, 23 * 130.6, 39 * 130.6, 27 * 130.6)
    outside = shapely.box(30 * 130.6, 20 * 130.6, 44 * 130.6, 31 * 130.6)
    assert polygon.symmetric_difference(outside - hole).area < 1
    measured = ring["properties"]["measurements"]
    assert measured["Maximum probability"] == pytest.approx(0.93, abs=1e-6)
    assert measured["Mean probability"] == pytest.approx(0.93, abs=1e-6)
    assert measured["Area µm^2"] == pytest.approx(polygon.area * 0.2431**2, rel=1e-5)
    diagonal = shape(by_class["Tumor: 0.5"][2]["geometry"])
    assert diagonal.geom_type == "MultiPolygon"  # one region, although its pieces only touch
    assert diagonal.area == pytest.approx(3 * 130.6**2, rel=1e-5)


def test_asap_read_back_equals_the_contours(exported):
    groups = {"Tumor: 0.5": "tumor", "Tumor: 0.9": "tumor", "_2": "exclusion"}
    back = Annotation.load(exported / "s.xml", groups=groups).tumor
    union = shapely.union_all([shape(f["geometry"]) for f in features(exported / "s.geojson")])
    assert back.symmetric_difference(union).area < 1
    root = fromstring((exported / "s.xml").read_bytes())
    dots = [one for one in root.iter("Annotation") if one.get("Type") == "Dot"]
    points = features(exported / "s.detections.geojson")
    assert len(dots) == len(points) > 2
    for dot, point in zip(dots, points, strict=True):
        (corner,) = dot.iter("Coordinate")
        assert [float(corner.get("X")), float(corner.get("Y"))] == pytest.approx(
            point["geometry"]["coordinates"], abs=1e-3
        )
    listed = {group.get("Name") for group in root.iter("Group")}
    assert {one.get("PartOfGroup") for one in root.iter("Annotation")} - listed == {"None"}


@pytest.mark.parametrize("tolerance_um", [20.0, 90.0, 400.0])
def test_simplified_contours_stay_near_and_valid(tmp_path, tolerance_um):
    rng = np.random.default_rng(8)
    cells = {(r, c): 0.9 for r in range(80) for c in range(60) if rng.random() < 0.55}
    save_prediction(tmp_path, heatmap_of(GEOMETRY, cells))
    exact, simple = tmp_path / "exact", tmp_path / "simple"
    export(tmp_path, "geojson", out=exact)
    export(tmp_path, "geojson", out=simple, simplify_um=tolerance_um)
    pairs = list(
        zip(features(exact / "s/s.geojson"), features(simple / "s/s.geojson"), strict=True)
    )
    assert len(pairs) > 3
    for first, second in pairs:
        before, after = shape(first["geometry"]), shape(second["geometry"])
        assert after.is_valid
        assert not after.is_empty
        distance_um = shapely.hausdorff_distance(before, after) * 0.2431
        assert distance_um <= tolerance_um + 1e-6
        assert first["properties"]["measurements"] == second["properties"]["measurements"]
    corners = [
        sum(shapely.get_num_coordinates(shape(f["geometry"])) for f in side)
        for side in zip(*pairs, strict=True)
    ]
    assert corners[1] < corners[0] * (1 if tolerance_um > 32 else 1.0001)


def test_transparent_png_shows_scored_and_failed_cells_only(exported):
    image = np.asarray(Image.open(exported / "s.heatmap.png"))
    assert image[205, 355].tolist() == [*YELLOW, 255]
    assert image[605, 55].tolist() == [128, 128, 128, 255]
    assert image[5, 5].tolist() == [0, 0, 0, 0]


def test_tables_of_slides_and_patients(tmp_path):
    small = Geometry((3001, 2003), 128.0, mpp=0.5)
    long = {(4, column): 0.8 for column in range(22)}  # 1408 µm
    two = {(1, 1): 0.7, (9, 9): 0.97}  # 64 µm each
    save_prediction(tmp_path, heatmap_of(small, {**long, (9, 3): 0.2}, slide="a"))
    save_prediction(tmp_path, heatmap_of(small, two, slide="b"))
    save_prediction(tmp_path, heatmap_of(small, {(2, 2): 0.4}, slide="007"))
    rows = [("a", "p1"), ("b", "p1"), ("007", "p2")]
    cohort = Cohort.of_rows(
        [CohortSlide(id=slide, path=tmp_path / f"{slide}.tif", patient=p) for slide, p in rows]
    )
    export(tmp_path, "csv", slides=cohort, out=tmp_path / "o")
    slides = pd.read_csv(tmp_path / "o" / "slides.csv", dtype={"slide": str}).set_index("slide")
    assert list(slides.index) == ["a", "b", "007"]
    assert slides["score"].tolist() == pytest.approx([0.8, 0.97, 0.4])
    assert slides["call"].tolist() == ["tumor", "tumor", "normal"]
    assert slides["largest"].tolist() == ["micro", "itc", "negative"]
    assert slides["regions"].tolist() == [1, 2, 0]
    assert slides["detections_itc"].tolist() == [0, 2, 0]
    assert slides["cells"].tolist() == [23, 2, 1]
    assert slides["tumor_mm2"].tolist() == pytest.approx([22 * 0.064**2, 2 * 0.064**2, 0], abs=1e-5)
    patients = pd.read_csv(tmp_path / "o" / "patients.csv").set_index("patient")
    assert patients["most_severe"].to_dict() == {"p1": "micro", "p2": "negative"}
    assert patients["slides_itc"].to_dict() == {"p1": 1, "p2": 0}
    table = pd.read_csv(tmp_path / "o" / "detections.csv", dtype={"slide": str})
    assert sorted(set(table["slide"])) == ["a", "b"]
    export(tmp_path, "csv", out=tmp_path / "o")
    assert not (tmp_path / "o" / "patients.csv").exists()  # nobody says who they are


def test_fault_12_44_a_slide_without_tissue_is_not_called_normal(tmp_path):
    small = Geometry((3001, 2003), 128.0, mpp=0.5)
    save_prediction(tmp_path, heatmap_of(small, {(1, 1): 0.2}, slide="a"))
    save_prediction(tmp_path, heatmap_of(small, {}, slide="glass"))
    save_prediction(tmp_path, heatmap_of(small, {}, slide="pale"))
    rows = [("a", "p1"), ("glass", "p1"), ("pale", "p2")]
    cohort = Cohort.of_rows(
        [CohortSlide(id=slide, path=tmp_path / f"{slide}.tif", patient=p) for slide, p in rows]
    )
    export(tmp_path, "csv", slides=cohort, out=tmp_path / "o")
    slides = pd.read_csv(tmp_path / "o" / "slides.csv").set_index("slide")
    assert slides["call"].tolist() == ["normal", "no tissue", "no tissue"]
    assert slides["score"].isna().tolist() == slides["largest"].isna().tolist()
    assert slides["score"].isna().tolist() == [False, True, True]
    patients = pd.read_csv(tmp_path / "o" / "patients.csv").set_index("patient")
    assert patients["slides_without_tissue"].tolist() == [1, 1]
    assert patients["slides_negative"].tolist() == [1, 0]
    assert patients["score"].tolist()[0] == pytest.approx(0.2)
    assert patients.loc["p2", ["score", "most_severe"]].isna().all()


def test_operating_threshold_decides_the_call(tmp_path):
    small = Geometry((3001, 2003), 128.0, mpp=0.5)
    save_prediction(tmp_path, heatmap_of(small, {(1, 1): 0.7}), PredictSettings(threshold=0.6))
    (tmp_path / "operating_threshold.json").write_text('{"value": 0.71, "origin": "chosen"}')
    export(tmp_path, "csv")
    row = pd.read_csv(tmp_path / "slides.csv").iloc[0]
    assert (row["call"], row["slide_threshold"]) == ("normal", 0.71)
    (tmp_path / "operating_threshold.json").write_text('{"value": 0.69, "origin": "chosen"}')
    export(tmp_path, "csv")
    assert pd.read_csv(tmp_path / "slides.csv").iloc[0]["call"] == "tumor"


def test_fault_13_names_in_the_script_for_qupath_and_in_files(tmp_path):
    name = "a $b \"c\" 'd' \\ <e>& 组织"
    small = Geometry((3001, 2003), 128.0, mpp=0.5)
    save_prediction(tmp_path, heatmap_of(small, {(1, 1): 0.7}, slide=name))
    assert export(tmp_path, "qupath", "asap", "ome-tiff", "ome-zarr", "csv").exit_status == 0
    script = (tmp_path / "load_into_qupath.groovy").read_text(encoding="utf-8")
    quoted = '"a \\$b \\"c\\" \'d\' \\\\ <e>& \\u7ec4\\u7ec7"'
    assert f"    [id: {quoted}]," in script
    assert "@" not in script
    with tifffile.TiffFile(tmp_path / name / f"{name}.probability.ome.tif") as tiff:
        image = fromstring(tiff.ome_metadata.encode()).find(f"{OME}Image")
    assert image.get("Name") == f"{name} probability"
    assert len(features(tmp_path / name / f"{name}.geojson")) == 1
    assert pd.read_csv(tmp_path / "slides.csv")["slide"].tolist() == [name]
