"""Export of many slides: what is skipped, made again or refused, and what faults leave behind."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import stained_slide, write_tiff
from exporting import ALONE, Geometry, content, digest, export, fall, heatmap_of, save_prediction
from gigaslide.batch import BatchSettings, Listener, open_run_folder
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import EXPORTERS, ExportSettings, export_predictions
from gigaslide.inference.exports import export_predictions as export_module
from gigaslide.storage import ClusterError, ScoreError, SettingsError, StoreError
from gigaslide.wsi.heatmap import contours
from predicting import QUICK, predict, write_model, write_slides

SMALL = Geometry((3001, 2003), 128.0, mpp=0.5)
WITHOUT_PIXELS = ("geojson", "asap", "ome-tiff", "ome-zarr", "csv", "qupath")
TESTS = Path(__file__).parent


@pytest.fixture
def predictions(tmp_path) -> Path:
    folder = tmp_path / "p"
    for number, name in enumerate(("a", "b", "c")):
        cells = {(r, c): 0.2 + 0.1 * number + 0.02 * c for r in range(9) for c in range(20)}
        save_prediction(folder, heatmap_of(SMALL, cells, slide=name))
    return folder


def change_times(out: Path) -> dict[str, int]:
    """Time of last change of every export, by its path."""
    return {name: (out / name).stat().st_mtime_ns for name in content(out)}


def made_again(before: dict[str, int], out: Path) -> set[str]:
    """Endings of the names of the files of slide a that changed."""
    now = change_times(out)
    changed = (name for name in now if now[name] != before.get(name) and name.startswith("a/a."))
    return {name.removeprefix("a/a") for name in changed if "/c/" not in name}


def test_every_format_without_pixels_needs_no_slide(predictions, tmp_path):
    summary = export(predictions, *WITHOUT_PIXELS, out=tmp_path / "o")
    assert summary.headline() == "3 slides: 3 done, 0 skipped, 0 partial, 0 failed"
    made = {name.split("/")[1] for name in content(tmp_path / "o") if name.startswith("a/a.")}
    endings = [
        ending for one in EXPORTERS.values() if not one.reads_pixels for ending in one.suffixes
    ]
    assert made == {f"a{ending}" for ending in endings}
    above = {path.name for path in (tmp_path / "o").iterdir() if path.is_file()}
    assert {"slides.csv", "detections.csv", "load_into_qupath.groovy"} <= above


def test_unchanged_exports_are_skipped_and_changed_ones_made_again(predictions):
    export(predictions, *WITHOUT_PIXELS)
    before = change_times(predictions)
    summary = export(predictions, *WITHOUT_PIXELS)
    assert summary.headline() == "3 slides: 0 done, 3 skipped, 0 partial, 0 failed"
    assert made_again(before, predictions) == set()

    export(predictions, *WITHOUT_PIXELS, level=(0.4, 0.6))
    assert made_again(before, predictions) == {".geojson", ".xml"}

    before = change_times(predictions)
    (predictions / "a" / "a.probability.ome.tif").unlink()
    export(predictions, *WITHOUT_PIXELS, level=(0.4, 0.6), colours="magma")
    assert made_again(before, predictions) == {
        ".colours.ome.tif",
        ".heatmap.png",
        ".heatmap.pgw",
        ".probability.ome.tif",
    }

    before = change_times(predictions)
    cells = {(r, c): 0.9 for r in range(3) for c in range(5)}
    save_prediction(predictions, heatmap_of(SMALL, cells, slide="a"))
    export(predictions, *WITHOUT_PIXELS, level=(0.4, 0.6), colours="magma")
    again = made_again(before, predictions)
    endings = {
        ending for one in EXPORTERS.values() if not one.reads_pixels for ending in one.suffixes
    }
    assert endings - {".ome.zarr"} <= again
    assert ".ome.zarr/0/zarr.json" in again
    assert json.loads((predictions / "b" / ".export.geojson.json").read_text())["stage"] == "export"


def test_a_changed_heatmap_has_no_exports_of_the_old_one(tmp_path):
    cohort, model, out = write_slides(tmp_path, 1), write_model(tmp_path / "m"), tmp_path / "out"
    predict(cohort, model, out)
    export(out, *WITHOUT_PIXELS, "png", slides=cohort)
    mine = out / "s1" / "notes.txt"
    mine.write_text("seen")
    assert (out / "s1" / "s1.overlay.png").exists()
    predict(cohort, model, out, QUICK.model_copy(update={"stride_px": 48}))
    left = {path.name for path in (out / "s1").iterdir()}
    assert left == {"heatmap.zarr", "detections.csv", "heatmap.png", "recipe.json", "notes.txt"}


def test_a_damaged_heatmap_stops_no_other_slide(predictions, capsys):
    shutil.rmtree(predictions / "b" / "heatmap.zarr" / "probability")
    assert main(["export", str(predictions), "--to", "geojson", "--to", "ome-zarr"]) == 2
    assert "3 slides: 2 done, 0 skipped, 0 partial, 1 failed" in capsys.readouterr().out
    assert not (predictions / "b" / "b.geojson").exists()
    assert (predictions / "c" / "c.geojson").exists()
    (predictions / "c" / "detections.csv").unlink()
    assert main(["export", str(predictions), "--to", "geojson"]) == 2
    rows = (predictions / "export-summary.csv").read_text().splitlines()
    assert "partial" in rows[3]
    assert "detections.csv" in rows[3]
    for name in ("a", "c"):
        (predictions / name / "heatmap.zarr" / "zarr.json").write_text("{")
    assert main(["export", str(predictions), "--to", "geojson"]) == 1


def test_a_slide_that_is_gone_costs_its_overlay_only(tmp_path):
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    for row in cohort:
        geometry = Geometry((1531, 1127), 128.0, mpp=0.5)
        save_prediction(out, heatmap_of(geometry, {(3, 4): 0.9}, slide=row.id))
    (tmp_path / "s2.tif").unlink()
    summary = export(out, "png", "geojson", slides=cohort)
    assert summary.exit_status == 2
    gone = summary.outcomes[1]
    assert (gone.slide, gone.status) == ("s2", "partial")
    assert str(tmp_path / "s2.tif") in gone.reason
    assert "no such slide" in gone.reason
    assert {path.suffix for path in (out / "s2").glob("s2.*")} == {".geojson", ".png", ".pgw"}
    assert not (out / "s2" / "s2.overlay.png").exists()
    assert (out / "s1" / "s1.overlay.png").exists()
    assert export(out, "geojson").exit_status == 0


def test_commands_that_cannot_be_done_say_what_to_give(predictions, tmp_path, capsys):
    with pytest.raises(SettingsError, match="--slides"):
        export(predictions, "png")
    with pytest.raises(SettingsError, match="--slides"):
        export(predictions, "geojson", origin="bounds")
    with pytest.raises(ScoreError, match="no heatmaps"):
        export(tmp_path / "nowhere", "geojson")
    others = Cohort.of_rows([CohortSlide(id="x", path=tmp_path / "x.tif")])
    with pytest.raises(ScoreError, match="predicted are a, b, c"):
        export(predictions, "geojson", slides=others)
    assert main(["export", str(predictions)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("gigaslide: no format to export to; give --to geojson | asap")
    assert not said.out
    assert main(["export", str(predictions), "--to", "geojson", "--level", "1.5"]) == 1
    assert sorted(path.name for path in predictions.iterdir()) == ["a", "b", "c"]


def test_a_cohort_chooses_its_slides(predictions, tmp_path, capsys):
    (tmp_path / "c.csv").write_text("slide,patient\nc.tif,p\nz.tif,q\n")
    out = str(tmp_path / "o")
    words = ["--to", "csv", "--out", out, "--slides", str(tmp_path / "c.csv")]
    assert main(["export", str(predictions), *words]) == 0
    assert "1 slide of the cohort without a heatmap" in capsys.readouterr().out
    lines = (tmp_path / "o" / "slides.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["slide", "c"]


def test_a_failing_export_leaves_the_earlier_file(predictions, monkeypatch):
    export(predictions, "geojson")
    before = content(predictions)

    def fail(contour, tolerance):
        raise StoreError("the disk ate it")

    monkeypatch.setattr(contours, "_cut", fail)
    summary = export(predictions, "geojson", level=(0.3,))
    assert {(one.status, one.reason) for one in summary.outcomes} == {
        ("partial", "the disk ate it")
    }
    monkeypatch.undo()
    assert content(predictions) == before


def test_two_exports_at_once_and_export_during_predict_are_refused(predictions, tmp_path):
    with open_run_folder(predictions, ALONE):
        with pytest.raises(ClusterError, match="another run"):
            export(predictions, "geojson")
        assert export(predictions, "geojson", out=tmp_path / "o").exit_status == 0
    assert export(predictions, "geojson").exit_status == 0


@pytest.mark.slow
def test_kill_9_at_every_change_and_resume_give_the_same_bytes(predictions, tmp_path):
    for name in ("b", "c"):
        shutil.rmtree(predictions / name)
    export(predictions, *WITHOUT_PIXELS, out=tmp_path / "whole")
    wanted = digest(tmp_path / "whole")
    done = subprocess.run(
        [
            sys.executable,
            str(TESTS / "export_kills.py"),
            str(predictions),
            str(tmp_path / "k"),
            "31",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 4
    assert found == [[wanted, []]] * len(found)


@pytest.mark.slow
def test_fault_32_34_workers_that_die_while_they_export(predictions, tmp_path, monkeypatch):
    for name in ("once", "always"):
        cells = {(r, c): 0.7 for r in range(5) for c in range(4)}
        save_prediction(predictions, heatmap_of(SMALL, cells, slide=name))
    wanted, out = tmp_path / "wanted", tmp_path / "o"
    export(predictions, "geojson", "ome-zarr", out=wanted)
    monkeypatch.setattr(export_module, "export_slide", fall)
    summary = export_predictions(
        predictions,
        out,
        ExportSettings(to=("geojson", "ome-zarr")),
        BatchSettings(workers=2, memory_gb=1.0),
    )
    outcomes = {one.slide: one for one in summary.outcomes}
    assert outcomes.pop("always").status == "failed"
    assert {one.status for one in outcomes.values()} == {"done"}
    found = content(out)
    expected = {name: sha for name, sha in content(wanted).items() if not name.startswith("always")}
    assert {name: sha for name, sha in found.items() if not name.endswith(".fell")} == expected


def test_fault_36_sigterm_stops_an_export_that_then_continues(predictions, tmp_path):
    export(predictions, "geojson", "ome-tiff", out=tmp_path / "whole")
    out = tmp_path / "o"
    command = [sys.executable, str(TESTS / "exporting.py"), str(predictions), str(out), "1.0"]
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 60
        while not (out / "a" / "a.colours.ome.tif").exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 30
    assert not (out / "c").exists()
    assert export(predictions, "geojson", "ome-tiff", out=out).exit_status == 0
    assert digest(out) == digest(tmp_path / "whole")


@pytest.mark.slow
def test_fault_35_the_largest_slides_need_little_memory(tmp_path):
    """CAMELYON's largest sides at 32 µm a cell, tumour in many pieces."""
    camelyon = Geometry((97_792, 221_184), 131.7, mpp=0.243)
    rng = np.random.default_rng(4)
    made = heatmap_of(camelyon, {})
    made.probability[:] = rng.random(made.probability.shape, np.float32) ** 60
    made.status[:] = 1
    save_prediction(tmp_path, made)
    code = (
        "import sys, resource; from pathlib import Path; from exporting import export;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        f"export(Path(sys.argv[1]), *{WITHOUT_PIXELS});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 700_000  # kB
    assert len(json.loads((tmp_path / "s" / "s.geojson").read_text())["features"]) > 5_000


@pytest.mark.slow
def test_fault_48_slides_in_a_loop_leave_memory_and_files_as_they_were(tmp_path):
    path = write_tiff(tmp_path / "a.tif", stained_slide(1)[300:500, 300:600])
    geometry, rows = Geometry((300, 200), 32.0, mpp=0.5), []
    for number in range(60):
        heatmap = heatmap_of(geometry, {(2, 3): 0.9, (1, 1): 0.2}, slide=f"s{number}")
        save_prediction(tmp_path / "p", heatmap)
        rows.append(CohortSlide(id=heatmap.slide, path=path))
    figures, this = [], psutil.Process()

    def look(_) -> None:
        figures.append((this.memory_info().rss, this.num_fds(), threading.active_count()))

    export_predictions(
        tmp_path / "p",
        tmp_path / "o",
        ExportSettings(to=(*WITHOUT_PIXELS, "png")),
        ALONE,
        slides=Cohort(slides=tuple(rows)),
        listener=Listener(on_outcome=look),
    )
    middle, last = figures[20], figures[-1]
    assert last[0] - middle[0] < 20 * 2**20
    assert last[1:] <= middle[1:]
