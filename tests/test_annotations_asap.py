"""ASAP XML: what it writes is read, and what we write it reads."""

from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from conftest import asap_xml
from drawings import INNER, SQUARE, outline, shoelace
from gigaslide.wsi import Annotation


def test_order_decides_and_not_the_place_in_the_file(make_file):
    xml = asap_xml([("a", "_0", SQUARE)])
    lines = [f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(SQUARE)]
    shuffled = xml.replace("".join(lines), lines[2] + lines[0] + lines[3] + lines[1])
    assert shuffled != xml
    assert Annotation.load(make_file("a.xml", shuffled)).tumor.area == 200 * 50


def test_more_than_ten_points_are_ordered_as_numbers(make_file):
    angles = np.arange(25) * 2 * np.pi / 25
    ring = [(500 + 100 * float(np.cos(a)), 500 + 100 * float(np.sin(a))) for a in angles]
    assert Annotation.load(
        make_file("a.xml", asap_xml([("a", "_0", ring)]))
    ).tumor.area == pytest.approx(shoelace(ring))


def test_decimal_commas(make_file):
    xml = asap_xml([("a", "_0", [(100.5, 40.25), (300.5, 40.25), (300.5, 90.25)])])
    commas = xml.replace('.5"', ',5"').replace('.25"', ',25"')
    assert commas.count(",") == 6
    assert Annotation.load(make_file("a.xml", commas)).tumor.bounds == (100.5, 40.25, 300.5, 90.25)


@pytest.mark.parametrize("kind", ["Dot", "PointSet", "Measurement", "Ellipse"])
def test_open_kinds_enclose_nothing_and_are_told_where_they_have_a_group(make_file, caplog, kind):
    shapes = [("a", group, SQUARE) for group in ("_0", "None", "_0", "_2")]
    assert not Annotation.load(make_file("a.xml", asap_xml(shapes, kind=kind))).outlines
    (told,) = caplog.messages
    assert f"3 {kind.lower()}s with a class" in told


@pytest.mark.parametrize("kind", ["Polygon", "Rectangle"])
def test_closed_kinds_count(make_file, kind):
    assert (
        Annotation.load(make_file("a.xml", asap_xml([("a", "_0", SQUARE)], kind=kind))).tumor.area
        == 200 * 50
    )


def test_a_spline_is_the_curve_that_asap_draws(make_file):
    """Against Barry and Goldman's pyramid of linear interpolations, another way to the centripetal
    curve."""
    points = np.array(
        [(1000, 700), (1900, 900), (2100, 2000), (900, 1800), (850, 1200)], np.float64
    )
    tumor = Annotation.load(
        make_file("a.xml", asap_xml([("a", "_0", points.tolist())], kind="Spline"))
    ).tumor
    curve = []
    for i in range(len(points)):
        p = points[np.arange(i - 1, i + 3) % len(points)]
        t = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1) ** 0.5)])
        for at in np.linspace(t[1], t[2], 50, endpoint=False):
            level = list(p)
            for step in (1, 2, 3):
                low = [k if step < 3 else 1 for k in range(len(level) - 1)]
                span = [(t[1], t[2]) if step == 3 else (t[k], t[k + step]) for k in low]
                level = [
                    ((b - at) * level[k] + (at - a) * level[k + 1]) / (b - a)
                    for k, (a, b) in enumerate(span)
                ]
            curve.append(level[0])
    assert shapely.distance(tumor.boundary, shapely.points(np.array(curve))).max() < 0.06
    assert tumor.area > 1.05 * shoelace(points)


def test_writer_lists_every_group_it_uses(tmp_path):
    normal = outline([(x + 500, y) for x, y in INNER], group="normal")
    Annotation(outlines=(outline(SQUARE, INNER, group="Tumor"), normal)).save(tmp_path / "a.xml")
    root = ElementTree.fromstring((tmp_path / "a.xml").read_bytes())
    used = {element.get("PartOfGroup") for element in root.iter("Annotation")}
    assert used == {"Tumor", "normal", "_2"}
    assert {element.get("Name") for element in root.iter("Group")} == used
    assert all(
        element.get("Color") and element.find("Attributes") is not None
        for element in root.iter("Group")
    )
    first = root.find(".//Annotation")
    assert first is not None
    ring = [(float(c.get("X", "")), float(c.get("Y", ""))) for c in first.iter("Coordinate")]
    assert len(ring) == 4  # ASAP does not repeat the first point


def test_names_that_xml_cannot_hold_are_written_all_the_same(tmp_path):
    Annotation(outlines=(outline(SQUARE, name='<a>\x00 & "b"'),)).save(tmp_path / "a.xml")
    assert Annotation.load(tmp_path / "a.xml").outlines[0].name == '<a>\ufffd & "b"'
