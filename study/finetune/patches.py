"""Patches of a study of starts: which of a store it uses, their truth, and their pixels."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...cohort import Cohort
from ...models import find_training_slides, hash_initial_weights
from ...patching import PatchStore
from ...storage import SettingsError, fold_name
from ...wsi import InputSpec
from ..data import FoundSlides, StudyData
from .settings import FinetuneSettings

__all__ = ["PatchFolder", "find_patches"]

logger = logging.getLogger(__name__)

CLASSES = ("tumor", "normal")
CACHE_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class PatchFolder:
    """Patches of a store that a study uses; what was read is kept while it is small."""

    path: Path
    per_slide: int

    @cached_property
    def store(self) -> PatchStore:
        return PatchStore(self.path)

    @cached_property
    def spec(self) -> InputSpec:
        """Geometry of the patches at their finest scale."""
        spec = self.store.input_spec
        return spec.model_copy(update={"mpps": spec.mpps[:1]})

    @cached_property
    def _kept(self) -> dict[str, np.ndarray]:
        return {}

    def choose(self, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Choose patches of a slide, by class: indices, evenly over those that the store holds."""
        tumor = min(counts.get("tumor", 0), self.per_slide // 2)
        normal = min(counts.get("normal", 0), self.per_slide - tumor)
        wanted = dict(zip(CLASSES, (tumor, normal), strict=True))
        return {
            name: np.linspace(0, counts.get(name, 0) - 1, count).round().astype(np.int64)
            for name, count in wanted.items()
            if count
        }

    def read(self, slide: str) -> np.ndarray:
        """Read the patches of a slide, those of tumour first: (n, P, P, 3) uint8.

        Raises:
            StoreError: they cannot be read.
        """
        if slide in self._kept:
            return self._kept[slide]
        counts = next(one.counts for one in self.store.slides if one.id == slide)
        side = self.spec.patch_px
        parts = []
        for name, indices in self.choose(counts).items():
            images = self.store.read(slide, name, indices)
            margin = (images.shape[1] - side) // 2
            parts.append(images[:, margin : margin + side, margin : margin + side])
        found = np.ascontiguousarray(np.concatenate(parts))
        if found.nbytes + sum(one.nbytes for one in self._kept.values()) <= CACHE_BYTES:
            self._kept[slide] = found
        return found


def find_patches(cohort: Cohort, settings: FinetuneSettings) -> FoundSlides:
    """Find the labelled slides of a cohort that a store has patches of; tell which are left out.

    Raises:
        SettingsError: no store, no start, or no slides of a class.
        StoreError: no store there.
        ModelError: a start that does not exist.
    """
    if settings.store is None:
        raise SettingsError(
            "a study of starts needs patches: make them with gigaslide tile, then give --store"
        )
    if not settings.starts:
        raise SettingsError(
            "a study of starts needs weights to compare with random ones: give --starts.NAME FILE"
        )
    folder = PatchFolder(path=settings.store, per_slide=settings.patches_per_slide)
    held = {one.id: one for one in folder.store.slides}
    used, truths, digest = [], [], hashlib.sha256()
    for slide in cohort:
        chosen = folder.choose(held[slide.id].counts) if slide.id in held else {}
        if not slide.label or not chosen:
            logger.warning("%s: no label or no patches in %s, left out", slide.id, settings.store)
            continue
        used.append(slide)
        truths.append(
            np.concatenate(
                [np.full(len(rows), name == "tumor", np.int8) for name, rows in chosen.items()]
            )
        )
        facts = [slide.id, slide.patient, slide.label, held[slide.id].sha256, len(truths[-1])]
        digest.update(json.dumps(facts).encode())
    for name, path in settings.starts.items():
        digest.update(f"{name} {hash_initial_weights(str(path), settings.architecture)}".encode())
    if missing := {"tumor", "normal"} - {slide.label for slide in used}:
        raise SettingsError(
            f"{settings.store}: has patches of no {min(missing)} slide of the "
            "cohort; a study needs both classes"
        )
    data = StudyData(
        ids=tuple(slide.id for slide in used),
        patients=tuple(fold_name(slide.patient) for slide in used),
        is_tumor=np.array([slide.label == "tumor" for slide in used], bool),
        windows=tuple(truths),
        encoder=f"{folder.spec.patch_px} px at {folder.spec.mpp:g} µm/px",
        contents={"": digest.hexdigest()},
    )
    cards = tuple(
        {"name": name, "training_slides": find_training_slides(path)}
        for name, path in settings.starts.items()
    )
    return FoundSlides(data=data, slides=tuple(used), encoder_cards=cards, pretrained="start")
