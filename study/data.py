"""Slides of a study: their labels, the truth of their windows, and their features."""

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..cohort import Cohort, CohortSlide
from ..storage import (
    GROUP,
    AnnotationError,
    SettingsError,
    StoreError,
    atomic_file,
    fold_name,
    format_count,
)
from ..training import label_windows
from ..wsi import GroupMeaning, SlideFeatures, is_same_mpp
from .lesions import StudyLesions, find_slide_lesions
from .settings import FeatureStudySettings, LabelsSettings

__all__ = [
    "UNKNOWN",
    "FeatureFolder",
    "FoundSlides",
    "StudyData",
    "load_arrays",
    "read_slides",
    "save_arrays",
]

logger = logging.getLogger(__name__)

TRUTH = "truth.npz"
UNKNOWN = -1
CACHE_BYTES = 2 * 2**30
"""Features that a process keeps in memory; others are read for each cell."""


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """S slides with a label and features, in the order of the cohort."""

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    """Patient of each slide, by `fold_name`; empty where unknown."""
    is_tumor: np.ndarray
    """(S,) bool."""
    windows: tuple[np.ndarray, ...]
    """Truth of each slide's windows, (N,) int8: 1 tumour, 0 normal, -1 unknown."""
    encoder: str
    """Name of the encoder, or of several."""
    lesions: StudyLesions | None = None
    """Lesions of the slides, in studies with lesion-level figures."""
    contents: Mapping[str, str]
    """SHA-256 of features and labels, hexadecimal, by the name of the encoder in the settings."""

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Index of each slide, by its id."""
        return {name: index for index, name in enumerate(self.ids)}

    def count_windows(self, slides: Sequence[int]) -> int:
        """Count the windows of slides whose truth is known."""
        return sum(int((self.windows[index] != UNKNOWN).sum()) for index in slides)

    def save(self, out: Path, name: str = TRUTH) -> None:
        """Write an .npz file into a folder."""
        arrays = {
            "ids": np.array(self.ids),
            "patients": np.array(self.patients),
            "is_tumor": self.is_tumor,
            "lengths": np.array([len(one) for one in self.windows], np.int64),
            "windows": np.concatenate([*self.windows, np.zeros(0, np.int8)]).astype(np.int8),
            "encoder": np.array(self.encoder),
            "names": np.array(list(self.contents)),
            "contents": np.array(list(self.contents.values())),
            **(self.lesions.to_arrays() if self.lesions else {}),
        }
        with atomic_file(out / name) as partial:
            save_arrays(partial, arrays)

    @classmethod
    def load(cls, out: Path, name: str = TRUTH) -> "StudyData":
        """Read what `save` wrote.

        Raises:
            StoreError: it is missing or damaged.
        """
        try:
            found = load_arrays(out / name)
            ends = np.cumsum(found["lengths"])
            names, contents = found["names"].tolist(), found["contents"].tolist()
            return cls(
                ids=tuple(found["ids"].tolist()),
                patients=tuple(found["patients"].tolist()),
                is_tumor=found["is_tumor"],
                windows=tuple(np.split(found["windows"], ends)[: len(ends)]),
                encoder=str(found["encoder"]),
                lesions=StudyLesions.from_arrays(found, found["lengths"].tolist()),
                contents=dict(zip(names, contents, strict=True)),
            )
        except (ValueError, KeyError) as error:
            raise StoreError(f"{out / name}: is damaged ({error}); run the study again") from error


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz file."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load the arrays of an .npz file.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run the study again") from error


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


@dataclass(frozen=True, kw_only=True)
class FoundSlides:
    """Slides that a study uses, and what it knows of the weights that were learnt before."""

    data: StudyData
    slides: tuple[CohortSlide, ...]
    encoder_cards: tuple[Mapping[str, Any], ...]
    """Cards of the encoders, or of the starts of a study of starts: names and training slides."""
    pretrained: Literal["encoder", "start"] = "encoder"
    """Word for what has these cards."""
    encoder_keys: tuple[tuple[Any, ...], ...] = ()
    """Encoder, its hash, feature length, patch side and µm/px of each folder of features."""

    def save(self, out: Path) -> None:
        """Write what the cells read besides the features."""
        self.data.save(out)


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
            f"{key[0]}, {key[3]} px at {key[4]:g} µm/px ({one})"
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
