"""Corrections of a slide: the difference between what a model proposed and what a person
accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from ..storage import StoreError
from ..wsi import DEFAULT_GROUPS, GroupMeaning, is_region, polygons_in
from .outlines import DrawnOutline
from .version_info import VersionInfo
from .versions import SlideVersions

__all__ = ["Corrections", "area_of_meaning", "find_corrections"]

CLASSLESS = ("", "none")  # ASAP writes None


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """Areas of one slide that a person corrected, level-0 px."""

    missed: MultiPolygon
    """Tumour that the model did not propose."""
    false_alarms: MultiPolygon
    """Regions that the model proposed and that are no tumour."""
    proposed: int
    """Number of the proposed version."""
    accepted: int
    """Number of the accepted version."""

    @property
    def is_empty(self) -> bool:
        return self.missed.is_empty and self.false_alarms.is_empty


def find_corrections(
    versions: SlideVersions, further_groups: Mapping[str, GroupMeaning] | None = None
) -> Corrections | None:
    """Compare the newest accepted version of a slide with the proposal that it was made from; None
    if there is no accepted version, or it was not made from a proposal.

    Where the accepted version has rectangles of the class Region*, what lies outside them was not
    looked at and counts as neither. Outlines of the class Ignore*, or without a class, say nothing
    of what they enclose: no false alarm lies there.

    Raises:
        StoreError: a version is damaged.
    """
    newest = versions.newest(accepted=True)
    proposal = None if newest is None else _find_proposal(versions, newest)
    if newest is None or proposal is None:
        return None
    accepted = versions.load(newest.number).outlines
    # A proposal has outlines of one class, whatever it is called.
    proposed = shapely.union_all([one.shape for one in versions.load(proposal.number).outlines])
    tumor = area_of_meaning(accepted, "tumor", further_groups).difference(
        area_of_meaning(accepted, "exclusion", further_groups)
    )
    missed = tumor.difference(proposed)
    false_alarms = proposed.difference(tumor).difference(_undecided(accepted))
    regions = [one.shape for one in accepted if is_region(one.group)]
    if regions:
        looked_at = shapely.union_all(regions)
        missed, false_alarms = (one.intersection(looked_at) for one in (missed, false_alarms))
    return Corrections(
        missed=polygons_in(missed),
        false_alarms=polygons_in(false_alarms),
        proposed=proposal.number,
        accepted=newest.number,
    )


def _find_proposal(versions: SlideVersions, info: VersionInfo) -> VersionInfo | None:
    """Follow the parents of a version, and what it restored, to a proposal."""
    seen: set[int] = set()
    while not info.facts.is_proposal:
        before = info.facts.restored_from or info.parent
        if not before or before in seen:
            return None
        seen.add(before)
        try:
            info = versions.info(before)
        except StoreError as error:
            raise StoreError(
                f"{error}; without it the corrections of version {info.number} are unknown"
            ) from error
    return info


def _undecided(outlines: Sequence[DrawnOutline]) -> BaseGeometry:
    """Return the union of the outlines by which nobody said that they enclose no tumour."""
    return shapely.union_all(
        [
            one.shape
            for one in outlines
            if one.group.casefold() in CLASSLESS or one.group.casefold().startswith("ignore")
        ]
    )


def area_of_meaning(
    outlines: Sequence[DrawnOutline],
    meaning: GroupMeaning,
    further_groups: Mapping[str, GroupMeaning] | None = None,
) -> BaseGeometry:
    """Return the union of the outlines whose class has a meaning, level-0 px; further_groups come
    on top of the usual classes."""
    meanings = {
        name.casefold(): known
        for name, known in {**DEFAULT_GROUPS, **(further_groups or {})}.items()
    }
    return shapely.union_all(
        [one.shape for one in outlines if meanings.get(one.group.casefold()) == meaning]
    )
