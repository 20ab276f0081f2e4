"""Sizes of metastases by slide, the pN stage of patients, and how well predicted stages agree
(CAMELYON17)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..wsi import Heatmap
from .scoring.threshold import reaches
from .truth.measures import MACRO_UM, SIZES

__all__ = ["CLASSES", "STAGES", "Stages", "patient_stage", "predicted_class", "weighted_kappa"]

CLASSES = ("negative", *SIZES)
STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")
ITC_UM = 200.0
PN2_NODES = 4


def predicted_class(heatmap: Heatmap, *, threshold: float) -> str:
    """The size of the largest 8-connected region of scored cells from the threshold on; one of
    `CLASSES`.

    The longest axis is 4 √(largest second moment) of the cells as squares, in µm: over 2 mm is
    macro, from 0.2 mm on micro.
    """
    hot = heatmap.scored & reaches(heatmap.probability, threshold)
    found: Any = ndimage.label(hot, structure=np.ones((3, 3)))
    labels, count = found
    if not count:
        return CLASSES[0]
    row, column = np.nonzero(labels)
    label = labels[row, column] - 1
    area = np.bincount(label, minlength=count)

    def mean(value: np.ndarray) -> np.ndarray:
        return np.bincount(label, value, count) / area

    dy, dx = row - mean(row)[label], column - mean(column)[label]
    yy, xx, xy = mean(dy * dy) + 1 / 12, mean(dx * dx) + 1 / 12, mean(dx * dy)
    largest = ((yy + xx) / 2 + np.sqrt(((yy - xx) / 2) ** 2 + xy**2)).max()
    longest_um = 4 * np.sqrt(largest) * heatmap.stride_level0 * heatmap.slide_mpp
    return "macro" if longest_um > MACRO_UM else "micro" if longest_um >= ITC_UM else "itc"


def patient_stage(classes: Sequence[str]) -> str:
    """pN stage of a patient from the classes of the slides, a node each; one of `STAGES`.

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

    NaN where both sides name one and the same stage only: there is no chance agreement to exceed.
    """
    size = table.shape[-1]
    weight = np.subtract.outer(np.arange(size), np.arange(size)) ** 2 / (size - 1) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
    observed = (table * weight).sum(axis=(1, 2)) * total
    chance = (expected * weight).sum(axis=(1, 2))
    return 1 - observed / np.where(chance > 0, chance, np.nan)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """pN stages of P patients whose slides all have a true and a predicted class."""

    patient: tuple[str, ...]
    true: np.ndarray
    """(P,) index into `STAGES`."""
    predicted: np.ndarray
    slide: np.ndarray
    """(P,) int64, one slide of each patient: a patient is drawn as often as its slides."""
    left_out: int
    """Patients with a slide whose class is not known, or that is not in the figures."""

    @property
    def undefined(self) -> str:
        """Why there is no kappa; empty where there is."""
        if len(self.patient):
            one = set(self.true.tolist()) | set(self.predicted.tolist())
            return "all patients are of one stage, true and predicted" if len(one) == 1 else ""
        return (
            "no patient whose slides all have a heatmap and a known class"
            if self.left_out
            else "no patients named"
        )

    @classmethod
    def of(cls, patients: Sequence[str], true: Sequence[str], predicted: Sequence[str]) -> "Stages":
        """From the patient, the true and the predicted class of every slide; an empty class is
        unknown."""
        by_patient: dict[str, list[int]] = {}
        for index, patient in enumerate(patients):
            if patient:
                by_patient.setdefault(patient, []).append(index)
        known = {
            p: rows for p, rows in by_patient.items() if all(true[i] and predicted[i] for i in rows)
        }

        def stages(classes: Sequence[str]) -> np.ndarray:
            found = [
                STAGES.index(patient_stage([classes[i] for i in rows])) for rows in known.values()
            ]
            return np.array(found, np.int64)

        return cls(
            patient=tuple(known),
            true=stages(true),
            predicted=stages(predicted),
            slide=np.array([rows[0] for rows in known.values()], np.int64),
            left_out=len(by_patient) - len(known),
        )

    def table(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Patients by true and predicted stage, (B, 5, 5); weights (B, S) say how often each slide
        was drawn."""
        times = np.ones((1, len(self.slide))) if weights is None else weights[:, self.slide]
        cell = np.zeros((len(self.slide), len(STAGES) ** 2))
        cell[np.arange(len(self.slide)), self.true * len(STAGES) + self.predicted] = 1
        return (times @ cell).reshape(-1, len(STAGES), len(STAGES))

    def kappa(self, weights: np.ndarray) -> np.ndarray:
        """Quadratic-weighted kappa of drawn patients: (B,)."""
        return weighted_kappa(self.table(weights))
