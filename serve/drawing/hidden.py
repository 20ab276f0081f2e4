"""Rules for hiding the model and other people's work, so that minutes and agreement compare fairly.

A slide that chance chose to be drawn from scratch shows nothing of the model until a person has
accepted outlines of it. A slide that it chose to be drawn by a second annotator too shows that one
nothing of others either: no versions, drafts, or outlines of the cohort; also after they have
saved, because each of their saves counts as blind.
"""

from ...annotate import VersionInfo
from ...cohort import CohortSlide
from ..answers import Problem
from ..workspace import Workspace

__all__ = [
    "draws_blind",
    "hides_model",
    "newest_shown",
    "refuse_foreign_draft",
    "refuse_hidden_model",
    "shown_versions",
]


def draws_blind(workspace: Workspace, slide: CohortSlide) -> bool:
    """Tell whether the annotator of this server is the second one of a slide: chance chose it, and
    there is a version of somebody else that is not blind, and none of theirs."""
    versions = workspace.versions(slide)
    if versions is None or not (workspace.can_save and workspace.deal.is_blind(slide.id)):
        return False
    known = {one.facts.annotator for one in versions.history() if not one.facts.blind} - {""}
    return bool(known) and workspace.annotator not in known


def hides_model(workspace: Workspace, slide: CohortSlide) -> bool:
    """Tell whether a slide is drawn without sight of what the model found: from scratch, until a
    person accepts it, or blind."""
    versions = workspace.versions(slide)
    if versions is None or not workspace.can_save:
        return False
    from_scratch = workspace.deal.mode_of(slide.id) == "scratch"
    if from_scratch and versions.newest(accepted=True) is None:
        return True
    return draws_blind(workspace, slide)


def shown_versions(workspace: Workspace, slide: CohortSlide) -> list[VersionInfo]:
    """Return the versions that the annotator may see, the oldest first."""
    versions = workspace.versions(slide)
    history = [] if versions is None else versions.history()
    if draws_blind(workspace, slide):
        return [one for one in history if one.facts.annotator == workspace.annotator]
    if hides_model(workspace, slide):
        return [one for one in history if not one.facts.is_proposal]
    return history


def newest_shown(workspace: Workspace, slide: CohortSlide) -> VersionInfo | None:
    """Return the version to go on with: the newest one that is not blind, or the own blind one. Of
    a proposal that is held back, only the number is told: the next version is saved on top of it.
    """
    versions = workspace.versions(slide)
    if versions is None:
        return None
    if draws_blind(workspace, slide):
        return max(shown_versions(workspace, slide), key=lambda one: one.number, default=None)
    return versions.newest()


def refuse_hidden_model(workspace: Workspace, slide: CohortSlide) -> None:
    """Refuse to tell what the model found.

    Raises:
        Problem: the annotator draws the slide without sight of it.
    """
    if hides_model(workspace, slide):
        raise Problem(404, f"{slide.id}: what the model found is hidden until the slide is drawn")


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
