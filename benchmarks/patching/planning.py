"""Run in blocks that do nothing: its own time and memory.

A module of its own: what a script itself defines would travel whole, with every task.
"""

import shutil
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from figures import Figures, cpu_seconds


@dataclass(frozen=True)
class Column:
    id: str
    blocks: int


@dataclass(frozen=True)
class Idle:
    """`BlockWork` that does nothing, which leaves the run's own time and memory."""

    out: Path

    def output(self, slide: Column):
        from gigaslide.storage import Output, Recipe

        recipe = Recipe(stage="idle", settings={}, inputs={"id": slide.id})
        return Output(location=self.out / slide.id, recipe=recipe)

    def open(self, slide: Column):
        return nullcontext()

    def prepare(self, context: Any):
        from gigaslide.batch import BlockPlan

        return BlockPlan(blocks=context.slide.blocks)

    def block(self, context: Any, number: int):
        from gigaslide.storage import BlockRecord

        return BlockRecord(counts={"patches": 1})

    def assemble(self, context: Any, records: Any) -> dict[str, int]:
        return {}

    def outcome(self, slide: Column, attributes: Any):
        from gigaslide.batch import SlideOutcome

        return SlideOutcome(slide=slide.id, status="done")


def planned(work: Path, patches: int, *, stored_px: int) -> Figures:
    """So many patches in blocks over 400 slides, two workers: time, and memory of client and
    scheduler."""
    from gigaslide.batch import BatchSettings, Listener, open_run_folder, run_blocks
    from gigaslide.patching.write import rows_per_block

    blocks = -(-patches // rows_per_block(patches, {"images": (stored_px, stored_px, 3)}))
    columns = [Column(f"slide {k}", blocks // 400 + (k < blocks % 400)) for k in range(400)]
    process, peak, over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss)

    before = process.memory_info().rss
    threading.Thread(target=watch, daemon=True).start()
    batch, first = BatchSettings(workers=2), []
    folder = work / "planned"
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    with open_run_folder(folder, batch) as held:
        run_blocks(
            Idle(folder),
            columns,
            batch,
            folder=held,
            listener=Listener(on_block=lambda _: first or first.append(time.perf_counter())),
        )
    seconds = time.perf_counter() - start
    over.set()
    start_up = first[0] - start
    return {
        "patches": patches,
        "blocks": blocks,
        "seconds": seconds,
        "cpu": cpu_seconds(),
        "start_up": start_up,
        "grown_mb": (peak[0] - before) / 1e6,
        "ms_a_task": 1000 * (seconds - start_up) / (blocks + 2 * len(columns)),
    }
