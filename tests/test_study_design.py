"""Splits by patient, and samples of labels."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gigaslide.cohort import CohortSlide
from gigaslide.storage import SettingsError
from gigaslide.study import LabelsSettings, NoiseSettings, SizeSettings, plan_study
from gigaslide.study.cell import Cell, draw_sample
from gigaslide.study.data import StudyData
from gigaslide.study.splits import Split, load_splits, make_splits, save_splits
from pydantic import ValidationError
from study_cohorts import make_cohort, write_features


def rows(*patients: tuple[str, str, int]):
    """Slides of patients: (name, label or "both", slides)."""
    listed = []
    for patient, label, count in patients:
        for number in range(count):
            own = ("tumor", "normal")[number % 2] if label == "both" else label
            name = f"{patient}_{number}"
            listed.append(CohortSlide(id=name, path=Path(name), label=own, patient=patient))
    return listed


MIXED = rows(
    *((f"t{n}", "tumor", 1 + n % 4) for n in range(9)),
    *((f"n{n}", "normal", 2) for n in range(4)),
    ("b0", "both", 6),
    ("b1", "both", 3),
)


def test_every_slide_is_tested_once_a_repeat_and_patients_stay_whole():
    splits = make_splits(MIXED, folds=5, repeats=3, seed=4)
    assert len(splits) == 15
    for repeat in range(3):
        mine = [split for split in splits if split.repeat == repeat]
        assert Counter(s for split in mine for s in split.test) == Counter(r.id for r in MIXED)
    for split in splits:
        assert sorted((*split.train, *split.test)) == sorted(row.id for row in MIXED)
        assert not {s.split("_")[0] for s in split.train} & {s.split("_")[0] for s in split.test}
    assert len({split.test for split in splits}) > 10  # repeats differ
    assert splits == make_splits(MIXED, folds=5, repeats=3, seed=4)
    assert splits != make_splits(MIXED, folds=5, repeats=3, seed=5)


def test_the_rarer_class_is_spread_over_the_folds():
    for seed in range(5):
        splits = make_splits(MIXED, folds=6, repeats=1, seed=seed)  # six patients have normal ones
        labels = {row.id: row.label for row in MIXED}
        for split in splits:
            assert len({s.split("_")[0] for s in split.test if labels[s] == "normal"}) == 1


def test_patients_are_the_same_in_any_case_and_slides_without_one_stand_alone():
    slides = rows(("a", "tumor", 4), ("n", "normal", 4), ("c", "both", 4))
    slides = [
        replace(s, patient=s.patient.upper() if k % 2 else s.patient) for k, s in enumerate(slides)
    ]
    for split in make_splits(slides, folds=3, repeats=1, seed=0):
        assert len({s.split("_")[0] for s in split.test}) == 1
    alone = [replace(s, patient="") for s in slides]
    assert {len(s.test) for s in make_splits(alone, folds=12, repeats=1, seed=0)} == {1}


def test_one_fold_takes_the_split_of_the_cohort(tmp_path):
    cohort = make_cohort(tmp_path)
    (split,) = make_splits(list(cohort), folds=1, repeats=1, seed=0)
    assert split.test == tuple(slide.id for slide in cohort if slide.split == "test")
    without = [replace(slide, split="") for slide in cohort]
    with pytest.raises(SettingsError, match=r"--folds 1 .*column split"):
        make_splits(without, folds=1, repeats=1, seed=0)


def test_splits_that_cannot_be_trained_on_are_refused():
    with pytest.raises(SettingsError, match=r"2 patients .* 3 folds"):
        make_splits(rows(("t", "tumor", 3), ("n", "normal", 3)), folds=3, repeats=1, seed=0)
    with pytest.raises(SettingsError, match="no normal slide to train on"):
        make_splits(
            rows(("t", "tumor", 3), ("u", "tumor", 3), ("n", "normal", 3)),
            folds=2,
            repeats=1,
            seed=0,
        )


def test_splits_are_saved_and_never_changed(tmp_path):
    splits = make_splits(MIXED, folds=3, repeats=2, seed=0)
    save_splits(splits, MIXED, tmp_path)
    assert load_splits(tmp_path) == splits
    save_splits(splits, MIXED, tmp_path)
    with pytest.raises(SettingsError, match="other splits"):
        save_splits(make_splits(MIXED, folds=3, repeats=2, seed=1), MIXED, tmp_path)


def data_of(tumor: int, normal: int, windows: int = 10) -> tuple[StudyData, Split]:
    """Slides of which all train; tumour slides have three tumour windows and one unknown."""
    is_tumor = np.arange(tumor + normal) < tumor
    truths = []
    for has_tumor in is_tumor:
        truth = np.zeros(windows, np.int8)
        if has_tumor:
            truth[:3], truth[3] = 1, -1
        truths.append(truth)
    ids = tuple(f"s{n:02}" for n in range(len(is_tumor)))
    data = StudyData(
        ids=ids,
        patients=ids,
        is_tumor=is_tumor,
        windows=tuple(truths),
        encoder="e",
        contents={"": "c"},
    )
    return data, Split(repeat=0, fold=0, train=ids, test=())


def sample_of(axes: dict, data, split, *, seed: int = 0):
    cell = Cell(axes=tuple(axes.items()), repeat=0, fold=0, seed=seed)
    return draw_sample(cell, split, data, seed=0)


def test_a_sample_has_the_share_of_positives_of_all_labels():
    data, split = data_of(36, 14)  # p/(p + n) is 0.72; the slip p/n would be 2.57
    for size, positives in ((12, 9), (25, 18), (49, 35), (2, 1)):
        sample = sample_of({"learner": "weak", "labels": size}, data, split)
        assert (sample.count, sample.positives) == (size, positives)
        assert data.is_tumor[list(sample.slides)].sum() == positives
    everything = sample_of({"learner": "weak", "labels": "all"}, data, split)
    assert everything.slides == tuple(range(50))
    np.testing.assert_array_equal(everything.labels, data.is_tumor)


def test_window_labels_are_drawn_among_the_known_ones():
    data, split = data_of(10, 5)
    known = 10 * 9 + 5 * 10
    sample = sample_of({"learner": "strong", "labels": 28}, data, split)
    assert (sample.count, sample.positives) == (28, round(28 * 30 / known))
    assert len(sample.labels) == 10 * len(sample.slides)
    truth = np.concatenate([data.windows[index] for index in sample.slides])
    given = sample.labels != -1
    np.testing.assert_array_equal(sample.labels[given], truth[given])
    assert sample_of({"learner": "strong", "labels": "all"}, data, split).count == known


def test_larger_samples_of_a_seed_contain_smaller_ones_and_seeds_differ():
    data, split = data_of(20, 12)
    found = [set(sample_of({"learner": "weak", "labels": m}, data, split).slides) for m in (6, 12)]
    assert found[0] < found[1]
    others = sample_of({"learner": "weak", "labels": 6}, data, split, seed=1)
    assert found[0] != set(others.slides)


def test_both_learners_get_the_same_slides_of_a_size():
    data, split = data_of(20, 12)
    weak, strong = (
        sample_of({"learner": learner, "slides": 8}, data, split) for learner in ("weak", "strong")
    )
    assert weak.slides == strong.slides
    assert strong.count == 5 * 9 + 3 * 10


@pytest.mark.parametrize("learner", ["weak", "strong"])
def test_a_share_of_the_labels_is_made_wrong(learner):
    data, split = data_of(20, 12)
    clean = sample_of({"learner": learner, "flipped": 0.0}, data, split)
    assert clean.flipped == 0
    noisy = sample_of({"learner": learner, "flipped": 0.25}, data, split)
    assert noisy.flipped == round(0.25 * clean.count)
    assert (noisy.labels != clean.labels).sum() == noisy.flipped
    assert set(noisy.labels[noisy.labels >= 0].tolist()) == {0, 1}
    assert noisy.positives == clean.positives  # the truth did not change


def test_labels_of_one_class_are_flipped_too_for_the_training_to_refuse():
    data, split = data_of(6, 4)
    data = replace(data, windows=tuple(np.zeros(5, np.int8) for _ in range(10)))
    sample = sample_of({"learner": "strong", "flipped": 0.2}, data, split)
    assert (sample.count, sample.positives, sample.flipped) == (50, 0, 10)


def test_sizes_double_up_to_all_and_small_ones_have_more_draws(tmp_path):
    cohort = make_cohort(tmp_path, patients=32)
    settings = LabelsSettings(features=tmp_path / "features", folds=4, seeds=2, draws=3)
    plan = plan_study(cohort, settings)
    sizes = [point[1][1] for point in plan.design.points if point[0][1] == "weak"]
    assert sizes == [6, 12, 24, "all"]
    assert [plan.design.seeds[p] for p in plan.design.points[:4]] == [3, 3, 2, 2]
    assert (
        len(plan.cells)
        == len({cell.id for cell in plan.cells})
        == 4 * sum(plan.design.seeds.values())
    )


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="ascend"):
        SizeSettings(slides=(12, 6))
    with pytest.raises(ValidationError, match="ascend"):
        LabelsSettings(weak_labels=(1,))
    with pytest.raises(ValidationError, match="shares must ascend"):
        NoiseSettings(flipped=(0.7,))
    with pytest.raises(ValidationError, match="repeats need folds"):
        SizeSettings(folds=1, repeats=2)


def test_slides_that_cannot_be_used_are_told_and_left_out(tmp_path, caplog):
    cohort = make_cohort(tmp_path)
    slides = [replace(cohort.slides[0], label=""), *cohort.slides[1:]]
    (tmp_path / "features" / "s01.zarr" / "zarr.json").unlink()
    (tmp_path / "tumor.geojson").rename(tmp_path / "elsewhere.geojson")
    slides[4] = replace(slides[4], annotation=tmp_path / "gone.geojson")
    slides = [
        replace(s, annotation=tmp_path / "elsewhere.geojson")
        if s.annotation and s.annotation.name == "tumor.geojson"
        else s
        for s in slides
    ]
    plan = plan_study(
        replace(cohort, slides=tuple(slides)), SizeSettings(features=tmp_path / "features")
    )
    assert {"s00", "s01", "s04"} == {s.id for s in cohort} - set(plan.data.ids)
    for words in ("s00: no label", "s01: no features", "s04: left out"):
        assert words in caplog.text


def test_a_tumour_slide_without_outline_gives_a_slide_label_only(tmp_path):
    cohort = make_cohort(tmp_path)
    slides = (replace(cohort.slides[0], annotation=None), *cohort.slides[1:])
    data = plan_study(
        replace(cohort, slides=slides), SizeSettings(features=tmp_path / "features")
    ).data
    assert set(data.windows[0].tolist()) == {-1}
    assert set(data.windows[1].tolist()) == {0, 1}  # the same patient's other slide
    assert data.windows[1].sum() == 6


def test_features_of_several_scales_are_refused(tmp_path):
    cohort = make_cohort(tmp_path)
    write_features(tmp_path, "s03", is_tumor=False, seed=3, mpp=2.0)
    with pytest.raises(SettingsError, match=r"2 encoders or scales.*2 µm/px \(s03\)"):
        plan_study(cohort, SizeSettings(features=tmp_path / "features"))
    with pytest.raises(SettingsError, match="--features"):
        plan_study(cohort, SizeSettings())
    with pytest.raises(SettingsError, match="no labelled slide"):
        plan_study(cohort, SizeSettings(features=tmp_path))


def test_encoders_of_one_name_are_told_apart_by_their_hashes(tmp_path):
    cohort = make_cohort(tmp_path)
    write_features(tmp_path, "s03", is_tumor=False, seed=3, encoder_hash="f" * 64)
    with pytest.raises(
        SettingsError, match=r"made abc, 4 features.*made ffffffffffff, 4 .*\(s03\)"
    ):
        plan_study(cohort, SizeSettings(features=tmp_path / "features"))


def test_an_encoder_that_learnt_from_test_patients_is_refused(tmp_path):
    cohort = make_cohort(tmp_path)
    for number, slide in enumerate(cohort):  # it learnt from the other slide of the patient too
        card = {"name": "leaky", "training_slides": ["s02"]}
        write_features(
            tmp_path, slide.id, is_tumor=slide.label == "tumor", seed=number, encoder_card=card
        )
    settings = SizeSettings(features=tmp_path / "features", folds=3)
    with pytest.raises(SettingsError, match=r"leaky learnt from 1 of the test patients.*p01"):
        plan_study(cohort, settings)
    for number, slide in enumerate(cohort):
        card = {"training_slides": ["s02"]}
        write_features(
            tmp_path, slide.id, is_tumor=slide.label == "tumor", seed=number, encoder_card=card
        )
    with pytest.raises(SettingsError, match="the encoder learnt from 1"):
        plan_study(cohort, settings)
    # Where the patient only trains, the encoder may know it.
    assert plan_study(cohort, settings.model_copy(update={"folds": 1})).splits
