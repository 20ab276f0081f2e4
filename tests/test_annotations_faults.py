"""Hostile, damaged and impossible annotation files: repaired, or refused by name, in bounded time
and memory."""

import json
import logging
import resource
import time
import tracemalloc

import numpy as np
import pytest
import shapely
from conftest import asap_xml, geojson
from drawings import INNER, NEW, RING, SQUARE, feature, mask_bytes, outline, shoelace
from gigaslide.storage import AnnotationError
from gigaslide.wsi import Annotation, SlideFrame, tumor_fractions
from hypothesis import given, settings
from hypothesis import strategies as st


def test_fault_17_billion_laughs_is_refused_at_once(make_file):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><ASAP_Annotations>&l11;</ASAP_Annotations>'  # noqa: E501
    path = make_file("bomb.xml", xml)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(AnnotationError, match=r"bomb\.xml"):
        Annotation.load(path)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 100e6


def test_fault_18_external_entity_is_refused(make_file):
    secret = make_file("secret.txt", "canary")
    xml = asap_xml([("&outside;", "_0", SQUARE)])
    xml = xml.replace(
        "<ASAP_Annotations>",
        f'<!DOCTYPE x [<!ENTITY outside SYSTEM "{secret.as_uri()}">]><ASAP_Annotations>',
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


def test_fault_19_what_is_drawn_around_twice_is_inside(make_file, caplog):
    twice = [
        (0.0, 0.0),
        (300.0, 0.0),
        (300.0, 200.0),
        (20.0, 200.0),
        (20.0, -5.0),
        (-20.0, -5.0),
        (-20.0, 9.0),
    ]
    with caplog.at_level(logging.INFO, logger="gigaslide"):
        tumor = Annotation.load(make_file("a.xml", asap_xml([("over", "_0", twice)]))).tumor
    assert shapely.contains_xy(tumor, 100, 100)
    assert tumor.area == pytest.approx(shapely.Polygon(twice).buffer(0).area, rel=0.1)
    assert any("'over' crossed itself" in message for message in caplog.messages)


def test_fault_19_a_scribble_is_repaired_or_refused_in_seconds(make_file):
    points = np.random.default_rng(0).uniform(0, 1e5, (20_000, 2)).round(1)
    start = time.process_time()
    assert Annotation.load(
        make_file("few.xml", asap_xml([("few", "_0", points[:200].tolist())]))
    ).tumor.is_valid
    with pytest.raises(AnnotationError, match=r"'many'.* \d{6}"):
        Annotation.load(make_file("many.xml", asap_xml([("many", "_0", points.tolist())])))
    assert time.process_time() - start < 10


def test_fault_19_degenerate_outlines_are_left_out_and_told(make_file, caplog):
    line = [(0.0, 0.0), (50.0, 50.0), (100.0, 100.0)]
    xml = asap_xml(
        [("flat", "_0", line), ("two", "_0", line[:2]), ("none", "_0", []), ("good", "_0", SQUARE)]
    )
    with caplog.at_level(logging.WARNING, logger="gigaslide"):
        annotation = Annotation.load(make_file("a.xml", xml))
    assert [o.name for o in annotation.outlines] == ["good"]
    for name in ("flat", "two", "none"):
        assert any(repr(name) in message for message in caplog.messages)


@pytest.mark.parametrize("points", [0, 1, 2])
@pytest.mark.parametrize("place", ["shell", "hole", "part", "collection"])
def test_fault_19_a_click_in_geojson_is_left_out_and_told(make_file, caplog, points, place):
    click = [[10.0, 10.0], [11.0, 12.0]][:points]
    bad = {
        "shell": {"type": "Polygon", "coordinates": [click, [*INNER, INNER[0]]]},
        "hole": {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]], click]},
        "part": {"type": "MultiPolygon", "coordinates": [[click], [[*SQUARE, SQUARE[0]]]]},
    }
    bad["collection"] = {"type": "GeometryCollection", "geometries": [bad["part"]]}
    features = [feature(bad[place], name="bad", **NEW), feature(RING, name="good", **NEW)]
    with caplog.at_level(logging.WARNING, logger="gigaslide"):
        annotation = Annotation.load(make_file("a.geojson", json.dumps(features)))
    names = [o.name for o in annotation.outlines]
    assert names == (["good"] if place == "shell" else ["bad", "good"])
    assert [o.name for o in annotation.without_area] == ["bad"] * (place == "shell")
    assert annotation.outlines[-1].polygon.area == shoelace(SQUARE) - shoelace(INNER)
    assert f"'bad' has {points} point" in caplog.text


def test_fault_19_open_ring_in_geojson_is_closed_or_refused(make_file):
    plain = feature({"type": "Polygon", "coordinates": [SQUARE]}, **NEW)
    assert Annotation.load(make_file("a.geojson", json.dumps(plain))).tumor.area == 200 * 50


@pytest.mark.parametrize("shift_y", [-90.0, -1127.0])
def test_fault_20_y_counted_upwards_is_refused(make_file, shift_y):
    up = [(x, y + shift_y) for x, y in SQUARE]
    with pytest.raises(AnnotationError, match=r"a\.xml.* y .*downwards"):
        Annotation.load(make_file("a.xml", asap_xml([("up", "_0", up)])))
    both = make_file("b.xml", asap_xml([("up", "_0", up), ("good", "_0", SQUARE)]))
    assert len(Annotation.load(both).outlines) == 2


def test_fault_20_far_outside_makes_no_giant_mask(make_file):
    far = [(0.0, 0.0), (9e7, 0.0), (9e7, 9e7), (0.0, 9e7)]
    tumor = Annotation.load(make_file("a.xml", asap_xml([("far", "_0", far)]))).tumor
    start = time.process_time()
    shares = tumor_fractions(
        tumor, np.array([(100.0, 200.0), (-60.0, 5.0)]), side_level0=128, side_px=128
    )
    assert shares == pytest.approx([1, (68 / 128)])
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", ["a.xml", "a.geojson"])
def test_fault_20_what_lies_on_no_slide_is_refused(make_file, name):
    far = [(0.0, 0.0), (1e12, 0.0), (1e12, 1e12), (0.0, 1e12)]
    content = (
        asap_xml([("far", "_0", far)]) if name == "a.xml" else json.dumps(geojson([(far, [])]))
    )
    with pytest.raises(AnnotationError, match=r"1e\+12"):
        Annotation.load(make_file(name, content))


BROKEN = {
    "unknown group": (
        "a.xml",
        asap_xml([("a", "_0", SQUARE), ("b", "Mystery", INNER)]),
        r"group 'Mystery'.*'_0'",
    ),
    "unknown class": (
        "a.geojson",
        json.dumps(geojson(group="Mystery")),
        r"group 'Mystery'.*--groups",
    ),
    "wrong root": (
        "a.xml",
        "<Annotation_List/>",
        r"root element is <Annotation_List>, expected <ASAP_Annotations>",
    ),
    "empty": ("a.xml", "", "the annotation file is empty"),
    "blank": ("a.geojson", " \n", "the annotation file is empty"),
    "not xml": ("a.xml", "hello", "XML"),
    "cut xml": ("a.xml", asap_xml([("a", "_0", SQUARE)])[:-40], "XML"),
    "not json": ("a.geojson", "<xml/>", "GeoJSON"),
    "a number": ("a.geojson", "17", "GeoJSON"),
    "list of numbers": ("a.json", "[1, 2]", "GeoJSON"),
    "no features": ("a.json", '{"type": "FeatureCollection"}', "GeoJSON"),
    "words for numbers": (
        "a.xml",
        asap_xml([("a", "_0", [("left", "up"), (1, 2), (3, 5)])]),
        "not a number",
    ),
    "finite": ("a.xml", asap_xml([("a", "_0", [("nan", 3), (1, 2), (3, 5)])]), "finite"),
    "infinite": ("a.xml", asap_xml([("a", "_0", [(1, "inf"), (1, 2), (3, 5)])]), "finite"),
    "no such geometry": (
        "a.geojson",
        json.dumps(feature({"type": "Blob", "coordinates": []}, **NEW)),
        "'Blob'",
    ),
    "no coordinates": ("a.geojson", json.dumps(feature({"type": "Polygon"}, **NEW)), "damaged"),
    "coordinates of words": (
        "a.geojson",
        json.dumps(feature({"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}, **NEW)),
        "damaged",
    ),
    "nan in json": (
        "a.geojson",
        '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1], [0, 0]]]}',
        "finite",
    ),
    "infinity in json": (
        "a.geojson",
        '{"type": "Polygon", "coordinates": [[[0, 0], [Infinity, 0], [1, 1], [0, 0]]]}',
        "finite",
    ),
    "overflow in json": (
        "a.geojson",
        json.dumps(geojson([(SQUARE, [])])).replace("300.0", "1e999"),
        "finite",
    ),
    "unknown encoding": (
        "a.xml",
        '<?xml version="1.0" encoding="foo"?><ASAP_Annotations/>',
        "XML",
    ),
    "properties in a list": (
        "a.geojson",
        json.dumps({"type": "Feature", "geometry": None, "properties": ["Tumor"]}),
        "properties",
    ),
    "properties of words": (
        "a.geojson",
        json.dumps({"type": "Feature", "geometry": None, "properties": "Tumor"}),
        "properties",
    ),
    "wrong suffix": ("a.txt", "hello", r"\.txt.*\.xml"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_fault_21_broken_annotations_are_named_errors(make_file, case):
    name, content, words = BROKEN[case]
    with pytest.raises(AnnotationError, match=words) as info:
        Annotation.load(make_file(name, content))
    assert name in str(info.value)


def test_fault_21_utf_16_is_read_or_refused_never_normal(make_file):
    xml = asap_xml([("a", "_0", SQUARE)]).replace(
        'version="1.0"', 'version="1.0" encoding="UTF-16"'
    )
    plain = json.dumps(geojson([(SQUARE, [])]))
    for path in (
        make_file("a.xml", xml.encode("utf-16")),
        make_file("a.geojson", plain.encode("utf-16")),
    ):
        try:
            tumor = Annotation.load(path).tumor
        except AnnotationError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert tumor.area == 200 * 50


def test_fault_22_deep_nesting_takes_little_time(make_file):
    start = time.process_time()
    nested = "[" * 10_000 + "]" * 10_000
    path = make_file("deep.geojson", f'{{"type": "Polygon", "coordinates": {nested}}}')
    with pytest.raises(AnnotationError, match=path.name):
        Annotation.load(path)
    square = asap_xml([("a", "_0", SQUARE)])
    deep = square.replace("<Annotation ", "<a>" * 10_000 + "<Annotation ")
    deep = deep.replace("</Annotation>", "</Annotation>" + "</a>" * 10_000)
    assert Annotation.load(make_file("deep.xml", deep)).tumor.area == 200 * 50
    assert time.process_time() - start < 5


VERTICES = 150_000  # benchmarks/slides/annotations.py goes up to a million


@pytest.mark.parametrize("name", ["many.geojson", "many.xml"])
def test_fault_22_many_vertices_take_little_time_and_memory_each(tmp_path, name):
    angles = np.arange(VERTICES) * (2 * np.pi / VERTICES)
    ring = np.stack([5e4 + 4e4 * np.cos(angles), 5e4 + 3e4 * np.sin(angles)], axis=1).round(2)
    Annotation(outlines=(outline(ring, name="big"),)).save(tmp_path / name)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tumor = Annotation.load(tmp_path / name).tumor
    assert time.process_time() - start < 30e-6 * VERTICES  # 3 to 6 µs each where nothing else runs
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < VERTICES  # kB
    assert shapely.get_num_coordinates(tumor) > 0.999 * VERTICES
    assert tumor.area == pytest.approx(np.pi * 4e4 * 3e4, rel=1e-4)


CORPUS = {
    "a.xml": asap_xml([("a", "_0", SQUARE), ("b", "_2", INNER)], kind="Spline").encode(),
    "b.xml": (
        b'<Annotations><Annotation Name="Tumor" LineColor="255"><Regions><Region Type="2" '
        b'NegativeROA="0"><Vertices>'
        b'<Vertex X="1" Y="2,5"/><Vertex X="30" '
        b'Y="40"/></Vertices></Region></Regions></Annotation></Annotations>'
    ),
    "c.annotations": (
        b'<Annotations><Annotation Name="Tumor"><Regions><Region Type="Ellipse" '
        b'NegativeROA="0"><Vertices>'
        b'<V X="1" Y="2"/><V X="30" '
        b'Y="40"/></Vertices></Region></Regions></Annotation></Annotations>'
    ),
    "d.ndpa": (
        b"<annotations><ndpviewstate><title>tumor</title><annotation "
        b'type="freehand"><pointlist><point><x>1</x>'
        b"<y>2</y></point><point><x>90</x><y>7</y></point><point><x>9</x><y>50</y></point></pointlist></annotation>"
        b"</ndpviewstate></annotations>"
    ),
    "e.geojson": json.dumps(geojson([(SQUARE, INNER)])).encode(),
    "f.tif": mask_bytes(),
}
ON_GLASS = SlideFrame(width=100, height=80, nm_per_px=(230.0, 230.0), centre_nm=(0.0, 0.0))


@pytest.mark.parametrize("name", CORPUS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_fault_54_damaged_files_are_read_or_refused(tmp_path_factory, name, data):
    content = bytearray(CORPUS[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(len(content) // 2, len(content)) | st.just(len(content)))
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content[:end])
    try:
        tumor = Annotation.load(path, slide=ON_GLASS).tumor
    except AnnotationError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert tumor.is_valid
