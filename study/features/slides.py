"""Slides of a study on features: which of a cohort it uses, the truth of their windows, and their
features."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...cohort import Cohort, CohortSlide
from ...storage import GROUP, AnnotationError, SettingsError, StoreError, fold_name, format_count
from ...training import label_windows
from ...wsi import GroupMeaning, SlideFeatures, is_same_mpp
from ..data import UNKNOWN, FoundSlides, StudyData
from ..lesions import StudyLesions, find_slide_lesions
from ..settings import FeatureStudySettings, LabelsSettings

__all__ = ["FeatureFolder", "read_slides"]

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 * 2**30
"""Features that a process keeps in memory; others are read for each cell."""


@dataclass(frozen=True, kw_only=True)
class FeatureFolder:
    """Folder with features of slides, SLIDE.zarr each; what was read is kept while it is small."""

    path: Path

    @cached_property
    def _kept(self) -> dict[str, np.ndarray]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def read(self, slide: str) -> np.ndarray:
        """Read the features of a slide, (N, D) float16.

        Raises:
            StoreError: they cannot be read.
        """
        if slide in self._kept:
            return self._kept[slide]
        found = SlideFeatures.load(self.path / f"{slide}.zarr").features
        if found.nbytes + sum(one.nbytes for one in self._kept.values()) <= CACHE_BYTES:
            self._kept[slide] = found
        return found


def read_slides(
    cohort: Cohort, settings: FeatureStudySettings, *, need_normal: bool = True
) -> FoundSlides:
    """Read the labelled slides of a cohort that have features; tell which are left out.

    need_normal: slides of both classes are needed, not only windows.

    Raises:
        SettingsError: no features, features of several encoders or scales in one folder, of other
            windows in another folder, a class without slides, or no window whose truth is known.
        StoreError: features that cannot be read.
    """
    folders = settings.feature_folders
    _refuse_absent_folders(folders)
    used, truths, lesions = [], [], []
    encoders: dict[str, dict[tuple[Any, ...], str]] = {name: {} for name in folders}
    cards: dict[str, Mapping[str, Any]] = {}
    digests = {name: hashlib.sha256() for name in folders}
    for slide in cohort:
        found = _load_features(slide, folders)
        truth = _find_truth(slide, found, settings) if found else None
        if truth is None:
            continue
        used.append(slide)
        truths.append(truth)
        if isinstance(settings, LabelsSettings):
            first = next(iter(found.values()))
            lesions.append(find_slide_lesions(slide, first, settings.groups))
        for name, features in found.items():
            encoders[name].setdefault(_encoder_key(features, encoders[name]), slide.id)
            cards.setdefault(name, features.encoder_card)
            fact = [slide.id, slide.patient, slide.label, features.content_sha256]
            digests[name].update(json.dumps(fact).encode() + truth.tobytes())
    for name, folder in folders.items():
        _refuse_unusable(used, encoders[name], folder)
    if need_normal:
        _refuse_one_label(used)
    _refuse_one_truth(truths)
    data = StudyData(
        ids=tuple(slide.id for slide in used),
        patients=tuple(fold_name(slide.patient) for slide in used),
        is_tumor=np.array([slide.label == "tumor" for slide in used], bool),
        windows=tuple(truths),
        encoder=", ".join(dict.fromkeys(next(iter(keys))[0] for keys in encoders.values())),
        lesions=StudyLesions(slides=tuple(lesions)) if lesions else None,
        contents={name: digest.hexdigest() for name, digest in digests.items()},
    )
    return FoundSlides(
        data=data,
        slides=tuple(used),
        encoder_cards=tuple(cards.values()),
        encoder_keys=tuple(next(iter(keys)) for keys in encoders.values()),
    )


def _refuse_absent_folders(folders: Mapping[str, Path]) -> None:
    for folder in folders.values():
        if not folder.is_dir():
            raise SettingsError(f"{folder}: no such folder; give one made by gigaslide features")


def _load_features(slide: CohortSlide, folders: Mapping[str, Path]) -> dict[str, SlideFeatures]:
    """Features of a slide by encoder; none, with a warning, where the slide is left out."""
    if not slide.label:
        logger.warning("%s: no label, left out", slide.id)
        return {}
    found: dict[str, SlideFeatures] = {}
    for name, folder in folders.items():
        path = folder / f"{slide.id}.zarr"
        if not (path / GROUP).is_file():
            logger.warning("%s: no features in %s, left out", slide.id, folder)
            return {}
        found[name] = SlideFeatures.load(path)
        if found[name].slide != slide.id:
            raise StoreError(
                f"{path}: holds features of {found[name].slide}; encode {slide.id} again"
            )
    first = next(iter(found.values()))
    if not len(first):
        logger.warning("%s: has no window with tissue, left out", slide.id)
        return {}
    for name, features in found.items():
        if not np.array_equal(features.xy, first.xy) or features.side_level0 != first.side_level0:
            raise SettingsError(
                f"{folders[name]}: {slide.id} has other windows than in {next(iter(folders))}; "
                "encode the same windows (patch-px × mpp and stride) with every encoder"
            )
    return found


def _encoder_key(features: SlideFeatures, known: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return encoder, its hash, feature length, patch side and µm/px, which all features of a study
    share. Where they match a known key, nearly equal µm/px included, return that key."""
    width = features.features.shape[1]
    facts = features.encoder, features.encoder_hash, width, features.patch_px
    same = (key for key in known if key[:-1] == facts and is_same_mpp(key[-1], features.mpp))
    return next(same, (*facts, features.mpp))


def _find_truth(
    slide: CohortSlide, found: Mapping[str, SlideFeatures], settings: FeatureStudySettings
) -> np.ndarray | None:
    try:
        return _label_windows(slide, next(iter(found.values())), settings.groups)
    except AnnotationError as error:
        logger.warning("%s: left out: %s", slide.id, error)
        return None


def _label_windows(
    slide: CohortSlide, features: SlideFeatures, groups: dict[str, GroupMeaning]
) -> np.ndarray:
    if slide.label == "tumor" and slide.annotation is None:  # a slide label, and no window's
        return np.full(len(features), UNKNOWN, np.int8)
    return label_windows(features, slide, groups).astype(np.int8)


def _refuse_unusable(
    slides: Sequence[CohortSlide],
    encoders: Mapping[tuple[Any, ...], str],
    folder: Path,
) -> None:
    if not slides:
        raise SettingsError(
            f"{folder}: has features of no labelled slide of the cohort; run gigaslide features "
            "on it, and fill in its column label"
        )
    if len(encoders) > 1:
        found = "; ".join(
            f"{key[0]} {key[1][:12]}, {key[2]} features, {key[3]} px at {key[4]:g} µm/px ({one})"
            for key, one in list(encoders.items())[:3]
        )
        raise SettingsError(
            f"{folder}: features of {format_count(len(encoders), 'encoder')} or scales: {found}; "
            "give a folder of one encoder"
        )


def _refuse_one_label(slides: Sequence[CohortSlide]) -> None:
    labels = {slide.label for slide in slides}
    if missing := {"tumor", "normal"} - labels:
        raise SettingsError(
            f"the cohort has no {min(missing)} slide with features; a study needs both classes"
        )


def _refuse_one_truth(truths: Sequence[np.ndarray]) -> None:
    known = {int(value) for one in truths for value in np.unique(one)} - {UNKNOWN}
    if known != {0, 1}:
        raise SettingsError(
            "no window is known to be "
            f"{'tumour' if 1 not in known else 'normal'}; give annotations of tumour slides in the "
            "cohort's column annotation"
        )
