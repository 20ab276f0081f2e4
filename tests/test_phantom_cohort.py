"""Plans of phantom cohorts."""

from collections import Counter

import pytest
from gigaslide.cohort import Cohort
from gigaslide.phantom import (
    GRADES,
    PhantomSettings,
    make_cohort,
    plan_cohort,
    write_cohort,
)
from phantom_plans import planned
from pydantic import ValidationError


def test_patients_keep_to_one_split_and_every_split_has_both_labels():
    plans = plan_cohort(PhantomSettings(slides=24))
    assert len({plan.slide_id for plan in plans}) == 24
    for patient in {plan.patient for plan in plans}:
        assert len({(plan.split, plan.label) for plan in plans if plan.patient == patient}) == 1
    counts = {
        split: sum(plan.split == split for plan in plans)
        for split in ("train", "validation", "test")
    }
    assert counts == {"train": 12, "validation": 4, "test": 8}
    for split in counts:
        assert {plan.label for plan in plans if plan.split == split} == {"tumor", "normal"}


@pytest.mark.parametrize("slides", [1, 2, 7, 12, 61])
def test_any_number_of_slides_can_be_planned(slides):
    plans = plan_cohort(PhantomSettings(slides=slides, tumor_share=0.3))
    assert [plan.index for plan in plans] == list(range(slides))
    assert sum(plan.label == "tumor" for plan in plans) == round(0.3 * slides)


def test_cohort_is_kept_until_its_recipe_changes(tmp_path):
    settings = PhantomSettings(slides=2, size_px=300, slides_per_patient=1, seed=2)
    seen: list[str] = []
    table = make_cohort(tmp_path, settings, on_slide=seen.append)
    assert seen == ["phantom_001", "phantom_002"]
    cohort = Cohort.load(table)
    assert {slide.label: slide.annotation is not None for slide in cohort} == {
        "tumor": True,
        "normal": False,
    }
    assert all(slide.path.exists() for slide in cohort)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    make_cohort(tmp_path, settings)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    make_cohort(tmp_path, settings.model_copy(update={"jpeg_quality": 60}))
    assert all(path.stat().st_mtime_ns > made for path, made in before.items())
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"slides": 0},
        {"tile_px": 100},
        {"tumor_share": 1.5},
        {"mpp": 0},
        {"size": 3},
        {"size_px": 10},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        PhantomSettings(**wrong)


def test_graded_slides_step_through_the_grades_with_and_without_tumour(tmp_path):
    plans = plan_cohort(PhantomSettings(slides=36, difficulty="graded"))
    for label in ("tumor", "normal"):
        counts = Counter(plan.grade for plan in plans if plan.label == label)
        assert counts == dict.fromkeys(GRADES, 3)
    table = write_cohort(plans, tmp_path)
    graded = {row.id: row.column("difficulty") for row in Cohort.load(table)}
    assert graded == {plan.slide_id: plan.grade for plan in plans}
    assert {plan.grade for plan in plan_cohort(PhantomSettings(difficulty="faint"))} == {"faint"}


def test_plain_slides_are_those_made_before_there_were_grades(tmp_path):
    plans = plan_cohort(PhantomSettings(slides=4))
    assert not any("grade" in plan.as_settings() for plan in plans)
    assert "difficulty" not in write_cohort(plans, tmp_path).read_text()
    assert planned(grade="hard").as_settings()["grade"] == "hard"
