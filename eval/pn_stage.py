"""pN stages of patients from the metastases on their slides, as in CAMELYON17.

`PatientStages.evaluate` is the only entry; `is_asked` says whether an evaluation needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from skimage.measure import label, regionprops

from ..cohort import CohortSlide
from ..wsi import Heatmap, classify_size
from .scoring.exclusions import Exclusion
from .scoring.matching import reaches
from .scoring.slide_result import SlideResult
from .settings import EvaluateSettings
from .statistics.bootstrap import Estimate, Statistic
from .statistics.resampled import draw_resamples
from .truth.measures import CLASSES

__all__ = [
    "STAGES",
    "PatientStages",
    "is_asked",
    "patient_stage",
    "predict_class",
    "weighted_kappa",
]

STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")
PN2_NODES = 4


def is_asked(slides: Sequence[CohortSlide], settings: EvaluateSettings) -> bool:
    """Test whether the settings ask for stages, or the cohort has patients with several slides and
    their classes in a column "stage"."""
    if settings.pn_stages is not None:
        return settings.pn_stages
    patients = [slide.patient for slide in slides if slide.patient]
    has_classes = any(slide.column("stage").lower() in CLASSES for slide in slides)
    return has_classes and len(set(patients)) < len(patients)


def predict_class(heatmap: Heatmap, *, threshold: float) -> str:
    """Return the class of the largest 8-connected region of scored cells from the threshold on; one
    of `CLASSES`.

    Its longest axis is 4 √(largest second moment) of the cells as squares, in µm: over 2 mm is
    macro, from 0.2 mm on micro.
    """
    hot = heatmap.scored & reaches(heatmap.probability, threshold)
    regions = regionprops(label(hot, connectivity=2))
    if not regions:
        return CLASSES[0]
    # A cell is a square, whose own second moment is 1 / 12; regionprops takes points.
    moment = max(region.axis_major_length**2 / 16 for region in regions) + 1 / 12
    longest_um = 4 * np.sqrt(moment) * heatmap.stride_level0 * heatmap.slide_mpp
    return str(classify_size(longest_um))


def patient_stage(classes: Sequence[str]) -> str:
    """Return the pN stage of a patient, one of `STAGES`, from the classes of the slides, a node
    each.

    Nodes with isolated tumour cells only are not positive.
    """
    positive = sum(c in ("micro", "macro") for c in classes)
    if "macro" in classes:
        return "pN2" if positive >= PN2_NODES else "pN1"
    if positive:
        return "pN1mi"
    return "pN0(i+)" if "itc" in classes else "pN0"


def weighted_kappa(table: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights of tables (B, K, K) of true by predicted counts: (B,).

    NaN where both sides name one and the same stage only.
    """
    size = table.shape[-1]
    weight = np.subtract.outer(np.arange(size), np.arange(size)) ** 2 / (size - 1) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
    observed = (table * weight).sum(axis=(1, 2)) * total
    chance = (expected * weight).sum(axis=(1, 2))
    return 1 - observed / np.where(chance > 0, chance, np.nan)


@dataclass(frozen=True, kw_only=True)
class PatientStages:
    """True and predicted pN stages of the patients whose slides all have both classes."""

    patient: tuple[str, ...]
    true: np.ndarray
    """(P,) index into `STAGES`."""
    predicted: np.ndarray
    kappa: Estimate
    classes: np.ndarray
    """(4, 4) int64, slides by true and predicted class (`CLASSES`)."""
    predicted_class: Mapping[str, str]
    """By slide id."""
    exclusions: tuple[Exclusion, ...]
    """Patients without a stage."""

    @classmethod
    def evaluate(
        cls,
        results: Sequence[SlideResult],
        predicted_class: Mapping[str, str],
        settings: EvaluateSettings,
    ) -> "PatientStages":
        """Compare the stages of all patients; predicted_class is by slide id, of slides with a
        heatmap.

        A patient with a slide that lacks a class has no stage: that slide may define it.
        """
        missing = {one.slide.id: _describe_missing(one, predicted_class) for one in results}
        classes = np.zeros((len(CLASSES),) * 2, np.int64)
        by_patient: dict[str, list[SlideResult]] = {}
        for result in results:
            slide = result.slide
            if not missing[slide.id]:
                of = result.true_class, predicted_class[slide.id]
                classes[tuple(map(CLASSES.index, of))] += 1
            if slide.patient:
                by_patient.setdefault(slide.patient, []).append(result)
        excluded = _exclude_patients(by_patient, missing)
        known = {p: rows for p, rows in by_patient.items() if p not in excluded}
        true = _stages([[r.true_class for r in rows] for rows in known.values()])
        predicted = _stages(
            [[predicted_class[r.slide.id] for r in rows] for rows in known.values()]
        )
        used = [result for result in results if result.in_figures]
        ids = [result.slide.id for result in used]
        column = [ids.index(rows[0].slide.id) for rows in known.values()]
        statistic = Statistic(
            names=("stage_kappa",),
            compute=lambda w: weighted_kappa(_tables(true, predicted, w[:, column]))[:, None],
            undefined=_describe_undefined(true, predicted, bool(excluded)),
        )
        return cls(
            patient=tuple(known),
            true=true,
            predicted=predicted,
            kappa=draw_resamples(used, settings).estimate_all(statistic)["stage_kappa"],
            classes=classes,
            predicted_class=predicted_class,
            exclusions=tuple(excluded[patient] for patient in sorted(excluded)),
        )

    @property
    def metrics(self) -> dict[str, Any]:
        """Plain JSON."""
        once = np.ones((1, len(self.patient)))
        return {
            "names": list(STAGES),
            "patients": len(self.patient),
            "patients_excluded": len(self.exclusions),
            "true_by_predicted": _tables(self.true, self.predicted, once)[0].astype(int).tolist(),
            "kappa": asdict(self.kappa),
            "classes": list(CLASSES),
            "slides_by_true_and_predicted_class": self.classes.tolist(),
            "predicted_class": dict(self.predicted_class),
        }

    def table(self) -> pd.DataFrame:
        """A row a patient."""
        return pd.DataFrame(
            {
                "patient": list(self.patient),
                "true_stage": [STAGES[index] for index in self.true],
                "predicted_stage": [STAGES[index] for index in self.predicted],
            }
        )


def _exclude_patients(
    by_patient: Mapping[str, Sequence[SlideResult]], missing: Mapping[str, str]
) -> dict[str, Exclusion]:
    """Exclude each patient with a slide that lacks a class, by the first such slide. missing: by
    slide id, what it lacks; else empty."""
    excluded = {}
    for patient, results in by_patient.items():
        lacking = [one.slide.id for one in results if missing[one.slide.id]]
        if lacking:
            excluded[patient] = Exclusion(
                slide=lacking[0],
                kind="patient",
                name=patient,
                excluded_from="pN stages",
                reason=f"{lacking[0]}: {missing[lacking[0]]}",
            )
    return excluded


def _describe_missing(result: SlideResult, predicted_class: Mapping[str, str]) -> str:
    """Give the reason why a slide lacks its true or predicted class; empty if it has both."""
    if not result.in_figures or not result.is_predicted:
        return f"{result.status}: {result.reason}"
    if not result.true_class:
        return "the class of its largest lesion is not known"
    return "" if result.slide.id in predicted_class else "no heatmap"


def _describe_undefined(true: np.ndarray, predicted: np.ndarray, has_excluded: bool) -> str:
    if len(true):
        one_stage = len(np.unique(np.concatenate([true, predicted]))) == 1
        return "all patients are of one stage, true and predicted" if one_stage else ""
    reason = "no patient whose slides all have a heatmap and a known class"
    return reason if has_excluded else "no patients named"


def _stages(classes: Sequence[Sequence[str]]) -> np.ndarray:
    return np.array([STAGES.index(patient_stage(one)) for one in classes], np.int64)


def _tables(true: np.ndarray, predicted: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Patients by true and predicted stage, (B, 5, 5), each drawn times (B, P)."""
    cell = np.zeros((len(true), len(STAGES) ** 2))
    cell[np.arange(len(true)), true * len(STAGES) + predicted] = 1
    return (times @ cell).reshape(-1, len(STAGES), len(STAGES))
