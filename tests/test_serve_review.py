"""Edits of outlines, regions to look at next, and events of annotators, through the server."""

import math
import time

import pytest
from gigaslide.annotate import AnnotationFolder, OrderSettings, next_regions
from serving import feature
from shapely.geometry import shape


def areas(plain: dict) -> list[float]:
    return [shape(one["geometry"]).area for one in plain["features"]]


def circle(corners: int, radius: float = 300.0) -> list:
    angles = [2 * math.pi * n / corners for n in range(corners)]
    ring = [[700 + radius * math.cos(t), 500 + radius * math.sin(t)] for t in angles]
    return [*ring, ring[0]]


def edit(served, **fields):
    return served.ask("/api/edit", method="POST", body=fields)


def test_edits_change_areas_as_asked(shown):
    outline = feature(id="6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    other = feature([[400, 200], [500, 200], [500, 350], [400, 350], [400, 200]])
    polygon = {"kind": "polygon", "points": [[200, 250], [300, 250], [300, 300], [200, 300]]}
    cut = edit(shown, operation="cut", outline=outline, stroke=polygon).plain["outlines"]
    assert areas({"features": cut}) == [40_000]
    assert cut[0]["id"] == outline["id"]
    filled = edit(shown, operation="fill", outline=cut[0], stroke=polygon).plain["outlines"]
    assert areas({"features": filled}) == [45_000]
    merged = edit(shown, operation="merge", outlines=[outline, other]).plain["outlines"]
    assert areas({"features": merged}) == [60_000]
    line = {"kind": "line", "points": [[0, 300], [500, 300]]}
    halves = edit(shown, operation="split", outline=outline, stroke=line).plain["outlines"]
    assert sorted(areas({"features": halves})) == [15_000, 30_000]
    brush = {"kind": "brush", "points": [[700, 500]], "radius": 50}
    disc = edit(shown, operation="add", stroke=brush, group="Necrosis").plain["outlines"]
    assert areas({"features": disc})[0] == pytest.approx(3.14159 * 2500, rel=0.01)
    assert disc[0]["properties"]["classification"]["name"] == "Necrosis"
    round_one = feature(circle(2000))
    fewer = edit(shown, operation="simplify", outline=round_one, tolerance_px=2).plain["outlines"]
    assert len(fewer[0]["geometry"]["coordinates"][0]) < 100
    assert areas({"features": fewer})[0] == pytest.approx(3.14159 * 90_000, rel=0.02)


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "cut"},
        {"operation": "add"},
        {"operation": "merge"},
        {"operation": "explode"},
        {"operation": "cut", "outline": feature()},
        {"operation": "split", "outline": feature(), "stroke": {"kind": "brush", "points": []}},
        {"operation": "add", "stroke": {"kind": "brush", "points": [[1, 1]], "radius": -1}},
        {"operation": "add", "stroke": {"kind": "brush", "points": [[1, 1e300]], "radius": 5}},
        {"operation": "add", "stroke": {"kind": "line", "points": [[1, 1], [2, 2]]}},
        {"operation": "add", "stroke": {"kind": "polygon", "points": [[1]]}},
        {"operation": "simplify", "outline": feature(), "tolerance_px": -1},
        {"operation": "add", "stroke": {"kind": "line", "points": [[1, 2]] * 20_001}},
    ],
)
def test_v7_edits_that_make_no_sense_are_refused(shown, fields):
    assert edit(shown, **fields).status == 422


def test_next_lists_what_the_command_lists(shown):
    answer = shown.ask("/api/next?order=doubt&count=3")
    regions = next_regions(
        shown.workspace.cohort,
        None,
        shown.folder / "predictions",
        OrderSettings(order="doubt", count=3),
    )
    found = [(one["slide"], one["x"], one["y"]) for one in answer.plain["regions"]]
    assert found == [(one.slide, one.x, one.y) for one in regions]
    assert all(one["reason"] for one in answer.plain["regions"])
    assert shown.ask("/api/next?order=doubt&count=0").status == 422
    assert shown.ask("/api/next?order=best").status == 422


def test_events_and_saves_come_into_the_journal(served):
    now = round(time.time(), 3)
    events = [
        {"slide": "a", "kind": "open", "tab": "t", "time": now - 9},
        {"slide": "a", "kind": "input", "tab": "t", "time": now},
    ]
    answer = served.ask("/api/events", method="POST", body={"events": events})
    assert answer.status == 204
    served.save("a", [feature()], parent=0, tab="t")
    found = list(AnnotationFolder.open(served.folder / "annotations").journal.events())
    assert [one.kind for one in found] == ["open", "input", "save"]
    assert {one.annotator for one in found} == {"Ada"}
    assert (found[1].time, found[2].version, found[2].mode) == (now, 1, "corrected")
    for bad in ({"slide": "zz", "kind": "open"}, {"slide": "a", "kind": "save"}, {"slide": "a"}):
        answer = served.ask("/api/events", method="POST", body={"events": [bad]})
        assert answer.status == 422
