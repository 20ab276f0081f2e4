"""What a shape counts as: names in all their spellings, and masks that need their slide."""

import json

import numpy as np
import pytest
import shapely
import tifffile
from conftest import asap_xml, geojson, write_tiff
from gigaslide.cohort import CohortSlide
from gigaslide.storage import AnnotationError, SlideError
from gigaslide.wsi import Annotation, Outline
from shapely.geometry import MultiPolygon, Polygon, box

SQUARE = [(10.0, 20.0), (60.0, 20.0), (60.0, 90.0), (10.0, 90.0)]


def with_class(classification) -> str:
    plain = geojson([(SQUARE, [])])
    plain["features"][0]["properties"]["classification"] = classification
    return json.dumps(plain)


def test_derived_class_of_qupath_is_known_by_all_its_names(make_file):
    path = make_file("a.geojson", with_class({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}))
    with pytest.raises(AnnotationError, match=r"'Tumor: Positive'"):
        Annotation.load(path)
    assert Annotation.load(path, groups={"Tumor: Positive": "tumor"}).tumor.area == 50 * 70
    single = make_file("b.geojson", with_class({"names": ["Tumor"]}))
    assert Annotation.load(single).tumor.area == 50 * 70


@pytest.mark.parametrize("classification", [{"color": [1, 2, 3]}, {"names": []}, {"name": 7}])
def test_fault_21_class_without_a_name_is_an_error_and_not_other(make_file, classification):
    with pytest.raises(AnnotationError, match=r"a\.geojson.* class"):
        Annotation.load(make_file("a.geojson", with_class(classification)))


def test_tumour_of_many_shapes_is_their_union_with_and_without_an_exclusion():
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 40, (60, 2)) * 4  # some overlap, some touch, some are alone
    shapes = [box(x, y, x + 6, y + 4) for x, y in corners.tolist()]
    drawn = [Outline(name=f"{n}", group="_0", polygon=one) for n, one in enumerate(shapes)]
    union = shapely.union_all(shapes)
    assert 1 < len(shapely.get_parts(union)) < 60
    found = Annotation(outlines=tuple(drawn)).tumor
    assert found.is_valid
    assert shapely.normalize(found) == shapely.normalize(union)
    hole = Outline(name="hole", group="_2", polygon=box(20, 20, 90, 100))
    cut = Annotation(outlines=(*drawn, hole)).tumor
    assert shapely.normalize(cut) == shapely.normalize(union.difference(hole.polygon))


def test_groups_given_to_an_annotation_are_matched_without_regard_to_case():
    drawn = Outline(name="a", group="gland", polygon=Polygon(SQUARE))
    assert Annotation(outlines=(drawn,), groups={"Gland": "tumor"}).tumor.area == 50 * 70


def test_vertices_without_an_order_stay_where_they_stand(make_file):
    xml = asap_xml([("a", "_0", SQUARE)]).replace(' Order="0"', "", 1)
    assert Annotation.load(make_file("a.xml", xml)).tumor.area == 50 * 70


def row_of(annotation, label="tumor") -> CohortSlide:
    return CohortSlide(id="a", path=annotation.parent / "gone", annotation=annotation, label=label)


def test_outlines_without_a_class_are_told_with_the_option_that_makes_them_tumour(make_file):
    plain = geojson([(SQUARE, []), ([(x + 100, y) for x, y in SQUARE], [])])
    for item in plain["features"]:
        del item["properties"]["classification"]
    plain["features"][1]["properties"]["name"] = "Tumor"
    path = make_file("a.geojson", json.dumps(plain))
    with pytest.raises(AnnotationError, match=r"2 outlines.*'Tumor'.*--groups\. tumor") as info:
        row_of(path).load_tumor({})
    assert '{"": tumor}' in str(info.value)
    tumor = row_of(path).load_tumor({"": "tumor"})
    assert tumor is not None
    assert tumor.bounds == (10, 20, 160, 90)
    assert row_of(path, "normal").load_tumor({}) == MultiPolygon()


def test_outlines_of_asap_without_a_group_are_told_too(make_file):
    path = make_file("a.xml", asap_xml([("a", "None", SQUARE)]))
    with pytest.raises(AnnotationError, match=r"1 outline has.*--groups\.None tumor"):
        row_of(path).load_tumor({})


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ([], "no closed outline"),
        ([("a", "_0", SQUARE[:2])], "1 outline without area"),
        ([("a", "Stroma", SQUARE), ("b", "_2", SQUARE)], "'Stroma' means other"),
        ([("a", "_0", SQUARE), ("b", "_2", SQUARE)], "'_2' means exclusion"),
    ],
)
def test_a_tumour_slide_without_tumour_says_what_is_drawn(make_file, drawn, words):
    with pytest.raises(AnnotationError, match=words):
        row_of(make_file("a.xml", asap_xml(drawn))).load_tumor({})


def test_an_outline_without_a_class_beside_tumour_is_a_warning(make_file, caplog):
    drawn = [("a", "_0", SQUARE), ("b", "None", SQUARE), ("c", "normal", SQUARE)]
    path = make_file("a.xml", asap_xml(drawn))
    assert row_of(path).load_tumor({}) is not None
    assert [("1 outline" in m, "--groups.None" in m) for m in caplog.messages] == [(True, True)]
    caplog.clear()
    row_of(path).load_tumor({"none": "tumor"})
    assert not caplog.messages


def test_a_mask_is_fitted_to_its_slide_or_its_guess_is_told(tmp_path, caplog):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 20:50] = 2
    tifffile.imwrite(tmp_path / "mask.tif", mask, tile=(16, 16))
    slide = write_tiff(tmp_path / "slide.tif", np.full((240, 320, 3), 200, np.uint8))
    row = {"id": "a", "annotation": tmp_path / "mask.tif", "label": "tumor"}
    tumor = CohortSlide(path=slide, **row).load_tumor({})
    assert tumor is not None
    assert tumor.bounds == (80, 40, 200, 120)
    with pytest.raises(SlideError, match=r"gone\.tif"):
        CohortSlide(path="http://127.0.0.1:9/gone.tif", **row).load_tumor({})
    tumor = CohortSlide(path=tmp_path / "gone.tif", **row).load_tumor({})
    assert tumor is not None
    assert tumor.bounds == (20, 10, 50, 30)
    assert "mask.tif" in caplog.text
