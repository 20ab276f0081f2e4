"""Slide scores: operating points, precision and recall, calibration, sizes and stages, each against
a slow twin."""

import numpy as np
import pytest
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    CLASSES,
    STAGES,
    EvaluateSettings,
    Ranking,
    Resampling,
    SlideResult,
    SlideStatus,
    calibration_curve,
    patient_stage,
    weighted_kappa,
)
from gigaslide.eval.pn_stage import PatientStages, is_asked, predict_class
from gigaslide.wsi import CellStatus, Heatmap
from predictions import IN_LESION, ITC, LESION, Bench
from sklearn.metrics import average_precision_score, brier_score_loss, cohen_kappa_score

SEEDS = range(4)


def random_slides(seed: int, count: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores in tenths, truth, and weights of which some are 0."""
    rng = np.random.default_rng(seed)
    is_tumor = rng.uniform(size=count) < 0.4
    is_tumor[:2] = [True, False]
    weights = rng.integers(0, 3, (15, count))
    weights[0] = 1
    return np.round(rng.uniform(size=count), 1), is_tumor, weights


def lay_out(weights: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Drawn slides end to end."""
    return [np.repeat(column, weights) for column in columns]


@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_and_brier_score_are_scikit_learns_for_every_draw(seed):
    scores, is_tumor, weights = random_slides(seed)
    ranking = Ranking.of(scores, is_tumor)
    for row, precision, brier in zip(
        weights, ranking.average_precision(weights), ranking.brier(weights), strict=True
    ):
        drawn, truth = lay_out(row, scores, is_tumor)
        assert precision == pytest.approx(average_precision_score(truth, drawn))
        assert brier == pytest.approx(brier_score_loss(truth, drawn))


@pytest.mark.parametrize("seed", SEEDS)
def test_operating_points_are_the_best_of_every_threshold_tried(seed):
    scores, is_tumor, weights = random_slides(seed)
    ranking = Ranking.of(scores, is_tumor)
    at = [ranking.sensitivity_at(0.8, weights), ranking.specificity_at(0.7, weights)]
    from_threshold = ranking.rates_from(0.5, weights)
    for index, row in enumerate(weights):
        drawn, truth = (column.tolist() for column in lay_out(row, scores, is_tumor))
        points = []
        for threshold in [*drawn, 0.5, 2.0]:
            found = sum(t and s >= threshold for s, t in zip(drawn, truth, strict=True)) / sum(
                truth
            )
            spared = sum(not t and s < threshold for s, t in zip(drawn, truth, strict=True)) / (
                len(truth) - sum(truth)
            )
            points.append((found, spared))
            if threshold == 0.5:
                assert (from_threshold[0][index], from_threshold[1][index]) == pytest.approx(
                    (found, spared)
                )
        assert at[0][index] == pytest.approx(
            max(found for found, spared in points if spared >= 0.8 - 1e-9)
        )
        assert at[1][index] == pytest.approx(
            max(spared for found, spared in points if found >= 0.7 - 1e-9)
        )


def test_fault_47_draws_of_one_class_have_no_figures():
    ranking = Ranking.of(np.array([0.2, 0.6, 0.9]), np.array([False, True, True]))
    only_tumor = np.array([[0, 1, 2]])
    only_normal = np.array([[2, 0, 0]])
    assert np.isnan(ranking.average_precision(only_normal)).all()
    for weights in (only_tumor, only_normal):
        assert np.isnan(ranking.sensitivity_at(0.9, weights)).all()
        assert np.isnan(ranking.specificity_at(0.9, weights)).all()
    assert ranking.rates_from(0.5, only_tumor)[0].tolist() == [1]


def test_calibration_bins_by_hand():
    scores, truth = (
        np.array([0.0, 0.05, 0.3, 0.31, 0.39, 1.0, 0.95]),
        np.array([0, 1, 0, 0, 1, 1, 1], bool),
    )
    got = calibration_curve(scores, truth, bins=5, confidence=0.95)
    assert got.count.tolist() == [2, 3, 0, 0, 2]  # 1.0 is in the last
    assert got.mean_score[[0, 1, 4]] == pytest.approx([0.025, 1 / 3, 0.975])
    assert got.tumor_share[[0, 1, 4]] == pytest.approx([0.5, 1 / 3, 1.0])
    assert np.isnan(got.tumor_share[2:4]).all()
    assert got.brier == pytest.approx(brier_score_loss(truth, scores))
    assert got.expected_error == pytest.approx((2 * 0.475 + 0 + 2 * 0.025) / 7)
    # Wilson's interval of 1 of 3, from his formula with z = 1.96.
    assert (got.low[1], got.high[1]) == pytest.approx((0.0615, 0.7923), abs=1e-3)


@pytest.mark.parametrize(
    ("classes", "stage"),
    [
        (["negative"] * 5, "pN0"),
        (["negative", "itc", "itc", "itc", "itc"], "pN0(i+)"),
        (["micro", "itc", "negative", "negative", "negative"], "pN1mi"),
        (["micro"] * 5, "pN1mi"),
        (["macro", "negative", "negative", "negative", "itc"], "pN1"),
        (["macro", "micro", "micro", "itc", "itc"], "pN1"),
        (["macro", "micro", "micro", "micro", "negative"], "pN2"),
        (["macro"] * 5, "pN2"),
    ],
)
def test_stages_of_patients(classes, stage):
    assert patient_stage(classes) == stage


def stages_of(patients, true, predicted, **changes) -> PatientStages:
    """An empty predicted class is unknown."""
    results = [
        SlideResult(
            slide=CohortSlide(
                id=str(i),
                path=None,
                label="normal" if one == "negative" else "tumor",
                patient=patient,
                further=(("stage", one),),
            ),
            status=SlideStatus.EVALUATED,
        )
        for i, (patient, one) in enumerate(zip(patients, true, strict=True))
    ]
    known = {str(i): one for i, one in enumerate(predicted) if one}
    return PatientStages.evaluate(results, known, EvaluateSettings(resamples=200, **changes))


@pytest.mark.parametrize("seed", SEEDS)
def test_kappa_and_its_interval_are_scikit_learns_over_drawn_patients(seed):
    rng = np.random.default_rng(seed)
    patients = [f"p{i // 3:02}" for i in range(36)]
    true, predicted = (rng.choice(CLASSES, 36, p=[0.4, 0.2, 0.2, 0.2]).tolist() for _ in range(2))
    predicted = [t if rng.uniform() < 0.5 else p for t, p in zip(true, predicted, strict=True)]
    got = stages_of(patients, true, predicted, seed=seed)
    sides = [
        [STAGES.index(patient_stage(side[3 * i : 3 * i + 3])) for i in range(12)]
        for side in (true, predicted)
    ]
    assert [got.true.tolist(), got.predicted.tolist()] == sides
    has_tumor = [set(true[3 * i : 3 * i + 3]) != {"negative"} for i in range(12)]
    drawn = Resampling.draw(
        patients[::3], patients[::3], np.array(has_tumor), resamples=200, seed=seed
    ).weights
    kappas = []
    for times in [np.ones(12, int), *drawn]:
        one, two = (np.repeat(side, times) for side in sides)
        if len({*one, *two}) > 1:
            kappas.append(cohen_kappa_score(one, two, labels=range(5), weights="quadratic"))
    assert got.kappa.value == pytest.approx(kappas[0])
    ends = np.quantile(kappas[1:], [0.025, 0.975])
    assert (got.kappa.low, got.kappa.high) == pytest.approx(ends)


def test_kappa_is_not_defined_where_all_are_one_stage():
    table = np.zeros((1, 5, 5))
    table[0, 2, 2] = 7
    assert np.isnan(weighted_kappa(table)).all()
    got = stages_of(["p", "q"], ["micro", "micro"], ["micro", "micro"])
    assert "one stage" in got.kappa.undefined
    assert "no patients" in stages_of([""], ["micro"], ["micro"]).kappa.undefined


def test_patients_with_an_unknown_class_are_left_out_and_counted():
    true = ["macro", "itc", "micro", "micro", "itc"]
    got = stages_of(["p", "p", "q", "", "r"], true, ["itc", "itc", "", "itc", "itc"])
    assert (got.patient, [one.name for one in got.exclusions]) == (("p", "r"), ["q"])


@pytest.mark.parametrize(
    ("patients", "stage", "asked", "is_run"),
    [
        (("p", "p", "q"), "micro", None, True),
        (("p", "p", "q"), "", None, False),  # no classes in the cohort
        (("p", "r", "q"), "micro", None, False),  # one slide each
        (("p", "p", "q"), "micro", False, False),
        (("p", "r", "q"), "", True, True),
    ],
)
def test_stages_are_computed_when_asked_for_or_where_the_cohort_has_nodes_and_their_classes(
    patients, stage, asked, is_run
):
    slides = [
        CohortSlide(id=str(i), path=None, patient=patient, further=(("stage", stage),))
        for i, patient in enumerate(patients)
    ]
    assert is_asked(slides, EvaluateSettings(pn_stages=asked)) == is_run


def hot(cells: list[tuple[int, int]], *, stride: float = 128.0, mpp: float = 0.25) -> Heatmap:
    status = np.full((60, 90), CellStatus.SCORED, np.uint8)
    probability = np.full((60, 90), 0.2, np.float32)
    for cell in cells:
        probability[cell] = 0.5
    return Heatmap(
        slide="s",
        probability=probability,
        status=status,
        origin_level0=(0.0, 0.0),
        stride_level0=stride,
        centre_level0=stride,
        centre_px=128,
        slide_size=(11520, 7680),
        slide_mpp=mpp,
        model_hash="",
    )


@pytest.mark.parametrize(
    ("cells", "size"),
    [
        ([], "negative"),
        ([(5, 5)], "itc"),
        ([(5, 5 + i) for i in range(5)], "itc"),  # 160 µm: 4 √(25 / 12) cells of 32 µm are 185 µm
        ([(5, 5 + i) for i in range(6)], "micro"),
        ([(5 + i, 5 + i) for i in range(5)], "micro"),  # 8-connected, and longer on the slant
        ([(5, 5 + 2 * i) for i in range(30)], "itc"),  # apart
        ([(3, 2 + i) for i in range(54)], "micro"),
        ([(2 + i, 3) for i in range(55)], "macro"),  # 55 × 32 × 1.1547 µm
    ],
)
def test_size_of_the_largest_predicted_lesion(cells, size):
    assert predict_class(hot(cells), threshold=0.5) == size
    assert predict_class(hot(cells), threshold=0.51) == "negative"


def test_sizes_and_stages_of_a_cohort_are_counted(bench: Bench):
    bench.slide("t", "tumor", tumor=(LESION, ITC), patient="p")
    bench.predict("t", hot=IN_LESION, points=[(600, 200, 0.4), (115, 535, 0.8)])
    bench.slide("n", "normal", patient="p")
    bench.predict("n")
    bench.slide("i", "tumor", tumor=(ITC,), patient="q")
    bench.predict("i", hot=[(8, 1), (8, 2)])
    settings = EvaluateSettings(resamples=50, picture_px=100, pn_stages=True)
    got = bench.evaluate(settings)
    sizes = got.figures.sizes
    assert sizes.lesions == {"itc": (2, 1, 1), "micro": (1, 1, 0), "macro": (0, 0, 0)}
    assert sizes.slides.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]
    expected = np.zeros((4, 4), int)
    for true, predicted in (("micro", "micro"), ("negative", "negative"), ("itc", "micro")):
        expected[CLASSES.index(true), CLASSES.index(predicted)] += 1
    assert got.stages.classes.tolist() == expected.tolist()
    patients = bench.table("patients").set_index("patient")
    assert patients.loc["p"].tolist() == ["pN1mi", "pN1mi"]
    assert patients.loc["q"].tolist() == ["pN0(i+)", "pN1mi"]
    metrics = bench.metrics()
    assert metrics["pn_stages"]["kappa"]["value"] == pytest.approx(
        cohen_kappa_score([2, 1], [2, 2], labels=range(5), weights="quadratic")
    )
    assert metrics["figures"]["slide_sensitivity"]["value"] == 1
    assert metrics["calibration"]["slide"]["bins"]["count"] == [
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        2,
        0,
    ]  # 0.9 as float32
    table = bench.table("figures").set_index("figure")["value"]
    also = {
        "stage_kappa": metrics["pn_stages"]["kappa"]["value"],
        "patch_average_precision": metrics["patch_average_precision"],
        "slide_expected_calibration_error": metrics["calibration"]["slide"]["expected_error"],
        "patch_expected_calibration_error": metrics["calibration"]["patch"]["expected_error"],
    }
    assert set(table.index) == set(metrics["figures"]) | set(also)
    for name, value in also.items():
        assert table[name] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def test_a_stage_column_goes_before_what_is_outlined(bench: Bench):
    bench.slide("t", "tumor", tumor=(LESION,), patient="p", further=(("stage", "Macro"),))
    bench.predict("t")
    assert (
        bench.evaluate(EvaluateSettings(resamples=0, picture_px=100)).results[0].true_class
        == "macro"
    )
