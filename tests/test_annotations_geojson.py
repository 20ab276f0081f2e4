"""QuPath GeoJSON, of several versions."""

import gzip
import json

import pytest
from conftest import geojson
from drawings import INNER, NEW, RING, SQUARE, feature, outline, shoelace
from gigaslide.storage import AnnotationError
from gigaslide.wsi import DEFAULT_GROUPS, Annotation

OLD = {
    "object_type": "annotation",
    "classification": {"name": "Tumor", "colorRGB": -3670016},
    "measurements": [],
}


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(
            {"type": "FeatureCollection", "features": [feature(RING, **NEW)]}, id="collection"
        ),
        pytest.param([feature(RING, **NEW)], id="list"),
        pytest.param(feature(RING, **NEW), id="feature"),
        pytest.param([feature(RING, **OLD)], id="older"),
        pytest.param(feature(RING, classification="Tumor", name="x"), id="class as a string"),
        pytest.param(
            feature({"type": "MultiPolygon", "coordinates": [RING["coordinates"]]}, **NEW),
            id="several polygons",
        ),
        pytest.param(
            feature(
                {**RING, "isEllipse": True, "coordinates": [r[::-1] for r in RING["coordinates"]]},
                **NEW,
            ),
            id="turned the other way",
        ),
        pytest.param([feature(None, **NEW), feature(RING, **NEW)], id="a feature without geometry"),
        pytest.param(
            [feature({"type": "Point", "coordinates": [3, 4]}, **NEW), feature(RING, **NEW)],
            id="a point beside",
        ),
        pytest.param(
            [
                feature({"type": "LineString", "coordinates": [[3, 4], [5, 6]]}),
                feature(RING, **NEW),
            ],
            id="a line beside",
        ),
    ],
)
def test_qupath_variants(make_file, plain):
    tumor = Annotation.load(make_file("a.geojson", json.dumps(plain))).tumor
    assert tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))
    assert tumor.bounds == (100, 40, 300, 90)


def test_bare_geometry_and_unclassified_shapes_are_not_tumour_of_their_own_accord(make_file):
    for plain in (
        RING,
        feature(RING, name="x"),
        feature(RING, classification=None),
        feature(RING, classification={}),
    ):
        annotation = Annotation.load(make_file("a.geojson", json.dumps(plain)))
        assert len(annotation.outlines) == 1
        assert annotation.tumor.is_empty
        named = Annotation.load(
            make_file("a.geojson", json.dumps(plain)), groups={**DEFAULT_GROUPS, "": "tumor"}
        )
        assert named.tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"properties": {"objectType": "cell"}}, "3 cells"),
        ({"properties": {"objectType": "detection"}}, "3 detections"),
        ({"properties": {"object_type": "tile"}}, "3 tiles"),
        ({"properties": {"objectType": "tma_core"}}, "3 TMA cores"),
        ({"id": "PathCellObject"}, "3 cells"),
    ],
)
def test_only_annotations_of_qupath_outline_a_region(make_file, caplog, kind, told):
    row = [[(x + dx, y) for x, y in SQUARE] for dx in (500, 800, 1100)]
    objects = [
        {
            **feature({"type": "Polygon", "coordinates": [ring]}),
            **kind,
            "properties": {"classification": {"name": "Tumor"}, **kind.get("properties", {})},
        }
        for ring in row
    ]
    path = make_file("a.geojson", json.dumps([*objects, feature(RING, **NEW)]))
    annotation = Annotation.load(path)
    assert len(annotation.outlines) == 1
    assert annotation.tumor.bounds == (100, 40, 300, 90)
    assert [told in message for message in caplog.messages] == [True]


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"name": "Tumor", "color": [200, 0, 0]}),
        str({"name": "Tumor", "colorRGB": -3670016}),
        json.dumps({"names": ["Tumor"]}),
        ["Tumor"],
    ],
)
def test_a_class_that_became_text_or_a_list_is_read(make_file, written):
    plain = [feature(RING, classification=written)]
    tumor = Annotation.load(make_file("a.geojson", json.dumps(plain))).tumor
    assert tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))


@pytest.mark.parametrize("written", ["{'name': np.int32(3)}", "{" * 2000, "{}", "{3}"])
def test_a_class_of_other_text_is_an_error_or_none(make_file, written):
    path = make_file("a.geojson", json.dumps(feature(RING, classification=written)))
    if written == "{}":
        assert Annotation.load(path).outlines[0].group == ""
    else:
        with pytest.raises(AnnotationError, match=r"a\.geojson"):
            Annotation.load(path)


def test_geojson_compressed_with_gzip_is_read_under_any_suffix(make_file):
    content = json.dumps(feature(RING, **NEW)).encode()
    for name in ("a.geojson.gz", "b.JSON.GZ", "c.geojson"):
        tumor = Annotation.load(make_file(name, gzip.compress(content))).tumor
        assert tumor.bounds == (100, 40, 300, 90)
    for name, packed in (
        ("a.geojson.gz", gzip.compress(content)[:-12]),
        ("b.geojson.gz", b"\x1f\x8bnothing"),
        ("c.tif.gz", gzip.compress(content)),
        ("d.gz", gzip.compress(content)),
        ("e.geojson: is a ZIP", b"PK\x03\x04" + content),
    ):
        with pytest.raises(AnnotationError, match=name):
            Annotation.load(make_file(name.partition(":")[0], packed))


def test_points_and_lines_with_a_class_are_told_by_kind(make_file, caplog):
    line = {"type": "LineString", "coordinates": [*SQUARE, SQUARE[0]]}
    point = {"type": "MultiPoint", "coordinates": [[3, 4], [5, 6]]}
    shapes = [line, point, line, {"type": "Polygon", "coordinates": []}]
    drawn = [*(feature(shape, **NEW) for shape in shapes), feature(point), feature(RING, **NEW)]
    annotation = Annotation.load(make_file("a.geojson", json.dumps(drawn)))
    assert annotation.tumor.area == pytest.approx(shoelace(SQUARE) - shoelace(INNER))
    (told,) = caplog.messages
    assert "2 linestrings, 1 multipoint, 1 polygon with a class" in told


def test_type_of_tiatoolbox_is_the_class(make_file):
    tumor = Annotation.load(make_file("a.geojson", json.dumps(feature(RING, type="Tumor")))).tumor
    assert tumor.bounds == (100, 40, 300, 90)
    with pytest.raises(AnnotationError, match=r"'3'"):
        Annotation.load(make_file("a.geojson", json.dumps(feature(RING, type=3))))


def test_measurements_without_a_number_do_not_matter(make_file):
    plain = json.dumps(feature(RING, **NEW, measurements={"Circularity": float("nan")}))
    assert "NaN" in plain
    assert not Annotation.load(make_file("a.geojson", plain)).tumor.is_empty


def test_geojson_in_another_encoding_is_told_as_such(make_file):
    plain = json.dumps(feature(RING, **{**NEW, "name": "L\u00e4sion"}), ensure_ascii=False)
    assert not Annotation.load(make_file("a.json", plain.encode("utf-16"))).tumor.is_empty
    with pytest.raises(AnnotationError, match=r"b\.json: byte \d+ .*UTF-8"):
        Annotation.load(make_file("b.json", plain.encode("latin-1")))


def test_geojson_with_a_byte_order_mark(make_file):
    path = make_file("a.geojson", b"\xef\xbb\xbf" + json.dumps(geojson()).encode())
    assert not Annotation.load(path).tumor.is_empty


def test_tumour_in_collections_of_collections_is_kept(make_file):
    multi = {
        "type": "MultiPolygon",
        "coordinates": [[[*SQUARE, SQUARE[0]]], [[(x + 500, y) for x, y in SQUARE]]],
    }
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    inner = {"type": "GeometryCollection", "geometries": [multi, line]}
    for geometry, count in (
        (inner, 2),
        ({"type": "GeometryCollection", "geometries": [inner, line]}, 2),
    ):
        annotation = Annotation.load(make_file("a.geojson", json.dumps(feature(geometry, **NEW))))
        assert len(annotation.outlines) == count
        assert annotation.tumor.area == 2 * 200 * 50


def test_a_colour_is_always_written_and_rings_are_closed(tmp_path):
    drawn = Annotation(
        outlines=(outline(SQUARE, INNER, group="Tumor"), outline(INNER, group="normal"))
    )
    drawn.save(tmp_path / "a.geojson")
    plain = json.loads((tmp_path / "a.geojson").read_text())
    assert all(len(f["properties"]["classification"]["color"]) == 3 for f in plain["features"])
    assert plain["features"][0]["properties"]["objectType"] == "annotation"
    assert len(plain["features"][0]["geometry"]["coordinates"]) == 2
    for ring in plain["features"][0]["geometry"]["coordinates"]:
        assert ring[0] == ring[-1]


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ({"version": "5", "shapes": [{"label": "Tumor"}], "imagePath": "a.png"}, "LabelMe"),
        ({"images": [], "annotations": [], "categories": []}, "COCO"),
        ({"mag": 40, "nuc": {"1": {}}}, "HoVer-Net"),
        ([{"_id": "x", "annotation": {"elements": []}}], "Digital Slide Archive"),
        ({"collection": [{"location": "POLYGON ((0 0,1 1,1 0,0 0))"}]}, "Cytomine"),
        ({"tumours": [[1, 2]]}, "'tumours'"),
        (feature({"type": "Circle", "coordinates": [1, 2], "radius": 3}), "'Circle'"),
        (feature({"coordinates": []}), "'coordinates'"),
    ],
)
def test_json_of_another_program_is_named(make_file, plain, told):
    with pytest.raises(AnnotationError, match=told):
        Annotation.load(make_file("a.json", json.dumps(plain)))
