"""Slides of a study: their labels, the truth of their windows, and arrays on disk."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..cohort import CohortSlide
from ..storage import StoreError, atomic_file
from .lesions import StudyLesions

__all__ = ["UNKNOWN", "FoundSlides", "StudyData", "load_arrays", "save_arrays"]

TRUTH = "truth.npz"
UNKNOWN = -1


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
