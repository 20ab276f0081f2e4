"""Prediction in blocks: the same heatmaps by any workers, in blocks of any size, after any
interruption."""

import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from dask.distributed import Client, LocalCluster
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.inference.blocks import PredictBlocks
from gigaslide.inference.read_ahead import read_ahead
from gigaslide.models import ARCHITECTURES, WEIGHTS, ModelCard, build_network, hash_weights
from gigaslide.wsi import Heatmap, InputSpec, Slide, open_slide
from predicting import (
    COARSE,
    QUICK,
    brightness,
    content,
    digest,
    predict,
    write_model,
    write_slides,
)
from stand_in import predictor_of
from test_batch_blocks import journal
from test_tiling_faults import doom
from tiny_network import TINY

TESTS = Path(__file__).parent
A_SLIDE = 8  # blocks


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Cohort:
    return write_slides(tmp_path_factory.mktemp("slides"), 1, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def predicted(slides, model, tmp_path_factory) -> dict[str, str]:
    """Content of an uninterrupted prediction in this process."""
    out = tmp_path_factory.mktemp("predicted")
    assert predict(slides, model, out).exit_status == 0
    return content(out)


def test_blocks_give_the_heatmap_of_the_slide_at_once(slides, model, predicted, tmp_path):
    predict(slides, model, tmp_path)
    for slide in slides:
        with open_slide(slide.path) as opened:
            whole = predict_slide(opened, predictor_of(brightness), QUICK, slide_id=slide.id)
        found = Heatmap.load(tmp_path / slide.id / "heatmap.zarr")
        assert found.content_sha256 == whole.content_sha256
        assert found.stride_level0 == whole.stride_level0
        assert found.slide_size == whole.slide_size
    assert content(tmp_path) == predicted


def test_blocks_normalise_the_stain_as_the_slide_at_once_does(slides, predicted, tmp_path):
    model = write_model(tmp_path / "model", stain="reinhard")
    predict(slides, model, tmp_path / "out")
    slide = slides.slides[0]
    with open_slide(slide.path) as opened:
        network = predictor_of(brightness, stain="reinhard")
        whole = predict_slide(opened, network, QUICK, slide_id=slide.id)
    found = Heatmap.load(tmp_path / "out" / slide.id / "heatmap.zarr")
    assert found.content_sha256 == whole.content_sha256
    assert content(tmp_path / "out") != predicted


def test_two_workers_give_the_same_files(slides, model, predicted, tmp_path):
    summary = predict(slides, model, tmp_path, workers=2, memory_gb=1.5)
    assert len(summary.pace.workers) == 2
    assert content(tmp_path) == predicted
    assert len(journal(tmp_path, "block")) == 2 * A_SLIDE


@pytest.fixture(scope="module")
def real_model(tmp_path_factory) -> Path:
    """A model folder with a small convolutional network of random weights."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", TINY)
        spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
        network = build_network("tiny", spec)
        network.save_weights(folder / WEIGHTS)
        ModelCard(
            architecture="tiny",
            input_spec=spec,
            parameters={"all": 1},
            training={},
            weights_sha256=hash_weights(folder),
        ).save(folder)
    return folder


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_fault_45_scores_do_not_depend_on_block_and_batch(
    slides, real_model, tmp_path, monkeypatch, runtime
):
    """OpenVINO: bit for bit, although each window meets other windows in its batch. Keras: to the
    last bit, so blocks and batches are cut alike on every machine."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    whole = PredictSettings(
        stride_px=64, runtime=runtime, orientations=1, allow_tumor_on_glass=True
    )
    found = []
    for number, (block_px, batch_size) in enumerate([(2**30, 64), (75 * 75 * 50, 64), (1, 8)]):
        out = tmp_path / str(number)
        settings = whole.model_copy(update={"batch_size": batch_size})
        blocks = {"block_px": block_px}
        predict(slides, real_model, out, settings, kind=PredictBlocks, blocks=blocks)
        found.append(len(journal(out, "block")))
    assert found[0] == 2
    assert found[2] > found[1] > 2
    for other in ("1", "2"):
        for slide in slides:
            paths = (tmp_path / out / slide.id / "heatmap.zarr" for out in ("0", other))
            first, second = (Heatmap.load(path) for path in paths)
            tolerance = 0.0 if runtime == "openvino" else 1e-6
            np.testing.assert_allclose(first.probability, second.probability, atol=tolerance)


def killed(folder: Path, slides: Cohort, model: Path, earlier: Path, every: int) -> list[dict]:
    slides.save(folder / "cohort.csv")
    (folder / "outs").mkdir()
    command = [TESTS / "predict_kills.py", folder / "cohort.csv", model, earlier, folder / "outs"]
    done = subprocess.run(
        [sys.executable, *map(str, command), str(every)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_fault_23_killed_at_any_change_to_the_disk(model, tmp_path):
    """Only what is not on disk is computed, and the files are those of an uninterrupted run."""
    path = write_tiff(tmp_path / "s.tif", stained_slide(1)[100:900, 100:1000])
    cohort = Cohort.of_rows([CohortSlide(id="s", path=path)])
    earlier, other = tmp_path / "earlier", write_model(tmp_path / "other", weights=b"others")
    predict(cohort, other, earlier, COARSE)
    assert predict(cohort, model, tmp_path / "true", COARSE).exit_status == 0
    found = killed(tmp_path, cohort, model, earlier, every=9)
    assert len(found) > 10
    assert {line["status"] for line in found} == {0}
    assert {line["digest"] for line in found} == {digest(tmp_path / "true")}
    assert not any(line["hidden"] for line in found)
    total = found[0]["blocks"][1]
    assert total == 2
    assert {sum(line["blocks"]) for line in found} == {total}
    assert {line["blocks"][0] for line in found} == {0, 1, 2}


def started(slides: Cohort, model: Path, folder: Path) -> tuple[subprocess.Popen, Path]:
    """A prediction by two workers that has done three blocks, in a session of its own."""
    slides.save(folder / "cohort.csv")
    out = folder / "out"
    command = [TESTS / "predicting.py", folder / "cohort.csv", model, out, "2", "1.0"]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not ((out / "run.jsonl").exists() and len(journal(out, "block")) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, out


def goes_on(slides: Cohort, model: Path, out: Path, predicted: dict[str, str]) -> None:
    before = len(journal(out, "block"))
    on_disk = len(list(out.glob("*/.heatmap.zarr.partial/done/*.json")))
    on_disk += A_SLIDE * len(list(out.glob("*/heatmap.zarr")))
    assert predict(slides, model, out).exit_status == 0
    assert content(out) == predicted
    assert 3 <= before <= on_disk < 2 * A_SLIDE
    assert len(journal(out, "block")) - before == 2 * A_SLIDE - on_disk


@pytest.mark.slow
def test_fault_36_a_prediction_that_is_told_to_stop_does_and_goes_on(
    slides, model, predicted, tmp_path
):
    process, out = started(slides, model, tmp_path)
    told = datetime.now(UTC)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    (stopped,) = journal(out, "stopped")
    assert (datetime.fromisoformat(stopped["time"]) - told).total_seconds() < 30
    goes_on(slides, model, out, predicted)


@pytest.mark.slow
def test_fault_23_a_prediction_and_its_workers_killed_together_goes_on(
    slides, model, predicted, tmp_path
):
    process, out = started(slides, model, tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    goes_on(slides, model, out, predicted)


@pytest.mark.slow
def test_fault_32_workers_killed_at_random_while_predicting(slides, model, predicted, tmp_path):
    blocks = itertools.count()
    local = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with local as cluster, Client(cluster, set_as_default=False) as client:

        def hear(_: dict[str, int]) -> None:
            if next(blocks) in (1, 8):
                client.run(doom, on_error="ignore")

        summary = predict(
            slides,
            model,
            tmp_path,
            blocks={"pause_s": 0.3},
            scheduler=cluster.scheduler_address,
            max_attempts=20,
            on_block=hear,
        )
    assert summary.exit_status == 0
    assert len(summary.pace.workers) > 2
    assert content(tmp_path) == predicted
    done = [(line["slide"], line["block"]) for line in journal(tmp_path, "block")]
    assert len(done) == len(set(done)) == 2 * A_SLIDE


def test_fault_48_slides_in_a_loop_leave_memory_and_files_as_they_were(model, tmp_path):
    whole = write_tiff(tmp_path / "a.tif", stained_slide(1)[300:500, 300:600])
    rows = [CohortSlide(id="", path=tmp_path / f"s{number}.tif") for number in range(40)]
    for row in rows:
        shutil.copy(whole, row.path)
    figures = []

    def look(counts: dict[str, int]) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        figures.append((pages * resource.getpagesize(), files, threading.active_count()))

    predict(Cohort.of_rows(rows), model, tmp_path / "out", on_block=look)
    middle, last = figures[len(figures) // 3], figures[-1]
    assert last[0] - middle[0] < 20 * 2**20
    # Another slide is open at the same time, and may have a file more; 26 slides lie between.
    assert last[1] <= middle[1] + 3
    assert last[2] <= middle[2]


def test_reading_is_ahead_of_the_network_and_bounded(slides, monkeypatch):
    """While the network has one batch, the thread has read the next ones, and no more."""
    per_call, ahead, read = 16, [], itertools.count()
    windows = Slide.read_concentric

    def counted(*args, **options):
        for item in windows(*args, **options):
            next(read)
            yield item

    def slow(patches: np.ndarray) -> np.ndarray:
        time.sleep(0.1)
        seen = next(calls) * per_call
        ahead.append(read.__reduce__()[1][0] - seen)
        return brightness(patches)

    calls = itertools.count(1)
    monkeypatch.setattr(Slide, "read_concentric", counted)
    with open_slide(next(iter(slides)).path) as slide:
        predict_slide(slide, predictor_of(slow), COARSE, slide_id="s")
    assert min(ahead[:-3]) >= per_call
    assert max(ahead) <= 3 * per_call


def test_an_error_of_the_reading_thread_is_raised_and_the_thread_ends():
    def items():
        yield from (1, 2)
        raise OSError("the disk is gone")

    before, ahead = threading.active_count(), read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    following = read_ahead(iter(range(100)))
    assert next(following) == 0
    following.close()
    assert threading.active_count() == before
