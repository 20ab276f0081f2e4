"""Annotations of a cohort in the server: their origin, and slides that cannot be opened."""

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest
from conftest import geojson, stained_slide, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.wsi import Region, SlideFrame
from serving import feature, make_workspace, serve
from shapely.geometry import shape

PATH = "/api/slides/a/outlines"
CORNER = (1110, 540)
BOUNDS = Region(x=1110, y=540, width=300, height=420)
ON_TISSUE = [(1240.0, 700.0), (1330.0, 700.0), (1330.0, 775.0), (1240.0, 775.0)]
FROM_BOUNDS = [(x - CORNER[0], y - CORNER[1]) for x, y in ON_TISSUE]
BESIDE = [(5.0, 1000.0), (90.0, 1000.0), (90.0, 1050.0), (5.0, 1050.0)]
IS = (1240, 700, 1330, 775)


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Return a function that serves a slide, whose scanned part is BOUNDS, with an annotation."""
    of_pyramid = SlideFrame.of_pyramid
    monkeypatch.setattr(
        SlideFrame, "of_pyramid", lambda found: replace(of_pyramid(found), bounds=BOUNDS)
    )
    slide = write_tiff(tmp_path / "s.tif", stained_slide(1))

    def serve_row(ring, origin="", group="Tumor"):
        path = tmp_path / "a.geojson"
        path.write_text(json.dumps(geojson([(ring, [])], group=group)))
        further = (("annotation_origin", origin),) if origin else ()
        row = CohortSlide(id="a", path=slide, annotation=path, label="tumor", further=further)
        workspace = make_workspace(tmp_path, cohort=Cohort(slides=(row,)), predictions=None)
        for served in serve(workspace, tmp_path):
            answer = served.ask(PATH)
            if answer.status == 200:
                features = answer.plain["features"]
                assert served.save("a", features, parent=0).status == 201
                assert served.ask(PATH).plain["features"][0]["geometry"] == features[0]["geometry"]
        return answer

    return serve_row


HUGE = 10**400
LONGER = int("9" * 4200)


@pytest.mark.parametrize("number", [HUGE, -HUGE, LONGER])
@pytest.mark.parametrize("place", ["corner", "measurement"])
def test_numbers_past_any_slide_are_refused_in_words(shown, number, place):
    plain = feature(name="odd one")
    if place == "corner":
        plain["geometry"]["coordinates"][0] = [[number, 1], [5, 1], [5, 9]]
    else:
        plain["properties"]["measurements"] = {"area": number}
    saved = shown.save("a", [plain], parent=0)
    edited = shown.ask("/api/edit", method="POST", body={"operation": "cut", "outline": plain})
    for answer in (saved, edited):
        assert answer.status == 422
        assert "odd one" in answer.plain["error"]


def test_saves_and_drafts_past_the_queue_wait_outside(shown):
    with ExitStack() as places:
        for _ in range(16):
            places.enter_context(shown.workspace.saves.place())
        draft = "/api/slides/a/drafts/tab"
        for answer in (
            shown.save("a", [feature()], parent=0),
            shown.ask(draft, method="PUT", body={}),
            shown.ask("/api/slides/a/versions/1/restore", method="POST", body={}, If_Match='"0"'),
        ):
            assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert shown.ask(draft, method="PUT", body={}).status == 204
    shown.ask(draft, method="DELETE")


def bounds_of(answer) -> tuple[float, ...]:
    return shape(answer.plain["features"][0]["geometry"]).bounds


@pytest.mark.parametrize(
    ("ring", "origin", "group"),
    [
        (FROM_BOUNDS, "bounds", "Tumor"),
        (FROM_BOUNDS, "bounds", "Gland"),
        (ON_TISSUE, "slide", "Tumor"),
        (FROM_BOUNDS, "", "Tumor"),
        (FROM_BOUNDS, "", "Gland"),
        (ON_TISSUE, "", "Tumor"),
    ],
)
def test_outlines_are_shown_and_saved_on_the_origin_that_training_uses(ask, ring, origin, group):
    assert bounds_of(ask(ring, origin, group)) == IS


def test_outlines_whose_origin_is_unknown_are_refused(ask, tmp_path):
    answer = ask(BESIDE)
    assert answer.status == 422
    assert "annotation_origin" in answer.plain["error"]
    assert str(tmp_path) not in answer.plain["error"]
