"""The script for QuPath, run in Groovy against stand-ins for QuPath's classes."""

import json
import subprocess
from pathlib import Path

import pytest
from exporting import Geometry, export, heatmap_of, save_prediction
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.storage import file_identity
from qupath import groovy_environment, need_groovy

GEOMETRY = Geometry((3001, 2003), 128.0, mpp=0.5)
STAND_INS = {
    "javafx/application/Platform": "class Platform {}",
    "qupath/lib/gui/viewer/overlays/BufferedImageOverlay": "class BufferedImageOverlay {}",
    "qupath/lib/regions/ImageRegion": "class ImageRegion {}",
    "qupath/lib/io/PathIO": """class PathIO {
        static readObjectsFromGeoJSON(stream) {
            new groovy.json.JsonSlurper().parse(stream).features
        }
    }""",
}
RUN = """
interface Server { def getURIs(); int getWidth(); int getHeight(); def getMetadata() }
def binding = new Binding([
    getAllObjects: { [] }, removeObjects: { some, all -> }, getCurrentViewer: { null },
    addObjects: { println "added ${it.size()}" },
])
args.toList().collate(2).each { script, image ->
    def file = new File(image)
    binding.getCurrentServer = {
        [getURIs: { [file.toURI()] }, getWidth: { 3001 }, getHeight: { 2003 },
         getMetadata: { [getName: { file.getName() }] }] as Server
    }
    new GroovyShell(this.class.classLoader, binding).evaluate(new File(script))
    println "----"
}
"""
"""Runs scripts, each with an image opened."""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    need_groovy()
    folder = tmp_path_factory.mktemp("qupath")
    for name, source in STAND_INS.items():
        path = folder / f"{name}.groovy"
        path.parent.mkdir(parents=True, exist_ok=True)
        package = ".".join(name.split("/")[:-1])
        path.write_text(f"package {package}\n{source}")
    (folder / "run.groovy").write_text(RUN)
    return folder


def save_slides(folder: Path) -> Cohort:
    """Predictions of two slides of one file name, which differ in bytes and in a cell."""
    paths = [folder / "slides" / name / "a.tif" for name in ("one", "two")]
    cohort = Cohort.of_rows([CohortSlide(id="a", path=path) for path in paths])
    for number, slide in enumerate(cohort, 1):
        slide.path.parent.mkdir(parents=True)
        slide.path.write_bytes(b"x" * number)
        cells = {(2 * k, 2 * k): 0.7 for k in range(number)}
        save_prediction(folder / "out", heatmap_of(GEOMETRY, cells, slide=slide.id))
        group = folder / "out" / slide.id / "heatmap.zarr" / "zarr.json"
        plain = json.loads(group.read_text())
        plain["attributes"]["recipe"] = {"inputs": {"slide": file_identity(slide.path)}}
        group.write_text(json.dumps(plain))
    return cohort


def run_scripts(stand_ins: Path, *opened: tuple[Path, Path]) -> list[str]:
    """Output of the script of each folder of exports, with an image opened."""
    words = [word for out, image in opened for word in (out / "load_into_qupath.groovy", image)]
    done = subprocess.run(
        ["groovy", "-cp", *map(str, [stand_ins, stand_ins / "run.groovy", *words])],
        capture_output=True,
        text=True,
        check=False,
        env=groovy_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("----")[:-1]


def test_two_slides_of_one_file_name_are_both_in_the_script(tmp_path):
    cohort = save_slides(tmp_path)
    assert len({slide.id for slide in cohort}) == 2
    export(tmp_path / "out", "qupath", slides=cohort)
    script = (tmp_path / "out" / "load_into_qupath.groovy").read_text()
    for number, slide in enumerate(cohort, 1):
        assert f'[id: "{slide.id}", file: "a.tif", bytes: {number}, path: "{slide.path}"]' in script


@pytest.mark.qupath
def test_the_script_loads_the_right_one_of_two_files_of_one_name(tmp_path, stand_ins):
    cohort = save_slides(tmp_path)
    second = cohort.slides[1]
    without, out = tmp_path / "out", tmp_path / "by_path"
    export(without, "qupath")
    export(without, "qupath", out=out, slides=cohort)
    moved = tmp_path / "moved" / "a.tif"
    moved.parent.mkdir()
    moved.write_bytes(b"of another size")
    script = out / "load_into_qupath.groovy"
    script.write_text(script.read_text().replace("bytes: 2", "bytes: 1"))
    opened = (without, second.path), (without, moved), (out, second.path)
    by_size, unknown, by_path = run_scripts(stand_ins, *opened)
    for shown in (by_size, by_path):
        assert f"loaded {second.id}" in shown
        assert "added 3" in shown  # two contours, one detection; the first slide has one of each
    assert "added" not in unknown
    assert all(slide.id in unknown for slide in cohort)
