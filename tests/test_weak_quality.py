"""Quality of annotations: slides of weak ones, and trainings that begin with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.models import Ensemble, load_bag_ensemble
from gigaslide.patching import TileSettings, slides_to_tile
from gigaslide.storage import SettingsError
from test_bag_commands import FAST, made, stamps, train

__all__ = ["made"]  # a fixture

SHORT = [*FAST[:-1], "5", "--members", "2", "--bags.batch-size", "16"]


@pytest.fixture(scope="module")
def cohort_file(made) -> Path:
    """The cohort with a column quality: four training slides and two validation slides are weak,
    and the outlines of the weak ones lie elsewhere."""
    header, *rows = (made / "cohort.csv").read_text().splitlines()
    weak = {"s00", "s01", "s02", "s03", "s08", "s09"}
    lines = [f"{header},quality"]
    lines += [f"{row},{'weak' if row[:3] in weak else ''}" for row in rows]
    path = made / "qualities.csv"
    path.write_text("\n".join(lines))
    return path


def ids(slides) -> list[str]:
    return [slide.id for slide in slides]


def test_training_slides_are_of_the_quality_and_validation_slides_strong(cohort_file):
    cohort = Cohort.load(cohort_file)
    weak, strong = (slides_to_tile(cohort, TileSettings(quality=q)) for q in ("weak", "strong"))
    validation = [f"s{n:02}" for n in range(10, 14)]
    assert ids(weak) == [*(f"s{n:02}" for n in range(4)), *validation]
    assert ids(strong) == [*(f"s{n:02}" for n in range(4, 8)), *validation]
    assert len(slides_to_tile(cohort, TileSettings())) == 14
    assert len(ids(cohort.take_quality("weak"))) == 4 + 4 + 4  # test slides stay
    settings = TileSettings(quality="weak")
    assert settings.of_recipe() == TileSettings().of_recipe()  # patches do not depend on it


def test_the_column_survives_and_a_typing_error_is_told(cohort_file, tmp_path):
    cohort = Cohort.load(cohort_file)
    cohort.save(tmp_path / "copy.csv")
    assert [one.quality for one in Cohort.load(tmp_path / "copy.csv")] == [
        one.quality for one in cohort
    ]
    text = cohort_file.read_text().replace(",weak", ",week")
    (cohort_file.parent / "odd.csv").write_text(text)
    odd = Cohort.load(cohort_file.parent / "odd.csv")
    with pytest.raises(SettingsError, match=r"s00 is 'week'.*weak, strong"):
        odd.take_quality("weak")


def test_no_slide_of_the_quality_is_an_error(made, tmp_path, capsys):
    words = ["tile", str(made / "cohort.csv"), str(tmp_path / "store"), "--quality", "weak"]
    assert main([*words, "--splits", "train"]) == 1
    assert "quality weak" in capsys.readouterr().err


def weak_then_strong(made: Path, cohort: Path, out: Path) -> tuple[Path, Path]:
    words = ["--cohort", str(cohort)]
    features = str(made / "features")
    models = out / "weak", out / "tuned"
    for model, more in zip(
        models, (["--quality", "weak"], ["--initial-weights", str(models[0])]), strict=True
    ):
        quality = [] if "--quality" in more else ["--quality", "strong"]
        given = ["train", features, str(model), "--labels", "windows", *words, *SHORT]
        assert main([*given, *more, *quality]) == 0
    return models


@pytest.fixture(scope="module")
def models(made, cohort_file, tmp_path_factory) -> tuple[Path, Path]:
    return weak_then_strong(made, cohort_file, tmp_path_factory.mktemp("models"))


def test_a_training_on_features_begins_with_a_weak_model(made, cohort_file, models, capsys):
    _, tuned = models
    slides = [Ensemble.load(one).cards[0].training["slides"]["train"] for one in models]
    assert slides == [[f"s{n:02}" for n in range(4)], [f"s{n:02}" for n in range(4, 8)]]
    first, second = (load_bag_ensemble(Ensemble.load(one)).models for one in models)
    for before, after in zip(first, second, strict=True):
        near = np.corrcoef(before.weights[0].ravel(), after.weights[0].ravel())[0, 1]
        assert near > 0.8
    apart = np.corrcoef(first[0].weights[0].ravel(), second[1].weights[0].ravel())[0, 1]
    assert abs(apart) < 0.5
    before = stamps(tuned)
    assert weak_then_strong(made, cohort_file, tuned.parent) == models
    assert stamps(tuned) == before
    assert "unchanged" in capsys.readouterr().out


def test_another_start_is_another_training(made, cohort_file, models, tmp_path, capsys):
    _, tuned = models
    shutil.copytree(tuned, tmp_path / "tuned")
    words = ["train", str(made / "features"), str(tmp_path / "tuned"), "--labels", "windows"]
    words += ["--cohort", str(cohort_file), *SHORT]
    assert main([*words, "--quality", "strong"]) == 0
    assert "was moved to" in "".join(capsys.readouterr())


def test_starts_that_do_not_fit_are_refused(made, models, tmp_path, capsys):
    start = ["--initial-weights", str(models[0])]
    assert train(made, tmp_path / "a", *start) == 1  # attention has more layers
    assert "this training" in capsys.readouterr().err
    shutil.copytree(models[0], tmp_path / "other")
    for card in (tmp_path / "other").rglob("card.json"):
        stated = json.loads(card.read_text())
        stated["features"]["encoder_hash"] = "f" * 64
        card.write_text(json.dumps(stated))
    start = ["--initial-weights", str(tmp_path / "other")]
    assert train(made, tmp_path / "b", *start, labels="windows") == 1
    assert "encoder" in capsys.readouterr().err
    words = ["train", str(tmp_path), str(tmp_path / "c"), "--quality", "weak"]
    assert main(words) == 1
    assert "--tile.quality" not in (err := capsys.readouterr().err)
    assert "gigaslide tile --quality" in err
