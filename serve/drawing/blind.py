"""Slides that chance chose to be drawn by a second annotator too, who sees nothing of the first.

Not only the page holds it back: the server gives neither the versions and drafts of others, nor the
cohort's outlines, nor what the model found; also after the second annotator has saved, because each
of their saves counts as blind.
"""

from ...annotate import VersionInfo
from ...cohort import CohortSlide
from ..answers import Problem
from ..workspace import Workspace

__all__ = ["draws_blind", "newest_shown", "refuse_blind", "refuse_foreign_draft", "shown_versions"]


def draws_blind(workspace: Workspace, slide: CohortSlide) -> bool:
    """Tell whether the annotator of this server is the second one of a slide: chance chose it, and
    there is a version of somebody else that is not blind, and none of theirs."""
    versions = workspace.versions(slide)
    if versions is None or not (workspace.can_save and workspace.deal.is_blind(slide.id)):
        return False
    known = {one.facts.annotator for one in versions.history() if not one.facts.blind} - {""}
    return bool(known) and workspace.annotator not in known


def shown_versions(workspace: Workspace, slide: CohortSlide) -> list[VersionInfo]:
    """Return the versions that the annotator may see, the oldest first."""
    versions = workspace.versions(slide)
    history = [] if versions is None else versions.history()
    if not draws_blind(workspace, slide):
        return history
    return [one for one in history if one.facts.annotator == workspace.annotator]


def newest_shown(workspace: Workspace, slide: CohortSlide) -> VersionInfo | None:
    """Return the version to go on with: the newest one that is not blind, or the own blind one."""
    versions = workspace.versions(slide)
    if versions is None:
        return None
    if draws_blind(workspace, slide):
        return max(shown_versions(workspace, slide), key=lambda one: one.number, default=None)
    return versions.newest()


def refuse_blind(workspace: Workspace, slide: CohortSlide) -> None:
    """Refuse to tell what the model found.

    Raises:
        Problem: the annotator draws the slide blind.
    """
    if draws_blind(workspace, slide):
        raise Problem(404, f"{slide.id} is drawn blind: what the model found is not shown")


def refuse_foreign_draft(workspace: Workspace, slide: CohortSlide, tab: str) -> None:
    """Refuse the draft of another person.

    Raises:
        Problem: the annotator draws the slide blind, and the draft is not theirs.
    """
    versions = workspace.versions(slide)
    if versions is None or not draws_blind(workspace, slide):
        return
    if (versions.drafts.load(tab) or {}).get("annotator") != workspace.annotator:
        raise Problem(404, "no such draft")
