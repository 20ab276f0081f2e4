"""Slides of a study of a curriculum: small pictures of them, with the truth of their cells and
their lesions."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...cohort import Cohort, CohortSlide
from ...eval import EvaluateSettings, Truth
from ...models import (
    CELL_PX,
    build_whole_slide_network,
    find_training_slides,
    hash_initial_weights,
)
from ...storage import (
    AnnotationError,
    ModelError,
    SettingsError,
    SlideError,
    StoreError,
    atomic_file,
    fold_name,
)
from ...training import SlidePicture
from ...wsi import (
    CellStatus,
    Heatmap,
    Region,
    Slide,
    TissueMask,
    TissueSettings,
    ceil_div,
    fit_stain,
    open_slide,
    tissue_in_image,
    tumor_fractions,
)
from ..data import UNKNOWN, FoundSlides, StudyData, load_arrays, save_arrays
from .settings import CurriculumSettings

__all__ = ["PICTURES", "FoundPictures", "PictureFolder", "StudiedSlide", "read_pictures"]

logger = logging.getLogger(__name__)

PICTURES = "pictures"
LEAST_TISSUE = 0.25
"""Share of a cell from which on it has tissue."""
ANSWERS = {"yes": 1, "true": 1, "1": 1, "no": 0, "false": 0, "0": 0, "": UNKNOWN}
WHITE = 255


@dataclass(frozen=True, kw_only=True)
class StudiedSlide:
    """A slide as a picture, and its lesions."""

    picture: SlidePicture
    lesion: np.ndarray
    """(h, w) int32: label of the lesion in which the cell's centre lies, 1 to L; 0 for none."""
    is_itc: np.ndarray
    """(L,) bool: isolated tumour cells, neither hit nor missed."""
    is_judged: np.ndarray
    """() bool: all tumour is outlined, so that detections can be scored."""
    frame: np.ndarray
    """(width, height, µm/px, side of a cell): size of the slide (level-0 px), its µm/px, and the
    cell's side (level-0 px). float64."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays by name."""
        own = {name: getattr(self, name) for name in ("lesion", "is_itc", "is_judged", "frame")}
        names = ("image", "tissue", "tumor", "findings")
        return {**{name: getattr(self.picture, name) for name in names}, **own}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "StudiedSlide":
        """Make a slide from `arrays`."""
        names = ("image", "tissue", "tumor", "findings")
        own = {name: array for name, array in arrays.items() if name not in names}
        return cls(picture=SlidePicture(**{name: arrays[name] for name in names}), **own)

    def draw_map(self, name: str, cells: np.ndarray) -> Heatmap:
        """Return the class activation map of tumour, probabilities (h, w), as a heatmap."""
        tissue = self.picture.tissue
        width, height, mpp, side = self.frame.tolist()
        return Heatmap(
            slide=name,
            probability=np.where(tissue, cells, np.nan).astype(np.float32),
            status=np.where(tissue, CellStatus.SCORED, CellStatus.BACKGROUND).astype(np.uint8),
            origin_level0=(0.0, 0.0),
            stride_level0=side,
            centre_level0=side,
            centre_px=CELL_PX,
            slide_size=(round(width), round(height)),
            slide_mpp=mpp,
            model_hash="",
        )


@dataclass(frozen=True, kw_only=True)
class FoundPictures(FoundSlides):
    """Slides that a study uses, and their pictures."""

    pictures: Mapping[str, StudiedSlide]

    def save(self, out: Path) -> None:
        super().save(out)
        for name, one in self.pictures.items():
            path = out / PICTURES / f"{name}.npz"
            if not _holds(path, one):
                with atomic_file(path) as partial:
                    save_arrays(partial, one.arrays())


def _holds(path: Path, slide: StudiedSlide) -> bool:
    """Return whether a file holds this slide, unchanged."""
    try:
        held = load_arrays(path)
    except StoreError:
        return False
    mine = slide.arrays()
    return held.keys() == mine.keys() and all(np.array_equal(held[k], mine[k]) for k in mine)


@dataclass(frozen=True, kw_only=True)
class PictureFolder:
    """Folder with pictures of slides; they are kept in memory."""

    path: Path

    @cached_property
    def _kept(self) -> dict[str, StudiedSlide]:
        return {}

    def read(self, slide: str) -> StudiedSlide:
        """Read a slide.

        Raises:
            StoreError: its picture is damaged.
        """
        if slide not in self._kept:
            path = self.path / f"{slide}.npz"
            try:
                self._kept[slide] = StudiedSlide.of_arrays(load_arrays(path))
            except (StoreError, KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{path}: cannot be read ({error}); remove it and run the study again"
                ) from error
        return self._kept[slide]


def read_pictures(cohort: Cohort, settings: CurriculumSettings) -> FoundPictures:
    """Read the labelled slides of a cohort as pictures; tell which are left out.

    Raises:
        SettingsError: a class without slides, no outlined tumour, a slide too large for its
            picture, a finding that is neither yes nor no, or weights of another network.
    """
    source = settings.initial_weights
    if source is not None:
        _refuse_misfit(str(source), settings)
    found: dict[str, StudiedSlide] = {}
    used, digest = [], hashlib.sha256()
    for slide in cohort:
        one = _read(slide, settings)
        if one is None:
            continue
        used.append(slide)
        found[slide.id] = one
        digest.update(
            f"{slide.id}\n{slide.patient}\n{slide.label}\n{settings.radius_um}\n".encode()
        )
        for array in one.arrays().values():
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    _refuse_unusable(used, list(found.values()))
    if source is not None:
        digest.update(hash_initial_weights(str(source), settings.architecture).encode())
    data = StudyData(
        ids=tuple(found),
        patients=tuple(fold_name(slide.patient) for slide in used),
        is_tumor=np.array([slide.label == "tumor" for slide in used], bool),
        windows=tuple(
            np.where(one.picture.tissue, one.picture.tumor, UNKNOWN).astype(np.int8).ravel()
            for one in found.values()
        ),
        encoder=f"{settings.mpp:g} µm/px",
        contents={"": digest.hexdigest()},
    )
    cards = (
        ()
        if source is None
        else (
            {
                "name": str(source),
                "training_slides": find_training_slides(source, without_classifier=True),
            },
        )
    )
    return FoundPictures(
        data=data,
        slides=tuple(used),
        encoder_cards=cards,
        pretrained="start",
        pictures=found,
    )


def _refuse_misfit(source: str, settings: CurriculumSettings) -> None:
    training = settings.training
    try:
        build_whole_slide_network(
            training.architecture,
            findings=1,
            width=training.width or 1.0,
            sharpness=training.sharpness,
            initial_weights=source,
        )
    except ModelError as error:
        raise SettingsError(
            f"{error} (--architecture is {training.architecture}, --width {training.width:g})"
        ) from error


def _read(slide: CohortSlide, settings: CurriculumSettings) -> StudiedSlide | None:
    if not slide.label:
        logger.warning("%s: no label, left out", slide.id)
        return None
    findings = _find_findings(slide, settings.findings)
    try:
        with open_slide(slide.path, mpp=slide.mpp) as opened:
            return _read_opened(slide, opened, findings, settings)
    except (SlideError, AnnotationError) as error:
        logger.warning("%s: left out: %s", slide.id, error)
        return None


def _find_findings(slide: CohortSlide, columns: Sequence[str]) -> np.ndarray:
    found = [int(slide.label == "tumor")]
    for column in columns:
        text = slide.column(column).casefold()
        if text not in ANSWERS:
            raise SettingsError(
                f"{slide.id}: its finding {column} is {text!r}; write yes, no, or leave it empty"
            )
        found.append(ANSWERS[text])
    return np.array(found, np.int8)


def _read_opened(
    slide: CohortSlide, opened: Slide, findings: np.ndarray, settings: CurriculumSettings
) -> StudiedSlide | None:
    width, height = opened.size
    scale = opened.scale(settings.mpp)
    longest = ceil_div(max(width, height), scale.level0)
    if longest > settings.most_px:
        advised = settings.mpp * longest / settings.most_px
        raise SettingsError(
            f"{slide.id}: its picture would be {longest} px long at {settings.mpp:g} µm/px; give "
            f"--mpp {ceil_div(advised, 1)}, or a larger --most-px"
        )
    whole = Region(x=0, y=0, width=width, height=height)
    image = opened.read_region(whole, mpp=settings.mpp)
    rows, columns = (ceil_div(side, CELL_PX) for side in image.shape[:2])
    cell_level0 = CELL_PX * scale.level0
    down, across = np.divmod(np.arange(rows * columns), columns)
    corners = np.stack([across, down], axis=1) * cell_level0
    tissue = TissueMask(
        mask=tissue_in_image(image, mpp=scale.mpp, settings=TissueSettings()),
        scale_level0=scale.level0,
    ).fraction(corners, side_level0=cell_level0)
    has_tissue = (tissue >= LEAST_TISSUE).reshape(rows, columns)
    if not has_tissue.any():
        logger.warning("%s: has no tissue, left out", slide.id)
        return None
    truth = Truth.of_slide(
        slide,
        slide_size=opened.size,
        slide_mpp=opened.info.mpp,
        settings=EvaluateSettings(groups=settings.groups),
        opened=opened,
    )
    share = tumor_fractions(truth.tumor, corners, side_level0=cell_level0, side_px=CELL_PX)
    rest = UNKNOWN if truth.unjudged else 0
    tumor = np.where(share > 0, 1, rest).astype(np.int8).reshape(rows, columns)
    padding = [(0, CELL_PX * rows - image.shape[0]), (0, CELL_PX * columns - image.shape[1])]
    lesions = truth.lesions
    centres = corners + cell_level0 / 2
    labels = np.zeros(len(centres), np.int32) if lesions is None else lesions.at(centres)
    if settings.stain != "none":
        image = fit_stain(image.reshape(-1, 3), settings.stain).apply(image)
    return StudiedSlide(
        picture=SlidePicture(
            image=np.pad(image, [*padding, (0, 0)], constant_values=WHITE),
            tissue=has_tissue,
            tumor=tumor,
            findings=findings,
        ),
        lesion=labels.reshape(rows, columns).astype(np.int32),
        is_itc=np.zeros(0, bool) if lesions is None else lesions.measures.is_itc,
        is_judged=np.array(not truth.unjudged),
        frame=np.array([width, height, opened.info.mpp, cell_level0], np.float64),
    )


def _refuse_unusable(slides: Sequence[CohortSlide], found: Sequence[StudiedSlide]) -> None:
    if missing := {"tumor", "normal"} - {slide.label for slide in slides}:
        raise SettingsError(
            f"the cohort has no {min(missing)} slide that can be read; a study needs both classes"
        )
    if not any((one.picture.tumor == 1).any() for one in found):
        raise SettingsError(
            "no tumour is outlined, and a curriculum begins with patches of it; give annotations "
            "of tumour slides in the cohort's column annotation"
        )
