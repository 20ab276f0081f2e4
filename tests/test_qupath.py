"""The script for QuPath against running servers; QuPath's own classes have stand-ins."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from gigaslide.annotate import AnnotationFolder
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import JobDesk, Uploads, Workspace, make_qupath_script, server_file
from job_work import fake_queue
from qupath import QuPath
from serving import HEIGHT, SQUARE, WIDTH, Served, feature, make_slide, serve

pytestmark = pytest.mark.qupath

SIZE = WIDTH, HEIGHT
OTHER = [[700, 300], [900, 300], [900, 500], [700, 500], [700, 300]]
THIRD = [[20, 700], [60, 700], [60, 760], [20, 760], [20, 700]]
IDS = [f"00000000-0000-4000-8000-00000000000{k}" for k in range(3)]


def write_script(folder: Path, **changes) -> Path:
    """The script with other values at its top, as a person writes them there."""
    text = make_qupath_script().decode()
    for name, value in changes.items():
        start = text.index(f" {name} = ", text.index("@Field")) + len(f" {name} = ")
        text = text[:start] + value + text[text.index("\n", start) :]
    path = folder / "gigaslide.groovy"
    path.write_text(text)
    return path


@pytest.fixture
def run(qupath: QuPath, tmp_path: Path):
    """Run the script, with what stands at its top and what the image's windows are answered."""

    def run_script(action: str, link: str = "", *, answers=(), top=None, **order) -> dict:
        changes = {"action": json.dumps(action), "link": json.dumps(link), **(top or {})}
        script = write_script(tmp_path, **changes)
        order = {"window": True, "answers": list(answers), **order}
        return qupath.ask("run", script=str(script), **order)

    return run_script


def words_of(done: dict) -> str:
    """The last words to the person."""
    return done["said"][-1]["text"]


def shapes_of(features: list[dict]) -> set[str]:
    """Shapes in a form that does not depend on where a ring begins."""
    shapes = [shapely.geometry.shape(one["geometry"]).normalize() for one in features]
    return {shape.wkt for shape in shapes}


def polygons(*rings: list) -> set[str]:
    return {shapely.Polygon(ring).normalize().wkt for ring in rings}


@pytest.fixture
def opened(served: Served, qupath: QuPath) -> Served:
    """A server with a version of slide a, which is open in QuPath."""
    first = [feature(SQUARE, id=IDS[0]), feature(OTHER, id=IDS[1], name="α")]
    assert served.save("a", first, parent=0).status == 201
    qupath.open(served.folder / "slides" / "a.tif", SIZE)
    return served


def versions_of(served: Served) -> AnnotationFolder:
    assert served.workspace.annotations is not None
    return served.workspace.annotations


def test_outlines_are_fetched_changed_and_sent_as_the_next_version(opened, qupath, run):
    done = run("fetch", opened.listener.url)
    assert "version 1 of a: 2 outlines" in words_of(done)
    assert shapes_of(qupath.outlines()) == polygons(SQUARE, OTHER)
    assert {one["properties"]["name"] for one in qupath.outlines()} == {None, "α"}

    moved = [[110, 200], *SQUARE[1:4]]
    qupath.ask("change", id=IDS[0], points=moved)
    qupath.ask("change", id=IDS[1])  # deleted
    qupath.draw(feature(THIRD, group="Necrosis"))
    qupath.draw({"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 6]}})
    done = run("send", opened.listener.url, top={"accepted": "true"})
    assert "version 2 of a: 2 outlines" in words_of(done)
    version = versions_of(opened).versions("a").load(2)
    assert (version.info.parent, version.info.facts.accepted) == (1, True)
    assert {one.group for one in version.outlines} == {"Tumor", "Necrosis"}
    assert {one.shape.normalize().wkt for one in version.outlines} == polygons(moved, THIRD)

    # Sent outlines are those of the version: nothing of them stays beside the next one.
    done = run("fetch", opened.listener.url)
    assert words_of(done) == "version 2 of a: 2 outlines"
    assert len(qupath.outlines()) == 3  # and the point


def test_v1_of_a_conflict_both_are_kept_and_can_be_sent_together(opened, qupath, run):
    run("fetch", opened.listener.url)
    mine = [[130, 200], *SQUARE[1:4]]
    qupath.ask("change", id=IDS[0], points=mine)
    theirs = [feature(OTHER, id=IDS[1]), feature(SQUARE, id=IDS[0]), feature(THIRD, id=IDS[2])]
    assert opened.save("a", theirs, parent=1).status == 201
    before = qupath.outlines()

    words = words_of(run("send", opened.listener.url))
    assert "version 2" in words
    assert "version 1" in words
    assert "Fetch" in words
    assert qupath.outlines() == before
    assert versions_of(opened).versions("a").numbers() == [1, 2]

    done = run("fetch", opened.listener.url)
    assert "1 that you drew or changed" in words_of(done)
    assert shapes_of(qupath.outlines()) == polygons(mine, SQUARE, OTHER, THIRD)
    assert len({one["id"] for one in qupath.outlines()}) == 4
    assert "version 3" in words_of(run("send", opened.listener.url))
    assert len(versions_of(opened).versions("a").load(3).outlines) == 4


def test_outlines_drawn_before_anything_was_fetched_are_not_sent_over_others(opened, qupath, run):
    qupath.draw(feature(THIRD))
    words = words_of(run("send", opened.listener.url))
    assert "version 1 of a. Fetch it first" in words
    assert versions_of(opened).versions("a").numbers() == [1]
    run("fetch", opened.listener.url)
    assert "version 2 of a: 3 outlines" in words_of(run("send", opened.listener.url))


def test_the_link_is_asked_for_once_and_again_after_a_restart(opened, run):
    link = opened.listener.url
    wrong = link.replace("token=", "token=x")
    done = run("", answers=["Fetch the newest outlines", "nonsense", wrong, link])
    asked = [one["text"] for one in done["said"] if one["kind"] == "input"]
    assert len(asked) == 3
    assert "no link with a token" in asked[1]
    assert "earlier start" in asked[2]
    assert "version 1" in words_of(done)
    assert [one["kind"] for one in run("fetch")["said"]] == ["info"]  # remembered
    gone = "http://127.0.0.1:9/?token=x"
    assert "does not answer" in words_of(run("fetch", gone))
    assert [one["kind"] for one in run("fetch", answers=[link])["said"]] == ["input", "info"]


def test_the_folder_of_the_server_is_as_good_as_its_link(opened, run):
    folder = versions_of(opened).path
    with server_file(folder, opened.listener.url):
        done = run("fetch", str(folder), window=False)
    assert "version 1 of a" in done["printed"]
    assert opened.listener.token not in done["printed"]


def test_another_image_of_the_same_name_is_refused(opened, qupath, run):
    qupath.open(opened.folder / "elsewhere" / "a.tif", (500, 400))
    assert "500 x 400 px, the slide of the server 1531 x 1127 px" in words_of(
        run("fetch", opened.listener.url)
    )
    assert qupath.outlines() == []


def test_a_slide_of_another_name_is_chosen_by_a_person(opened, qupath, run):
    qupath.open(opened.folder / "elsewhere" / "renamed.tif", SIZE)
    done = run("fetch", opened.listener.url, answers=["a"])
    assert done["said"][0]["choices"] == ["a", "b"]
    assert "version 1 of a" in words_of(done)
    assert "version 1 of a" in words_of(run("fetch", opened.listener.url))  # not asked again


def test_of_a_replaced_slide_outlines_are_sent_once_confirmed(opened, qupath, run):
    run("fetch", opened.listener.url)
    make_slide(opened.folder / "slides" / "a.tif", seed=2)
    assert "slideFits" in words_of(run("send", opened.listener.url))
    assert versions_of(opened).versions("a").numbers() == [1]
    done = run("send", opened.listener.url, top={"slideFits": "true"})
    assert "version 2" in words_of(done)


def test_coordinates_of_an_image_that_qupath_cuts_down_are_those_of_the_slide(
    opened,
    qupath,
    run,
    monkeypatch,
):
    from gigaslide.serve import slides
    from gigaslide.serve.schema import Geometry

    def with_bounds(**fields) -> Geometry:
        return Geometry(**{**fields, "bounds": (90, 150, 1200, 900)})

    monkeypatch.setattr(slides, "Geometry", with_bounds)
    qupath.open(opened.folder / "slides" / "a.tif", (1200, 900))
    run("fetch", opened.listener.url)
    shifted = [[[x - 90, y - 150] for x, y in ring] for ring in (SQUARE, OTHER)]
    assert shapes_of(qupath.outlines()) == polygons(*shifted)
    qupath.draw(feature([[x - 90, y - 150] for x, y in THIRD]))
    run("send", opened.listener.url)
    saved = versions_of(opened).versions("a").load(2).outlines
    assert {one.shape.normalize().wkt for one in saved} == polygons(SQUARE, OTHER, THIRD)


# --- Predictions ---


@pytest.fixture
def jobs(tmp_path: Path, qupath: QuPath) -> Iterator[Served]:
    """A server of a stand-in model, whose answer outlines the region; slide a is open in QuPath."""
    slide = CohortSlide(id="a", path=make_slide(tmp_path / "slides" / "a.tif"))
    desk = JobDesk(fake_queue(tmp_path / "out"), Uploads(tmp_path / "out" / "uploads", 10**8))
    qupath.open(slide.path, SIZE)
    yield from serve(Workspace(cohort=Cohort(slides=(slide,)), desk=desk), tmp_path)


LONG = {"settings": "[steps: 100, pause_s: 0.2]"}


def test_the_selected_region_is_predicted_and_its_answer_loaded(jobs, qupath, run):
    qupath.draw(feature(OTHER), selected=True)
    done = run("predict", jobs.listener.url, top={"settings": "[steps: 3, pause_s: 0.5]"})
    assert "tiny: 2 outlines and detections" in words_of(done)
    (job,) = jobs.ask("/api/jobs").plain["jobs"]
    assert (job["slide"], job["region"]) == ("a", [700, 300, 200, 200])
    shown = shapes_of(qupath.outlines())
    assert shown == polygons(OTHER) | {shapely.Point(800, 400).wkt}

    # Again: the answer replaces the one before, but not what was corrected of it.
    again = run("predict", jobs.listener.url, top={"settings": "[steps: 3, pause_s: 0.5]"})
    assert "2 outlines" in words_of(again)
    assert len(qupath.outlines()) == 3
    found = qupath.outlines()[1]["id"]
    qupath.ask("change", id=found, points=THIRD[:4])
    run("predict", jobs.listener.url, top={"settings": "[steps: 3, pause_s: 0.6]"})
    assert polygons(THIRD, OTHER) < shapes_of(qupath.outlines())
    assert len(qupath.outlines()) == 4


def test_the_whole_slide_is_predicted_after_a_question(jobs, qupath, run):
    assert "cancelled" in run("predict", jobs.listener.url, answers=[False])["printed"]
    assert jobs.ask("/api/jobs").plain["jobs"] == []
    done = run("predict", jobs.listener.url, answers=[True])
    assert "2 outlines" in words_of(done)
    assert jobs.ask("/api/jobs").plain["jobs"][0]["region"] is None


@pytest.mark.parametrize("way", ["cancel", "kill"])
def test_a_prediction_is_cancelled_by_its_window_and_by_the_editor(jobs, qupath, run, way):
    qupath.draw(feature(OTHER), selected=True)
    done = run("predict", jobs.listener.url, top=LONG, stop=way)
    assert "cancelled" in done["printed"]
    assert done["shown"]  # how far it is
    assert [job["state"] for job in jobs.ask("/api/jobs").plain["jobs"]] == ["cancelled"]
    assert shapes_of(qupath.outlines()) == polygons(OTHER)


def test_a_job_that_fails_says_why(jobs, qupath, run):
    qupath.draw(feature(OTHER), selected=True)
    top = {"settings": "[end: 'nan']"}
    assert "NaN for 4 cells" in words_of(run("predict", jobs.listener.url, top=top))
    words = words_of(run("predict", jobs.listener.url, top={"settings": "[color: 3]"}))
    assert "settings.color" in words


def test_a_slide_that_the_server_does_not_have_is_sent(jobs, qupath, run, tmp_path):
    path = make_slide(tmp_path / "mine" / "other slide.tiff")
    qupath.open(path, SIZE)
    qupath.draw(feature(OTHER), selected=True)
    done = run("predict", jobs.listener.url, answers=[True])
    assert "Send its file" in done["said"][0]["text"]
    assert "2 outlines" in words_of(done)
    (job,) = jobs.ask("/api/jobs").plain["jobs"]
    assert job["upload"]
    assert polygons(OTHER) < shapes_of(qupath.outlines())
    qupath.open(path.with_name("folder of files.mrxs"), SIZE)
    qupath.draw(feature(OTHER), selected=True)
    assert "--cohort" in words_of(run("predict", jobs.listener.url))


def test_the_server_gives_the_script_to_who_has_its_token(shown):
    answer = shown.ask("/gigaslide.groovy")
    assert (answer.status, answer.content) == (200, make_qupath_script())
    assert 'filename="gigaslide.groovy"' in answer.headers["content-disposition"]
    assert shown.ask("/gigaslide.groovy", token="no").status == 401
