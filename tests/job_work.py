"""Work of a job without a network, in the child process of a server; quick to import there."""

import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from gigaslide.serve import JobFacts, JobQueue, JobTask, ServedModel
from gigaslide.storage import Settings, SlideError
from gigaslide.wsi import CellStatus, Heatmap, Region
from PIL import Image

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
    write_shapes(task, folder)
    return JobFacts(counts={"cells": 15})


def write_shapes(task: JobTask, folder: Path) -> None:
    """Write the region as an outline, its centre as a detection; of a whole slide a part of it."""
    box = task.within or Region(x=100, y=200, width=300, height=150)
    corners = [(box.x, box.y), (box.x + box.width, box.y)]
    corners += [(x, box.y + box.height) for x, _ in reversed(corners)]
    centre = box.x + box.width / 2, box.y + box.height / 2
    shapes = {
        "": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        ".detections": {"type": "Point", "coordinates": centre},
    }
    with Image.open(task.slide.path) as image:
        about = {"slide": task.slide.id, "slide_size": image.size}
    for kind, shape in shapes.items():
        identity = f"{task.slide.id} {kind} {box}"
        feature = {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
            "geometry": shape,
            "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
        }
        content = {"type": "FeatureCollection", "gigaslide": about, "features": [feature]}
        (folder / f"{task.slide.id}{kind}.geojson").write_text(json.dumps(content))


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
