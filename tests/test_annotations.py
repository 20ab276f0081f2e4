"""What is drawn on a slide: round trips, the files of other programs, and files that must be refused."""

import json
import logging
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from conftest import REAL_DATA, TUMOR_RINGS, asap_xml, geojson
from gigaslide.wsi import DEFAULT_GROUPS, Annotation, AnnotationError, Outline
from shapely.geometry import Polygon

SQUARE = [(100.0, 40.0), (300.0, 40.0), (300.0, 90.0), (100.0, 90.0)]
INNER = [(150.0, 50.0), (180.0, 50.0), (180.0, 80.0), (150.0, 80.0)]


def shoelace(ring) -> float:
    """Area of a ring by its corners."""
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]))) / 2


def outline(shell, *holes, group: str = "_0", name: str = "a") -> Outline:
    return Outline(name=name, group=group, polygon=Polygon(shell, holes))


def corners(polygon) -> np.ndarray:
    return np.concatenate([np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)])


@pytest.mark.parametrize("suffix", [".xml", ".geojson", ".json"])
def test_round_trip_to_a_hundredth_of_a_px(tmp_path, suffix):
    rng = np.random.default_rng(5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 400))
    radii = rng.uniform(8_000, 9_000, 400)
    wild = np.stack([80_000 + radii * np.cos(angles), 200_000.123 + 1.5 * radii * np.sin(angles)], axis=1)
    hole = [(79_000.015, 199_000.5), (80_000, 199_500.255), (79_500, 201_000)]
    drawn = (outline(wild, hole, name='odd <name> & "quotes" é'), outline(SQUARE, group="_1", name="b"))
    path = tmp_path / f"a{suffix}"
    Annotation(outlines=drawn).save(path)
    loaded = Annotation.load(path)
    truth = shapely.union_all([o.polygon for o in drawn])
    assert loaded.outlines[0].name == 'odd <name> & "quotes" é'
    assert np.abs(corners(loaded.outlines[0].polygon)[:400] - wild).max() <= 0.01
    assert shapely.hausdorff_distance(loaded.tumor, truth) <= 0.01
    assert loaded.tumor.area == pytest.approx(shoelace(wild) - shoelace(hole) + shoelace(SQUARE), rel=1e-7)


def test_a_round_trip_through_both_formats_keeps_the_tumour(tmp_path, make_file):
    first = Annotation.load(make_file("a.geojson", json.dumps(geojson())))
    first.save(tmp_path / "b.xml")
    Annotation.load(tmp_path / "b.xml").save(tmp_path / "c.geojson")
    last = Annotation.load(tmp_path / "c.geojson")
    assert shapely.symmetric_difference(first.tumor, last.tumor).area < 1
    assert first.tumor.area == pytest.approx(sum(shoelace(s) - (shoelace(h) if h else 0) for s, h in TUMOR_RINGS))


def test_asap_writer_lists_every_group_it_uses_and_qpath_gets_a_colour(tmp_path):
    from xml.etree import ElementTree

    drawn = Annotation(outlines=(outline(SQUARE, INNER, group="Tumor"), outline(INNER, group="normal")))
    drawn.save(tmp_path / "a.xml")
    root = ElementTree.fromstring((tmp_path / "a.xml").read_bytes())
    used = {element.get("PartOfGroup") for element in root.iter("Annotation")}
    assert used == {"Tumor", "normal", "_2"}
    assert {element.get("Name") for element in root.iter("Group")} == used
    ring = [(float(c.get("X")), float(c.get("Y"))) for c in root.find(".//Annotation").iter("Coordinate")]
    assert len(ring) == 4  # ASAP does not repeat the first point
    drawn.save(tmp_path / "a.geojson")
    plain = json.loads((tmp_path / "a.geojson").read_text())
    assert all(len(f["properties"]["classification"]["color"]) == 3 for f in plain["features"])
    assert plain["features"][0]["properties"]["objectType"] == "annotation"
    for ring in plain["features"][0]["geometry"]["coordinates"]:
        assert ring[0] == ring[-1]


def test_points_are_x_then_y(make_file):
    for path in (
        make_file("a.xml", asap_xml([("a", "_0", SQUARE)])),
        make_file("a.geojson", json.dumps(geojson([(SQUARE, [])]))),
    ):
        assert Annotation.load(path).tumor.bounds == (100, 40, 300, 90)


def test_camelyon_groups_add_and_exclude(make_file):
    other = [(400.0, 40.0), (500.0, 40.0), (500.0, 90.0)]
    xml = asap_xml([("hole", "_2", INNER), ("a", "_0", SQUARE), ("b", "_1", other), ("c", "None", other)])
    tumor = Annotation.load(make_file("a.xml", xml)).tumor
    assert tumor.area == pytest.approx(shoelace(SQUARE) + shoelace(other) - shoelace(INNER))
    assert not shapely.contains_xy(tumor, 160, 60)
    assert shapely.contains_xy(tumor, 110, 60)


@pytest.mark.parametrize("group", ["_0", "_1", "Tumor", "tumour", "metastases", "Carcinoma"])
def test_names_of_tumour_are_known(make_file, group):
    assert Annotation.load(make_file("a.xml", asap_xml([("a", group, SQUARE)]))).tumor.area == 200 * 50


@pytest.mark.parametrize("group", ["normal", "None", "Stroma", "_2", "Exclusion", "Ignore*"])
def test_names_of_other_things_are_known_and_are_no_tumour(make_file, group):
    annotation = Annotation.load(make_file("a.xml", asap_xml([("a", group, SQUARE)])))
    assert annotation.tumor.is_empty
    assert len(annotation.outlines) == 1


def test_further_groups_get_their_meaning_from_the_caller(make_file):
    path = make_file("a.xml", asap_xml([("a", "Gland X", SQUARE), ("b", "dirt", INNER)]))
    groups = {**DEFAULT_GROUPS, "GLAND x": "tumor", "Dirt": "exclusion"}
    assert Annotation.load(path, groups=groups).tumor.area == shoelace(SQUARE) - shoelace(INNER)


def test_order_decides_and_not_the_place_in_the_file(make_file):
    xml = asap_xml([("a", "_0", SQUARE)])
    lines = [f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(SQUARE)]
    shuffled = xml.replace("".join(lines), lines[2] + lines[0] + lines[3] + lines[1])
    assert shuffled != xml
    assert Annotation.load(make_file("a.xml", shuffled)).tumor.area == 200 * 50


def test_more_than_ten_points_are_ordered_as_numbers(make_file):
    angles = np.arange(25) * 2 * np.pi / 25
    ring = [(500 + 100 * float(np.cos(a)), 500 + 100 * float(np.sin(a))) for a in angles]
    assert Annotation.load(make_file("a.xml", asap_xml([("a", "_0", ring)]))).tumor.area == pytest.approx(
        shoelace(ring)
    )


def test_decimal_commas(make_file):
    xml = asap_xml([("a", "_0", [(100.5, 40.25), (300.5, 40.25), (300.5, 90.25)])])
    commas = xml.replace('.5"', ',5"').replace('.25"', ',25"')
    assert commas.count(",") == 6
    assert Annotation.load(make_file("a.xml", commas)).tumor.bounds == (100.5, 40.25, 300.5, 90.25)


@pytest.mark.parametrize("kind", ["Polygon", "Spline", "Rectangle"])
def test_closed_kinds_count(make_file, kind):
    assert Annotation.load(make_file("a.xml", asap_xml([("a", "_0", SQUARE)], kind=kind))).tumor.area == 200 * 50


@pytest.mark.parametrize("kind", ["Dot", "PointSet", "Measurement"])
def test_open_kinds_enclose_nothing(make_file, kind):
    assert not Annotation.load(make_file("a.xml", asap_xml([("a", "_0", SQUARE)], kind=kind))).outlines


def feature(geometry: dict | None, **properties) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


RING = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]], [*INNER, INNER[0]]]}
NEW = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}, "isLocked": False}
OLD = {"object_type": "annotation", "classification": {"name": "Tumor", "colorRGB": -3670016}, "measurements": []}


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param({"type": "FeatureCollection", "features": [feature(RING, **NEW)]}, id="collection"),
        pytest.param([feature(RING, **NEW)], id="list"),
        pytest.param(feature(RING, **NEW), id="feature"),
        pytest.param([feature(RING, **OLD)], id="older"),
        pytest.param(feature(RING, classification="Tumor", name="x"), id="class as a string"),
        pytest.param(
            feature({"type": "MultiPolygon", "coordinates": [RING["coordinates"]]}, **NEW), id="several polygons"
        ),
        pytest.param(
            feature({**RING, "isEllipse": True, "coordinates": [r[::-1] for r in RING["coordinates"]]}, **NEW),
            id="turned the other way",
        ),
        pytest.param([feature(None, **NEW), feature(RING, **NEW)], id="a feature without geometry"),
        pytest.param(
            [feature({"type": "Point", "coordinates": [3, 4]}, **NEW), feature(RING, **NEW)], id="a point beside"
        ),
        pytest.param(
            [feature({"type": "LineString", "coordinates": [[3, 4], [5, 6]]}), feature(RING, **NEW)], id="a line beside"
        ),
    ],
)
def test_qupath_variants(make_file, plain):
    tumor = Annotation.load(make_file("a.geojson", json.dumps(plain))).tumor
    assert tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))
    assert tumor.bounds == (100, 40, 300, 90)


def test_bare_geometry_and_unclassified_shapes_are_not_tumour_of_their_own_accord(make_file):
    for plain in (RING, feature(RING, name="x"), feature(RING, classification=None), feature(RING, classification={})):
        annotation = Annotation.load(make_file("a.geojson", json.dumps(plain)))
        assert len(annotation.outlines) == 1
        assert annotation.tumor.is_empty
        named = Annotation.load(make_file("a.geojson", json.dumps(plain)), groups={**DEFAULT_GROUPS, "": "tumor"})
        assert named.tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))


def test_measurements_without_a_number_do_not_matter(make_file):
    plain = json.dumps(feature(RING, **NEW, measurements={"Circularity": float("nan")}))
    assert "NaN" in plain
    assert not Annotation.load(make_file("a.geojson", plain)).tumor.is_empty


def test_geojson_with_a_byte_order_mark(make_file):
    path = make_file("a.geojson", b"\xef\xbb\xbf" + json.dumps(geojson()).encode())
    assert not Annotation.load(path).tumor.is_empty


def test_fault_17_billion_laughs_is_refused_at_once(make_file):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><ASAP_Annotations>&l11;</ASAP_Annotations>'
    path = make_file("bomb.xml", xml)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(AnnotationError, match=r"bomb\.xml"):
        Annotation.load(path)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 100e6


def test_fault_18_external_entity_is_refused(make_file):
    secret = make_file("secret.txt", "canary")
    xml = asap_xml([("&outside;", "_0", SQUARE)])
    xml = xml.replace(
        "<ASAP_Annotations>", f'<!DOCTYPE x [<!ENTITY outside SYSTEM "{secret.as_uri()}">]><ASAP_Annotations>'
    )
    with pytest.raises(AnnotationError, match=r"leak\.xml") as info:
        Annotation.load(make_file("leak.xml", xml))
    assert "canary" not in str(info.value)
    bare = '<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd"><ASAP_Annotations/>'
    assert not Annotation.load(make_file("dtd.xml", bare)).outlines  # passed over, never fetched


def test_fault_19_bow_tie_is_repaired_and_told(make_file, caplog):
    bow_tie = [(0.0, 0.0), (200.0, 100.0), (200.0, 0.0), (0.0, 100.0)]
    with caplog.at_level(logging.INFO, logger="gigaslide"):
        annotation = Annotation.load(make_file("a.xml", asap_xml([("tie", "_0", bow_tie)])))
    assert annotation.tumor.is_valid
    assert annotation.tumor.area == pytest.approx(2 * 100 * 100 / 2)
    assert len(annotation.outlines) == 2
    assert any("'tie' crossed itself: area 0 → 10000 px²" in message for message in caplog.messages)


def test_fault_19_degenerate_outlines_are_left_out_and_told(make_file, caplog):
    line = [(0.0, 0.0), (50.0, 50.0), (100.0, 100.0)]
    xml = asap_xml([("flat", "_0", line), ("two", "_0", line[:2]), ("none", "_0", []), ("good", "_0", SQUARE)])
    with caplog.at_level(logging.WARNING, logger="gigaslide"):
        annotation = Annotation.load(make_file("a.xml", xml))
    assert [o.name for o in annotation.outlines] == ["good"]
    for name in ("flat", "two", "none"):
        assert any(repr(name) in message for message in caplog.messages)


def test_fault_19_open_ring_in_geojson_is_closed_or_refused(make_file):
    plain = feature({"type": "Polygon", "coordinates": [SQUARE]}, **NEW)
    assert Annotation.load(make_file("a.geojson", json.dumps(plain))).tumor.area == 200 * 50


def test_fault_20_far_outside_makes_no_giant_mask(make_file):
    from gigaslide.wsi import tumor_fractions

    far = [(0.0, 0.0), (1e12, 0.0), (1e12, 1e12), (0.0, 1e12)]
    tumor = Annotation.load(make_file("a.xml", asap_xml([("far", "_0", far)]))).tumor
    start = time.perf_counter()
    shares = tumor_fractions(tumor, np.array([(100.0, 200.0), (-60.0, 5.0)]), side_level0=128, side_px=128)
    assert shares == pytest.approx([1, (68 / 128)])
    assert time.perf_counter() - start < 2


BROKEN = {
    "unknown group": (
        "a.xml",
        asap_xml([("a", "_0", SQUARE), ("b", "Mystery", INNER)]),
        r"unknown group 'Mystery'.*'_0'",
    ),
    "unknown class": ("a.geojson", json.dumps(geojson(group="Mystery")), r"unknown group 'Mystery'.*--groups"),
    "wrong root": ("a.xml", "<Annotations/>", r"root element is <Annotations>, expected <ASAP_Annotations>"),
    "empty": ("a.xml", "", "the annotation file is empty"),
    "blank": ("a.geojson", " \n", "the annotation file is empty"),
    "not xml": ("a.xml", "hello", "not an ASAP annotation"),
    "cut xml": ("a.xml", asap_xml([("a", "_0", SQUARE)])[:-40], "not an ASAP annotation"),
    "not json": ("a.geojson", "<xml/>", "not GeoJSON"),
    "a number": ("a.geojson", "17", "expected a GeoJSON"),
    "list of numbers": ("a.json", "[1, 2]", "expected a GeoJSON"),
    "no features": ("a.json", '{"type": "FeatureCollection"}', "expected a GeoJSON"),
    "words for numbers": ("a.xml", asap_xml([("a", "_0", [("left", "up"), (1, 2), (3, 5)])]), "not a number"),
    "not finite": ("a.xml", asap_xml([("a", "_0", [("nan", 3), (1, 2), (3, 5)])]), "not finite"),
    "infinite": ("a.xml", asap_xml([("a", "_0", [(1, "inf"), (1, 2), (3, 5)])]), "not finite"),
    "no such geometry": ("a.geojson", json.dumps(feature({"type": "Blob", "coordinates": []}, **NEW)), "damaged"),
    "no coordinates": ("a.geojson", json.dumps(feature({"type": "Polygon"}, **NEW)), "damaged"),
    "too few points": (
        "a.geojson",
        json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, **NEW)),
        "damaged",
    ),
    "coordinates of words": (
        "a.geojson",
        json.dumps(feature({"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}, **NEW)),
        "damaged",
    ),
    "nan in json": (
        "a.geojson",
        '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1], [0, 0]]]}',
        "is not finite",
    ),
    "infinity in json": (
        "a.geojson",
        '{"type": "Polygon", "coordinates": [[[0, 0], [Infinity, 0], [1, 1], [0, 0]]]}',
        "is not finite",
    ),
    "overflow in json": ("a.geojson", json.dumps(geojson([(SQUARE, [])])).replace("300.0", "1e999"), "is not finite"),
    "unknown encoding": ("a.xml", '<?xml version="1.0" encoding="foo"?><ASAP_Annotations/>', "not an ASAP annotation"),
    "properties in a list": (
        "a.geojson",
        json.dumps({"type": "Feature", "geometry": None, "properties": ["Tumor"]}),
        "properties are not an object",
    ),
    "properties of words": (
        "a.geojson",
        json.dumps({"type": "Feature", "geometry": None, "properties": "Tumor"}),
        "properties are not an object",
    ),
    "wrong suffix": ("a.txt", "hello", "an annotation is .xml"),
}


def test_tumour_in_collections_of_collections_is_kept(make_file):
    multi = {"type": "MultiPolygon", "coordinates": [[[*SQUARE, SQUARE[0]]], [[(x + 500, y) for x, y in SQUARE]]]}
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    inner = {"type": "GeometryCollection", "geometries": [multi, line]}
    for geometry, count in ((inner, 2), ({"type": "GeometryCollection", "geometries": [inner, line]}, 2)):
        annotation = Annotation.load(make_file("a.geojson", json.dumps(feature(geometry, **NEW))))
        assert len(annotation.outlines) == count
        assert annotation.tumor.area == 2 * 200 * 50


@pytest.mark.parametrize("case", BROKEN)
def test_fault_21_broken_annotations_are_named_errors(make_file, case):
    name, content, words = BROKEN[case]
    with pytest.raises(AnnotationError, match=words) as info:
        Annotation.load(make_file(name, content))
    assert name in str(info.value)


def test_fault_21_utf_16_is_read_or_refused_never_normal(make_file):
    xml = asap_xml([("a", "_0", SQUARE)]).replace('version="1.0"', 'version="1.0" encoding="UTF-16"')
    plain = json.dumps(geojson([(SQUARE, [])]))
    for path in (make_file("a.xml", xml.encode("utf-16")), make_file("a.geojson", plain.encode("utf-16"))):
        try:
            tumor = Annotation.load(path).tumor
        except AnnotationError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert tumor.area == 200 * 50


def test_missing_annotation_is_a_named_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone\.xml.*annotation column"):
        Annotation.load(tmp_path / "gone.xml")
    with pytest.raises(AnnotationError, match=r"a\.txt"):
        Annotation(outlines=()).save(tmp_path / "a.txt")


def test_fault_22_deep_nesting_and_many_vertices_are_bounded(make_file):
    start = time.perf_counter()
    with pytest.raises(AnnotationError, match=r"deep\.geojson"):
        Annotation.load(
            make_file("deep.geojson", '{"type": "Polygon", "coordinates": ' + "[" * 10_000 + "]" * 10_000 + "}")
        )
    angles = np.linspace(0, 2 * np.pi, 100_001)
    ring = np.stack([5e4 + 4e4 * np.cos(angles), 5e4 + 3e4 * np.sin(angles)], axis=1).round(2).tolist()
    ring[-1] = ring[0]
    annotation = Annotation.load(
        make_file("many.geojson", json.dumps(feature({"type": "Polygon", "coordinates": [ring]}, **NEW)))
    )
    assert annotation.tumor.area == pytest.approx(np.pi * 4e4 * 3e4, rel=1e-4)
    assert time.perf_counter() - start < 10


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
        left, top, right, bottom = shapely.union_all([o.polygon for o in annotation.outlines]).bounds
        assert min(xs) <= left <= right <= max(xs)
        assert min(ys) <= top <= bottom <= max(ys)
        annotation.save(tmp_path / "copy.geojson")
        copy = Annotation.load(tmp_path / "copy.geojson")
        assert shapely.symmetric_difference(annotation.tumor, copy.tumor).area <= 1e-6 * annotation.tumor.area
