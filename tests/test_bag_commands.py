"""`gigaslide train --labels` and `gigaslide predict --features` on slides whose tumour is known."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bags import first_cells, make_bag, save_features
from conftest import geojson, write_tiff
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.models import Ensemble, ModelCard, load_bag_ensemble
from gigaslide.wsi import CellStatus, Heatmap, SlideFeatures

SIZE = (448, 320)  # 7 columns, 5 rows
TUMOR = [[3, 1], [4, 1], [5, 1]]  # (column, row)
RING = ([(200, 70), (380, 70), (380, 120), (200, 120)], [])
FAST = [
    *("--bags.hidden", "16", "--bags.attention", "8"),
    *("--bags.learning-rate", "0.02", "--bags.feature-dropout", "0.1", "--bags.epochs", "25"),
]
SLIDES = ("--bags.batch-size", "4")
SPLITS = ("train",) * 8 + ("validation",) * 6 + ("test",) * 4


def corners() -> np.ndarray:
    """Windows of a slide, those of the tumour first; the last cells have none."""
    cells = first_cells(SIZE, 31)
    in_tumor = (cells[:, None] == np.array(TUMOR) * 64).all(axis=2).any(axis=1)
    return np.concatenate([cells[in_tumor], cells[~in_tumor][::-1]])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with cohort.csv and features/; every second slide has tumour."""
    folder = tmp_path_factory.mktemp("made")
    rows = ["slide,annotation,label,patient,split"]
    for number, split in enumerate(SPLITS):
        name, is_tumor = f"s{number:02}", number % 2
        write_tiff(folder / f"{name}.tif", np.full((SIZE[1], SIZE[0], 3), 60 + number, np.uint8))
        (folder / f"{name}.geojson").write_text(json.dumps(geojson([RING] if is_tumor else [])))
        label = "tumor" if is_tumor else "normal"
        outline = f"{name}.geojson" if is_tumor else ""
        rows.append(f"{name}.tif,{outline},{label},p{number},{split}")
    (folder / "cohort.csv").write_text("\n".join(rows))
    for number, slide in enumerate(Cohort.load(folder / "cohort.csv")):
        bag = make_bag(31, 3 * (number % 2), [4, number])
        save_features(folder / "features", slide, size=SIZE, bag=bag, xy=corners())
    return folder


def train(made: Path, model: Path, *words: str, labels: str = "slides") -> int:
    given = ["train", str(made / "features"), str(model), "--cohort", str(made / "cohort.csv")]
    return main(
        [*given, "--labels", labels, *(SLIDES if labels == "slides" else ()), *FAST, *words]
    )


def predict(made: Path, model: Path, out: Path, *words: str) -> int:
    given = ["predict", str(made / "cohort.csv"), str(model), str(out)]
    return main([*given, "--features", str(made / "features"), *words])


@pytest.fixture(scope="module")
def model(made) -> Path:
    assert train(made, made / "model") == 0
    return made / "model"


@pytest.fixture(scope="module")
def predictions(made, model) -> Path:
    assert predict(made, model, made / "predictions") == 0
    return made / "predictions"


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.weights.h5"))}


def test_three_seeds_by_default_with_a_threshold_of_the_validation_slides(model):
    ensemble = Ensemble.load(model)
    assert [folder.name for folder in ensemble.folders] == ["member_1", "member_2", "member_3"]
    first, second, _ = ensemble.cards
    assert first.training["settings"]["seed"] + 1 == second.training["settings"]["seed"]
    assert first.features is not None
    assert (first.features.encoder, first.features.length) == ("made up", 12)
    assert (first.input_spec.patch_px, first.input_spec.mpp) == (64, 0.5)
    assert len(first.training["slides"]["train"]) == 8
    assert ensemble.operating_threshold is not None
    assert ensemble.operating_threshold.tumor_slides == 3
    history = pd.read_csv(model / "member_1" / "history.csv")
    assert history["epoch"].tolist() == [5, 10, 15, 20, 25]


def test_heatmap_has_the_windows_at_their_places_and_the_score_of_the_bag(made, model, predictions):
    features = SlideFeatures.load(made / "features" / "s15.zarr")
    found = load_bag_ensemble(Ensemble.load(model)).predict(features.features)
    heatmap = Heatmap.load(predictions / "s15" / "heatmap.zarr")
    assert heatmap.status.shape == (5, 7)
    columns, rows = (features.xy // 64).T
    np.testing.assert_allclose(heatmap.probability[rows, columns], found.windows, atol=1e-6)
    assert (heatmap.status == CellStatus.BACKGROUND).sum() == 35 - 31
    assert heatmap.slide_score == pytest.approx(found.slide, abs=1e-6)
    assert heatmap.slide_score != pytest.approx(float(np.nanmax(heatmap.probability)), abs=1e-4)
    tumor = heatmap.probability[1, 3:6]
    assert tumor.min() > np.nanmedian(heatmap.probability)


def test_fault_08_a_slide_without_um_per_px_has_that_of_its_features(made, model, tmp_path):
    """They were made with --slide-mpp, which predict does not ask for again."""
    write_tiff(tmp_path / "s15.tif", np.full((SIZE[1], SIZE[0], 3), 75, np.uint8), mpp=None)
    (tmp_path / "cohort.csv").write_text("slide,label\ns15.tif,tumor")
    shutil.copytree(made / "features" / "s15.zarr", tmp_path / "features" / "s15.zarr")
    assert predict(tmp_path, model, tmp_path / "out") == 0
    assert (tmp_path / "out" / "s15" / "heatmap.png").is_file()


def test_evaluation_and_exports_take_the_score_of_the_bag(made, predictions):
    out = made / "report"
    command = ["evaluate", str(made / "cohort.csv"), str(predictions), str(out)]
    assert main([*command, "--resamples", "0"]) == 0
    slides = pd.read_csv(out / "slides.csv").set_index("slide")
    assert len(slides) == 4
    for slide, row in slides.iterrows():
        heatmap = Heatmap.load(predictions / str(slide) / "heatmap.zarr")
        assert row["score"] == pytest.approx(heatmap.slide_score)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["slide_auc"]["value"] == 1
    assert "validation" in metrics["operating_point"]["origin"]
    page = (out / "report.html").read_text()
    assert "the slide as a whole" in page
    assert "highest probability of its scored cells" not in page
    assert main(["export", str(predictions), "--to", "tables"]) in (0, 1)


def test_finished_members_and_slides_are_kept(made, model, predictions, capsys):
    before = stamps(model)
    assert train(made, model) == 0
    assert predict(made, model, predictions) == 0
    assert stamps(model) == before
    shown = capsys.readouterr().out
    assert shown.count("unchanged") == 3
    assert "4 skipped" in shown


def test_a_killed_training_goes_on_with_its_next_member_and_ends_equal(made, model, tmp_path):
    again = shutil.copytree(model, tmp_path / "m")
    (again / "member_2" / "card.json").unlink()
    assert predict(made, again, tmp_path / "p") == 1
    kept = stamps(again / "member_1") | stamps(again / "member_3")
    assert train(made, again) == 0
    assert stamps(again / "member_1") | stamps(again / "member_3") == kept
    pairs = (load_bag_ensemble(Ensemble.load(one)).models for one in (model, again))
    for mine, theirs in zip(*pairs, strict=True):
        assert all(map(np.array_equal, mine.weights, theirs.weights))


def test_other_features_train_anew_and_keep_the_earlier_model(made, tmp_path, capsys):
    folder = tmp_path / "made"
    folder.mkdir()
    for path in made.glob("s*.*"):
        (folder / path.name).symlink_to(path)
    (folder / "cohort.csv").write_bytes((made / "cohort.csv").read_bytes())
    for slide in Cohort.load(folder / "cohort.csv"):
        found = SlideFeatures.load(made / "features" / f"{slide.id}.zarr")
        save_features(
            folder / "features", slide, size=SIZE, bag=found.features[::-1], xy=found.xy[::-1]
        )
    assert train(made, tmp_path / "m", "--members", "1") == 0
    assert train(folder, tmp_path / "m", "--members", "1") == 0
    assert (tmp_path / "m.old-1" / "card.json").is_file()
    assert "m.old-1" in capsys.readouterr().err


def test_window_labels_train_the_strong_learner_on_the_same_features(made, tmp_path, capsys):
    words = ("--members", "1", "--bags.batch-size", "32")
    assert train(made, tmp_path / "m", *words, labels="windows") == 0
    assert "12 tumour and 236 normal" in capsys.readouterr().out
    assert ModelCard.load(tmp_path / "m").options["pooling"] == "max"
    assert predict(made, tmp_path / "m", tmp_path / "p") == 0
    heatmap = Heatmap.load(tmp_path / "p" / "s17" / "heatmap.zarr")
    assert heatmap.slide_score == pytest.approx(float(np.nanmax(heatmap.probability)), abs=1e-6)
    outside = heatmap.probability.copy()
    outside[1, 3:6] = np.nan
    assert heatmap.probability[1, 3:6].min() > np.nanmax(outside)
    assert predict(made, tmp_path / "m", tmp_path / "p", "--localise", "attention") == 1
    assert "attention" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["attention", "attention-score", "shapley"])
def test_other_maps_are_shares_of_the_slide(made, model, predictions, tmp_path, way):
    assert predict(made, model, tmp_path, "--localise", way) == 0
    heatmap = Heatmap.load(tmp_path / "s15" / "heatmap.zarr")
    models = load_bag_ensemble(Ensemble.load(model))
    features = SlideFeatures.load(made / "features" / "s15.zarr")
    found = models.predict(features.features)
    shares = found.attention
    if way == "shapley":
        shares = models.find_shapley(features.features, features.xy)
        shares = shares / shares.sum()
    factor = found.windows if way == "attention-score" else found.slide
    wanted = factor * 31 * shares / (1 + 31 * shares)
    columns, rows = (features.xy // 64).T
    np.testing.assert_allclose(heatmap.probability[rows, columns], wanted, atol=1e-6)
    same = Heatmap.load(predictions / "s15" / "heatmap.zarr")
    assert heatmap.slide_score == pytest.approx(same.slide_score)


def test_a_slide_without_windows_scores_0_and_is_no_training_slide(made, model, tmp_path, capsys):
    cohort = Cohort.load(made / "cohort.csv")
    for slide in cohort:
        features = SlideFeatures.load(made / "features" / f"{slide.id}.zarr")
        count = 0 if slide.id in ("s00", "s17") else len(features)
        save_features(
            tmp_path, slide, size=SIZE, bag=features.features[:count], xy=features.xy[:count]
        )
    words = ["--features", str(tmp_path)]
    given = ["predict", str(made / "cohort.csv"), str(model), str(tmp_path / "p"), *words]
    assert main(given) == 0
    heatmap = Heatmap.load(tmp_path / "p" / "s17" / "heatmap.zarr")
    assert heatmap.slide_score == 0
    assert (heatmap.status == CellStatus.BACKGROUND).all()
    command = ["train", str(tmp_path), str(tmp_path / "m"), "--cohort", str(made / "cohort.csv")]
    assert main([*command, "--labels", "slides", *SLIDES, *FAST, "--members", "1"]) == 0
    assert "s00" in capsys.readouterr().err
    assert len(ModelCard.load(tmp_path / "m").training["slides"]["train"]) == 7
