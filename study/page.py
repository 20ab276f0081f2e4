"""The page of a study, study.html: question, answer, curve, comparisons, every cell, methods."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from ..eval import list_versions, render_page
from ..storage import format_count
from .cell import Cell
from .data import StudyData
from .features.labels import expert_minutes
from .findings import Findings, PointFindings
from .finetune.settings import FinetuneSettings
from .glossary import explain_figures, explain_learners
from .kind import Study
from .methods import describe_methods
from .plots import Curve, draw_curves
from .pool import OF_FINDING
from .settings import LabelsSettings, NoiseSettings, StudySettings, TransferSettings
from .splits import Split
from .words import AUGMENTATION_WORDS, FIGURE_WORDS, name_figure, name_point
from .work import CellResult

__all__ = ["PAGE", "study_html"]

PAGE = "study.html"
TEMPLATES = files("gigaslide.study").joinpath("templates")
SHOWN_CELLS = 2000


def study_html(
    *,
    study: Study[Any],
    findings: Findings,
    results: Sequence[tuple[Cell, CellResult | None]],
    settings: StudySettings,
    data: StudyData,
    splits: Sequence[Split],
    reasons: Mapping[str, str],
    command: str,
) -> str:
    """Render study.html; reasons are those of failed cells, by id."""
    tests = max((one.tests for one in findings.comparisons), default=0)
    known = {name for one in findings.points for name in one.estimates}
    shown = [name for name in FIGURE_WORDS if name in known]
    shown += sorted(name for name in known if name.startswith(OF_FINDING))
    return render_page(
        "study.html.j2",
        folder=TEMPLATES,
        filters={"point": name_point},
        study=study,
        answer=list(study.answer(findings, settings)),
        findings=findings,
        figures={name: name_figure(name) for name in shown},
        cell_figures=[name for name in shown if not name.startswith(OF_FINDING)],
        primary=settings.primary,
        settings=settings.model_dump(mode="json"),
        level=f"{settings.confidence:.0%}",
        caution=findings.resampling.caution,
        has_p_values=findings.resampling.is_large_enough,
        tests=tests,
        learners=explain_learners(findings, settings),
        explanations=list(explain_figures(shown, findings, tests)),
        plots=_draw(study.axis_words, findings, settings),
        cells=results[:SHOWN_CELLS],
        cell_count=len(results),
        reasons=reasons,
        failed=[cell for cell in findings.holes if cell.id in reasons],
        not_run=sum(cell.id not in reasons for cell in findings.holes),
        methods=describe_methods(study, findings, settings, data, splits),
        slides=len(data.ids),
        tumor_slides=int(data.is_tumor.sum()),
        patients=len({p or i for p, i in zip(data.patients, data.ids, strict=True)}),
        encoder=data.encoder,
        hours=_describe_time(findings.seconds),
        made_with=list_versions(),
        command=command,
    )


def _draw(axis_words: str, findings: Findings, settings: StudySettings) -> list[tuple[str, object]]:
    """Plots with their descriptions: each figure over the axis, and over expert minutes."""
    if findings.courses:
        return [_draw_courses(findings)]
    if isinstance(settings, FinetuneSettings):
        return [_draw_starts(findings, settings)]
    plots = []
    names = list(settings.encoders) if isinstance(settings, TransferSettings) else []
    mark = "mark" if names else "line"
    for figure in ("slide_auc", "window_auc"):
        words = FIGURE_WORDS[figure]
        plots.append(
            (
                f"{_capitalise(words)} over {axis_words}, a {mark} for each learner",
                draw_curves(
                    _curves(findings, figure, lambda one: _place(one, settings)),
                    title=_capitalise(words),
                    xlabel=_label_axis(axis_words, settings),
                    ylabel=words,
                    is_log=not isinstance(settings, NoiseSettings),
                    names=names,
                ),
            )
        )
    if isinstance(settings, LabelsSettings):
        words = FIGURE_WORDS[settings.primary]
        plots.append(
            (
                f"{_capitalise(words)} over the expert's minutes, a line for each learner",
                draw_curves(
                    _curves(findings, settings.primary, lambda one: expert_minutes(one, settings)),
                    title="Against the expert's time",
                    xlabel="expert minutes (log scale)",
                    ylabel=words,
                    is_log=True,
                ),
            )
        )
    return plots


def _draw_courses(findings: Findings) -> tuple[str, object]:
    """The slide AUC over the steps of a training, a line for each point."""
    curves = {
        f"{one.learner}, {AUGMENTATION_WORDS[one.augmentation]}": Curve(
            x=one.steps.tolist(), estimates=one.estimates
        )
        for one in findings.courses
    }
    figure = draw_curves(
        curves,
        title="Slide AUC while the training goes on",
        xlabel="optimiser steps (log scale)",
        ylabel=FIGURE_WORDS["slide_auc"],
        is_log=True,
    )
    return "Slide AUC over the steps of a training, a line for each kind of training", figure


def _draw_starts(findings: Findings, settings: FinetuneSettings) -> tuple[str, object]:
    """The primary figure of each start, over all scenarios."""
    words = FIGURE_WORDS[settings.primary]
    points = [one for one in findings.points if one.is_full and settings.primary in one.estimates]
    curve = Curve(
        x=list(range(len(points))), estimates=[one.estimates[settings.primary] for one in points]
    )
    figure = draw_curves(
        {"mean over scenarios and seeds": curve},
        title=f"{_capitalise(words)} of each start",
        xlabel="start",
        ylabel=words,
        is_log=False,
        names=[str(one.point[0][1]) for one in points],
    )
    return f"{_capitalise(words)} of each start, mean over all scenarios", figure


def _describe_time(seconds: float) -> str:
    if seconds < 3600:
        return format_count(max(1, round(seconds / 60)), "minute")
    return f"{seconds / 3600:.1f} hours"


def _capitalise(words: str) -> str:
    return words[:1].upper() + words[1:]


def _label_axis(words: str, settings: StudySettings) -> str:
    if isinstance(settings, NoiseSettings):
        return "wrong labels (%)"
    if isinstance(settings, TransferSettings):
        return words
    counted = "slides (weak), windows (strong)" if isinstance(settings, LabelsSettings) else words
    return f"{'labels: ' if counted != words else ''}{counted}; log scale"


def _place(point: PointFindings, settings: StudySettings) -> float:
    if isinstance(settings, TransferSettings):
        return list(settings.encoders).index(str(point.point[1][1]))
    if isinstance(settings, NoiseSettings):
        return 100 * float(point.point[1][1])
    return point.counts["labels" if isinstance(settings, LabelsSettings) else "train_slides"]


def _curves(findings: Findings, figure: str, place) -> dict[str, Curve]:
    by_learner: dict[str, list[PointFindings]] = {}
    for one in findings.points:
        if one.counts and figure in one.estimates:
            by_learner.setdefault(str(one.point[0][1]), []).append(one)
    curves = {
        f"{learner} learner": Curve(
            x=[place(one) for one in points], estimates=[one.estimates[figure] for one in points]
        )
        for learner, points in by_learner.items()
    }
    return {name: _draw_across(curve, curves.values()) for name, curve in curves.items()}


def _draw_across(curve: Curve, all_curves: Iterable[Curve]) -> Curve:
    """Return a curve as it is; one of a single point without strong slides as a level line."""
    places = [x for one in all_curves for x in one.x if x]
    if list(curve.x) != [0] or not places:
        return curve
    return Curve(x=[min(places), max(places)], estimates=[*curve.estimates, *curve.estimates])
