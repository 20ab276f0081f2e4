"""`gigaslide demo` as a user types it."""

from pathlib import Path

import pytest
from command_lines import GOOD, write_cohort
from gigaslide.batch import BatchSummary, SlideOutcome
from gigaslide.cli import main
from gigaslide.cli.commands.demo import demo_settings
from gigaslide.cli.stages.run_settings import check_cohort
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.phantom import plan_cohort


@pytest.mark.parametrize("quick", [False, True])
def test_the_demo_keeps_the_papers_sizes_and_one_seed(quick):
    phantoms, plan = demo_settings(5, quick=quick)
    assert (plan.tile.patch_px, plan.tile.centre_px, plan.tile.mpp) == (139, 64, phantoms.mpp)
    assert {phantoms.seed, plan.tile.seed, plan.train.seed, plan.evaluate.seed} == {5}
    rows = [
        CohortSlide(
            id=p.id, path=Path(f"{p.id}.tif"), label=p.label, patient=p.patient, split=p.split
        )
        for p in plan_cohort(phantoms)
    ]
    check_cohort(Cohort.of_rows(rows), plan)


def test_a_phantom_that_failed_counts_in_the_demo(tmp_path, monkeypatch):
    summary = BatchSummary(
        outcomes=(
            SlideOutcome(slide="p", status="done"),
            SlideOutcome(slide="q", status="failed", reason="disk"),
        )
    )
    cohort = write_cohort(tmp_path, GOOD)
    monkeypatch.setattr("gigaslide.cli.commands.demo.phantom_stage", lambda *_: (cohort, summary))
    monkeypatch.setattr("gigaslide.cli.commands.demo.run_stages", lambda *_: 0)
    assert main(["demo", str(tmp_path / "out")]) == 2
