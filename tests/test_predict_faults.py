"""Slides that are damaged or replaced, workers that hang, die or eat memory, and a second run: what
a prediction does. The network is a stand-in."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from dask.distributed import Client, LocalCluster
from gigaslide.batch import BatchSettings, SlideContext, open_run_folder
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.storage import BlockRecord, ClusterError
from gigaslide.wsi import CellStatus, Heatmap
from predicting import StandInBlocks, content, predict, write_model, write_slides


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


class FaultyBlocks(StandInBlocks):
    """A block of the slide s1 kills its worker, hangs, or takes more memory than a worker has."""

    def block(self, context: SlideContext[CohortSlide], number: int) -> BlockRecord:
        fault = os.environ["PREDICT_FAULT"] if context.slide.id == "s1" and number == 1 else ""
        if fault == "dies":
            os._exit(9)
        if fault == "hangs":
            time.sleep(600)
        if fault == "eats":
            eaten = [np.ones(2_000_000) for _ in range(150)]  # 2.4 GB
            time.sleep(600 + len(eaten))
        return super().block(context, number)


def damage_tile(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    offset, length = tile_place(path, number)
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)


def of_one(path: Path) -> Cohort:
    return Cohort.of_rows([CohortSlide(id="s", path=path)])


def test_fault_02_cells_of_a_truncated_slide_that_are_left_keep_their_probability(model, tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(4), jpeg=True)
    assert predict(of_one(path), model, tmp_path / "whole").exit_status == 0
    data = path.read_bytes()
    last_tile = tile_place(path, 6 * 4)[0]
    path.write_bytes(data[:last_tile] + bytes(len(data) - last_tile))
    summary = predict(of_one(path), model, tmp_path / "cut")
    assert (summary.exit_status, summary.outcomes[0].status) == (2, "partial")
    whole, cut = (Heatmap.load(tmp_path / out / "s" / "heatmap.zarr") for out in ("whole", "cut"))
    both = (whole.status == CellStatus.SCORED) & (cut.status == CellStatus.SCORED)
    assert both.sum() > 20
    assert (cut.status == CellStatus.UNREADABLE).any()
    assert np.array_equal(whole.probability[both], cut.probability[both])


def test_fault_04_a_corrupt_first_tile_costs_no_cell_that_does_not_touch_it(model, tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(4), jpeg=True)
    predict(of_one(path), model, tmp_path / "good")
    damage_tile(path, 6 * 1 + 1)  # the first with tissue
    assert predict(of_one(path), model, tmp_path / "bad").exit_status == 2
    good, bad = (Heatmap.load(tmp_path / out / "s" / "heatmap.zarr") for out in ("good", "bad"))
    later = np.zeros_like(good.status, dtype=bool)
    later[len(later) // 2 :] = True
    scored = later & (good.status == CellStatus.SCORED)
    assert scored.sum() > 20
    assert np.array_equal(good.probability[scored], bad.probability[scored])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said", "batch"),
    [
        pytest.param("hangs", "longer than 3 s", {"task_timeout_s": 3.0}, id="fault_07"),
        pytest.param("dies", "worker died", {}, id="fault_34"),
        pytest.param("eats", "worker died", {"memory_gb": 1.2}, id="fault_35"),
    ],
)
def test_a_slide_that_ruins_its_workers_fails_alone(
    model, tmp_path, monkeypatch, fault, said, batch
):
    monkeypatch.setenv("PREDICT_FAULT", fault)
    cohort = write_slides(tmp_path, 1, 2)
    good = write_slides(tmp_path, 2)
    options = {"workers": 1, "max_attempts": 2, "memory_gb": 1.5, **batch}
    summary = predict(cohort, model, tmp_path / "out", kind=FaultyBlocks, **options)
    (failed,) = summary.of_status("failed")
    assert failed.slide == "s1"
    assert said in failed.reason
    predict(good, model, tmp_path / "wanted")
    found = content(tmp_path / "out")
    assert {k: v for k, v in found.items() if k.startswith("s2/")} == content(tmp_path / "wanted")


def test_fault_16_a_slide_that_was_replaced_is_predicted_again(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)
    before = content(out)
    write_tiff(tmp_path / "s1.tif", stained_slide(7))
    assert predict(cohort, model, out).of_status("done")
    assert content(out) != before
    assert predict(cohort, model, out).of_status("skipped")


def test_fault_25_two_predictions_into_one_folder_are_refused(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    with (
        open_run_folder(out, BatchSettings()),
        pytest.raises(ClusterError, match=f"another run.*process {os.getpid()}"),
    ):
        predict(cohort, model, out)
    assert not (out / "s1").exists()
    assert predict(cohort, model, out).exit_status == 0


@pytest.mark.slow
def test_fault_33_a_prediction_whose_scheduler_dies_goes_on(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    local = LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with local as cluster, Client(cluster, set_as_default=False) as client:
        told = []

        def end(counts: dict[str, int]) -> None:
            if not told:
                client.shutdown()
            told.append(counts)

        with pytest.raises(ClusterError):
            predict(
                cohort,
                model,
                out,
                blocks={"pause_s": 0.3},
                scheduler=cluster.scheduler_address,
                worker_timeout_s=5,
                on_block=end,
            )
    assert predict(cohort, model, out).exit_status == 0
    predict(cohort, model, tmp_path / "wanted")
    assert content(out) == content(tmp_path / "wanted")
