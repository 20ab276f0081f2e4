"""What a shape counts as: names in all their spellings, and masks that need their slide."""

import json

import numpy as np
import pytest
import tifffile
from conftest import asap_xml, geojson, write_tiff
from gigaslide.cohort import CohortSlide
from gigaslide.storage import AnnotationError, SlideError
from gigaslide.wsi import Annotation, Outline
from shapely.geometry import Polygon

SQUARE = [(10, 20), (60, 20), (60, 90), (10, 90)]


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


def test_groups_given_to_an_annotation_are_matched_without_regard_to_case():
    drawn = Outline(name="a", group="gland", polygon=Polygon(SQUARE))
    assert Annotation(outlines=(drawn,), groups={"Gland": "tumor"}).tumor.area == 50 * 70


def test_vertices_without_an_order_stay_where_they_stand(make_file):
    xml = asap_xml([("a", "_0", SQUARE)]).replace(' Order="0"', "", 1)
    assert Annotation.load(make_file("a.xml", xml)).tumor.area == 50 * 70


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
