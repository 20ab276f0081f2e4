"""Members of an ensemble: the model folders that one training makes, and their settings."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ..models import CARD, ENSEMBLE, EnsembleCard
from ..storage import SettingsError
from .settings import TrainSettings

__all__ = ["Member", "plan_members"]

logger = logging.getLogger(__name__)

NAME = re.compile(r"member_([1-9]\d*)$")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model to train."""

    folder: Path
    settings: TrainSettings


def plan_members(folder: Path, settings: TrainSettings) -> tuple[Member, ...]:
    """Return the models to train: the folder itself, or FOLDER/member_1, member_2, …, the first
    with the seed of the settings, the next with the seed after it.

    The card of an ensemble is written at once, so that prediction refuses a half-trained one. An
    ensemble that was trained with more members keeps them all.

    Raises:
        SettingsError: the folder holds something else, such as a single model where several are
            asked for.
        ModelError: the card of the ensemble is damaged.
    """
    card = EnsembleCard.load(folder)
    if settings.members == 1:
        if card is None:
            return (Member(folder=folder, settings=settings),)
        raise SettingsError(
            f"{folder}: is an ensemble of {len(card.members)} members; continue it with "
            f"--members {len(card.members)}, or give a new folder for a single model"
        )
    _refuse_other_output(folder, card, settings)
    count = max(settings.members, _count_trained(folder))
    if count > settings.members:
        logger.warning(
            "%s: has %d members, more than the %d asked for; they are kept",
            folder,
            count,
            settings.members,
        )
    names = tuple(f"member_{number}" for number in range(1, count + 1))
    if card is None or card.members != names:
        # A threshold of other members is none of these.
        EnsembleCard(members=names).save(folder)
    return tuple(
        Member(
            folder=folder / name,
            settings=settings.model_copy(update={"members": 1, "seed": settings.seed + number}),
        )
        for number, name in enumerate(names)
    )


def _refuse_other_output(folder: Path, card: EnsembleCard | None, settings: TrainSettings) -> None:
    if (folder / CARD).exists():
        raise SettingsError(
            f"{folder}: is a single model; give a new folder for an ensemble of {settings.members}"
        )
    if card is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(
            f"{folder}: holds something other than an ensemble, because it has no {ENSEMBLE}; give "
            "a new folder"
        )


def _count_trained(folder: Path) -> int:
    """Return the highest number among the finished members."""
    inside = folder.iterdir() if folder.is_dir() else ()
    numbers = [NAME.match(path.name) for path in inside if (path / CARD).is_file()]
    return max((int(found[1]) for found in numbers if found), default=0)
