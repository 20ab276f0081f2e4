"""Time that each slide's heatmap took, over the runs that it needed."""

import json
import time
from dataclasses import dataclass

import pytest
from gigaslide.eval.statistics.seconds import compare_seconds, read_seconds
from gigaslide.models import Predictor
from predicting import StandInBlocks, predict, write_model, write_slides
from test_batch_blocks import journal

PAUSE_S, LOAD_S = 0.2, 0.05


@dataclass(frozen=True, kw_only=True)
class SlowToLoad(StandInBlocks):
    """Blocks whose network takes a moment to load."""

    def load_predictor(self) -> Predictor:
        time.sleep(LOAD_S)
        return super().load_predictor()


def test_a_resumed_slide_counts_with_the_blocks_of_the_run_that_was_stopped(tmp_path):
    cohort, model, out = write_slides(tmp_path, 1), write_model(tmp_path / "m"), tmp_path / "out"
    seen = []

    def stop(counts) -> None:
        seen.append(counts)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(cohort, model, out, kind=SlowToLoad, blocks={"pause_s": PAUSE_S}, on_block=stop)
    assert read_seconds(out) == {}  # no heatmap yet
    predict(cohort, model, out, kind=SlowToLoad, blocks={"pause_s": PAUSE_S})
    blocks = journal(out, "block")
    assert len({line["block"] for line in blocks}) == len(blocks) > 4
    assert len({line["run"] for line in blocks}) == 2
    found = read_seconds(out)
    predict(cohort, model, out)  # unchanged
    assert read_seconds(out) == found
    (outcome,) = [line for line in journal(out, "slide") if line["status"] == "done"]
    first = blocks[0]["run"]
    stopped = [line for line in [*journal(out, "plan"), *blocks] if line["run"] == first]
    loading = sum(line["loading"] for line in blocks)
    assert loading > 0.99 * len(blocks) * LOAD_S  # rounded in the journal
    in_all = sum(line["seconds"] for line in stopped) + outcome["seconds"]
    assert found["s1"] == pytest.approx(in_all - loading)
    assert found["s1"] > 0.99 * len(blocks) * PAUSE_S


def write_journal(folder, *lines) -> None:
    folder.mkdir(exist_ok=True)
    text = "\n".join(json.dumps({"slide": "s", **line}) for line in lines)
    (folder / "run.jsonl").write_text(text + '\n{"event": "bl')


def plan(run: str, blocks: int, pending: int, seconds: float = 1.0) -> dict:
    return {"event": "plan", "run": run, "blocks": blocks, "pending": pending, "seconds": seconds}


def block(run: str, seconds: float, loading: float = 0.0) -> dict:
    return {"event": "block", "run": run, "seconds": seconds, "loading": loading}


def done(run: str, seconds: float, status: str = "done", **more) -> dict:
    return {"event": "slide", "run": run, "seconds": seconds, "status": status, **more}


def test_only_the_runs_of_the_heatmap_that_is_there_count(tmp_path):
    other = done("z", 77.0, stage="export")
    write_journal(
        tmp_path / "one",
        *(plan("a", 3, 3), block("a", 10), done("a", 40)),  # of other settings
        *(plan("b", 3, 3), block("b", 2.0), block("b", 2.5)),  # stopped
        *(plan("c", 3, 1), block("c", 2.0), done("c", 4.0, status="partial")),
        *(done("d", 0.1, status="partial"), other),  # found unchanged
        *(plan("e", 3, 3), block("e", 100)),  # not whole yet
    )
    write_journal(tmp_path / "two", plan("a", 1, 1), done("a", 1.9), {**done("a", 5), "slide": "t"})
    assert read_seconds(tmp_path / "one") == {"s": 1.0 + 2.0 + 2.5 + 4.0}
    found = compare_seconds(tmp_path / "one", tmp_path / "two")
    assert found is not None
    assert (found.slides, found.ratio) == (1, pytest.approx(5.0))
    assert compare_seconds(tmp_path / "one", tmp_path) is None


def test_loading_the_network_does_not_count(tmp_path):
    write_journal(
        tmp_path,
        *(plan("a", 3, 3), block("a", 30.0, loading=28.0)),  # stopped
        *(plan("b", 3, 2), block("b", 9.0, loading=7.0), block("b", 2.0), done("b", 14.0)),
    )
    assert read_seconds(tmp_path) == {"s": 1.0 + 2.0 + (14.0 - 7.0)}
