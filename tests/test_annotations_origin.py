"""Px counted from the corner of a slide's scanned part, as QuPath counts them, or of the slide."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import HEIGHT, WIDTH, geojson, stained_slide, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching.slide_recipe import slide_inputs
from gigaslide.storage import AnnotationError, SettingsError
from gigaslide.wsi import Annotation, Region, SlideFrame

CORNER = (1110, 540)
BOUNDS = Region(x=1110, y=540, width=300, height=420)
ON_TISSUE = [(1240.0, 700.0), (1330.0, 700.0), (1330.0, 775.0), (1240.0, 775.0)]
FROM_BOUNDS = [(x - CORNER[0], y - CORNER[1]) for x, y in ON_TISSUE]
IS = (1240, 700, 1330, 775)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("slide") / "s.tif", stained_slide(1))


@pytest.fixture
def row(slide, monkeypatch, make_file):
    """Make a row with an outline of these corners, on a slide whose scanned part is BOUNDS."""
    of_file = SlideFrame.of_file
    monkeypatch.setattr(SlideFrame, "of_file", lambda path: replace(of_file(path), bounds=BOUNDS))

    def make(ring, origin="", path=slide) -> CohortSlide:
        annotation = make_file("a.geojson", json.dumps(geojson([(ring, [])])))
        further = (("annotation_origin", origin),) if origin else ()
        return CohortSlide(id="a", path=path, annotation=annotation, label="tumor", further=further)

    return make


def bounds_of(row: CohortSlide) -> tuple[float, ...]:
    tumor = row.load_tumor({})
    assert tumor is not None
    return tumor.bounds


def test_the_origin_by_which_tumour_lies_on_tissue_is_taken_and_told(row, caplog):
    assert bounds_of(row(ON_TISSUE)) == IS
    assert not caplog.messages
    assert bounds_of(row(FROM_BOUNDS)) == IS
    assert ["(1110, 540)" in message for message in caplog.messages] == [True]


def test_where_both_or_neither_fit_the_cohort_must_say(row, monkeypatch):
    beside = [(5.0, 1000.0), (90.0, 1000.0), (90.0, 1050.0), (5.0, 1050.0)]
    with pytest.raises(AnnotationError, match=r"\(1110, 540\).*annotation_origin"):
        row(beside).load_tumor({})
    monkeypatch.setattr(f"{__name__}.BOUNDS", Region(x=50, y=40, width=900, height=800))
    inside = [(500.0, 450.0), (600.0, 450.0), (600.0, 480.0), (500.0, 480.0)]
    with pytest.raises(AnnotationError, match=r"100%.*\(50, 40\).*100%"):
        row(inside).load_tumor({})
    assert bounds_of(row(inside, "slide")) == (500, 450, 600, 480)
    assert bounds_of(row(inside, "Bounds")) == (550, 490, 650, 520)


def test_what_the_cohort_states_is_part_of_the_recipe_and_checked(row, tmp_path):
    assert "annotation_origin" not in slide_inputs(row(ON_TISSUE))
    assert slide_inputs(row(ON_TISSUE, "bounds"))["annotation_origin"] == "bounds"
    with pytest.raises(SettingsError, match=r"'glass'.*slide, bounds"):
        row(ON_TISSUE, "glass").load_tumor({})
    gone = row(FROM_BOUNDS, "bounds", path=tmp_path / "gone.tif")
    with pytest.raises(AnnotationError, match="slide"):
        gone.load_tumor({})


def test_the_cohort_has_a_column_for_the_origin(tmp_path, caplog):
    (tmp_path / "c.csv").write_text("slide,annotation,annotation_origin\na.tif,a.json,bounds\n")
    assert [slide.annotation_origin for slide in Cohort.load(tmp_path / "c.csv")] == ["bounds"]
    assert not caplog.messages


@pytest.mark.parametrize("downsample", [1, 4])
def test_a_mask_of_the_scanned_part_is_laid_there(tmp_path, downsample):
    frame = SlideFrame(width=WIDTH, height=HEIGHT, bounds=BOUNDS)
    labels = np.zeros((420 // downsample, 300 // downsample), np.uint8)
    labels[5:9, 20:50] = 2
    tifffile.imwrite(tmp_path / "m.tif", labels)
    x, y = (CORNER[0] + 20 * downsample, CORNER[1] + 5 * downsample)
    tumor = Annotation.load(tmp_path / "m.tif", slide=frame).tumor
    assert tumor.bounds == (x, y, x + 30 * downsample, y + 4 * downsample)
    with pytest.raises(AnnotationError, match=f"{labels.shape[1]} × {labels.shape[0]}"):
        Annotation.load(
            tmp_path / "m.tif", slide=SlideFrame(width=WIDTH, height=HEIGHT), origin="slide"
        )


def test_a_mask_that_may_show_the_slide_or_its_scanned_part_is_refused(tmp_path):
    half = Region(x=100, y=50, width=WIDTH // 2, height=HEIGHT // 2)
    frame = SlideFrame(width=WIDTH, height=HEIGHT, bounds=half)
    labels = np.zeros((HEIGHT // 4, WIDTH // 4), np.uint8)
    labels[5:9, 20:50] = 2
    tifffile.imwrite(tmp_path / "m.tif", labels)
    with pytest.raises(AnnotationError, match="annotation_origin"):
        Annotation.load(tmp_path / "m.tif", slide=frame)
    tumor = Annotation.load(tmp_path / "m.tif", slide=frame, origin="slide").tumor
    assert tumor.bounds == pytest.approx((80, 20, 200, 36), abs=1)
    tumor = Annotation.load(tmp_path / "m.tif", slide=frame, origin="bounds").tumor
    assert tumor.bounds == pytest.approx((140, 60, 200, 68), abs=1)
