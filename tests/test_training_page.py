"""The page of a training and the figures in its history."""

import base64
import re
import types
from dataclasses import replace

import cv2
import numpy as np
import pytest
from browser import Browser, find_chromium
from gigaslide.batch import BatchSettings
from gigaslide.cli.terminal.progress import progress_bar
from gigaslide.cohort import Cohort
from gigaslide.models import ARCHITECTURES
from gigaslide.patching import PatchStore, tile_cohort
from gigaslide.storage import SettingsError
from gigaslide.training import Sampler, train
from gigaslide.training.checkpoints.checkpoint import TrainingState
from gigaslide.training.report import input_monitor as input_monitor_module
from gigaslide.training.report.figures import measure_validation
from gigaslide.training.report.history import HistoryRow, load_history, save_history
from gigaslide.training.report.input_monitor import InputMonitor
from gigaslide.training.report.page import TrainingPage, ValidationScores
from gigaslide.training.report.report import Report
from gigaslide.training.report.trackers import TrackedRun
from gigaslide.training.sampler import Batch
from gigaslide.wsi import InputSpec
from test_training import SHORT, TILES, tumor_slide
from tiny_network import TINY

HOSTILE = """<script>alert("x")<'&b>"""
SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5, 1.0))


def row(examples: int, **more) -> HistoryRow:
    return HistoryRow(
        **{
            "examples": examples,
            "seconds": 90.0 * examples,
            "learning_rate": 0.01,
            "train_loss": 0.7,
            "train_accuracy": 0.5,
            "validation_loss": 0.6,
            "validation_auc": 0.8,
            **more,
        }
    )


def coded_batch(count: int, slides: list[str]) -> Batch:
    """Patches of two scales whose red grows with x and green with y; blue tells patch and scale."""
    y, x = np.mgrid[:75, :75]
    patches = np.empty((count, 2, 75, 75, 3), np.uint8)
    for index in range(count):
        for scale in range(2):
            blue = np.full_like(x, 10 * index + 100 * scale)
            patches[index, scale] = np.stack([3 * x, 2 * y, blue], axis=-1)
    return Batch(patches, np.arange(count) % 2, tuple(slides))


def page_at(path, **changes) -> TrainingPage:
    settings = {"architecture": "compact", "recipe": "modern", "best": "patch_auc", "seed": 3}
    fields = {
        "path": path,
        "model": "model <7>",
        "examples": 96,
        "spec": SPEC,
        "parameters": 2126,
        "settings": settings,
        "changed": frozenset({"seed"}),
    }
    return TrainingPage(**{**fields, **changes})


SCORES = np.array([0.9, 0.2, 0.1, 0.05, 0.7, 0.8, 0.3, 0.01])
"""Labels are 0, 1, 0, 1, …: wrong are 0 and 4 (normal), 1, 3 and 7 (tumour)."""


@pytest.fixture
def written(tmp_path) -> str:
    batch = coded_batch(8, ["a", "b", "a", HOSTILE, "a", "b", "b", "b"])
    history = [row(48), row(96, validation_auc=0.7, patches_per_s=31.25, waiting_share=0.12)]
    page = page_at(tmp_path / "training.html")
    page.save(history, batch, ValidationScores(batch=batch, scores=SCORES, is_last=True))
    return page.path.read_text(encoding="utf-8")


def pictures_of(text: str, heading: str) -> list[np.ndarray]:
    """The JPEG pictures between a heading and the next one, as RGB."""
    part = re.split(r"<h[23]>", text)
    (found,) = [one for one in part if one.startswith(heading)]
    data = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", found)
    raw = [np.frombuffer(base64.b64decode(one), np.uint8) for one in data]
    return [cv2.imdecode(one, cv2.IMREAD_COLOR)[..., ::-1] for one in raw]


def test_the_page_shows_the_pixels_that_the_network_was_given(written):
    shown = pictures_of(written, "What the network is fed")
    given = coded_batch(8, ["a"] * 8).patches[[1, 3, 5, 7, 0, 2, 4, 6]]  # tumour first
    assert len(shown) == 16
    for picture, patch in zip(shown, given.reshape(-1, 75, 75, 3), strict=True):
        assert np.abs(picture.astype(int) - patch).mean() < 3  # JPEG


def test_mistakes_are_the_most_confident_ones_with_slide_and_score(written):
    part = re.split(r"<h[23]>", written)
    tumour, normal = (
        next(one for one in part if one.startswith(f"{name}, scored"))
        for name in ("Tumour", "Normal")
    )
    scores = re.compile(r"score <b>([\d.]+)</b>")
    assert scores.findall(tumour) == ["0.010", "0.050", "0.200"]
    assert scores.findall(normal) == ["0.900", "0.700"]
    blues = [picture[..., 2].mean() for picture in pictures_of(written, "Tumour, scored")[::2]]
    assert blues == pytest.approx([70, 30, 10], abs=3)
    assert HOSTILE not in written
    assert "&lt;script&gt;" in tumour


def test_a_slide_and_a_patch_that_come_again_leave_room_for_others(tmp_path):
    batch = coded_batch(16, ["one"] * 12 + ["two"] * 4)
    batch.patches[15] = batch.patches[13]
    scores = np.where(batch.labels == 1, np.linspace(0.01, 0.2, 16), 0.0)
    page = page_at(tmp_path / "t.html")
    page.save([row(48)], None, ValidationScores(batch=batch, scores=scores, is_last=True))
    text = page.path.read_text(encoding="utf-8")
    captions = re.findall(r"score <b>[\d.]+</b> · (\w+)", text)
    assert captions == ["one", "one", "one", "two"]
    assert "No batch was seen" in text
    assert "None: every normal patch" in text


def test_a_running_training_reloads_its_page_and_a_finished_one_does_not(tmp_path, written):
    assert 'http-equiv="refresh"' not in written
    batch = coded_batch(8, ["a"] * 8)
    page = page_at(tmp_path / "t.html")
    validation = ValidationScores(batch=batch, scores=SCORES, is_last=False)
    page.save([row(48, patches_per_s=4.0)], batch, validation)
    running = page.path.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in running
    assert "about 12 s more" in running
    page.save([row(48, slide_auc=0.625)], batch, replace(validation, is_last=True))
    early = page.path.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in early
    assert "ended early, after 48 of 96 examples" in early
    assert "0.625" in early


def test_large_patches_of_three_scales_stay_under_two_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 3, 299, 299, 3), dtype=np.uint8)  # the worst for JPEG
    batch = Batch(noise, np.arange(32) % 2, tuple(f"slide {n}" for n in range(32)))
    spec = InputSpec(patch_px=299, centre_px=128, mpps=(0.25, 0.5, 1.0))
    page = page_at(tmp_path / "t.html", spec=spec)
    scores = 1.0 - batch.labels
    page.save(
        [row(n) for n in range(1, 97)],
        batch,
        ValidationScores(batch=batch, scores=scores, is_last=True),
    )
    assert page.path.stat().st_size < 2e6


@pytest.mark.pages
def test_a_browser_asks_for_nothing_else(tmp_path, written):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: make test-pages installs one")
    with Browser(program, tmp_path / "profile") as browser:
        for width in (1280, 390):
            tab = browser.tab(width=width, height=800, mobile=width < 500)
            tab.open(tmp_path / "training.html")
            assert tab.complaints() == []
            sent = [address for address in tab.requests() if not address.startswith("data:")]
            assert sent == [(tmp_path / "training.html").resolve().as_uri()]
            assert tab.run("[...document.images].filter(i => !i.naturalWidth).length") == 0
            assert tab.run("document.documentElement.scrollWidth") == width
            shown = tab.run("document.querySelector('h1').textContent")
            assert shown == "model <7>"


def test_validation_figures_by_another_way():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    scores = np.clip(0.3 * labels + rng.normal(0.4, 0.2, 400), 0, 1)
    found = measure_validation(scores, labels)
    allowed = [t for t in scores if (scores[labels == 0] < t).mean() >= 0.95]
    best = max((scores[labels == 1] >= t).mean() for t in allowed)
    assert found["validation_sensitivity_at_95"] == pytest.approx(best)
    error = 0.0
    for low in range(10):
        inside = (scores >= low / 10) & ((scores < (low + 1) / 10) | (low == 9))
        if inside.any():
            error += inside.mean() * abs(scores[inside].mean() - labels[inside].mean())
    assert found["validation_calibration_error"] == pytest.approx(error)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    assert found["validation_auc"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


def test_a_history_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "examples,seconds,learning_rate,train_loss,train_accuracy,validation_loss,validation_auc\n"
        "48,4.2,0.01,0.7,0.5,0.6,0.8\n"
    )
    old = load_history(path)
    assert old == [row(48, seconds=4.2)]
    rows = [*old, row(96, patches_per_s=31.5, waiting_share=0.25, train_auc=0.7)]
    save_history(rows, path)
    assert load_history(path) == rows


def test_waiting_lasts_from_the_step_until_its_batch_is_drawn(monkeypatch):
    now = iter([])
    monkeypatch.setattr(input_monitor_module.time, "perf_counter", lambda: next(now))
    monitor = InputMonitor(batch_size=16)
    batches = [coded_batch(2, ["a", "b"]) for _ in range(3)]
    # Batch 0 at 1, step 0 at 0; batch 1 at 9, step 1 at 10; step 2 at 12, batch 2 at 15; end at 18.
    now = iter([0.0, 1.0, 9.0, 10.0, 12.0, 15.0, 18.0])
    monitor.on_train_batch_begin(0)
    monitor.add(0, batches[0])
    monitor.add(1, batches[1])
    monitor.on_train_batch_begin(1)
    monitor.on_train_batch_begin(2)
    monitor.add(2, batches[2])
    monitor.on_epoch_end(0)
    assert monitor.pace is not None
    assert monitor.pace.patches_per_s == pytest.approx(2 * 16 / 8)  # without the first step
    assert monitor.pace.waiting_share == pytest.approx(3 / 8)
    assert monitor.batch is batches[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    folder = tmp_path_factory.mktemp("page")
    rows = [tumor_slide(folder, "a", 1, "train"), tumor_slide(folder, "v", 2, "validation")]
    tile_cohort(Cohort.of_rows(rows), folder / "store", TILES, BatchSettings(workers=0))
    return PatchStore(folder / "store")


def test_the_page_is_there_while_training_and_in_the_model_afterwards(store, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    folder, beside, drawn, fed = tmp_path / "model", tmp_path / "model.training.html", {}, []
    draw, save = Sampler.draw, TrainingPage.save

    def keep(self, number):
        drawn[self.split, number] = draw(self, number)
        return drawn[self.split, number]

    def watch(self, history, batch, validation):
        fed.append((history[-1].examples, batch))
        save(self, history, batch, validation)

    monkeypatch.setattr(Sampler, "draw", keep)
    monkeypatch.setattr(TrainingPage, "save", watch)
    seen = {}
    train(store, folder, SHORT, on_step=lambda n, _: seen.setdefault(n, beside.exists()))
    assert seen == {16: False, 32: False, 48: False, 64: True, 80: True, 96: True}
    assert not beside.exists()
    text = (folder / "training.html").read_text(encoding="utf-8")
    assert "<h1>model</h1>" in text
    assert "all its 96 examples" in text
    assert [examples for examples, _ in fed] == [48, 96]
    assert all(batch is drawn["train", n // 16 - 1] for n, batch in fed)  # the last one given
    rows = load_history(folder / "history.csv")
    assert all(one.patches_per_s and one.train_auc for one in rows)
    assert all(0 <= one.waiting_share <= 1 for one in rows)
    # Trackers are no part of what makes a model another one.
    assert not train(store, folder, SHORT.model_copy(update={"track": ("tensorboard",)})).trained
    assert "track" not in (folder / "card.json").read_text()


def test_a_tracker_that_is_missing_is_told_before_any_work(store, tmp_path, monkeypatch):
    monkeypatch.setattr("gigaslide.training.report.trackers.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="mlflow"):
        train(store, tmp_path / "model", SHORT.model_copy(update={"track": ("mlflow",)}))
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_stops_no_training(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    batch = coded_batch(8, ["a"] * 8)
    report = Report(
        page=page_at(tmp_path / "file" / "training.html"),
        tracked=TrackedRun.open([], tmp_path / "m", resumed=False),
        progress=types.SimpleNamespace(state=TrainingState(history=[row(48)])),
        is_over=lambda state: False,
        monitor=InputMonitor(batch_size=8),
        checked=batch,
    )
    report.add(SCORES)
    assert "training.html: cannot be written" in caplog.text


def test_a_bar_in_a_file_is_whole_lines(capsys):
    with progress_bar("train", 96, " patches") as progress:
        progress.set_postfix_str("loss 0.700, validation AUC 0.912", refresh=False)
        for _ in range(6):
            progress.update(16)
    lines = capsys.readouterr().err.splitlines()
    assert "\r" not in "".join(lines)
    assert lines[0].startswith("train    :   0%| 0/96")
    assert re.search(r"96/96 \[.*<.*, .*patches/s, loss 0.700, validation AUC 0.912\]", lines[-1])
