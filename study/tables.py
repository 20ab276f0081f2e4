"""Tables of a study, as CSV: a row for each cell, point or comparison."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from .cell import Cell
from .findings import COMPARED, FIGURES, Findings
from .work import CellResult

__all__ = ["comparisons_table", "describe_point", "points_frame", "points_table", "results_table"]

COUNTS = (
    "train_slides",
    "train_tumor_slides",
    "train_patients",
    "test_slides",
    "labels",
    "positive_labels",
    "flipped_labels",
)
COLUMNS = {"labels": "labels_given"}
"""Names of counts that an axis has too: that one may be "all"."""


def results_table(cells: Sequence[Cell], results: Mapping[str, CellResult]) -> str:
    """A row for each cell; the same text for the same study, however often it was stopped."""
    counts = _names(COUNTS, (one.counts for one in results.values()))
    figures = _names(FIGURES, (one.figures for one in results.values()))
    return _write(_cell_row(cell, results.get(cell.id), counts, figures) for cell in cells)


def _names(known: Sequence[str], found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of columns: those of every study, then those that this one has besides."""
    return list(dict.fromkeys([*known, *(name for one in found for name in one)]))


def _cell_row(
    cell: Cell, result: CellResult | None, count_names: Sequence[str], figure_names: Sequence[str]
) -> dict[str, Any]:
    counts = result.counts if result else {}
    figures = result.figures if result else {}
    return {
        "cell": cell.id,
        **dict(cell.axes),
        "repeat": cell.repeat,
        "fold": cell.fold,
        "seed": cell.seed,
        "status": "done" if result else "missing",
        **{COLUMNS.get(name, name): counts.get(name) for name in count_names},
        **{name: _round(figures.get(name)) for name in figure_names},
    }


def points_table(findings: Findings) -> str:
    """A row for each point and figure."""
    return _write(
        {
            **dict(one.point),
            "figure": name,
            "cells": one.finished,
            "missing": one.planned - one.finished,
            "trainings": one.trainings,
            **{
                f"mean_{COLUMNS.get(count, count)}": _round(one.counts.get(count), 2)
                for count in COUNTS
            },
            "value": _round(estimate.value),
            "low": _round(estimate.low),
            "high": _round(estimate.high),
            "sd_over_seeds": _round(one.noise[name]),
            "note": estimate.undefined or estimate.note,
        }
        for one in findings.points
        for name, estimate in one.estimates.items()
    )


def points_frame(findings: Findings) -> pd.DataFrame:
    """A row for each point with the two main figures, for the terminal."""
    rows = []
    for one in findings.points:
        row: dict[str, Any] = {"point": describe_point(one.point), "trainings": one.trainings}
        for name in (*COMPARED, *(("cam_froc",) if findings.courses else ())):
            estimate = one.estimates.get(name)
            if estimate is None or estimate.value is None:
                row |= {name: None, f"{name} interval": "", f"{name} SD": None}
                continue
            noise, low, high = one.noise[name], estimate.low, estimate.high
            interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            row |= {
                name: round(estimate.value, 3),
                f"{name} interval": interval,
                f"{name} SD": None if noise is None else round(noise, 3),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def comparisons_table(findings: Findings) -> str:
    """A row for each comparison."""
    return _write(
        {
            "figure": one.figure,
            "role": "primary" if one.is_primary else "exploratory",
            "first": describe_point(one.first),
            "second": describe_point(one.second),
            "first_value": _round(one.difference.first.value),
            "second_value": _round(one.difference.second.value),
            "difference": _round(one.difference.difference.value),
            "low": _round(one.difference.difference.low),
            "high": _round(one.difference.difference.high),
            "p_bootstrap": _round(one.difference.p_value),
            "p_holm": _round(one.difference.p_holm),
            "tests": one.tests,
            "t": _round(one.corrected and one.corrected.t),
            "p_corrected_t": _round(one.corrected and one.corrected.p_value),
            "test_sets": one.corrected.splits if one.corrected else None,
            "note": one.difference.difference.undefined or one.difference.difference.note,
        }
        for one in findings.comparisons
    )


def describe_point(point: Iterable[tuple[str, Any]]) -> str:
    """Name a point: "weak, labels 24"."""
    return ", ".join(str(v) if name == "learner" else f"{name} {v}" for name, v in point)


def _round(value: float | None, digits: int = 6) -> float | None:
    return None if value is None else round(value, digits)


def _write(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]) if listed else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()
