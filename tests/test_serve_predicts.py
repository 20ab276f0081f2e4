"""Jobs of a real network: the bytes of gigaslide predict, and the examples of docs/serve.md."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.cli.stages.serve import load_models, predict_job
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import WEIGHTS, ModelCard, build_network, hash_weights, parameter_counts
from gigaslide.serve import JobDesk, JobQueue, Uploads, Workspace
from gigaslide.storage import ModelError
from gigaslide.wsi import CellStatus, Detections, Heatmap, InputSpec
from serving import Served, serve
from test_serve_jobs import end_of

DOCS = Path(__file__).resolve().parents[1] / "docs" / "serve.md"
REGION = (450, 350, 500, 400)
SETTINGS = {"orientations": 1, "allow_tumor_on_glass": True}


def write_compact(folder: Path) -> Path:
    """A model folder with random weights that calls no glass tumour."""
    keras.utils.set_random_seed(3)
    spec = InputSpec(patch_px=48, centre_px=32, mpps=(0.5,))
    network = build_network("compact", spec)
    folder.mkdir(parents=True)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="compact",
        input_spec=spec,
        parameters=parameter_counts(network),
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("real")
    models = load_models([write_compact(folder / "model")])
    slide = CohortSlide(
        id="slide_1", path=write_tiff(folder / "slide_1.tif", stained_slide(1)), split="train"
    )
    queue = JobQueue(folder / "out", models, predict_job)
    desk = JobDesk(queue, Uploads(folder / "out" / "uploads", 10**9))
    yield from serve(Workspace(cohort=Cohort(slides=(slide,)), desk=desk), folder)


def compute(served: Served, **fields) -> dict:
    body = {"model": "model", "slide": "slide_1", "settings": SETTINGS, **fields}
    answer = served.ask("/api/jobs", method="POST", body=body)
    assert answer.status in (200, 202), answer.plain
    return end_of(served, answer.plain["id"])


def heatmap_of(served: Served, job: dict, folder: Path) -> Path:
    content = served.ask(f"/{job['results']['heatmap.zip']}").content
    zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
    return folder / "heatmap.zarr"


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_a_job_gives_the_bytes_of_gigaslide_predict(real, tmp_path):
    job = compute(real)
    assert (job["state"], job["reason"]) == ("done", "")
    options = ["--orientations", "1", "--allow-tumor-on-glass", "--workers", "0"]
    slide, model = str(real.folder / "slide_1.tif"), str(real.folder / "model")
    assert main(["predict", slide, model, str(tmp_path / "predicted"), *options]) == 0
    theirs = tmp_path / "predicted" / "slide_1"
    mine = heatmap_of(real, job, tmp_path / "job")
    assert bytes_of(mine) == bytes_of(theirs / "heatmap.zarr")
    assert job["counts"]["cells"] == int(Heatmap.load(mine).scored.sum()) > 400
    table = real.ask(f"/{job['results']['detections.csv']}").content
    assert table == (theirs / "detections.csv").read_bytes()
    assert real.ask(f"/{job['results']['outlines.geojson']}").plain["features"]


@pytest.mark.slow
def test_a_region_has_the_cells_of_the_whole_slide_and_no_others(real, tmp_path):
    whole = Heatmap.load(heatmap_of(real, compute(real), tmp_path / "whole"))
    job = compute(real, region=REGION)
    part = Heatmap.load(heatmap_of(real, job, tmp_path / "part"))
    rows, columns = np.indices(whole.status.shape) + 0.5
    x, y = columns * whole.stride_level0, rows * whole.stride_level0
    left, top, width, height = REGION
    inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    assert 50 < (inside & whole.scored).sum() < 0.8 * whole.scored.sum()
    for beyond in (x < left, x >= left + width, y < top, y >= top + height):
        assert (beyond & whole.scored).any()  # every side cuts tissue
    np.testing.assert_array_equal(part.scored, inside & whole.scored)
    np.testing.assert_array_equal(part.status[~inside], CellStatus.BACKGROUND)
    np.testing.assert_allclose(part.probability[part.scored], whole.probability[part.scored], 1e-5)


def test_what_the_model_cannot_score_is_refused_before_its_job_waits(real, tmp_path):
    def refused(**fields) -> str:
        body = {"model": "model", "slide": "slide_1", **fields}
        answer = real.ask("/api/jobs", method="POST", body=body)
        assert answer.status == 422
        assert str(real.folder) not in answer.plain["error"]
        return answer.plain["error"]

    before = real.ask("/api/jobs").plain["jobs"]
    assert "1531 × 1127" in refused(region=[5000, 0, 10, 10])
    kind = "application/octet-stream"
    sent = real.ask("/api/uploads", method="POST", body=b"no slide" * 99, Content_Type=kind).plain
    assert sent["upload"] in refused(slide=None, upload=sent["upload"])
    for mpp, words in ((None, "settings.slide_mpp"), (0.8, "settings.allow_upsampling")):
        path = write_tiff(tmp_path / "slide.tif", stained_slide(2)[:300, :400], mpp=mpp)
        sent = real.ask("/api/uploads", method="POST", body=path.read_bytes(), Content_Type=kind)
        assert words in refused(slide=None, upload=sent.plain["upload"])
    assert real.ask("/api/jobs").plain["jobs"] == before


@pytest.mark.slow
def test_a_region_without_a_cell_says_so(real):
    job = compute(real, region=[0, 0, 3, 3])
    assert (job["state"], job["counts"]["cells"]) == ("done", 0)
    assert "region" in job["reason"]


def blocks_of_docs(language: str) -> list[str]:
    _, _, section = DOCS.read_text(encoding="utf-8").partition("## Models as an API")
    found = re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)
    return [one for one in found if not one.startswith("gigaslide ")]


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_examples_of_the_docs_run(real, tmp_path, language):
    (tmp_path / "slide.tif").write_bytes((real.folder / "slide_1.tif").read_bytes())
    (example,) = blocks_of_docs(language)
    # A random network may call glass tumour.
    example = example.replace(
        '"orientations": 1', '"orientations": 1, "allow_tumor_on_glass": true'
    )
    if language == "python":
        example = example.replace(": true", ": True")
    program = ["bash", "-euc", example] if language == "sh" else [sys.executable, "-c", example]
    url = f"http://127.0.0.1:{real.listener.port}"
    environment = {**os.environ, "URL": url, "TOKEN": real.listener.token}
    done = subprocess.run(
        program, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if language == "sh":
        assert "heatmap.zarr/zarr.json" in zipfile.ZipFile(tmp_path / "heatmap.zip").namelist()
        assert json.loads((tmp_path / "outlines.geojson").read_text())["features"]
    else:
        assert b"done" in done.stdout
        Detections.load(tmp_path / "detections.csv")


def test_two_models_of_one_name_are_refused(real, tmp_path):
    other = write_compact(tmp_path / "model")
    with pytest.raises(ModelError, match="rename"):
        load_models([real.folder / "model", other])
