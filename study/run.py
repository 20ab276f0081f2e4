"""A study from its settings to its page: splits, cells, tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..batch import (
    JOURNAL,
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    open_run_folder,
    read_failures,
    run_slides,
)
from ..cohort import Cohort, CohortSlide
from ..inference import refuse_encoder_patients
from ..storage import LOCK, SettingsError, refuse_foreign_folder, write_file
from .cell import Cell
from .data import FoundSlides, StudyData
from .design import Design, Point
from .features.work import Train, train_bags
from .findings import Findings, find
from .kind import Study, WorkPlace
from .page import PAGE, study_html
from .settings import StudySettings
from .settings_file import STUDY, load_settings, save_settings
from .splits import SPLITS, Split, load_splits, make_splits, save_splits
from .studies import STUDIES, find_study
from .tables import comparisons_table, points_table, results_table
from .work import CellResult, StudyWork, load_cell

__all__ = ["Plan", "StudyReport", "plan_study", "run_study", "show_study"]

BEGUN = (JOURNAL, LOCK, f".{SPLITS}.")
"""Beginnings of the names of what a run writes before splits.csv."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a study: the cells that it would train."""

    settings: StudySettings
    source: str
    """Cohort file."""
    found: FoundSlides
    splits: tuple[Split, ...]
    design: Design

    @property
    def study(self) -> Study[Any]:
        return find_study(self.settings)

    @property
    def data(self) -> StudyData:
        return self.found.data

    @property
    def slides(self) -> Sequence[CohortSlide]:
        return self.found.slides

    @property
    def cells(self) -> list[Cell]:
        return self.design.cells(self.splits)


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """A study that was run or shown."""

    design: Design
    findings: Findings
    settings: StudySettings
    page: Path
    summary: BatchSummary | None = None
    """Outcome of each cell; None where nothing was run."""

    @property
    def study(self) -> Study[Any]:
        return find_study(self.settings)

    @property
    def answer(self) -> str:
        """The answer in a few sentences."""
        sentences = tuple(self.study.answer(self.findings, self.settings))
        if not self.findings.resampling.is_large_enough:
            sentences = (*sentences, "There are too few patients of a class for p-values.")
        return " ".join(sentences)

    @property
    def exit_status(self) -> int:
        """0: all cells; 1: none; 2: the table has holes."""
        if not self.findings.holes:
            return 0
        return 2 if any(one.finished for one in self.findings.points) else 1


def plan_study(cohort: Cohort, settings: StudySettings) -> Plan:
    """Lay out a study; nothing is written.

    Raises:
        SettingsError: no features, a cohort that cannot be split, or an encoder or a start that
            learnt from a patient to be tested; for pictures, see `read_pictures`.
        StoreError: features that cannot be read.
    """
    study = find_study(settings)
    found = study.find_slides(cohort, settings)
    splits = make_splits(
        found.slides, folds=settings.folds, repeats=settings.repeats, seed=settings.seed
    )
    tested = {name for split in splits for name in split.test}
    for card in found.encoder_cards:
        refuse_encoder_patients(
            cohort,
            card,
            tested=[slide for slide in found.slides if slide.id in tested],
            kind=found.pretrained,
        )
    design = study.design(settings, found.data, splits)
    return Plan(
        settings=settings,
        source=str(cohort.source) if cohort.source else "cohort.csv",
        found=found,
        splits=splits,
        design=design,
    )


def estimate_seconds(
    plan: Plan, out: Path, *, learner_settings: Mapping[str, Any] | None = None
) -> tuple[float, bool]:
    """Estimate the time of the cells (s) that are not finished in an output folder, and tell
    whether it was measured on cells that are.

    A cell takes as long as the finished ones of its point. One whose point has none takes what its
    study guesses, by as much more or less as the guesses of the finished ones were wrong.
    """
    work = _make_work(out, plan.settings, train_bags, learner_settings)
    work = work.knowing(plan.found, plan.splits)
    guesses = {
        point: plan.study.guess_seconds(point, plan.settings, plan.found)
        for point in plan.design.points
    }
    taken: dict[Point, list[float]] = {}
    missing: Counter[Point] = Counter()
    for cell in plan.cells:
        state = work.output(cell).state()
        if state.is_unchanged:
            taken.setdefault(cell.axes, []).append(state.attributes["seconds"])
        else:
            missing[cell.axes] += 1
    means = {point: sum(seconds) / len(seconds) for point, seconds in taken.items()}
    factor = sum(means.values()) / sum(guesses[point] for point in means) if means else 1.0
    times = [count * means.get(point, guesses[point] * factor) for point, count in missing.items()]
    return sum(times), bool(means)


def run_study(
    plan: Plan,
    out: Path,
    batch: BatchSettings,
    *,
    train: Train = train_bags,
    learner_settings: Mapping[str, Any] | None = None,
    listener: Listener = SILENT,
) -> StudyReport:
    """Run the cells of a study that are not finished, and write its tables and its page.

    The folder holds splits.csv and truth.npz (made first), study.yaml (resolved settings), cells/,
    results.csv (a row a cell), points.csv, comparisons.csv, study.html, and the run's journal.
    train is the learner on features, learner_settings what the recipe of a cell records of it;
    default: that of the study.

    Raises:
        SettingsError: out holds something else.
        StoreError: the disk is full, or features cannot be read.
        ClusterError: another run writes into this folder, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    _refuse_foreign_folder(out)
    with open_run_folder(out, batch) as folder:
        _refuse_other_study(out, plan)
        save_splits(plan.splits, plan.slides, out)
        plan.found.save(out)
        save_settings(plan.settings, plan.study.name, plan.source, out)
        work = _make_work(out, plan.settings, train, learner_settings)
        summary = run_slides(
            work,
            plan.cells,
            batch,
            folder=folder,
            identity=work.identity,
            listener=listener,
        )
        reasons = {one.slide: one.reason for one in summary.outcomes if one.status == "failed"}
        return _report(out, plan.settings, plan.design, work, reasons=reasons, summary=summary)


def show_study(out: Path, *, learner_settings: Mapping[str, Any] | None = None) -> StudyReport:
    """Make the tables and the page of a study anew from the cells that are finished.

    Raises:
        StoreError: no study there, or a damaged one.
    """
    stated = load_settings(out)
    study = STUDIES[stated["study"]]
    settings = study.settings.model_validate(stated["settings"])
    data, splits = StudyData.load(out), load_splits(out)
    work = _make_work(out, settings, train_bags, learner_settings)
    design = study.design(settings, data, splits)
    return _report(out, settings, design, work, reasons=read_failures(out))


def _make_work(
    out: Path,
    settings: StudySettings,
    train: Train,
    learner_settings: Mapping[str, Any] | None,
) -> StudyWork:
    study = find_study(settings)
    if learner_settings is None:
        learner_settings = study.describe_learners(settings)
    place = WorkPlace(
        out=out.absolute(), seed=settings.seed, learner_settings=learner_settings, train=train
    )
    return study.make_work(settings, place)


def _report(
    out: Path,
    settings: StudySettings,
    design: Design,
    work: StudyWork,
    *,
    reasons: Mapping[str, str],
    summary: BatchSummary | None = None,
) -> StudyReport:
    splits = tuple(work.splits.values())
    cells = design.cells(splits)
    loaded = {cell.id: load_cell(work, cell) for cell in cells}
    results: dict[str, CellResult] = {name: one for name, one in loaded.items() if one}
    findings = find(design, work.data, splits, results, settings)
    tables = {
        "results.csv": results_table(cells, results),
        "points.csv": points_table(findings),
        "comparisons.csv": comparisons_table(findings),
    }
    for name, text in tables.items():
        write_file(out, name, text.encode())
    stated = load_settings(out)
    html = study_html(
        study=find_study(settings),
        findings=findings,
        results=[(cell, results.get(cell.id)) for cell in cells],
        settings=settings,
        data=work.data,
        splits=splits,
        reasons=reasons,
        command=stated["command"],
    )
    write_file(out, PAGE, html.encode())
    return StudyReport(
        design=design, findings=findings, settings=settings, page=out / PAGE, summary=summary
    )


def _refuse_foreign_folder(out: Path) -> None:
    """Pass for a new folder and that of a study, also of one killed before it wrote study.yaml."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    is_begun = bool(names) and all(name.startswith(BEGUN) for name in names)
    if SPLITS not in names and not is_begun:
        refuse_foreign_folder(out, known_by=STUDY)


def _refuse_other_study(out: Path, plan: Plan) -> None:
    if not (out / STUDY).exists():
        return
    stated = load_settings(out)
    if stated["study"] != plan.study.name:
        raise SettingsError(f"{out}: holds a study of {stated['study']}; give another folder")
    seed = stated["settings"].get("seed")
    if seed != plan.settings.seed:
        raise SettingsError(
            f"{out}: holds a study with --seed {seed}, not {plan.settings.seed}; give another "
            "folder"
        )
