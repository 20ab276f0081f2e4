"""A whole evaluation of made-up slides: counted again from its tables, and turned over."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from gigaslide.eval import CLASSES, EvaluateSettings, SlideTruth, evaluate
from shapely.geometry import box

SIZE, MPP = (30_000, 20_000), 0.25
SETTINGS = EvaluateSettings(resamples=40, split="", slide_threshold=0.6, official=True)


def made(seed: int) -> tuple[pd.DataFrame, dict[str, SlideTruth]]:
    """Fourteen slides of six patients, lesions from isolated cells to macrometastases;
    probabilities in tenths."""
    rng, truth, rows = np.random.default_rng(seed), {}, []
    for index in range(14):
        boxes = []
        for _ in range(int(rng.integers(1, 4)) if index % 2 else 0):
            side = float(rng.choice([300, 1500, 9000])) * rng.uniform(0.8, 1)
            x, y = rng.uniform((500, 500), (SIZE[0] - 10_000, SIZE[1] - 10_000))
            boxes.append(box(x, y, x + side, y + side / 2))
        for one in boxes:
            if rng.uniform() < 0.7:
                rows.append((f"s{index}", one.centroid.x, one.centroid.y, rng.integers(1, 10) / 10))
        for _ in range(int(rng.integers(0, 4))):
            rows.append(
                (f"s{index}", *rng.uniform((0, 0), SIZE).tolist(), rng.integers(1, 10) / 10)
            )
        truth[f"s{index}"] = SlideTruth(
            size=SIZE, mpp=MPP, tumor=boxes or None, patient=f"p{index // 3}"
        )
    return pd.DataFrame(rows, columns=["slide", "x", "y", "probability"]), truth


@pytest.mark.parametrize("seed", range(3))
def test_counts_by_size_are_those_of_the_tables_counted_one_by_one(seed):
    table, truth = made(seed)
    report = evaluate(table, truth, SETTINGS)
    counts = {size: [0, 0, 0] for size in ("itc", "micro", "macro")}
    largest = dict.fromkeys(truth, 0)
    for lesion in report.tables["lesions"].to_dict("records"):
        longest = lesion["longest_axis_um"]
        size = "itc" if longest < 275 else "macro" if longest - 75 > 2000 else "micro"
        assert lesion["size"] == size
        assert (lesion["kind"] == "itc") == (size == "itc")
        counts[size][0] += 1
        counts[size][1] += not np.isnan(lesion["best_probability"])
        counts[size][2] += lesion["best_probability"] >= 0.6
        largest[lesion["slide"]] = max(largest[lesion["slide"]], CLASSES.index(size))
    sizes = report.figures.sizes
    assert {size: list(found) for size, found in sizes.lesions.items()} == counts
    assert sum(counts["macro"]) > 0
    expected = np.zeros((4, 2), int)
    for name in truth:
        expected[
            largest[name], int((table[table["slide"] == name]["probability"] >= 0.6).any())
        ] += 1
    assert sizes.slides.tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_slides_and_detections_changes_no_figure_and_no_interval(seed):
    table, truth = made(seed)
    one = evaluate(table, truth, SETTINGS)
    turned = dict(reversed(truth.items()))
    other = evaluate(table.sample(frac=1, random_state=seed), turned, SETTINGS)
    assert list(one.figures.estimates) == list(other.figures.estimates)
    for name, estimate in one.figures.estimates.items():
        assert asdict(other.figures.estimates[name]) == pytest.approx(
            asdict(estimate), nan_ok=True
        ), name
    assert {name for name, one in one.figures.estimates.items() if one.low is not None} >= {
        "slide_auc",
        "froc_gigaslide",
    }
    for name, program in one.official.programs.items():
        assert program.score.low is not None
        twin = other.official.programs[name]
        assert asdict(twin.score) == pytest.approx(asdict(program.score)), name


def test_a_slide_without_lesions_or_detections_counts_in_every_denominator():
    table, truth = made(0)
    more = {**truth, "empty": SlideTruth(size=SIZE, mpp=MPP)}
    rates = tuple(rate * len(truth) / len(more) for rate in SETTINGS.false_positives_per_slide)
    before = evaluate(table, truth, SETTINGS)
    after = evaluate(table, more, SETTINGS.model_copy(update={"false_positives_per_slide": rates}))
    pairs = [(before.froc.curve, after.froc.curve)]
    for name, program in before.official.programs.items():
        pairs.append((program.curve, after.official.programs[name].curve))
    for one, other in pairs:
        assert other.false_positives * 15 == pytest.approx(one.false_positives * 14)
        assert other.at_rates == pytest.approx(one.at_rates)
