"""A cohort with the newest accepted versions as its annotations, as the other stages read them."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..cohort import Cohort, CohortSlide
from ..storage import AnnotationError, fold_name, format_count
from ..wsi import DEFAULT_GROUPS, is_region
from .folder import AnnotationFolder
from .identity import SlideIdentity, file_fingerprint
from .version_info import VersionInfo

__all__ = ["use_versions"]

logger = logging.getLogger(__name__)

ORIGIN = "annotation_origin"


def use_versions(cohort: Cohort, path: Path) -> Cohort:
    """Return the cohort with the newest accepted version of each slide as its annotation.

    Slides without one keep their own. A slide without a label gets one: tumor where tumour is
    outlined, else normal where a person looked at the whole slide; none where an outline has no
    class, or one of unknown meaning. Where a version has rectangles of the class Region*,
    everything is outlined inside them only.

    Raises:
        StoreError: no annotations are at path, or a version is damaged.
        AnnotationError: a slide is not the one that its version was drawn on.
    """
    folder = AnnotationFolder.open(path)
    slides, used = [], 0
    for slide in cohort:
        info = folder.versions(slide.id).newest(accepted=True)
        used += info is not None
        slides.append(slide if info is None else _with_version(slide, folder, info))
    logger.info("%s: %s have an accepted version", path, format_count(used, "slide"))
    if not used:
        logger.warning(
            "%s: no slide of the cohort has an accepted version, so the cohort's own annotations "
            "are used; accept some with gigaslide annotations accept",
            path,
        )
    return replace(cohort, slides=tuple(slides))


def _with_version(slide: CohortSlide, folder: AnnotationFolder, info: VersionInfo) -> CohortSlide:
    if isinstance(slide.path, Path) and slide.path.exists():
        now = SlideIdentity(name=slide.path.name, fingerprint=file_fingerprint(slide.path))
        if info.identity.differences(now):
            raise AnnotationError(
                f"{slide.path}: is not the slide that version {info.number} of {slide.id} was "
                "drawn on; put that one back, or save the outlines again for this one"
            )
    versions = folder.versions(slide.id)
    groups = versions.groups(info.number)
    is_partial = any(map(is_region, groups))
    further = [(name, text) for name, text in slide.further if fold_name(name) != ORIGIN]
    return replace(
        slide,
        annotation=versions.path(info.number).absolute(),
        label=slide.label or _label(groups, str(versions.path(info.number)), is_partial=is_partial),
        exhaustive=slide.exhaustive and not is_partial,
        has_regions=is_partial,
        further=(*further, (ORIGIN, "slide")),
    )


def _label(
    groups: Sequence[str], where: str, *, is_partial: bool
) -> Literal["tumor", "normal", ""]:
    """Label of a slide by the classes of its outlines; empty, with a warning, where an outline may
    be tumour without saying so."""
    if any(DEFAULT_GROUPS.get(group.casefold()) == "tumor" for group in groups):
        return "tumor"
    unclear = sorted({group for group in groups if _is_unclear(group)})
    if unclear:
        names = ", ".join(group or "no class" for group in unclear)
        logger.warning(
            "%s: the slide gets no label, because its outlines may be tumour: %s; give them a "
            "class such as Tumor and save again, or write the label into the cohort and give "
            "%s tumor",
            where,
            names,
            shlex.quote(f"--groups.{unclear[0]}"),
        )
    return "" if unclear or is_partial else "normal"


def _is_unclear(group: str) -> bool:
    name = group.casefold()
    return name in ("", "none") or (name not in DEFAULT_GROUPS and not is_region(name))
