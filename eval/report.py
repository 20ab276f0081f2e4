"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

import base64
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np

from ..wsi import CellStatus, heatmap_colours
from .bootstrap import Estimate, Resampling
from .figures import Figures
from .judgement import Judgement, models_of
from .pictures import COLOURS
from .plots import froc_plot, roc_plot
from .settings import EvaluateSettings
from .tables import slide_counts

__all__ = ["report_html"]

TEMPLATE = files("gigaslide.eval").joinpath("templates", "report.html.j2")
FEW_UNITS = 10  # fewer patients or slides of a kind, and an interval is a guess


def report_html(
    judgements: Sequence[Judgement], figures: Figures, *, settings: EvaluateSettings, made_with: dict[str, str]
) -> str:
    """The text of report.html. Whatever comes from outside (names, reasons) is escaped by the template."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(share=_share, interval=_interval, data_uri=_data_uri)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    used = [j for j in judgements if j.in_figures]
    return template.render(
        figures=figures,
        settings=settings,
        made_with=made_with,
        judgements=judgements,
        left_out=[j for j in judgements if not j.in_figures],
        used=used,
        counts=slide_counts,
        cells=_cells(used),
        statuses=Counter(str(j.status) for j in judgements),
        models=models_of(used),
        used_splits=any(j.slide.split for j in judgements),
        caution=_caution(figures.resampling),
        unpictured=sum(j.pictures is None for j in used),
        roc_svg=roc_plot(figures),
        froc_svg=froc_plot(figures, confidence=settings.confidence),
        colours={name: "rgb({},{},{})".format(*rgb) for name, rgb in COLOURS.items()},
        gradient=_gradient(),
        status=CellStatus,
    )


def _share(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f}–{estimate.high:.3f}"


def _data_uri(content: bytes | str, kind: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _cells(used: list[Judgement]) -> dict[str, Any]:
    total = Counter[CellStatus]()
    for judgement in used:
        total.update(judgement.cells or {})
    looked = total[CellStatus.SCORED] + total[CellStatus.UNREADABLE] + total[CellStatus.FAILED]
    return {
        "scored": total[CellStatus.SCORED],
        "background": total[CellStatus.BACKGROUND],
        "unreadable": total[CellStatus.UNREADABLE],
        "failed": total[CellStatus.FAILED],
        "lost_share": (looked - total[CellStatus.SCORED]) / looked if looked else 0.0,
        "tumor_not_scored": sum(j.patches.tumor_not_scored for j in used if j.patches),
    }


def _caution(resampling: Resampling) -> str:
    few = [
        f"{count} {resampling.unit} {kind}"
        for count, kind in ((resampling.tumor_units, "with tumour"), (resampling.normal_units, "without"))
        if count < FEW_UNITS
    ]
    return f"Only {' and '.join(few)}: the intervals are a rough guide." if few else ""


def _gradient() -> str:
    return ", ".join(
        "rgb({},{},{})".format(*rgb) for rgb in np.rint(heatmap_colours(np.linspace(0, 1, 11))).astype(int).tolist()
    )
