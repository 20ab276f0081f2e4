"""ImageScope, HALO and NDPA: layers, negative regions, boxes around ellipses, and nm on the
glass."""

import json

import numpy as np
import pytest
import shapely
from conftest import REAL_DATA, geojson
from drawings import INNER, SQUARE, outline, shoelace
from gigaslide.cohort import CohortSlide
from gigaslide.storage import AnnotationError
from gigaslide.wsi import DEFAULT_GROUPS, Annotation, SlideFrame, open_slide

FAR = [(x + 400, y + 7) for x, y in INNER]


def region(points, kind: str, *, negative: bool = False, vertex: str = "Vertex") -> str:
    corners = "".join(f'<{vertex} X="{x}" Y="{y}" />' for x, y in points)
    return (
        f'<Region Type="{kind}" NegativeROA="{negative:d}"><Vertices>{corners}</Vertices></Region>'
    )


def layers(**regions: str) -> str:
    inner = "".join(
        f'<Annotation Name="{name.strip("_")}" '
        f'LineColor="65280"><Regions>{drawn}</Regions></Annotation>'
        for name, drawn in regions.items()
    )
    return f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.5">{inner}</Annotations>'


@pytest.mark.parametrize(
    ("kind", "vertex", "suffix"), [("0", "Vertex", "xml"), ("Polygon", "V", "annotations")]
)
def test_negative_regions_are_cut_out_of_their_own_layer_only(make_file, kind, vertex, suffix):
    drawn = region(SQUARE, kind, vertex=vertex)
    hole = region(INNER, kind, vertex=vertex, negative=True)
    path = make_file(f"a.{suffix}", layers(Tumor=hole + drawn, stroma=drawn))
    annotation = Annotation.load(path)
    tumor, stroma = (o.polygon for o in annotation.outlines)
    assert [o.group for o in annotation.outlines] == ["Tumor", "stroma"]
    assert tumor.area == shoelace(SQUARE) - shoelace(INNER)
    assert stroma.area == shoelace(SQUARE)
    assert tumor.bounds == (100, 40, 300, 90)


def test_a_negative_region_over_the_edge_cuts_what_it_covers(make_file):
    over = [(250, 0), (350, 0), (350, 500), (250, 500)]
    path = make_file("a.xml", layers(tumor=region(SQUARE, "0") + region(over, "0", negative=True)))
    assert Annotation.load(path).tumor.bounds == (100, 40, 250, 90)


def test_a_negative_region_that_is_no_hole_is_told(make_file, caplog):
    hole, beside = (region(ring, "0", negative=True) for ring in (INNER, FAR))
    lone = layers(Tumor=hole + beside + beside + region(SQUARE, "0"), fat=region(FAR, "0"))
    annotation = Annotation.load(
        make_file("a.xml", lone), groups={**DEFAULT_GROUPS, "fat": "exclusion"}
    )
    assert annotation.tumor.area == shoelace(SQUARE) - shoelace(INNER)
    (told,) = caplog.messages
    assert "a.xml: left out 2 negative regions of layer 'Tumor'" in told
    caplog.clear()
    other = Annotation.load(make_file("b.xml", layers(Tumor=region(SQUARE, "0"), none=hole)))
    assert other.tumor.area == shoelace(SQUARE)
    assert "1 negative region of layer 'none'" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "drawn", "area"),
    [
        ("xml", region([(100, 40), (300, 90)], "1"), 200 * 50),
        ("xml", region([(100, 40), (300, 90)], "2"), np.pi * 100 * 25),
        ("xml", region(SQUARE, "2"), np.pi * 100 * 25),
        ("xml", region([*SQUARE, (90, 60)], "2"), shoelace([*SQUARE, (90, 60)])),
        ("xml", region([*SQUARE, (90, 60)], "4"), shoelace([*SQUARE, (90, 60)])),
        ("xml", region(SQUARE[:2], "3") + region(SQUARE, "0"), 200 * 50),
        ("annotations", region([(300, 90), (100, 40)], "Rectangle", vertex="V"), 200 * 50),
        ("annotations", region([(100, 40), (300, 90)], "Ellipse", vertex="V"), np.pi * 100 * 25),
        (
            "annotations",
            region(SQUARE[:2], "Ruler", vertex="V") + region(SQUARE, "Polygon", vertex="V"),
            200 * 50,
        ),
    ],
)
def test_types_of_regions(make_file, suffix, drawn, area):
    tumor = Annotation.load(make_file(f"a.{suffix}", layers(tumor=drawn))).tumor
    assert tumor.area == pytest.approx(area, rel=2e-3)
    assert tumor.bounds == pytest.approx(
        (100 if '90" Y="60' not in drawn else 90, 40, 300, 90), abs=0.05
    )


def test_kinds_of_xml_are_told_by_their_content_and_not_by_their_name(make_file):
    halo = layers(tumor=region([(100, 40), (300, 90)], "Rectangle", vertex="V"))
    assert Annotation.load(make_file("halo.xml", halo)).tumor.area == 200 * 50
    assert (
        Annotation.load(
            make_file("aperio.annotations", layers(tumor=region(SQUARE, "0")))
        ).tumor.area
        == 200 * 50
    )


def test_an_ellipse_leaves_its_curve_by_a_twentieth_of_a_px(make_file):
    path = make_file(
        "a.annotations", layers(tumor=region([(0, 0), (40_000, 9_000)], "Ellipse", vertex="V"))
    )
    tumor = Annotation.load(path).tumor
    angles = np.linspace(0, 2 * np.pi, 5003)
    curve = np.stack([20_000 + 20_000 * np.cos(angles), 4_500 + 4_500 * np.sin(angles)], axis=1)
    assert shapely.distance(tumor.boundary, shapely.points(curve)).max() <= 0.05


def test_layers_in_layers_and_layers_without_a_name(make_file):
    inner = (
        layers(tumor=region(INNER, "Polygon", vertex="V"))
        .split(">", 2)[2]
        .removesuffix("</Annotations>")
    )
    xml = f'<Annotations><Annotation Name="stroma">{inner}</Annotation></Annotations>'
    assert Annotation.load(make_file("nested.annotations", xml)).tumor.area == shoelace(INNER)
    unnamed = make_file("a.xml", layers(_=region(SQUARE, "0")))
    with pytest.raises(AnnotationError, match="#00ff00"):
        Annotation.load(unnamed)
    assert (
        Annotation.load(unnamed, groups={**DEFAULT_GROUPS, "#00FF00": "tumor"}).tumor.area
        == 200 * 50
    )


def test_imagescope_writer_keeps_layers_and_holes_apart(tmp_path):
    drawn = (
        outline(SQUARE, INNER, group="Tumor"),
        outline(FAR, group="stroma"),
        outline(FAR, group="Tumor"),
    )
    Annotation(outlines=drawn).save(tmp_path / "a.xml", xml="imagescope")
    assert (tmp_path / "a.xml").read_text().count('NegativeROA="1"') == 1
    loaded = Annotation.load(tmp_path / "a.xml")
    assert sorted((o.group, o.polygon.area) for o in loaded.outlines) == sorted(
        (o.group, o.polygon.area) for o in drawn
    )


def ndpa(*drawn: str, title: str = "Tumor", unit: str = "nanometers") -> str:
    views = "".join(
        f"<ndpviewstate><title>{title}</title><coordformat>{unit}</coordformat><x>1</x><y>2</y>{shape}</ndpviewstate>"
        for shape in drawn
    )
    return (
        f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><annotations>{views}</annotations>'
    )


def freehand(points, *, closed: int = 1) -> str:
    listed = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in points)
    return (
        '<annotation type="freehand" displayname="AnnotateFreehand" '
        'color="#ff0000"><measuretype>0</measuretype>'
        f"<closed>{closed}</closed><pointlist>{listed}</pointlist></annotation>"
    )


FRAME = SlideFrame(
    width=4000, height=3000, nm_per_px=(200.0, 250.0), centre_nm=(1_000_000.0, -500_000.0)
)


def nm(x: float, y: float) -> tuple[int, int]:
    """Level-0 px as nm on the glass, written out."""
    return round((x - 2000) * 200 + 1_000_000), round((y - 1500) * 250 - 500_000)


def test_ndpa_is_nm_from_the_centre_of_the_glass(make_file):
    circle = (
        '<annotation type="circle"><x>{}</x><y>{}</y><radius>20000</radius></annotation>'.format(
            *nm(1000, 300)
        )
    )
    line = freehand([nm(x, y) for x, y in FAR], closed=0)
    path = make_file("slide.ndpi.ndpa", ndpa(freehand([nm(x, y) for x, y in SQUARE]), circle, line))
    square, disc = (o.polygon for o in Annotation.load(path, slide=FRAME).outlines)
    assert square.bounds == pytest.approx((100, 40, 300, 90), abs=0.01)
    assert square.area == pytest.approx(200 * 50)
    assert disc.bounds == pytest.approx(
        (900, 220, 1100, 380), abs=0.05
    )  # an ellipse: px are not square here
    assert disc.area == pytest.approx(np.pi * 100 * 80, rel=2e-3)


def test_ndpa_needs_its_slide(make_file, coded_slide):
    path = make_file("a.ndpa", ndpa(freehand(SQUARE)))
    with pytest.raises(AnnotationError, match="slide="):
        Annotation.load(path)
    for slide in (SlideFrame(width=10, height=10), coded_slide):
        with pytest.raises(AnnotationError, match="XOffsetFromSlideCentre"):
            Annotation.load(path, slide=slide)
    with pytest.raises(AnnotationError, match="nanometers"):
        Annotation.load(make_file("b.ndpa", ndpa(freehand(SQUARE), unit="pixels")), slide=FRAME)
    untitled = make_file("c.ndpa", ndpa(freehand(SQUARE), title=""))
    with pytest.raises(AnnotationError, match="#ff0000"):
        Annotation.load(untitled, slide=FRAME)


def test_a_cohort_hands_its_slide_to_the_annotation(make_file, coded_slide):
    slide = CohortSlide(
        id="a",
        path=coded_slide,
        annotation=make_file("a.ndpa", ndpa(freehand(SQUARE))),
        label="tumor",
    )
    with pytest.raises(AnnotationError, match="XOffsetFromSlideCentre"):
        slide.load_tumor({})


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_the_offset_of_a_real_ndpi(make_file):
    path = REAL_DATA / "formats" / "hamamatsu (fluorescence).ndpi"
    frame = SlideFrame.of_file(path)
    assert frame.centre_nm == (12538720, -96063)
    assert frame.nm_per_px == pytest.approx((228.175, 228.175), abs=0.001)
    with open_slide(path) as slide:
        assert (frame.width, frame.height) == slide.size
    side = 228.1750559
    corners = [
        (12538720 + dx * side, -96063 + dy * side)
        for dx, dy in ((-100, -50), (100, -50), (100, 50))
    ]
    drawn = Annotation.load(make_file("a.ndpa", ndpa(freehand(corners))), slide=path)
    middle = frame.width / 2, frame.height / 2
    expected = (middle[0] - 100, middle[1] - 50, middle[0] + 100, middle[1] + 50)
    assert drawn.tumor.bounds == pytest.approx(expected, abs=0.01)


def test_other_formats_do_not_ask_for_the_slide(make_file, tmp_path):
    path = make_file("a.geojson", json.dumps(geojson([(SQUARE, [])])))
    assert Annotation.load(path, slide=tmp_path / "gone.tif").tumor.area == 200 * 50
