"""One model folder or several that predict together. Reading them imports no Keras.

MODEL/ensemble.json       names of the members, operating threshold of the ensemble
MODEL/member_1, …         model folders

A folder of model folders without ensemble.json, such as models trained one by one, is an ensemble
of all of them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..storage import ModelError, atomic_file
from ..wsi import InputSpec
from .card import CARD, ENSEMBLE, FeatureInput, ModelCard, OperatingThreshold
from .networks.own_network import refuse_other_network

__all__ = ["Ensemble", "EnsembleCard", "find_members"]

MOVED_ASIDE = re.compile(r"\.old-\d+$")  # earlier models, which a training renamed
OF_ONE_MEMBER = {"seed", "checkpoint_minutes", "initial_weights", "patience", "validate_every"}
MEMBER = re.compile(r"^member_\d+$")  # as gigaslide train --members names them
CHANGE_SCORES = ("shrink",)  # options that change probabilities and not the weights


class EnsembleCard(BaseModel):
    """Facts about a folder of model folders. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal["gigaslide-ensemble/1"] = "gigaslide-ensemble/1"
    members: tuple[str, ...]
    """Names of the members' folders, trained or to be trained."""
    operating_threshold: OperatingThreshold | None = None
    """Threshold on the slide scores of the members' mean; None: not chosen yet."""
    members_hash: str = ""
    """`Ensemble.hash` of the members for which the threshold was chosen."""

    @classmethod
    def load(cls, folder: Path) -> "EnsembleCard | None":
        """Read the card of a folder; None if it has none.

        Raises:
            ModelError: a damaged card.
        """
        try:
            return cls.model_validate(json.loads((folder / ENSEMBLE).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder / ENSEMBLE}: not the card of an ensemble ({error}); remove it to use "
                "every model in its folder"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the card; the folder is made if it is missing."""
        with atomic_file(folder / ENSEMBLE) as partial:
            partial.write_text(self.model_dump_json(indent=1), encoding="utf-8")


def find_members(folder: Path) -> tuple[Path, ...]:
    """Return the model folders of an ensemble's folder; a model folder itself is the only one.

    Raises:
        ModelError: a member is not trained yet, or a model lies there that the card does not name.
    """
    if (folder / CARD).is_file():
        return (folder,)
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [
        path.name
        for path in inside
        if (path / CARD).is_file() and not path.name.startswith(".")
        if not MOVED_ASIDE.search(path.name)
    ]
    card = EnsembleCard.load(folder)
    if card is None:
        return tuple(folder / name for name in found) or (folder,)
    missing = [name for name in card.members if name not in found]
    if missing:
        raise ModelError(
            f"{folder}: {len(card.members) - len(missing)} of {len(card.members)} members are "
            f"finished, {', '.join(missing)} not; run gigaslide train with --members "
            f"{len(card.members)} again"
        )
    further = [name for name in found if name not in card.members]
    if further:
        raise ModelError(
            f"{folder}: also holds the models {', '.join(further)}, which its {ENSEMBLE} does not "
            f"name; move them away, or remove {ENSEMBLE} to use every model there"
        )
    return tuple(folder / name for name in card.members)


@dataclass(frozen=True)
class Ensemble:
    """Model folders whose probabilities are averaged; a single model is an ensemble of one."""

    folders: tuple[Path, ...]
    """Model folders, one for each member."""
    location: Path | None = None
    """Folder that holds them, if they were found in one."""

    @classmethod
    def load(cls, folders: Path | Sequence[Path]) -> "Ensemble":
        """Read the cards of one folder or several; the weights are not read.

        A folder is a model folder or holds model folders, see `find_members`.

        Raises:
            ModelError: no folder, a damaged one, one model twice, an ensemble that is not trained
                to its end, or models that take different windows or give different classes.
        """
        given = (folders,) if isinstance(folders, Path) else tuple(folders)
        if not given:
            raise ModelError("no model folder was given; give one or several")
        members = tuple(member for folder in given for member in find_members(folder))
        alone = len(given) == 1 and members != given
        ensemble = cls(members, location=given[0] if alone else None)
        first = ensemble.cards[0]
        for folder, card in zip(members[1:], ensemble.cards[1:], strict=True):
            if differences := _describe_differences(card, first):
                raise ModelError(
                    f"{folder}: does not go together with {members[0]}: "
                    f"{'; '.join(differences)}; models predict together only if these are equal"
                )
        ensemble._refuse_equal_weights()
        # Models that a user put together may differ in their settings.
        if ensemble.location is not None and all(MEMBER.match(one.name) for one in members):
            ensemble._refuse_half_trained()
        return ensemble

    def _refuse_half_trained(self) -> None:
        """Refuse members of which some were trained again with other settings, and some not yet."""
        first, *others = (_shared_settings(card) for card in self.cards)
        for folder, found in zip(self.folders[1:], others, strict=True):
            names = sorted(name for name in first if found.get(name) != first[name])
            if names:
                raise ModelError(
                    f"{folder}: was trained with another {', '.join(names)} than "
                    f"{self.folders[0].name}; run the same gigaslide train --members again until "
                    "every member is finished"
                )

    def _refuse_equal_weights(self) -> None:
        if len({card.weights_sha256 for card in self.cards}) < len(self.folders):
            raise ModelError(
                f"the same weights are given twice, in {', '.join(map(str, self.folders))}; give "
                "each model once"
            )

    @cached_property
    def cards(self) -> tuple[ModelCard, ...]:
        return tuple(ModelCard.load(folder) for folder in self.folders)

    @property
    def input_spec(self) -> InputSpec:
        return self.cards[0].input_spec

    @property
    def features(self) -> FeatureInput | None:
        """Features that the models take; None: they take pixels."""
        return self.cards[0].features

    @property
    def task(self) -> Literal["patches", "regions"]:
        """Task of the models, see `ModelCard.task`."""
        return self.cards[0].task

    @property
    def hash(self) -> str:
        """Hash of weights and temperatures; that of several models does not depend on their
        order."""
        hashes = sorted(card.hash for card in self.cards)
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )

    @property
    def operating_threshold(self) -> OperatingThreshold | None:
        """Threshold of the model's card, or of the ensemble's card if it was chosen for just these
        members; None for models given one by one, whose mean has other scores."""
        if len(self.cards) == 1:
            return self.cards[0].operating_threshold
        card = EnsembleCard.load(self.location) if self.location is not None else None
        if card is None or card.members_hash != self.hash:
            return None
        return card.operating_threshold

    def save_operating_threshold(self, threshold: OperatingThreshold) -> None:
        """Write the threshold to the card of the model, or of the folder that holds the models.

        Raises:
            ModelError: several models that were given one by one, which have no card together.
        """
        if len(self.cards) == 1:
            (card,), (folder,) = self.cards, self.folders
            card.model_copy(update={"operating_threshold": threshold}).save(folder)
            return
        if self.location is None:
            raise ModelError(
                f"{', '.join(map(str, self.folders))}: have no threshold together; put the models "
                "into one folder, and give that"
            )
        EnsembleCard(
            members=tuple(folder.name for folder in self.folders),
            operating_threshold=threshold,
            members_hash=self.hash,
        ).save(self.location)

    @property
    def identity(self) -> dict[str, Any]:
        """Plain JSON on which probabilities depend, for recipes."""
        networks = sorted(
            (
                {
                    "architecture": card.architecture,
                    "weights_sha256": card.weights_sha256,
                    **{name: card.options[name] for name in CHANGE_SCORES if name in card.options},
                    **({"temperature": card.temperature.value} if card.temperature else {}),
                }
                for card in self.cards
            ),
            key=lambda network: network["weights_sha256"],
        )
        return {**self.input_spec.model_dump(mode="json"), "networks": networks}

    def check_architecture(self, given: str) -> None:
        """Compare the networks with the architecture of the command line, "" for none.

        Raises:
            ModelError: a network of somebody's own that was not given, or one was given that no
                model has.
        """
        for folder, card in zip(self.folders, self.cards, strict=True):
            refuse_other_network(folder, recorded=card.architecture, given=given)
        found = sorted({card.architecture for card in self.cards})
        if given and given not in found:
            raise ModelError(
                f"{self.folders[0]}: has the network {', '.join(found)}, not {given}; leave out "
                "--architecture, or give another model"
            )

    def check_weights(self) -> None:
        """Compare the weights with the cards.

        Raises:
            ModelError: weights are missing or are not those of their card.
        """
        for folder, card in zip(self.folders, self.cards, strict=True):
            card.check_weights(folder)


def _shared_settings(card: ModelCard) -> dict[str, Any]:
    settings = card.training.get("settings", {})
    return {name: value for name, value in settings.items() if name not in OF_ONE_MEMBER}


def _describe_differences(card: ModelCard, other: ModelCard) -> Iterable[str]:
    """Facts about the input that differ, with both values: ["patch_px 96 and 48"]."""
    mine, theirs = (
        {
            **one.input_spec.model_dump(mode="json"),
            "features": _describe_features(one),
            "task": one.task,
        }
        for one in (card, other)
    )
    return [
        f"{name} {mine[name]} and {theirs[name]}" for name in mine if mine[name] != theirs[name]
    ]


def _describe_features(card: ModelCard) -> str:
    found = card.features
    return f"{found.length} of {found.encoder} {found.encoder_hash[:12]}" if found else "none"
