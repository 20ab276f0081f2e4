"""Parity of a fast mode: the same slides in exact mode too, and both compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings
from ...cohort import Cohort
from ...storage import SettingsError
from ..terminal.comparison_table import print_agreement
from ..terminal.progress import print_stage_line
from .evaluate import compare_stage
from .predict import predict_stage

if TYPE_CHECKING:
    from ...inference import PredictSettings
    from ...wsi import GroupMeaning

__all__ = ["check_parity", "parity_stage", "settings_of_cam"]

EXACT, COMPARISON = "-exact", "-comparison"
"""Endings of the folders beside that of the fast mode's predictions."""


def check_parity(settings: PredictSettings) -> None:
    """Refuse the comparison of the exact mode with itself."""
    if settings.mode == "exact":
        raise SettingsError(
            "--compare exact compares a fast mode with the exact one; add --mode fast or --mode "
            "fastest"
        )
    if settings.is_cam:
        raise SettingsError(
            "--compare exact: a class activation map has other cells than the exact mode; leave "
            "out one of both"
        )


def settings_of_cam(settings: PredictSettings) -> PredictSettings:
    """Return the settings of a class activation map."""
    return type(settings).model_validate({**dict(settings), "mode": "fastest", "first_pass": "cam"})


def parity_stage(
    cohort: Cohort,
    model: Path,
    fast: Path,
    settings: PredictSettings,
    batch: BatchSettings,
    *,
    groups: Mapping[str, GroupMeaning],
) -> int:
    """Predict in exact mode into FAST-exact, and compare both as `gigaslide compare` does, into
    FAST-comparison; without labels, only their heatmaps and times are compared. groups: meaning of
    annotation groups, see `EvaluateSettings`.

    Return the worst exit status.
    """
    from ...eval import EvaluateSettings, compare_heatmaps
    from ...inference import slides_to_predict
    from .run_settings import worst_status

    exact = _beside(fast, EXACT)
    in_exact = settings.model_copy(update={"mode": "exact"})
    predicted = predict_stage(cohort, model, exact, in_exact, batch)
    if predicted == 1:
        return 1
    compared = replace(cohort, slides=tuple(slides_to_predict(cohort, settings)))
    if any(slide.label for slide in compared):
        out = _beside(fast, COMPARISON)
        status = compare_stage(
            compared, (exact, fast), out, EvaluateSettings(split="", groups=dict(groups))
        )
        return worst_status([predicted, status])
    heatmaps, seconds = compare_heatmaps(compared, exact, fast)
    print_stage_line("compare", "no slide has a label: heatmaps and times only")
    print_agreement(
        {
            "names": [exact.name, fast.name],
            "heatmaps": heatmaps and asdict(heatmaps),
            "seconds": seconds and {**asdict(seconds), "ratio": seconds.ratio},
        }
    )
    return predicted


def _beside(folder: Path, ending: str) -> Path:
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(named.name + ending)
