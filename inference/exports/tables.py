"""Tables of slides and patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...storage import atomic_file
from ...wsi import LESION_SIZES, classify_size, find_regions
from .source import ExportSource

__all__ = ["SUMMARY", "save_tables", "write_summary"]

SUMMARY = ".summary.csv"
NEGATIVE, NO_TISSUE = "negative", "no tissue"
BY_SEVERITY = (NEGATIVE, *LESION_SIZES)


def write_summary(source: ExportSource, path: Path) -> None:
    """Write a table of one row about one slide. One on which nothing was scored has no score and
    no class, and is not called normal."""
    heatmap, size = source.heatmap, source.detections.size_class.tolist()
    regions = find_regions(heatmap, threshold=source.threshold)
    is_seen = heatmap.whole_slide_score is not None or bool(heatmap.scored.any())
    call = "tumor" if heatmap.slide_score >= source.slide_threshold else "normal"
    largest = [*classify_size(regions.longest_um).tolist(), NEGATIVE]
    row: dict[str, Any] = {
        "slide": source.id,
        "patient": source.patient,
        "score": heatmap.slide_score if is_seen else None,
        "call": call if is_seen else NO_TISSUE,
        "slide_threshold": source.slide_threshold,
        "cells": int(heatmap.scored.sum()),
        "scored_mm2": round(float(heatmap.cell_areas_um2()[heatmap.scored].sum() / 1e6), 6),
        "tumor_mm2": round(float(regions.area_um2.sum() / 1e6), 6),
        "threshold": source.threshold,
        "regions": len(regions),
        "longest_um": round(float(regions.longest_um.max(initial=0)), 3),
        "largest": max(largest, key=BY_SEVERITY.index) if is_seen else "",
        "detections": len(size),
        **{f"detections_{name}": size.count(name) for name in LESION_SIZES},
    }
    pd.DataFrame([row]).to_csv(path, index=False, lineterminator="\n")


def save_tables(summaries: Sequence[Path], out: Path) -> None:
    """Join summaries of slides to slides.csv; where patients are known, write patients.csv too.

    A patient's row counts the slides by their largest region and names the most severe; slides
    without tissue are counted on their own.
    """
    (out / "patients.csv").unlink(missing_ok=True)  # of a run that knew the patients
    tables = [
        pd.read_csv(
            path,
            dtype={"slide": str, "patient": str, "score": float},
            keep_default_na=False,
            na_values={"score": [""]},
        )
        for path in summaries
    ]
    if not tables:
        return
    slides = pd.concat(tables, ignore_index=True)
    _save(slides, out / "slides.csv")
    rows = [
        _describe_patient(patient, slides.loc[slides["patient"] == patient])
        for patient in sorted(set(slides["patient"].tolist()) - {""})
    ]
    if rows:
        _save(pd.DataFrame(rows), out / "patients.csv")


def _describe_patient(patient: str, slides: pd.DataFrame) -> dict[str, Any]:
    called = slides["call"].tolist()
    largest = [name for name in slides["largest"].tolist() if name]
    return {
        "patient": patient,
        "slides": len(called),
        "slides_called_tumor": called.count("tumor"),
        "slides_without_tissue": called.count(NO_TISSUE),
        "score": slides["score"].max(),
        "most_severe": max(largest, key=BY_SEVERITY.index, default=""),
        **{f"slides_{name}": largest.count(name) for name in BY_SEVERITY},
        "tumor_mm2": round(sum(slides["tumor_mm2"].tolist()), 6),
        "detections": sum(slides["detections"].tolist()),
    }


def _save(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
