"""What training and prediction on features refuse, and what they warn of."""

import json
from pathlib import Path

import numpy as np
import pytest
from bags import first_cells, make_bag, save_features
from conftest import geojson
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import refuse_encoder_patients
from gigaslide.inference.bags.feature_heatmap import draw_windows
from gigaslide.inference.bags.localise import describe_attention
from gigaslide.models import (
    BagEnsemble,
    BagModel,
    BagOptions,
    BagScores,
    EncoderSource,
    describe_encoder,
)
from gigaslide.storage import AnnotationError, ModelError, Recipe, SettingsError
from gigaslide.training import BagSettings, label_windows
from gigaslide.training.bags.cohort_bags import load_bags
from gigaslide.wsi import CellStatus
from test_bag_commands import SIZE, corners, made, model, predict, train

__all__ = ["made", "model"]  # fixtures


def with_features(made: Path, folder: Path, **changes) -> Path:
    """The same cohort with other fields of the features of the test slides s14 to s17."""
    (folder / "features").mkdir(parents=True)
    for path in made.glob("s*.*"):
        (folder / path.name).symlink_to(path)
    (folder / "cohort.csv").write_bytes((made / "cohort.csv").read_bytes())
    for slide in Cohort.load(folder / "cohort.csv"):
        target = made / "features" / f"{slide.id}.zarr"
        (folder / "features" / f"{slide.id}.zarr").symlink_to(target)
    for slide in list(Cohort.load(folder / "cohort.csv"))[14:]:
        (folder / "features" / f"{slide.id}.zarr").unlink()
        bag = changes.pop("bag", None) if "bag" in changes else make_bag(31, 0, 1)
        save_features(folder / "features", slide, size=SIZE, bag=bag, xy=corners(), **changes)
        changes = {**changes}
    return folder


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"encoder_hash": "f" * 64}, "ffffffffffff"),
        ({"mpp": 1.0, "slide_mpp": 0.5}, "1 µm/px, not 0.5"),
        ({"patch_px": 96}, "96 px, not 64"),
    ],
)
def test_features_of_another_encoder_or_scale_fail(made, model, tmp_path, changes, facts):
    folder = with_features(made, tmp_path / "other", **changes)
    assert predict(folder, model, tmp_path / "p") == 1
    failures = (tmp_path / "p" / "failures.txt").read_text()
    assert facts in failures
    assert "s17" in failures


def test_features_of_several_encoders_do_not_train_together(made, tmp_path, capsys):
    folder = with_features(made, tmp_path / "other", encoder_hash="f" * 64)
    text = (folder / "cohort.csv").read_text().replace(",test", ",train")
    (folder / "cohort.csv").write_text(text)
    assert train(folder, tmp_path / "m") == 1
    assert "encoder" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_slides_without_features_fail_alone(made, model, tmp_path):
    folder = with_features(made, tmp_path / "other")
    (folder / "features" / "s15.zarr" / "zarr.json").unlink()
    assert predict(folder, model, tmp_path / "p") == 2
    assert "s15" in (tmp_path / "p" / "failures.txt").read_text()
    assert (tmp_path / "p" / "s17" / "heatmap.zarr").is_dir()


def test_training_patients_of_the_encoder_are_no_test_patients(made, model, tmp_path, capsys):
    for key, value in (("training_slides", ["s16"]), ("training_patients", ["p16"])):
        folder = with_features(made, tmp_path / key, encoder_card={"name": "seen", key: value})
        assert predict(folder, model, tmp_path / "p") == 1
        shown = capsys.readouterr().err
        assert "seen" in shown
        assert "p16" in shown
        assert not (tmp_path / "p").exists()


def test_slides_that_snap_to_levels_of_their_own_train_together(tmp_path):
    slides = [CohortSlide(id=f"s{n}", path=Path("s.tif"), label="normal") for n in range(3)]
    for slide, mpp in zip(slides, (0.5, 0.503, 0.514), strict=True):
        save_features(tmp_path, slide, size=SIZE, bag=make_bag(31, 0, 1), xy=corners(), mpp=mpp)
    assert len(load_bags(slides, tmp_path, BagSettings())) == 3
    save_features(tmp_path, slides[2], size=SIZE, bag=make_bag(31, 0, 1), xy=corners(), mpp=0.54)
    with pytest.raises(ModelError, match=r"µm/px 0\.5 and 0\.54"):
        load_bags(slides, tmp_path, BagSettings())


def test_an_encoder_s_other_slide_of_a_test_patient_counts():
    rows = [
        CohortSlide(id="a", path=Path("a.tif"), patient="p", split="train"),
        CohortSlide(id="b", path=Path("b.tif"), patient="p"),
        CohortSlide(id="c", path=Path("c.tif"), patient="", split="test"),
    ]
    cohort = Cohort(slides=tuple(rows))
    card = {"name": "e", "training_slides": ["a"], "training_patients": [""]}
    with pytest.raises(SettingsError, match="such as p"):
        refuse_encoder_patients(cohort, card, tested=rows[1:2])
    refuse_encoder_patients(cohort, card, tested=rows[2:])
    with pytest.raises(SettingsError, match="such as p"):
        refuse_encoder_patients(cohort, {"training_patients": ["P "]}, tested=rows[1:2])
    refuse_encoder_patients(cohort, {}, tested=rows)


def test_a_model_folder_as_encoder_names_its_training_slides(tmp_path):
    from predicting import write_model

    folder = write_model(tmp_path / "m")
    source = EncoderSource(encoder=str(folder))
    assert describe_encoder(source).card.training_slides == ()
    for freeze, wanted in (("none", ("a", "b")), ("towers", ())):
        slides = {"b": {"split": "train"}, "a": {"split": "validation"}}
        settings = {"freeze": freeze, "unfreeze_after": 0}
        Recipe(stage="train", settings=settings, inputs={"slides": slides}).save(
            folder / "recipe.json"
        )
        found = describe_encoder(source)
        assert found.card.training_slides == wanted
        assert "training_slides" not in found.card.identity


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("--labels", "slides"), "--cohort"),
        (("--bags.epochs", "3"), "--labels"),
        (("--labels", "slides", "--cohort", "{cohort}", "--examples", "9"), "--examples"),
        (("--labels", "windows", "--cohort", "{cohort}", "--bags.pooling", "attention"), "slides"),
    ],
)
def test_options_that_do_not_fit_are_refused(made, tmp_path, capsys, words, facts):
    given = [word.format(cohort=made / "cohort.csv") for word in words]
    assert main(["train", str(made / "features"), str(tmp_path / "m"), *given]) == 1
    assert facts in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_options_of_pixels_and_models_of_pixels_are_refused(made, model, tmp_path, capsys):
    from predicting import write_model

    assert predict(made, model, tmp_path / "p", "--stride-px", "32") == 1
    assert "--stride-px" in capsys.readouterr().err
    assert predict(made, write_model(tmp_path / "pixels"), tmp_path / "p") == 1
    assert "pixels" in capsys.readouterr().err
    cohort = str(made / "cohort.csv")
    assert main(["predict", cohort, str(model), str(tmp_path / "p")]) == 1
    assert "--features" in capsys.readouterr().err
    words = ["--localise", "shapley"]
    assert main(["predict", cohort, str(model), str(tmp_path / "p"), *words]) == 1
    assert "--features" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_one_class_among_the_training_slides_is_refused(made, tmp_path, capsys):
    folder = with_features(made, tmp_path / "other")
    rows = (folder / "cohort.csv").read_text().split("\n")
    kept = [row for row in rows if "tumor" not in row or ",train" not in row]
    (folder / "cohort.csv").write_text("\n".join(kept))
    assert train(folder, tmp_path / "m") == 1
    assert "normal" in capsys.readouterr().err


def attentive(attention: list[float], windows: list[float]) -> str:
    """What is said of a slide with this attention and these scores."""
    model = BagModel(length=1, options=BagOptions(), weights=())
    weights = np.array(attention) / np.sum(attention)
    found = BagScores(slide=0.9, windows=np.array(windows), attention=weights)
    return describe_attention(BagEnsemble((model,)), found)


def test_attention_that_is_equal_or_upside_down_is_told():
    rising = np.linspace(0.1, 0.9, 12).tolist()
    assert "equal" in attentive([1.0] * 12, rising)
    assert "equal" in attentive([1.0, 1.1] * 6, rising)
    assert "away" in attentive(rising[::-1], rising)
    assert attentive(rising, rising) == ""
    assert attentive([0.0] * 11 + [1.0], rising) == ""
    assert attentive(rising[::-1], (np.array(rising) / 3).tolist()) == ""  # nothing to point at
    assert attentive([1.0] * 3, [0.1, 0.5, 0.9]) == ""


def one_slide(tmp_path: Path, **fields) -> CohortSlide:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(geojson([([(130, 70), (190, 70), (190, 80), (130, 80)], [])])))
    given = {"id": "a", "path": tmp_path / "a.tif", "annotation": path, "label": "tumor"}
    return CohortSlide(**{**given, **fields})


def test_windows_are_labelled_by_their_centre_square(tmp_path):
    slide = one_slide(tmp_path)
    xy = first_cells((448, 320), 14)
    found = save_features(tmp_path, slide, size=SIZE, bag=make_bag(14, 0, 0), xy=xy)
    assert label_windows(found, slide, {}).nonzero()[0].tolist() == [9]  # column 2, row 1
    inner = save_features(
        tmp_path, slide, size=SIZE, bag=make_bag(14, 0, 0), xy=xy, stride_level0=16.0
    )
    assert not label_windows(inner, slide, {}).any()  # y from 88 to 104
    moved = save_features(
        tmp_path, slide, size=SIZE, bag=make_bag(14, 0, 0), xy=xy - (0, 20), stride_level0=16.0
    )
    assert label_windows(moved, slide, {}).nonzero()[0].tolist() == [9]
    partly = one_slide(tmp_path, exhaustive=False)
    assert set(label_windows(found, partly, {}).tolist()) == {-1, 1}
    with pytest.raises(AnnotationError, match="--labels slides"):
        label_windows(found, one_slide(tmp_path, annotation=None), {})


def test_windows_of_any_grid_are_drawn_where_they_lie(tmp_path, caplog):
    slide = one_slide(tmp_path)
    cells = np.array([(0, 0), (3, 1), (6, 2)])
    xy = np.rint(cells * 60.4 + (37, 11)).astype(np.int64)
    fields = {"stride_level0": 60.4, "side_level0": 60.4, "patch_px": 60}
    found = save_features(tmp_path, slide, size=SIZE, bag=make_bag(3, 0, 0), xy=xy, **fields)
    values = np.array([0.1, 0.2, 0.3])
    heatmap = draw_windows(found, values, slide_score=0.7, model_hash="m")
    centres = heatmap.cell_centres(np.argwhere(heatmap.status == CellStatus.SCORED))
    order = np.argsort(heatmap.probability[heatmap.scored])
    np.testing.assert_allclose(centres[order], xy + 30.2, atol=1.01)
    assert heatmap.slide_score == 0.7
    assert not caplog.records
    rows, columns = heatmap.status.shape
    assert heatmap.origin_level0[0] + columns * 60.4 >= SIZE[0]
    assert heatmap.origin_level0[1] + rows * 60.4 >= SIZE[1]
    near = save_features(
        tmp_path, slide, size=SIZE, bag=make_bag(3, 0, 0), xy=np.array([(0, 0), (3, 0), (128, 64)])
    )
    shared = draw_windows(near, values, slide_score=None, model_hash="m")
    assert shared.probability[0, 0] == pytest.approx(0.2)
    assert "1 of 3" in caplog.text
