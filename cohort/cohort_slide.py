"""One slide of a cohort: where it lies, and what the table says of it."""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from shapely.geometry import MultiPolygon

from ..storage import AnnotationError, Location, SettingsError, fold_name
from ..wsi import DEFAULT_GROUPS, Annotation, AnnotationOrigin, GroupMeaning, Slide, SlideFrame
from .dicom_series import read_series

__all__ = ["CohortSlide", "Label", "Quality", "Split"]

Label = Literal["tumor", "normal", ""]
Split = Literal["train", "validation", "test", ""]
Quality = Literal["weak", "strong"]


@dataclass(frozen=True, kw_only=True)
class CohortSlide:
    """One row of the table. `id` names the slide's outputs: unique in the cohort and safe as a file
    name."""

    id: str
    path: Location
    annotation: Path | None = None
    label: Label = ""
    patient: str = ""
    split: Split = ""
    mpp: float | None = None
    """µm per level-0 px; overrides the µm/px in the file."""
    size: tuple[int, int] | None = None
    """(width, height), level-0 px; with `mpp` enough to score detections without the file."""
    further: tuple[tuple[str, str], ...] = ()
    """Further columns of the table, such as scanner or centre, as (name, value)."""
    exhaustive: bool = True
    """True if every tumour of the slide is outlined; if not, tissue outside the outlines may be
    tumour."""
    has_regions: bool = False
    """True if every tumour is outlined within the annotation's outlines of the class Region*, and
    only there; then exhaustive is false."""

    @property
    def file_key(self) -> Hashable:
        """Key of the file behind the path: equal for all paths and links, also hard ones, to it,
        and for all DICOM files of a slide."""
        if not isinstance(self.path, Path):
            return self.path
        if series := read_series(self.path):
            return os.path.realpath(self.path.parent), series
        try:
            found = self.path.stat()
        except OSError:
            return os.path.realpath(self.path)
        return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(self.path)

    def column(self, name: str) -> str:
        """Return the value of a further column, named in any case; empty if there is none."""
        return next((text for own, text in self.further if fold_name(own) == fold_name(name)), "")

    @property
    def annotation_origin(self) -> AnnotationOrigin:
        """Corner that the annotation's px are counted from, by the column annotation_origin: slide,
        bounds (the scanned part, as in QuPath), or empty where nobody says.

        Raises:
            SettingsError: the column has another value.
        """
        stated = self.column("annotation_origin").casefold()
        for origin in get_args(AnnotationOrigin):
            if origin == stated:
                return origin
        raise SettingsError(
            f"cohort: annotation_origin of {self.id} is {stated!r}; use slide, bounds or leave it "
            "empty"
        )

    @property
    def quality(self) -> Quality:
        """Quality of the annotation, by the column quality: strong, a person's outlines, which an
        empty cell means too; weak, those of a machine or a stain, or coarse ones.

        Raises:
            SettingsError: the column has another value.
        """
        stated = self.column("quality").strip().casefold() or "strong"
        for quality in get_args(Quality):
            if quality == stated:
                return quality
        raise SettingsError(
            f"cohort: quality of {self.id} is {stated!r}; use weak, strong or leave it empty"
        )

    def load_tumor(
        self,
        further_groups: Mapping[str, GroupMeaning],
        *,
        slide: Slide | SlideFrame | None = None,
    ) -> MultiPolygon | None:
        """Load the tumour outlined on a labelled slide, level-0 px; None if the row has no
        annotation.

        Raises:
            AnnotationError: the annotation cannot be read, or contradicts the label.
        """
        annotation = self.load_annotation(further_groups, slide=slide)
        return None if annotation is None else annotation.tumor

    def load_annotation(
        self,
        further_groups: Mapping[str, GroupMeaning],
        *,
        slide: Slide | SlideFrame | None = None,
    ) -> Annotation | None:
        """Load the annotation of a labelled slide; None if the row has none.

        slide saves opening this row's slide, which says where an annotation lies on it.

        Raises:
            AnnotationError: the annotation cannot be read, or contradicts the label.
        """
        if self.annotation is None:
            return None
        groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **further_groups}
        # Evaluation may run where the slides are not. A URL that fails to answer stays an error.
        has_slide = not isinstance(self.path, Path) or self.path.exists()
        annotation = Annotation.load(
            self.annotation,
            groups=groups,
            slide=slide or (self.path if has_slide else None),
            origin=self.annotation_origin,
        )
        # A tumour slide may have no tumour in the regions that a person looked at.
        if self.has_regions and self.label == "tumor" and annotation.tumor.is_empty:
            return annotation
        if (self.label == "tumor") == annotation.tumor.is_empty:
            if self.label == "tumor":
                raise AnnotationError(
                    f"{self.annotation}: outlines no tumour, but the slide's label is tumor: "
                    f"{'; '.join(annotation.explain_no_tumor())}"
                )
            raise AnnotationError(
                f"{self.annotation}: outlines tumour, but the slide's label is "
                f"{self.label or 'empty'}; correct one of them"
            )
        return annotation
