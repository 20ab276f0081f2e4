"""What is drawn on a slide, in any format: round trips, what groups mean, and real outlines."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from conftest import REAL_DATA, TUMOR_RINGS, asap_xml, geojson
from drawings import INNER, SQUARE, corners, outline, shoelace
from gigaslide.storage import AnnotationError
from gigaslide.wsi import DEFAULT_GROUPS, Annotation
from shapely.geometry import box


@pytest.mark.parametrize(
    ("suffix", "how"),
    [(".xml", {}), (".xml", {"xml": "imagescope"}), (".geojson", {}), (".json", {})],
)
def test_round_trip_to_a_hundredth_of_a_px(tmp_path, suffix, how):
    rng = np.random.default_rng(5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 400))
    radii = rng.uniform(8_000, 9_000, 400)
    wild = np.stack(
        [80_000 + radii * np.cos(angles), 200_000.123 + 1.5 * radii * np.sin(angles)], axis=1
    )
    hole = [(79_000.015, 199_000.5), (80_000, 199_500.255), (79_500, 201_000)]
    drawn = (
        outline(wild, hole, name='odd <name> & "quotes" é'),
        outline(SQUARE, group="_1", name="b"),
    )
    path = tmp_path / f"a{suffix}"
    Annotation(outlines=drawn).save(path, **how)
    loaded = Annotation.load(path)
    truth = shapely.union_all([o.polygon for o in drawn])
    assert loaded.outlines[0].name == 'odd <name> & "quotes" é'
    assert np.abs(corners(loaded.outlines[0].polygon)[:400] - wild).max() <= 0.01
    assert shapely.hausdorff_distance(loaded.tumor, truth) <= 0.01
    assert loaded.tumor.area == pytest.approx(
        shoelace(wild) - shoelace(hole) + shoelace(SQUARE), rel=1e-7
    )


def test_a_round_trip_through_both_formats_keeps_the_tumour(tmp_path, make_file):
    first = Annotation.load(make_file("a.geojson", json.dumps(geojson())))
    first.save(tmp_path / "b.xml")
    Annotation.load(tmp_path / "b.xml").save(tmp_path / "c.geojson")
    last = Annotation.load(tmp_path / "c.geojson")
    assert shapely.symmetric_difference(first.tumor, last.tumor).area < 1
    assert first.tumor.area == pytest.approx(
        sum(shoelace(s) - (shoelace(h) if h else 0) for s, h in TUMOR_RINGS)
    )


@pytest.mark.parametrize("how", [{}, {"xml": "imagescope"}])
def test_what_lies_in_a_hole_survives_formats_without_holes(tmp_path, how):
    ring = outline(box(0, 0, 900, 700).exterior.coords, box(100, 100, 500, 300).exterior.coords)
    island = outline(
        box(200, 150, 250, 260).exterior.coords,
        box(210, 160, 220, 170).exterior.coords,
        name="island",
    )
    dirt = outline(
        box(600, 50, 800, 650).exterior.coords,
        box(650, 100, 700, 600).exterior.coords,
        group="exclude",
    )
    drawn = Annotation(outlines=(ring, island, dirt))
    drawn.save(tmp_path / "a.xml", **how)
    loaded = Annotation.load(tmp_path / "a.xml")
    assert loaded.tumor.area == pytest.approx(
        900 * 700 - 400 * 200 + 50 * 110 - 100 - (200 * 600 - 50 * 500)
    )
    assert shapely.symmetric_difference(drawn.tumor, loaded.tumor).area < 1e-6
    assert {o.group for o in loaded.outlines} <= {"_0", "_2", "exclude"}


def test_points_are_x_then_y(make_file):
    for path in (
        make_file("a.xml", asap_xml([("a", "_0", SQUARE)])),
        make_file("a.geojson", json.dumps(geojson([(SQUARE, [])]))),
    ):
        assert Annotation.load(path).tumor.bounds == (100, 40, 300, 90)


def test_camelyon_groups_add_and_exclude(make_file):
    other = [(400.0, 40.0), (500.0, 40.0), (500.0, 90.0)]
    xml = asap_xml(
        [("hole", "_2", INNER), ("a", "_0", SQUARE), ("b", "_1", other), ("c", "None", other)]
    )
    tumor = Annotation.load(make_file("a.xml", xml)).tumor
    assert tumor.area == pytest.approx(shoelace(SQUARE) + shoelace(other) - shoelace(INNER))
    assert not shapely.contains_xy(tumor, 160, 60)
    assert shapely.contains_xy(tumor, 110, 60)


@pytest.mark.parametrize("group", ["_0", "_1", "Tumor", "tumour", "metastases", "Carcinoma"])
def test_names_of_tumour_are_known(make_file, group):
    assert (
        Annotation.load(make_file("a.xml", asap_xml([("a", group, SQUARE)]))).tumor.area == 200 * 50
    )


@pytest.mark.parametrize("group", ["normal", "None", "Stroma", "_2", "Exclusion", "Ignore*"])
def test_names_of_other_things_are_known_and_are_no_tumour(make_file, group):
    annotation = Annotation.load(make_file("a.xml", asap_xml([("a", group, SQUARE)])))
    assert annotation.tumor.is_empty
    assert len(annotation.outlines) == 1


def test_further_groups_get_their_meaning_from_the_caller(make_file):
    path = make_file("a.xml", asap_xml([("a", "Gland X", SQUARE), ("b", "dirt", INNER)]))
    groups = {**DEFAULT_GROUPS, "GLAND x": "tumor", "Dirt": "exclusion"}
    assert Annotation.load(path, groups=groups).tumor.area == shoelace(SQUARE) - shoelace(INNER)


def test_missing_annotation_is_a_named_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone\.xml.*the column annotation"):
        Annotation.load(tmp_path / "gone.xml")
    with pytest.raises(AnnotationError, match=r"a\.txt"):
        Annotation(outlines=()).save(tmp_path / "a.txt")


def test_an_annotation_without_outlines_is_read(make_file):
    assert Annotation.load(make_file("a.xml", asap_xml([]))).tumor.is_empty
    assert Annotation.load(make_file("a.geojson", json.dumps(geojson([])))).tumor.is_empty


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_camelyon16_outlines_survive_a_round_trip(tmp_path):
    from xml.etree import ElementTree

    folder = REAL_DATA / "camelyon16" / "lesion_annotations"
    paths: list[Path] = sorted(folder.glob("*.xml"), key=lambda path: path.stat().st_size)[:6]
    assert len(paths) == 6
    for path in paths:
        annotation = Annotation.load(path)
        plain = ElementTree.parse(path)
        xs = [float(c.get("X")) for c in plain.iter("Coordinate")]
        ys = [float(c.get("Y")) for c in plain.iter("Coordinate")]
        left, top, right, bottom = shapely.union_all(
            [o.polygon for o in annotation.outlines]
        ).bounds
        assert min(xs) <= left <= right <= max(xs)
        assert min(ys) <= top <= bottom <= max(ys)
        annotation.save(tmp_path / "copy.geojson")
        copy = Annotation.load(tmp_path / "copy.geojson")
        assert (
            shapely.symmetric_difference(annotation.tumor, copy.tumor).area
            <= 1e-6 * annotation.tumor.area
        )
