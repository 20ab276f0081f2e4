"""The whole loop: outline two slides by mouse, train, propose, correct one slide, train again."""

import json
import math
from pathlib import Path

import pytest
import shapely
from decoys import RADIUS_PX, write_loop_cohort
from gigaslide.annotate import AnnotationFolder, find_corrections
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.serve import Workspace
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry
from viewing import PageServer, ViewPage, running

pytestmark = [pytest.mark.pages, pytest.mark.slow]
VIEW = {"x": 750, "y": 625, "resolution": 2.0}
ERASER_PX = 20  # radius on the screen
TILE = "--mpp 1 --patch-px 75 --centre-px 32 --workers 0"
TRAIN = (
    "--examples 3200 --validation-patches 128 --stain none --augment.brightness 0.1 "
    "--augment.contrast 0.1 --augment.saturation 0.1 --augment.hue 0.01"
)


def run(stage: str, *places: Path, options: str = "", **folders: Path) -> None:
    """Run a command as it is typed."""
    further = [f"--{name.replace('_', '-')}={path}" for name, path in folders.items()]
    assert main([stage, *map(str, places), *options.split(), *further]) == 0


def draw_around(page: ViewPage, tumor: BaseGeometry) -> Polygon:
    """Outline a disc by clicks, a little outside of it; return the corners that were clicked."""
    middle, angles = tumor.centroid, [2 * math.pi * n / 14 for n in range(14)]
    radius = RADIUS_PX + 6
    corners = [(middle.x + radius * math.cos(t), middle.y + radius * math.sin(t)) for t in angles]
    page.polygon(*corners)
    return Polygon(corners)


def trim(page: ViewPage, proposal: BaseGeometry, tumor: BaseGeometry) -> BaseGeometry:
    """Erase what a proposal holds right of its tumour; return what is left of it."""
    _, top, right, bottom = tumor.bounds
    radius = ERASER_PX * VIEW["resolution"]
    stroke = [(right + radius + 4, y) for y in (top - 60, (top + bottom) / 2, bottom + 60)]
    page.stroke("e", *stroke)
    page.wait_for_status("Unsaved")
    trimmed = proposal.difference(LineString(stroke).buffer(radius))
    assert 0.5 * tumor.area < trimmed.area < proposal.area
    return trimmed


def accept(page: ViewPage, version: int) -> None:
    page.tab.run("document.getElementById('accept').click()")
    page.wait_for_status(f"Accepted · version {version}")


def assert_saved(server: PageServer, slide: str, drawn: list[BaseGeometry], origin: str) -> None:
    """The newest version is accepted, and holds outlines of that origin where they were drawn."""
    newest = server.folder.versions(slide).newest()
    assert newest is not None
    assert newest.facts.accepted
    saved = [one.shape for one in server.saved(slide) if one.origin == origin]
    assert len(saved) == len(drawn)
    wanted = shapely.union_all(drawn)
    assert shapely.union_all(saved).symmetric_difference(wanted).area <= 0.03 * wanted.area


def outline_by_mouse(page: ViewPage, server: PageServer, slide: str, tumors: list) -> None:
    page.show(slide, **VIEW)
    drawn: list[BaseGeometry] = [draw_around(page, tumor) for tumor in tumors]
    accept(page, 1)
    assert_saved(server, slide, drawn, "drawn")


def correct_by_mouse(page: ViewPage, server: PageServer, slide: str, tumors: list) -> None:
    """Trim a proposal that is right, delete those that are wrong, draw what is missing."""
    proposed = [one.shape for one in server.saved(slide, 1)]
    alarms = [one for one in proposed if sum(map(one.intersects, tumors)) != 1]
    right = [one for one in proposed if one not in alarms]
    assert alarms, "the first network found no decoys"
    assert right, "the first network found no tumour"
    page.show(slide, **VIEW)
    page.wait_for_count(len(proposed))
    trimmed = trim(page, right[0], next(one for one in tumors if one.intersects(right[0])))
    page.tab.press("v")
    for number, alarm in enumerate(alarms, 1):
        inside = alarm.representative_point()
        page.tab.click(*page.px(inside.x, inside.y))
        page.tab.press("Delete")
        page.wait_for_count(len(proposed) - number)
    missed = [one for one in tumors if not any(map(one.intersects, right))]
    drawn = [draw_around(page, tumor) for tumor in missed]
    accept(page, 2)
    assert_saved(server, slide, [trimmed], "corrected")
    assert_saved(server, slide, right[1:], "accepted")
    assert_saved(server, slide, list(drawn), "drawn")
    found = find_corrections(server.folder.versions(slide))
    assert found is not None
    assert found.false_alarms.area > 0.5 * sum(alarm.area for alarm in alarms)


def froc_score(report: Path) -> float:
    plain = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return plain["froc"]["gigaslide"]["score"]["value"]


def test_a_network_learns_from_what_a_person_drew_and_corrected_in_the_page(browser, tmp_path):
    tumors = write_loop_cohort(tmp_path)
    table, store, reports = tmp_path / "cohort.csv", tmp_path / "store", tmp_path / "reports"
    annotations = AnnotationFolder.create(tmp_path / "annotations")
    models = [tmp_path / "models" / name for name in ("before", "after")]
    predictions = [tmp_path / "predictions" / name for name in ("before", "after")]

    def train_and_predict(number: int) -> None:
        run("train", store, models[number], options=TRAIN)
        options = "--orientations 1 --splits train --splits test --allow-tumor-on-glass"
        run("predict", table, models[number], predictions[number], options=options)
        options = "--resamples 20"
        run("evaluate", table, predictions[number], reports / str(number), options=options)

    workspace = Workspace(
        cohort=Cohort.load(table),
        predictions=predictions[0],
        annotations=annotations,
        annotator="Ada",
    )
    for server in running(workspace):
        page = ViewPage(browser, server)
        for slide in ("first", "second"):
            outline_by_mouse(page, server, slide, tumors[slide])
        page.tab.press("l")
        run("tile", table, store, options=TILE, annotations=annotations.path)
        train_and_predict(0)
        run("propose", table, annotations.path, predictions=predictions[0])
        correct_by_mouse(page, server, "third", tumors["third"])
        assert page.tab.complaints() == []
    run("tile", table, store, options=TILE, from_corrections=annotations.path)
    train_and_predict(1)
    before, after = froc_score(reports / "0"), froc_score(reports / "1")
    assert after >= before
    assert after > 0.7
