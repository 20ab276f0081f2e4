"""Training from slide labels through the highest-scoring windows: which windows teach, what is in
memory, what a stop costs, and that prediction takes the model."""

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tiff
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import describe_encoder
from gigaslide.models.encoders.source import EncoderSource
from gigaslide.patching import AugmentSettings
from gigaslide.storage import SettingsError
from gigaslide.training import TopWindowSettings, TopWindowTraining
from gigaslide.training.report.history import load_history
from gigaslide.training.top_windows.choose import choose_top
from gigaslide.training.top_windows.fit import TopWindowFit
from gigaslide.training.top_windows.glass import draw_glass
from gigaslide.training.top_windows.history import TopWindowRow
from gigaslide.training.top_windows.page import ScoredSlide, TopWindowPage
from gigaslide.training.top_windows.slides import WindowSource
from gigaslide.wsi import Heatmap
from regions import MPP, TISSUE, region_pixels

SIDE = 48
PLAIN = AugmentSettings(
    jitter_px=0, orientations=False, brightness=0, saturation=0, hue=0, contrast=0
)
SMALL = TopWindowSettings(
    top_k=3,
    sampled_windows=20,
    mpp=MPP,
    patch_px=SIDE,
    stride_px=32,
    epochs=2,
    steps=2,
    slides_per_step=2,
    stain="none",
    validation_windows=10,
    tissue=TISSUE,
)


def slide(folder: Path, name: str, *, seed: int, is_tumor: bool, split: str) -> CohortSlide:
    """A slide with dark discs if it has tumour, else of pale tissue alone."""
    pixels = region_pixels(seed)
    if not is_tumor:
        dark = pixels.mean(axis=-1) < 150
        pixels[dark] = np.array([215, 150, 190]) + np.random.default_rng(seed).integers(
            -9, 9, (int(dark.sum()), 3)
        )
    path = write_tiff(folder / f"{name}.tif", pixels, mpp=MPP)
    label = "tumor" if is_tumor else "normal"
    return CohortSlide(id=name, path=path, label=label, patient=name, split=split)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("cohort")
    rows = [
        slide(folder, f"{split}_{number}", seed=7 * at + number, is_tumor=number > 0, split=split)
        for at, split in enumerate(("train", "validation", "test"))
        for number in range(2)
    ]
    Cohort.of_rows(rows).save(folder / "cohort.csv")
    return Cohort.load(folder / "cohort.csv")


def fit_of(settings: TopWindowSettings, source: WindowSource, *, seed: int) -> TopWindowFit:
    """A training that takes single steps and saves nothing."""
    page = TopWindowPage.beside(Path("model"), settings, seed=seed)
    return TopWindowFit(
        settings=settings,
        source=source,
        validation=source,
        checkpoints=None,
        page=page,
        seed=seed,
    )


def of_split(cohort: Cohort, split: str) -> list[CohortSlide]:
    return [row for row in cohort if row.split == split]


def test_the_highest_scores_of_all_windows_are_chosen_with_their_pixels():
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 256, (53, 1, 3, 3, 3), np.uint8)
    order = rng.permutation(53)
    batches = []

    def score(batch: np.ndarray) -> np.ndarray:
        batches.append(len(batch))
        return batch.mean(axis=(1, 2, 3, 4)) / 255

    found = choose_top(((n, windows[n]) for n in order.tolist()), score, top_k=5, batch_size=8)
    assert found is not None
    means = windows.mean(axis=(1, 2, 3, 4)) / 255
    wanted = np.argsort(-means, kind="stable")[:5]
    assert found.indices.tolist() == wanted.tolist()
    np.testing.assert_allclose(found.scores, means[wanted], atol=1e-6)
    assert np.array_equal(found.pixels, windows[wanted])
    assert set(batches) == {8}
    few = choose_top(((n, windows[n]) for n in (4, 2)), score, top_k=5, batch_size=8)
    assert few is not None
    assert sorted(few.indices.tolist()) == [2, 4]
    assert choose_top(iter(()), score, top_k=5, batch_size=8) is None


def test_memory_does_not_grow_with_the_windows_of_a_slide():
    def measure(count: int) -> int:
        rng = np.random.default_rng(0)
        windows = (
            (number, rng.integers(0, 256, (1, 64, 64, 3), np.uint8)) for number in range(count)
        )
        tracemalloc.start()
        choose_top(windows, lambda batch: batch[:, 0, 0, 0, 0] / 255, top_k=8, batch_size=32)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert measure(2000) < 1.2 * measure(200)


def test_a_step_learns_from_the_top_windows_of_each_slide_and_no_others(cohort):
    exact = {"sampled_windows": 0, "glass_windows": 0, "augment": PLAIN, "dropout": 0.0}
    settings = SMALL.model_copy(update=exact)
    source = WindowSource(of_split(cohort, "train"), settings)
    fit = fit_of(settings, source, seed=4)
    by_hand = fit.builder.build(0)
    normal, tumor = sorted(source.slides, key=lambda slide: slide.is_tumor)
    pixels, labels = [], []
    for found, seed in ((normal, 0), (tumor, 1)):
        whole = region_pixels(seed) if seed else read_whole(found.row.path)
        windows = np.stack([whole[y : y + SIDE, x : x + SIDE] for x, y in found.xy])[:, None]
        scores = np.asarray(by_hand.predict_on_batch(windows))[:, 1]
        chosen = np.argsort(-scores, kind="stable")[:3]
        assert len(windows) > 40
        pixels.append(windows[chosen])
        labels += [int(found.is_tumor)] * 3
    before = [np.array(weight) for weight in fit.network.get_weights()]
    loss = fit._learn(0)
    wanted = by_hand.train_on_batch(np.concatenate(pixels), np.eye(2, dtype=np.float32)[labels])
    assert loss == pytest.approx(float(np.ravel(wanted)[0]), rel=1e-5)
    after, hand = fit.network.get_weights(), by_hand.get_weights()
    assert any(np.abs(one - old).max() > 1e-5 for one, old in zip(after, before, strict=True))
    for one, other in zip(after, hand, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_each_step_learns_that_empty_glass_is_normal(cohort):
    settings = SMALL.model_copy(update={"glass_windows": 2, "stain": "reinhard"})
    fit = fit_of(settings, WindowSource(of_split(cohort, "train"), settings), seed=4)
    steps = []

    class Network:
        def predict_on_batch(self, windows: np.ndarray) -> np.ndarray:
            return np.full((len(windows), 2), 0.5, np.float32)

        def reset_metrics(self) -> None:
            pass

        def train_on_batch(self, pixels: np.ndarray, targets: np.ndarray) -> list[float]:
            steps.append((pixels, targets.argmax(axis=1)))
            return [0.5]

    vars(fit)["network"] = Network()
    for step in range(2):
        fit._learn(step)
    for pixels, labels in steps:
        of_slides = settings.slides_per_step * settings.top_k
        assert pixels.shape == (of_slides + 2, 1, SIDE, SIDE, 3)
        assert labels[of_slides:].tolist() == [0, 0]
        flat = pixels[:, 0].std(axis=(1, 2)).max(axis=1)
        assert flat[of_slides:].max() < 5 < flat[:of_slides].min()
    first, second = (pixels[-2:] for pixels, _ in steps)
    assert not np.array_equal(first, second)
    plain = draw_glass(np.random.default_rng(0), side_px=SIDE, stain=None)
    assert plain.min() > 200
    stain = fit.source.slides[0].stain
    assert stain is not None
    drawn = draw_glass(np.random.default_rng(0), side_px=SIDE, stain=stain)
    assert np.array_equal(drawn, stain.apply(plain))


def read_whole(path: Path) -> np.ndarray:
    import tifffile

    return tifffile.imread(path)


def test_windows_are_drawn_anew_in_each_step_and_repeated_where_there_are_few(cohort):
    source = WindowSource(of_split(cohort, "train"), SMALL)
    fit = fit_of(SMALL, source, seed=0)
    one = source.slides[0]
    drawn = [fit._draw(one, np.random.default_rng([0, step])) for step in range(2)]
    assert all(len(set(found.tolist())) == 20 for found in drawn)
    assert not np.array_equal(*drawn)
    many = fit.settings.model_copy(update={"sampled_windows": 10**6})
    whole = fit_of(many, source, seed=0)._draw(one, np.random.default_rng(0))
    assert whole.tolist() == [*range(len(one.xy))]
    pairs = list(source.read(one, np.array([3, 1])))
    assert sorted(index for index, _ in pairs) == [1, 3]
    top = choose_top(pairs, lambda batch: batch[:, 0, 0, 0, 0] / 255, top_k=3, batch_size=4)
    assert len(fit._augment(top, np.random.default_rng(0))) == 3


def test_the_page_shows_what_taught_and_ranks_validation_slides_worst_first(tmp_path):
    page = TopWindowPage.beside(tmp_path / "model", SMALL, seed=3)
    rows = [
        TopWindowRow(epoch=1, examples=4, seconds=9, learning_rate=0.1, train_loss=0.7),
        TopWindowRow(
            epoch=2, examples=8, seconds=99, learning_rate=0.1, train_loss=0.6, slide_auc=0.75
        ),
    ]

    def scored(name: str, score: float, *, is_tumor: bool) -> ScoredSlide:
        return ScoredSlide(id=name, is_tumor=is_tumor, windows=((score, name.encode()),))

    slides = [
        scored("n_low", 0.1, is_tumor=False),
        scored("t_high", 0.9, is_tumor=True),
        scored("n_high", 0.8, is_tumor=False),
        scored("t_low", 0.3, is_tumor=True),
    ]
    page.save(rows[:1], rows[0], taught=slides[:2], validation=[])
    running = page.page.path.read_text(encoding="utf-8")
    assert "refresh" in running
    assert "Validation slides" not in running
    page.save(rows, rows[1], taught=[], validation=slides)
    text = page.page.path.read_text(encoding="utf-8")
    assert "refresh" not in text
    assert "n_low" not in text[: text.index("Validation slides")]
    shown = re.findall(r"<figcaption>([\d.]+) · (\w+)<", text)
    assert shown == [
        ("0.800", "n_high"),
        ("0.100", "n_low"),
        ("0.300", "t_low"),
        ("0.900", "t_high"),
    ]
    assert "slide AUC 0.750 of 4 validation slides" in text
    assert '<tr class="best"><td>2</td>' in text
    assert "http" not in re.sub(r"data:[^\"]+", "", text).replace("http-equiv", "")
    assert "script" not in re.sub(r"data:[^\"]+", "", text)


def test_both_classes_are_needed_and_settings_that_contradict_are_refused(cohort):
    rows = [row for row in cohort if row.label == "tumor"]
    with pytest.raises(SettingsError, match="no normal one"):
        TopWindowTraining(Cohort.of_rows(rows), SMALL)
    for wrong in (
        {"sampled_windows": 4},
        {"freeze": "towers"},
        {"augment": {"jitter_px": 3}},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
            TopWindowSettings(**wrong)


@pytest.mark.slow
def test_a_stopped_training_continues_to_the_same_weights(cohort, tmp_path):
    settings = SMALL.model_copy(update={"checkpoint_minutes": 0.0})
    training = TopWindowTraining(cohort, settings)
    whole = training.train(tmp_path / "whole", seed=1)

    def stop(done: int, figures: dict[str, float]) -> None:
        if done == 3:  # in the middle of the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path / "m", seed=1, on_step=stop)
    steps = []
    again = training.train(tmp_path / "m", seed=1, on_step=lambda done, _: steps.append(done))
    assert steps == [4]
    assert again.best.train_loss == pytest.approx(whole.best.train_loss, rel=1e-3)
    histories = [
        load_history(tmp_path / name / "history.csv", TopWindowRow) for name in ("m", "whole")
    ]
    for one, other in zip(*histories, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-2)
    before = (tmp_path / "m" / "card.json").read_bytes()
    pages = [(tmp_path / name / "training.html").read_text() for name in ("m", "whole")]
    assert [page.count("<figure>") for page in pages] == [2 * SMALL.top_k + 2] * 2
    assert not (tmp_path / "m.training.html").exists()
    assert not training.train(tmp_path / "m", seed=1).trained
    assert (tmp_path / "m" / "card.json").read_bytes() == before


@pytest.mark.slow
def test_the_command_trains_and_predicts_and_the_loss_falls(cohort, tmp_path, capsys):
    table, model = cohort.source, tmp_path / "model"
    options = {"top-k": 3, "sampled-windows": 30, "mpp": 2, "patch-px": SIDE, "stride-px": 32}
    options |= {"epochs": 4, "steps": 15, "slides-per-step": 2, "learning-rate": 0.003}
    options |= {"stain": "none", "tissue.mpp": 8, "tissue.min-area-um2": 1000}
    given = [word for name, value in options.items() for word in (f"--slides.{name}", str(value))]
    train = ["train", str(table), str(model), "--task", "slides", *given]
    assert main(train) == 0
    assert "validation slide AUC" in capsys.readouterr().out
    rows = load_history(model / "history.csv", TopWindowRow)
    assert rows[-1].train_loss < rows[0].train_loss
    assert main([*train, "--examples", "5"]) == 1
    assert "--examples" in capsys.readouterr().err
    predict = ["predict", str(table), str(model), str(tmp_path / "p"), "--orientations", "1"]
    predict += ["--tissue.mpp", "8", "--tissue.min-area-um2", "1000", "--runtime", "keras"]
    assert main([*predict, "--allow-tumor-on-glass"]) == 0
    heatmap = Heatmap.load(tmp_path / "p" / "test_1" / "heatmap.zarr")
    assert heatmap.scored.sum() > 40
    found = json.loads((model / "check.json").read_text())["rows"]
    assert {"normal patches", "white glass"} <= {row["picture"] for row in found}
    assert all(row["windows"] for row in found)
    card = describe_encoder(EncoderSource(encoder=str(model))).card
    assert "train_1" in card.training_slides
    assert "test_1" not in card.training_slides
