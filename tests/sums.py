"""Work in blocks for the tests of the batch room: rows of numbers into files, a slide's sum at the
end.

Run as a file it is killed at every single change it makes to the disk: see test_batch_faults.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from dask.distributed import get_worker
from gigaslide.batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    BlockPlan,
    Listener,
    SlideContext,
    SlideOutcome,
    Stopped,
    open_run_folder,
    run_blocks,
)
from gigaslide.storage import BlockRecord, GigaslideError, Output, Recipe, checksum_parts

ROWS = 5  # numbers a block, but for the last


@dataclass(frozen=True)
class Column:
    """A slide of that many numbers, and what befalls those who work on it."""

    id: str
    count: int = 12
    deed: str = ""
    at: int = 1
    """The block where the deed is done."""


def number(column: Column, row: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{column.id} {row}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Sums:
    """`BlockWork`: ROWS numbers a block into `c/<block>`, their sum into sum.json."""

    out: Path
    pause_s: float = 0.0

    def output(self, slide: Column) -> Output:
        recipe = Recipe(stage="sums", settings={"count": slide.count}, inputs={"id": slide.id})
        return Output(location=self.out / slide.id, recipe=recipe)

    def open(self, slide: Column) -> AbstractContextManager[Column]:
        return nullcontext(slide)

    def prepare(self, context: SlideContext[Column]) -> BlockPlan:
        return BlockPlan(blocks=-(-context.slide.count // ROWS))

    def block(self, context: SlideContext[Column], number_: int) -> BlockRecord:
        slide = context.slide
        if slide.deed and number_ == slide.at:
            self.befall(slide)
        time.sleep(self.pause_s)
        rows = range(number_ * ROWS, min(slide.count, (number_ + 1) * ROWS))
        path = context.partial.whole / f"c/{number_}"
        path.parent.mkdir(exist_ok=True)
        content = "\n".join(str(number(slide, row)) for row in rows).encode()
        path.write_bytes(content)
        files = {f"c/{number_}": checksum_parts([content])}
        return BlockRecord(files=files, counts={"rows": len(rows)})

    def befall(self, slide: Column) -> None:
        marks = self.out / "marks"
        marks.mkdir(exist_ok=True)
        (marks / f"{slide.id}.{os.getpid()}.{time.monotonic_ns()}").touch()
        first = len(list(marks.glob(f"{slide.id}.*"))) == 1
        if slide.deed == "die" or (slide.deed == "die once" and first):
            os._exit(9)
        if slide.deed == "hang" or (slide.deed == "hang once" and first):
            time.sleep(3600)
        if slide.deed == "eat":
            eaten = [b"\1" * 2**24 for _ in range(100) if not time.sleep(0.01)]
            time.sleep(3600 if eaten else 0)
        if slide.deed == "leave once" and first:
            worker = get_worker()
            worker.loop.add_callback(worker.close, nanny=False, executor_wait=False)
            until = time.monotonic() + 60
            while (
                worker.status.name != "closed" and time.monotonic() < until
            ):  # else its answer may come before
                time.sleep(0.05)
        if slide.deed == "refuse":
            raise GigaslideError(f"{slide.id}: no numbers here; bring some")

    def assemble(
        self, context: SlideContext[Column], records: Mapping[int, BlockRecord]
    ) -> dict[str, int]:
        folder = context.partial.whole
        files = sorted((folder / "c").iterdir(), key=lambda path: int(path.name))
        total = sum(int(line) for path in files for line in path.read_text().split())
        (folder / "sum.json").write_text(json.dumps(total))
        return {"rows": context.slide.count}

    def outcome(self, slide: Column, attributes: Mapping[str, int]) -> SlideOutcome:
        return SlideOutcome(slide=slide.id, status="done", counts=dict(attributes))


def run(
    out: Path, columns: list[Column], *, pause_s: float = 0.0, on_block=SILENT.on_block, **settings
) -> BatchSummary:
    elsewhere = {"cluster", "scheduler"} & settings.keys()
    batch = BatchSettings(**{**({} if elsewhere else {"workers": 0}), "memory_gb": 1.0, **settings})
    with open_run_folder(out, batch) as folder:
        return run_blocks(
            Sums(out, pause_s), columns, batch, folder=folder, listener=Listener(on_block=on_block)
        )


def contents(out: Path) -> dict[str, bytes]:
    """Content of every file of every finished slide but its recipe."""
    files = (path for path in out.rglob("*") if path.is_file() and path.parent != out)
    kept = {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    return {
        name: data
        for name, data in kept.items()
        if not name.startswith((".", "marks/", "job-logs/")) and not name.endswith("recipe.json")
    }


def expected(columns: list[Column]) -> dict[str, bytes]:
    """The same without blocks, folders or runs."""
    files = {}
    for column in columns:
        numbers = [number(column, row) for row in range(column.count)]
        for start in range(0, column.count, ROWS):
            files[f"{column.id}/c/{start // ROWS}"] = "\n".join(
                map(str, numbers[start : start + ROWS])
            ).encode()
        files[f"{column.id}/sum.json"] = str(sum(numbers)).encode()
    return files


CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"}
COLUMNS = [Column("a", 12), Column("b c", 5), Column("ü", 7)]


def killed_at(change: int, job: Callable[[], object]) -> bool:
    """Do the job in a child that is killed before its change number `change`; whether it came that
    far."""
    child = os.fork()
    if child == 0:
        left = [change]

        def hook(event: str, args: tuple) -> None:
            writes = (
                event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            )
            if writes or event in CHANGES:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        job()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _kills(folder: Path, every: int) -> Iterator[str]:
    change, killed = 0, True
    while killed:
        out = folder / str(change)
        killed = killed_at(change, lambda out=out: run(out, COLUMNS))
        run(out, COLUMNS)
        hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
        if contents(out) != expected(COLUMNS) or hidden:
            yield f"killed before change {change}: {sorted(contents(out))}, {hidden}"
        change += every
    yield f"{change // every} runs"


if __name__ == "__main__":
    if sys.argv[1] == "kills":
        for line in _kills(Path(sys.argv[2]), int(sys.argv[3])):
            sys.stdout.write(line + "\n")
    else:
        count, workers = int(sys.argv[3]), int(1 if sys.argv[1] == "job" else sys.argv[-1])
        long = Column("long", count, "hang" if sys.argv[1] == "hangs" else "", 4)
        try:
            sys.exit(run(Path(sys.argv[2]), [long], pause_s=0.2, workers=workers).exit_status)
        except Stopped as stopped:
            sys.exit(stopped.exit_status)
