"""The same work over many slides: whatever happens to one, the others are done, and the table says
so."""

import csv
import html
import logging
import logging.handlers
import os
import queue
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from gigaslide.batch import BatchSettings, BatchSummary, Listener, SlideOutcome, run_slides
from gigaslide.batch.outcome import Pace
from gigaslide.batch.page import run_html
from gigaslide.storage import SlideError
from pydantic import ValidationError


@dataclass(frozen=True)
class Item:
    id: str
    deed: str = "good"


def work(item: Item) -> SlideOutcome:
    """Module level, so that worker processes can import it."""
    if item.deed == "refuse":
        raise SlideError(f"{item.id}.tif: not a slide")
    if item.deed == "divide":
        raise ZeroDivisionError("by nought")
    if item.deed == "die":
        time.sleep(0.1)
        os._exit(9)
    if item.deed == "talk":
        for name in ("gigaslide.wsi", "elsewhere"):
            logging.getLogger(name).info("quiet %s", item.id)
            logging.getLogger(name).warning("loud %s", item.id)
    if item.deed == "partial":
        return SlideOutcome(
            slide=item.id,
            status="partial",
            reason="3 patches could not be read",
            counts={"tumor": 1},
        )
    return SlideOutcome(
        slide=item.id, status="done", counts={"tumor": len(item.id), "pid": os.getpid()}
    )


def items(**deeds: str) -> list[Item]:
    return [Item(id=name, deed=deed) for name, deed in deeds.items()]


MIXED = {"a": "good", "b": "refuse", "cc": "good", "d": "divide", "e": "partial", "ff": "good"}
EXPECTED = {"a": "done", "b": "failed", "cc": "done", "d": "failed", "e": "partial", "ff": "done"}


def listening_addresses() -> set[str]:
    """Where this process and its children accept connections."""
    me = psutil.Process()
    open_ports = [
        c for process in (me, *me.children(recursive=True)) for c in process.net_connections("inet")
    ]
    return {f"{c.laddr.ip}:{c.laddr.port}" for c in open_ports if c.status == psutil.CONN_LISTEN}


@pytest.fixture(scope="module", params=[0, 1, 2])
def mixed(request) -> tuple[int, BatchSummary, list[SlideOutcome], set[str]]:
    """One run of the mixed batch for each number of workers: what it gave, was heard to give, and
    listened on."""
    heard: list[SlideOutcome] = []
    listening: set[str] = set()

    def hear(outcome: SlideOutcome) -> None:
        heard.append(outcome)
        listening.update(listening_addresses())

    before = listening_addresses()
    settings = BatchSettings(workers=request.param, memory_gb=1.0)
    summary = run_slides(work, items(**MIXED), settings, listener=Listener(on_outcome=hear))
    return request.param, summary, heard, listening - before


def test_every_slide_is_tried_and_listed_in_the_cohorts_order(mixed):
    _, summary, heard, _ = mixed
    assert {o.slide: o.status for o in summary.outcomes} == EXPECTED
    assert [o.slide for o in summary.outcomes] == list(MIXED)
    assert sorted(o.slide for o in heard) == sorted(MIXED)


def test_failures_carry_reason_and_traceback(mixed):
    _, summary, *_ = mixed
    refused, divided = summary.of_status("failed")
    assert refused.reason == "b.tif: not a slide"
    assert divided.reason == "ZeroDivisionError: by nought"
    assert "ZeroDivisionError: by nought" in divided.traceback
    assert "test_batch.py" in divided.traceback


def test_work_is_done_here_or_in_workers(mixed):
    workers, summary, *_ = mixed
    pids = {o.counts["pid"] for o in summary.of_status("done")}
    assert (pids == {os.getpid()}) == (workers == 0)
    assert len(pids) <= max(1, workers)


def test_summary_counts_and_says(mixed):
    _, summary, *_ = mixed
    assert summary.headline() == "6 slides: 3 done, 0 skipped, 1 partial, 2 failed"
    assert summary.total("tumor") == 1 + 2 + 2 + 1
    assert summary.total("none") == 0
    assert summary.exit_status == 2


@pytest.mark.parametrize(
    ("level", "words"), [(logging.INFO, ["quiet", "loud"]), (logging.WARNING, ["loud"])]
)
def test_what_workers_log_is_heard_here_once_and_at_our_level(monkeypatch, capfd, level, words):
    # A handler of our own: Dask's cluster silences those it finds, pytest's among them.
    records = queue.SimpleQueue()
    ours = logging.getLogger("gigaslide")
    monkeypatch.setattr(ours, "handlers", [logging.handlers.QueueHandler(records)])
    monkeypatch.setattr(ours, "level", level)
    run_slides(work, items(a="talk", b="talk"), BatchSettings(workers=1, memory_gb=1.0))
    heard = []
    while not records.empty():
        record = records.get_nowait()
        heard.append((record.name, record.getMessage()))
    assert heard == [("gigaslide.wsi", f"{word} {name}") for name in "ab" for word in words]
    assert (
        "gigaslide.wsi" not in capfd.readouterr().err
    )  # nor does the worker write it a second time


def test_fault_53_nothing_listens_beyond_this_machine(mixed):
    workers, _, _, listening = mixed
    assert bool(listening) == (workers > 0)
    assert {address.split(":")[0] for address in listening} <= {"127.0.0.1"}
    assert not {
        address for address in listening if address.endswith(":8787")
    }  # taken by anyone's dashboard


def outcome(status, slide: str = "s", **fields) -> SlideOutcome:
    return SlideOutcome(slide=slide, status=status, **fields)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["done", "done"], 0),
        (["skipped", "done"], 0),
        (["skipped", "skipped"], 0),
        (["done", "failed"], 2),
        (["skipped", "failed"], 2),
        (["partial"], 2),
        (["done", "partial"], 2),
        (["partial", "failed"], 2),
        (["failed"], 1),
        (["failed", "failed"], 1),
    ],
)
def test_exit_status(statuses, expected):
    assert BatchSummary(outcomes=tuple(map(outcome, statuses))).exit_status == expected


def test_summary_csv_holds_every_slide_and_failures_their_tracebacks(tmp_path):
    summary = BatchSummary(
        outcomes=(
            outcome("done", "a", counts={"tumor": 3, "normal": 5}, seconds=1.239),
            outcome(
                "failed",
                'b "x", y',
                reason="said: no,\nand more",
                traceback="Traceback…\nzerodivision",
            ),
            outcome("skipped", "c", reason="unchanged"),
        )
    )
    summary.save(tmp_path / "out")
    with (tmp_path / "out" / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["slide", "status", "reason", "seconds", "tumor", "normal"]
    assert [row["slide"] for row in rows] == ["a", 'b "x", y', "c"]
    assert [row["status"] for row in rows] == ["done", "failed", "skipped"]
    assert rows[1]["reason"] == "said: no,\nand more"
    assert [rows[0][name] for name in ("seconds", "tumor", "normal")] == ["1.24", "3", "5"]
    text = (tmp_path / "out" / "failures.txt").read_text(encoding="utf-8")
    assert 'b "x", y\nTraceback…\nzerodivision' in text
    BatchSummary(outcomes=(outcome("done"),)).save(tmp_path / "out")
    assert [path.name for path in Path(tmp_path / "out").iterdir()] == ["summary.csv"]


def test_settings_refuse_what_cannot_be():
    for wrong in ({"workers": -1}, {"memory_gb": 0}, {"thread": 2}, {"cluster": "moab"}):
        with pytest.raises(ValidationError):
            BatchSettings(**wrong)


def test_page_of_a_run_tells_reasons_pace_and_the_slowest_and_escapes_names():
    pace = Pace(seconds=3900.0)
    for worker, seconds, count in (
        ("tcp://a:1", 10.0, 300),
        ("tcp://b:2", 5.0, 450),
        ("tcp://a:1", 20.0, 600),
    ):
        pace.add(worker, seconds, {"tumor": count})
    outcomes = [outcome("failed", f"<script>{k}", reason="b & c", seconds=k) for k in range(14)]
    outcomes += [
        outcome("done", "slow", seconds=4000, counts={"tumor": 1350}),
        outcome("partial", "p", reason="3 lost"),
    ]
    page = run_html(BatchSummary(outcomes=tuple(outcomes), pace=pace), name="<b>store")
    assert "<script>" not in page
    assert "<b>" not in page
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.split("</style>")[1]))
    words = " ".join(text.split())
    assert "16 slides: 1 done, 0 skipped, 1 partial, 14 failed, in 1 h 05 min" in words
    assert "<script>11 and 2 more failed b & c" in words
    assert "tcp://a:1 2 30.0 s 1 % 900 30.0" in words
    assert "tcp://b:2 1 5.0 s 0 % 450 90.0" in words
    assert "result slow 1 h 07 min tumour patches 1350 <script>13 13.0 s" in words
    assert not re.search(r"(src|href)=", page)  # it opens offline
