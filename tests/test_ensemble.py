"""Several models that predict together: their folder, their mean and spread, their threshold."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from gigaslide.cli import main
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.models import (
    ENSEMBLE,
    Ensemble,
    EnsembleCard,
    ModelCard,
    OperatingThreshold,
    Predictor,
    find_members,
    hash_initial_weights,
)
from gigaslide.storage import ModelError, SettingsError, StoreError
from gigaslide.training import TrainSettings, choose_threshold, plan_members
from gigaslide.wsi import CellStatus, Heatmap, open_slide
from predicting import QUICK, StandInBlocks, predict, write_model, write_slides
from predictions import Bench
from stand_in import predictor_of
from test_operating_threshold import CHOSEN, SCORES, fill


def write_members(folder: Path, count: int) -> Path:
    """An ensemble as `plan_members` and trainings leave it; no networks."""
    for number in range(1, count + 1):
        (folder / f"member_{number}").mkdir(parents=True)
        write_model(folder / f"member_{number}", weights=bytes([number]))
    return folder


def change_card(folder: Path, **changes) -> None:
    card = ModelCard.load(folder)
    spec = card.input_spec.model_copy(update=changes)
    card.model_copy(update={"input_spec": spec}).save(folder)


def test_a_folder_of_models_is_an_ensemble_of_all_of_them(tmp_path):
    folder = write_members(tmp_path / "e", 3)
    for hidden in (".member_1.previous", "member_2.old-1"):
        shutil.copytree(folder / "member_1", folder / hidden)
    (folder / "member_1.checkpoint").mkdir()
    names = [path.name for path in find_members(folder)]
    assert names == ["member_1", "member_2", "member_3"]
    ensemble = Ensemble.load(folder)
    assert ensemble.hash == Ensemble.load(tuple(reversed(find_members(folder)))).hash
    hashes = sorted(ModelCard.load(path).weights_sha256 for path in find_members(folder))
    assert [one["weights_sha256"] for one in ensemble.identity["networks"]] == hashes
    assert find_members(folder / "member_2") == (folder / "member_2",)
    with pytest.raises(ModelError, match=str(tmp_path / "none")):
        Ensemble.load(tmp_path / "none")
    with pytest.raises(ModelError, match="member_1"):
        hash_initial_weights(
            str(plan_members(tmp_path / "f", members(2))[0].folder.parent), "compact"
        )


def test_a_half_trained_ensemble_is_refused(tmp_path):
    plan_members(tmp_path / "e", members(3))
    with pytest.raises(ModelError, match="member_1"):
        ModelCard.load(tmp_path / "e")
    with pytest.raises(ModelError, match="0 of 3 members"):
        Ensemble.load(tmp_path / "e")
    write_members(tmp_path / "e", 2)
    with pytest.raises(ModelError, match=r"2 of 3 members.*member_3.*--members 3"):
        Ensemble.load(tmp_path / "e")
    write_model(tmp_path / "e" / "member_3", weights=b"3")
    assert len(Ensemble.load(tmp_path / "e").cards) == 3
    write_model(tmp_path / "e" / "mine", weights=b"4")
    with pytest.raises(ModelError, match="mine"):
        Ensemble.load(tmp_path / "e")
    (tmp_path / "e" / ENSEMBLE).write_text('{"format": "gigaslide-ensemble/9"}')
    with pytest.raises(ModelError, match=ENSEMBLE):
        Ensemble.load(tmp_path / "e")


def test_members_trained_again_in_part_are_refused_but_models_put_together_are_not(tmp_path):
    folder = write_members(tmp_path / "e", 2)
    card = ModelCard.load(folder / "member_2")
    settings = {**card.training.get("settings", {}), "learning_rate": 0.5, "seed": 9}
    card.model_copy(update={"training": {"settings": settings}}).save(folder / "member_2")
    first = ModelCard.load(folder / "member_1")
    settings = {**settings, "learning_rate": 0.1, "seed": 8}
    first.model_copy(update={"training": {"settings": settings}}).save(folder / "member_1")
    with pytest.raises(ModelError, match=r"member_2.*learning_rate.*member_1"):
        Ensemble.load(folder)
    for number in (1, 2):
        (folder / f"member_{number}").rename(folder / f"mine_{number}")
    assert len(Ensemble.load(folder).cards) == 2


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"patch_px": 96}, ["patch_px 96 and 75"]),
        ({"centre_px": 40}, ["centre_px 40 and 32"]),
        ({"mpps": (0.5, 1.0)}, ["mpps [0.5, 1.0] and [0.5]"]),
        ({"stain": "hsd"}, ["stain hsd and None"]),
        ({"classes": ("tumor", "normal")}, ["['tumor', 'normal'] and ['normal', 'tumor']"]),
    ],
)
def test_models_of_other_windows_or_classes_are_refused_with_both_values(tmp_path, changes, facts):
    folder = write_members(tmp_path, 2)
    change_card(folder / "member_2", **changes)
    with pytest.raises(ModelError) as caught:
        Ensemble.load(folder)
    assert all(fact in str(caught.value) for fact in [*facts, "member_1", "member_2"])


def members(count: int, **changes) -> TrainSettings:
    return TrainSettings(members=count, **changes)


def test_members_are_planned_with_one_seed_each(tmp_path):
    folder = tmp_path / "e"
    (single,) = plan_members(folder, members(1, seed=5))
    assert (single.folder, single.settings) == (folder, members(1, seed=5))
    assert not folder.exists()
    planned = plan_members(folder, members(2, seed=5))
    assert [one.folder.name for one in planned] == ["member_1", "member_2"]
    assert [one.settings for one in planned] == [members(1, seed=5), members(1, seed=6)]
    assert EnsembleCard.load(folder) == EnsembleCard(members=("member_1", "member_2"))
    write_members(folder, 2)
    Ensemble.load(folder).save_operating_threshold(CHOSEN)
    assert len(plan_members(folder, members(2))) == 2
    assert Ensemble.load(folder).operating_threshold == CHOSEN
    assert len(plan_members(folder, members(3))) == 3
    assert EnsembleCard.load(folder).operating_threshold is None
    write_model(folder / "member_3", weights=b"3")
    assert len(plan_members(folder, members(2))) == 3  # a trained member is never left out


def test_folders_of_something_else_are_not_trained_into(tmp_path):
    plan_members(tmp_path / "e", members(2))
    with pytest.raises(SettingsError, match=r"2 members.*--members 2"):
        plan_members(tmp_path / "e", members(1))
    write_model(tmp_path / "single")
    with pytest.raises(SettingsError, match="single model"):
        plan_members(tmp_path / "single", members(2))
    write_members(tmp_path / "theirs", 2)
    with pytest.raises(SettingsError, match=ENSEMBLE):
        plan_members(tmp_path / "theirs", members(2))


def test_the_threshold_of_an_ensemble_is_that_of_just_its_members(bench: Bench, tmp_path):
    folder = write_members(tmp_path / "e", 2)
    cohort = fill(bench, SCORES, split="validation", model_hash=Ensemble.load(folder).hash)
    chosen = choose_threshold(cohort, folder, bench.predictions)
    assert (chosen.value, chosen.tumor_slides) == (0.71, 3)
    assert Ensemble.load(folder).operating_threshold == chosen
    written = json.loads((bench.predictions / "operating_threshold.json").read_text())
    assert OperatingThreshold(**written) == chosen
    assert ModelCard.load(folder / "member_1").operating_threshold is None
    given = [folder / "member_1", folder / "member_2"]
    assert Ensemble.load(given).operating_threshold is None
    with pytest.raises(ModelError, match="one folder"):
        Ensemble.load(given).save_operating_threshold(chosen)
    write_model(folder / "member_2", weights=b"trained again")
    assert Ensemble.load(folder).operating_threshold is None


def red(patches: np.ndarray) -> np.ndarray:
    return patches[:, :30, :, 0].mean(axis=(1, 2)) / 255  # which the orientation changes


def blue(patches: np.ndarray) -> np.ndarray:
    return patches[..., 2].mean(axis=(1, 2)) / 300


def mean_of_two(first=red, second=blue) -> Predictor:
    one, two = predictor_of(first), predictor_of(second)
    return Predictor(
        spec=one.spec,
        forward=lambda patches: (one(patches) + two(patches)) / 2,
        members=(one.forward, two.forward),
        hash="two",
    )


@dataclass(frozen=True, kw_only=True)
class TwoBlocks(StandInBlocks):
    def load_predictor(self) -> Predictor:
        return mean_of_two()


def test_a_heatmap_holds_the_mean_and_the_spread_of_the_members(tmp_path):
    slide = write_slides(tmp_path, 1).slides[0]
    settings = PredictSettings(orientations=8, stride_px=96, batch_size=64)
    with open_slide(slide.path) as opened:
        found, first, second = (
            predict_slide(opened, predictor, settings, slide_id="a")
            for predictor in (mean_of_two(), predictor_of(red), predictor_of(blue))
        )
    assert (first.spread, found.spread.dtype) == (None, np.float32)
    scored = found.scored
    pair = np.stack([first.probability, second.probability]).astype(np.float64)[:, scored]
    assert scored.sum() > 30
    np.testing.assert_allclose(found.probability[scored], pair.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.spread[scored], pair.std(axis=0), atol=1e-6)
    assert found.spread[scored].min() > 0.01
    assert np.isnan(found.spread[~scored]).all()


def test_blocks_of_an_ensemble_give_the_heatmap_of_the_slide_at_once(tmp_path):
    cohort, folder = write_slides(tmp_path, 1), write_members(tmp_path / "e", 2)
    predict(cohort, folder, tmp_path / "out", kind=TwoBlocks)
    found = Heatmap.load(tmp_path / "out" / "s1" / "heatmap.zarr")
    with open_slide(cohort.slides[0].path) as opened:
        whole = predict_slide(opened, mean_of_two(), QUICK, slide_id="s1")
    assert found.content_sha256 == whole.content_sha256
    assert np.array_equal(found.spread, whole.spread, equal_nan=True)
    again = predict(cohort, folder, tmp_path / "out", kind=TwoBlocks)
    assert [one.status for one in again.outcomes] == ["skipped"]


def test_a_network_that_gives_nan_leaves_no_spread(tmp_path):
    slide = write_slides(tmp_path, 1).slides[0]
    nan = mean_of_two(second=lambda patches: np.full(len(patches), np.nan))
    with open_slide(slide.path) as opened:
        found = predict_slide(opened, nan, QUICK, slide_id="a")
    assert np.isnan(found.spread).all()
    assert found.count(CellStatus.FAILED) > 0


def heatmap(spread: np.ndarray | None) -> Heatmap:
    return Heatmap(
        slide="a",
        probability=np.array([[0.25, np.nan, 0.5], [1, 0, np.nan]], np.float32),
        status=np.array([[1, 2, 1], [1, 1, 4]], np.uint8),
        origin_level0=(0.0, 0.0),
        stride_level0=64.0,
        centre_level0=64.0,
        centre_px=64,
        slide_size=(192, 128),
        slide_mpp=0.5,
        model_hash="x",
        spread=spread,
    )


def test_a_heatmap_with_a_spread_has_a_format_of_its_own(tmp_path):
    spread = np.array([[0.1, np.nan, 0], [0.2, 0.3, np.nan]], np.float32)
    heatmap(spread).save(tmp_path / "two.zarr")
    heatmap(None).save(tmp_path / "one.zarr")
    one, two = Heatmap.load(tmp_path / "one.zarr"), Heatmap.load(tmp_path / "two.zarr")
    assert one.spread is None
    assert np.array_equal(two.spread, spread, equal_nan=True)
    assert two.content_sha256 == heatmap(spread).content_sha256 != one.content_sha256
    groups = [zarr.open_group(tmp_path / name, mode="r") for name in ("one.zarr", "two.zarr")]
    assert [group.attrs["format"][-2:] for group in groups] == ["/1", "/2"]
    assert ["spread" in group for group in groups] == [False, True]
    values = heatmap(None)
    by_hand = b"float32 (2, 3)" + values.probability.tobytes()
    by_hand += b"uint8 (2, 3)" + values.status.tobytes()
    assert one.content_sha256 == hashlib.sha256(by_hand).hexdigest()
    shutil.rmtree(tmp_path / "two.zarr" / "spread")
    with pytest.raises(StoreError, match="spread"):
        Heatmap.load(tmp_path / "two.zarr")
    with pytest.raises(StoreError, match="without a spread"):
        heatmap(np.zeros((2, 3), np.float32))
    with pytest.raises(StoreError, match=r"\(2, 3\).*spread \(3, 2\)"):
        heatmap(spread.T)


def test_an_ensemble_where_predict_expects_slides_is_told_the_order(tmp_path, capsys):
    folder = tmp_path / "e"
    plan_members(folder, members(2))
    assert main(["predict", str(folder), "slides", str(tmp_path / "out")]) == 1
    assert "SLIDES MODEL PREDICTIONS" in capsys.readouterr().err
