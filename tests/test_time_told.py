"""The parts of a prediction's time: measured, on the page of the run, and on the terminal."""

import time
from types import SimpleNamespace

import pytest
from encoding import SETTINGS, colours, encode_slides
from gigaslide.batch import Pace
from gigaslide.cli.terminal.tables import print_time
from gigaslide.inference import clock as clock_module
from gigaslide.inference.clock import METER, BlockClock
from gigaslide.wsi import Heatmap
from predicting import QUICK, brightness, predict, write_model, write_slides
from test_batch_blocks import journal


def pace_of(parts: dict[str, float]) -> Pace:
    """A worker's pace with these parts, and the rest as "other"."""
    pace = Pace()
    whole = sum(seconds for name, seconds in parts.items() if name not in ("read", "decode"))
    named = {name: seconds for name, seconds in parts.items() if name != "other"}
    pace.add("worker", whole, {}, parts=named)
    return pace


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"network": 8, "pixels": 1, "loading": 0, "other": 1}, "network 80%"),
        ({"network": 8, "pixels": 1, "loading": 0, "other": 1}, "the network limits it"),
        ({"network": 2, "pixels": 7, "loading": 0, "other": 1}, "reading limits it"),
        ({"network": 2, "pixels": 7, "read": 5, "decode": 3}, "reading limits it"),
        ({"network": 2, "pixels": 7, "read": 3, "decode": 5}, "decoding limits it"),
        ({"network": 2, "pixels": 7, "read": 0, "decode": 5}, "reading or decoding limits it"),
        ({"network": 2, "pixels": 7, "read": 3, "decode": 5}, "3.0 s reading tiles, 5.0 s decod"),
        (
            {"network": 3, "pixels": 1, "preparing": 1, "writing": 5},
            "writing 50%, the rest 0%; writing limits",
        ),
        ({"network": 3, "pixels": 1, "preparing": 5, "writing": 1}, "finding tissue limits it"),
    ],
)
def test_the_slower_part_is_named(parts, words, capsys):
    print_time(pace_of(parts))
    assert words in capsys.readouterr().out


def test_the_network_of_two_threads_is_told_as_its_share_of_the_run(capsys):
    pace = Pace(seconds=10, is_in_threads=True)
    parts = {"network": 4, "turns": 4, "pixels": 1, "loading": 0}
    for worker in ("thread 1", "thread 2"):
        pace.add(worker, 9, {}, parts=parts)
        pace.add(worker, 1, {}, parts={"writing": 1})
    assert pace.parts == {"network": 8, "pixels": 1, "loading": 0, "writing": 1, "other": 0}
    print_time(pace)
    assert "network 80%" in capsys.readouterr().out


def test_time_in_the_network_is_divided_between_blocks_that_take_turns(monkeypatch):
    now = 0.0
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now)
    slide = SimpleNamespace(tile_seconds={})
    first, second = (BlockClock(slide, begun=0.0) for _ in range(2))  # type: ignore[arg-type]
    for second_s, happens, block in (
        (1, METER.begin, first),
        (2, METER.begin, first),  # another thread of the same block
        (3, METER.begin, second),  # waits for its turn
        (7, METER.end, first),
        (8, METER.end, first),
        (9, METER.end, second),
    ):
        now = second_s
        happens(block)
    now = 12
    assert first.parts == {"network": 4.5, "turns": 2.5, "loading": 0.0, "pixels": 5.0}
    assert second.parts == {"network": 3.5, "turns": 2.5, "loading": 0.0, "pixels": 6.0}
    assert first.network + second.network == 8


def test_nothing_is_blamed_where_most_of_the_time_went_elsewhere(capsys):
    print_time(pace_of({"network": 2, "pixels": 1, "loading": 5, "other": 4}))
    assert "limits" not in capsys.readouterr().out


def test_a_run_that_did_nothing_tells_nothing(capsys):
    print_time(pace_of({}))
    print_time(pace_of({"preparing": 2, "writing": 1}))  # as of a stage without a network
    assert capsys.readouterr().out == ""


def slow(patches):
    time.sleep(0.05)
    return brightness(patches)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_tells_where_its_time_went(tmp_path, workers):
    cohort, model, out = write_slides(tmp_path, 1), write_model(tmp_path / "m"), tmp_path / "out"
    summary = predict(cohort, model, out, blocks={"score": slow}, workers=workers, memory_gb=1.5)
    scored = int(Heatmap.load(out / "s1" / "heatmap.zarr").scored.sum())
    calls = -(-scored // QUICK.batch_size)
    parts = summary.pace.parts
    assert set(parts) == {"network", "loading", "pixels", "preparing", "writing", "other"}
    assert 0.05 * calls <= parts["network"] < sum(worker.seconds for worker in workers_of(summary))
    assert sum(parts.values()) == pytest.approx(
        sum(worker.seconds for worker in workers_of(summary)), rel=0.01
    )
    assert parts["preparing"] > 0.001
    assert parts["writing"] > 0.001
    assert parts["other"] < sum(parts.values()) / 4
    assert summary.pace.beside["decode"] > 0.001
    page = (out / "run.html").read_text()
    assert "on decoding tiles" in page
    assert "Where the time went" in page
    assert "the network computes" in page


def workers_of(summary):
    return summary.pace.workers.values()


def test_features_tell_where_their_time_went_and_encode_each_window_once(tmp_path):
    calls = []

    def encode(patches):
        calls.append(len(patches))
        time.sleep(0.05)
        return colours(patches)

    summary = encode_slides(write_slides(tmp_path, 1), tmp_path / "out", blocks={"encode": encode})
    parts = summary.pace.parts
    assert set(parts) == {"network", "loading", "pixels", "preparing", "writing", "other"}
    batches = calls.count(SETTINGS.batch_size)
    assert batches > 3
    assert 0.05 * batches <= parts["network"] < sum(parts.values())
    assert len(calls) - batches <= len(journal(tmp_path / "out", "block"))  # once for the length
    assert "Where the time went" in (tmp_path / "out" / "run.html").read_text()
