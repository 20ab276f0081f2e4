"""The operating threshold: chosen on validation slides, kept in the model card, copied beside
predictions, used by evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gigaslide.cohort import Cohort
from gigaslide.eval import (
    EvaluateSettings,
    compare_cohort,
    evaluate_cohort,
    find_evaluation,
    youden_threshold,
)
from gigaslide.models import Ensemble, ModelCard, OperatingThreshold
from gigaslide.storage import ScoreError
from gigaslide.training import choose_threshold
from predicting import predict, write_model, write_slides
from predictions import LESION, Bench

PLAIN = EvaluateSettings(resamples=0, picture_px=100, gallery=0)
SCORES = {"t1": 0.9, "t2": 0.83, "t3": 0.72, "n1": 0.7, "n2": 0.6, "n3": 0.55, "n4": 0.2}
"""Four normal slides, three of which 0.5 calls tumour."""
COPY = "operating_threshold.json"
CHOSEN = OperatingThreshold(value=0.71, tumor_slides=3, normal_slides=4, origin="by hand")


def fill(bench: Bench, scores: dict[str, float] = SCORES, *, split: str, **changes) -> Cohort:
    for name, p in scores.items():
        is_tumor = name.startswith("t")
        bench.slide(name, "tumor" if is_tumor else "normal", tumor=(LESION,) if is_tumor else ())
        bench.predict(name, probability=np.full((11, 15), p, np.float32), **changes)
    return Cohort(slides=tuple(replace(row, split=split) for row in bench.rows))


def test_youden_is_the_best_of_all_cuts():
    rng = np.random.default_rng(7)
    for _ in range(200):
        scores = np.round(rng.uniform(0, 1, rng.integers(4, 15)), 1)
        is_tumor = rng.permutation(np.arange(len(scores)) < 3)
        cuts = np.append(np.unique(scores), 2.0)
        called = scores >= cuts[:, None]
        gains = called[:, is_tumor].mean(axis=1) - called[:, ~is_tumor].mean(axis=1)
        found = youden_threshold(scores, is_tumor)
        if gains.max() <= 1e-12:
            assert found is None
            continue
        with_it = scores.astype(np.float32) >= np.float32(found)
        gain = with_it[is_tumor].mean() - with_it[~is_tumor].mean()
        assert gain == pytest.approx(gains.max())
        lowest = cuts[np.flatnonzero(gains > gains.max() - 1e-12)[0]]
        assert np.array_equal(with_it, scores >= lowest)  # misses the fewest


@pytest.mark.parametrize(
    ("tumor", "normal", "expected"),
    [
        ([0.9, 0.8], [0.7, 0.1], 0.75),
        ([0.9, 0.4], [0.5, 0.2], 0.3),  # a tie with 0.7
        ([0.1, 0.2], [0.8, 0.9], None),
        ([0.5, 0.5], [0.5], None),
    ],
)
def test_youden_by_hand(tumor, normal, expected):
    scores, is_tumor = np.array(tumor + normal), np.arange(len(tumor + normal)) < len(tumor)
    assert youden_threshold(scores, is_tumor) == expected


def test_youden_separates_saturated_scores():
    low = np.float32(0.9999998)
    high = np.nextafter(low, np.float32(1))
    found = youden_threshold(np.array([high, low], np.float64), np.array([True, False]))
    assert np.float32(found) == high


def test_the_threshold_is_chosen_on_validation_slides_of_this_model(bench: Bench, tmp_path):
    model = write_model(tmp_path / "model")
    weights = ModelCard.load(model).weights_sha256
    cohort = fill(bench, split="validation", model_hash=weights)
    others = fill(bench, {"tx": 0.01, "nx": 0.99}, split="test", model_hash=weights)
    rows = [*cohort, *(row for row in others if row.id in ("tx", "nx"))]
    chosen = choose_threshold(Cohort(slides=tuple(rows)), model, bench.predictions)
    assert (chosen.value, chosen.tumor_slides, chosen.normal_slides) == (0.71, 3, 4)
    assert ModelCard.load(model).operating_threshold == chosen
    assert json.loads((bench.predictions / COPY).read_text())["value"] == 0.71
    before = (model / "card.json").stat().st_mtime_ns
    assert choose_threshold(Cohort(slides=tuple(rows)), model, bench.predictions) == chosen
    assert (model / "card.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("scores", "model_hash", "counts"),
    [
        ({"t1": 0.9, "t2": 0.8, "n1": 0.7, "n2": 0.6, "n3": 0.1}, "", (2, 3)),
        (SCORES, "of another model", (0, 0)),
        ({"t1": 0.1, "t2": 0.1, "t3": 0.1, "n1": 0.9, "n2": 0.9, "n3": 0.9}, "", (3, 3)),
    ],
)
def test_few_slides_or_bad_scores_leave_half(bench: Bench, tmp_path, scores, model_hash, counts):
    model = write_model(tmp_path / "model")
    weights = model_hash or ModelCard.load(model).weights_sha256
    cohort = fill(bench, scores, split="validation", model_hash=weights)
    chosen = choose_threshold(cohort, model, bench.predictions)
    assert chosen.value == 0.5
    assert "not chosen" in chosen.origin
    assert (chosen.tumor_slides, chosen.normal_slides) == counts


def test_cards_without_a_threshold_stay_readable(tmp_path):
    model = write_model(tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    del card["operating_threshold"]
    (model / "card.json").write_text(json.dumps(card))
    assert ModelCard.load(model).operating_threshold is None


def test_prediction_copies_the_threshold_of_its_one_model(tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    model = write_model(tmp_path / "model")
    predict(cohort, model, out)
    assert not (out / COPY).exists()
    card = ModelCard.load(model)
    card.model_copy(update={"operating_threshold": CHOSEN}).save(model)
    assert [one.status for one in predict(cohort, model, out).outcomes] == ["skipped"]
    assert OperatingThreshold.model_validate_json((out / COPY).read_text()) == CHOSEN
    card.save(model)
    predict(cohort, model, out)
    assert not (out / COPY).exists()
    other = write_model(tmp_path / "other", weights=b"others")
    card.model_copy(update={"operating_threshold": CHOSEN}).save(model)
    assert Ensemble.load([model, other]).operating_threshold is None


def test_evaluation_uses_the_copy_unless_told_otherwise(bench: Bench):
    cohort = fill(bench, split="test")
    out = bench.folder / "out"

    def calls(settings: EvaluateSettings = PLAIN) -> tuple[float, int, int]:
        assert find_evaluation(cohort, bench.predictions, out, settings) is None
        evaluation = evaluate_cohort(cohort, bench.predictions, out, settings)
        point = find_evaluation(cohort, bench.predictions, out, settings)["operating_point"]
        assert point == evaluation.metrics["operating_point"]
        assert evaluation.figures.estimates["slide_specificity"].value == (
            1 - point["normal_slides_called"] / 4
        )
        return point["threshold"], point["tumor_slides_called"], point["normal_slides_called"]

    assert calls() == (0.5, 3, 3)
    CHOSEN.save(bench.predictions / COPY)
    assert calls() == (0.71, 3, 0)
    assert "by hand" in bench.html()
    assert calls(PLAIN.model_copy(update={"slide_threshold": 0.85})) == (0.85, 1, 0)


@pytest.mark.parametrize("text", ["", "{}", '{"value": "x", "origin": ""}', '{"value": 1.5}'])
def test_a_damaged_copy_is_refused_by_name(bench: Bench, text):
    cohort = fill(bench, split="test")
    (bench.predictions / COPY).write_text(text)
    with pytest.raises(ScoreError, match=COPY):
        evaluate_cohort(cohort, bench.predictions, bench.folder / "out", PLAIN)


def test_models_are_compared_each_at_its_own_threshold(bench: Bench):
    first, second = bench.predictions, bench.folder / "second"
    cohort = fill(bench, split="test")
    CHOSEN.save(first / COPY)
    second.mkdir()
    bench.predictions = second
    for name, p in SCORES.items():
        bench.predict(name, probability=np.full((11, 15), p / 2, np.float32))
    CHOSEN.model_copy(update={"value": 0.2}).save(second / COPY)
    settings = PLAIN.model_copy(update={"resamples": 20})
    (found,) = compare_cohort(cohort, [first, second], bench.folder / "out", settings)
    specificity = found.differences["slide_specificity"]
    assert (specificity.first.value, specificity.second.value) == (1.0, 0.25)
    written = json.loads((bench.folder / "out" / "comparison.json").read_text())
    assert {n: one["value"] for n, one in written["operating_points"].items()} == {
        "predictions": 0.71,
        "second": 0.2,
    }
    told = settings.model_copy(update={"slide_threshold": 0.5})
    (found,) = compare_cohort(cohort, [first, second], Path(bench.folder / "told"), told)
    specificity = found.differences["slide_specificity"]
    assert (specificity.first.value, specificity.second.value) == (0.25, 1.0)
