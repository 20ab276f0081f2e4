"""Work of a job without a network, in the child process of a server; quick to import there."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from gigaslide.serve import JobFacts, JobQueue, JobTask, ServedModel
from gigaslide.storage import Settings, SlideError
from gigaslide.wsi import CellStatus, Heatmap

__all__ = ["Orders", "fake_job", "fake_models"]


class Orders(Settings):
    """Settings of a stand-in stage: what the work is to do."""

    steps: int = 2
    pause_s: float = 0.0
    end: Literal["done", "nan", "memory", "fault"] = "done"
    number: int = 0
    """Makes a job another one."""
    architecture: str = ""


def fake_job(task: JobTask, report: Callable[[str, int], None]) -> JobFacts:
    """Write a heatmap and the files beside it, after some steps."""
    orders = Orders.model_validate(task.settings)
    report("plan", 10 * orders.steps)
    folder = task.folder / task.slide.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "begun").write_text("half a result")
    with (task.folder / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    for _ in range(orders.steps):
        time.sleep(orders.pause_s)
        report("scored", 10)
    if orders.end == "memory":  # as the kernel ends a process that takes too much
        os.kill(os.getpid(), signal.SIGKILL)
    if orders.end == "fault":
        raise KeyError("a fault of the work")
    if orders.end == "nan":
        raise SlideError(f"{task.slide.path}: no cell has a probability: NaN for 4 cells")
    shape = (3, 5)
    Heatmap(
        slide=task.slide.id,
        probability=np.linspace(0, 1, 15, dtype=np.float32).reshape(shape),
        status=np.full(shape, CellStatus.SCORED, np.uint8),
        origin_level0=(0.0, 0.0),
        stride_level0=100.0,
        centre_level0=100.0,
        centre_px=100,
        slide_size=(500, 300),
        slide_mpp=0.5,
        model_hash="m",
    ).save(folder / "heatmap.zarr")
    (folder / "detections.csv").write_text("slide,x,y,probability\n")
    (folder / f"{task.slide.id}.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    return JobFacts(counts={"cells": 15})


def fake_models(folder: Path) -> dict[str, ServedModel]:
    spec = {"mpps": [0.5], "patch_px": 75}
    return {
        "tiny": ServedModel(
            id="tiny",
            hash="h",
            folder=folder,
            card={"architecture": "tiny", "input_spec": spec},
            settings=Orders,
            own_settings=frozenset({"architecture"}),
        )
    }


def fake_queue(out: Path, **fields) -> JobQueue:
    return JobQueue(out, fake_models(out / "model"), fake_job, **fields)
