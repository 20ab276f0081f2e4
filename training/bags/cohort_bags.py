"""Bags of a cohort: the features of its slides, with the labels of slides or of windows."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...cohort import CohortSlide
from ...storage import AnnotationError, ModelError, StoreError, format_count
from ...wsi import GroupMeaning, SlideFeatures, is_same_mpp, tumor_fractions
from .settings import BagSettings

__all__ = ["CohortBag", "label_windows", "load_bags"]

logger = logging.getLogger(__name__)

UNLABELLED = -1


@dataclass(frozen=True, kw_only=True)
class CohortBag:
    """Features of one slide, and what is known of it."""

    slide: CohortSlide
    features: SlideFeatures
    windows: np.ndarray | None = None
    """(N,) int64 labels of the windows: 1 tumour, 0 normal, -1 unknown; None where they were not
    asked for."""

    @property
    def is_tumor(self) -> bool:
        """True if the slide's label is tumor."""
        return self.slide.label == "tumor"


def load_bags(
    slides: Iterable[CohortSlide], features: Path, settings: BagSettings
) -> list[CohortBag]:
    """Load FEATURES/<slide>.zarr of labelled slides. Slides without features, or without a window,
    are left out with a warning.

    Raises:
        StoreError: damaged features.
        ModelError: features of more than one encoder or scale.
        AnnotationError: an annotation that window labels need is missing or cannot be read.
    """
    found, missing, empty = [], [], []
    for slide in (one for one in slides if one.label):
        path = features / f"{slide.id}.zarr"
        if not path.is_dir():
            missing.append(slide.id)
            continue
        loaded = SlideFeatures.load(path)
        if loaded.slide != slide.id:
            raise StoreError(f"{path}: holds features of {loaded.slide}; encode {slide.id} again")
        if not len(loaded):
            empty.append(slide.id)
            continue
        is_asked = settings.labels == "windows"
        labels = label_windows(loaded, slide, settings.groups) if is_asked else None
        found.append(CohortBag(slide=slide, features=loaded, windows=labels))
    for ids, fact in ((missing, "have no features"), (empty, "have no window with tissue")):
        if ids:
            logger.warning(
                "%s: %s %s and are left out, such as %s",
                features,
                format_count(len(ids), "slide"),
                fact,
                ids[0],
            )
    _refuse_mixture(found)
    return found


def label_windows(
    features: SlideFeatures, slide: CohortSlide, groups: dict[str, GroupMeaning]
) -> np.ndarray:
    """Label windows by the rule of a patch store: a window is tumour if its centre square, one
    stride wide, holds any outlined tumour.

    Return (N,) int64: 1 tumour, 0 normal, -1 unknown. On a slide that is outlined in part, a window
    without outlined tumour is unknown.

    Raises:
        AnnotationError: the annotation is missing, cannot be read, or contradicts the label.
    """
    tumor = slide.load_tumor(groups)
    if tumor is None and slide.label == "tumor":
        raise AnnotationError(
            f"{slide.id}: labelled tumor but has no annotation, from which windows get their "
            "labels; give one in the cohort, or train with --labels slides"
        )
    if tumor is None:
        return np.zeros(len(features), np.int64)
    centre = min(features.stride_level0, features.side_level0)
    fractions = tumor_fractions(
        tumor,
        features.xy + (features.side_level0 - centre) / 2,
        side_level0=centre,
        side_px=max(1, round(features.patch_px * centre / features.side_level0)),
    )
    rest = 0 if slide.exhaustive or slide.label == "normal" else UNLABELLED
    return np.where(fractions > 0, 1, rest).astype(np.int64)


def _refuse_mixture(bags: Sequence[CohortBag]) -> None:
    """Pass if all features come from one encoder at one scale."""
    for bag in bags[1:]:
        first, other = bags[0].features, bag.features
        differences = [
            f"{words} {mine} and {theirs}"
            for words, mine, theirs in (
                (
                    "encoder",
                    first.encoder_hash or first.encoder,
                    other.encoder_hash or other.encoder,
                ),
                ("length", first.features.shape[1], other.features.shape[1]),
                ("patch_px", first.patch_px, other.patch_px),
            )
            if mine != theirs
        ]
        if not is_same_mpp(first.mpp, other.mpp):
            differences.append(f"µm/px {first.mpp:.4g} and {other.mpp:.4g}")
        if differences:
            raise ModelError(
                f"features of {first.slide} and {other.slide} do not go together: "
                f"{'; '.join(differences)}; encode all slides with one encoder into one folder"
            )
