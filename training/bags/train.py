"""Train a model folder on the features of a cohort's slides.

MODEL/card.json, model.weights.h5    as for any model; the card names the encoder
MODEL/history.csv                    losses by epoch
MODEL/recipe.json                    settings, and the contents of features and labels
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ...cohort import Cohort
from ...inference import check_features, refuse_encoder_patients
from ...models import (
    BAG_ARCHITECTURE,
    CARD,
    WEIGHTS,
    Ensemble,
    FeatureInput,
    ModelCard,
    OperatingThreshold,
    hash_weights,
    load_bag_ensemble,
    save_bag_model,
)
from ...storage import Output, Recipe, SettingsError, format_count
from ...wsi import InputSpec
from ..checkpoints.files import move_aside
from ..validation.threshold import choose_among
from .cohort_bags import CohortBag, load_bags
from .fit import BagFit, BagHistoryRow, BagStart, fit_bags
from .settings import BagSettings

__all__ = ["BagOutcome", "FeatureTraining"]

logger = logging.getLogger(__name__)

STAGE = "train-features"
HISTORY = "history.csv"
SPLITS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class BagOutcome:
    """A trained model; `trained` is False if the folder already held it."""

    card: ModelCard
    trained: bool


class FeatureTraining:
    """Slides of a cohort with their features, from which any number of members is trained."""

    def __init__(
        self,
        features: Path,
        cohort: Cohort,
        settings: BagSettings,
        *,
        initial: Path | None = None,
    ) -> None:
        """Load and check the features of both splits, and the model that the training begins with,
        if any.

        Raises:
            SettingsError: no slide to train on, or test patients that the encoder learnt from.
            StoreError: damaged features.
            ModelError: features of more than one encoder or scale.
            AnnotationError: see `label_windows`.
        """
        self.settings = settings
        self.initial = None if initial is None else Ensemble.load(initial)
        used = [slide for slide in cohort if slide.split in SPLITS]
        self.bags = load_bags(used, features, settings)
        self.by_split = {
            split: [bag for bag in self.bags if bag.slide.split == split] for split in SPLITS
        }
        if not self.by_split["train"]:
            raise SettingsError(
                f"{features}: has no features of a labelled slide with the split train; give "
                "labels and splits in the cohort, and encode its slides with gigaslide features"
            )
        tested = [slide for slide in cohort if slide.split == "test"]
        refuse_encoder_patients(cohort, self.bags[0].features.encoder_card, tested=tested)
        if self.initial is not None:
            check_features(self.bags[0].features, self.initial.cards[0])

    def describe(self) -> str:
        """Describe what there is to learn from."""
        train, validation = (self.by_split[split] for split in SPLITS)
        tumor = sum(bag.is_tumor for bag in train)
        windows = sum(len(bag.features) for bag in train)
        text = (
            f"{format_count(len(train), 'slide')}, {tumor} tumour, with "
            f"{format_count(windows, 'window')}"
        )
        if self.settings.labels == "windows":
            labels = np.concatenate([bag.windows for bag in train if bag.windows is not None])
            text += f", {int((labels == 1).sum())} tumour and {int((labels == 0).sum())} normal"
        return f"{text}; {format_count(len(validation), 'validation slide')}"

    def train(
        self,
        folder: Path,
        *,
        seed: int,
        on_epoch: Callable[[BagHistoryRow], None] | None = None,
    ) -> BagOutcome:
        """Train one model with this seed into a folder; keep one that the same settings, seed,
        features and labels made. An earlier one of other ones is renamed.

        Raises:
            SettingsError: the folder holds something else, or one class is missing.
            ModelError: the loss became NaN.
        """
        output = self._output(folder, seed)
        state = output.state()
        if state.status == "foreign":
            raise SettingsError(
                f"{folder}: holds something other than a model of features; give a new folder"
            )
        if state.is_unchanged:
            card = ModelCard.load(folder)
            card.check_weights(folder)
            return BagOutcome(card=card, trained=False)
        fit = fit_bags(
            *_arrays(self.by_split["train"]),
            self.settings,
            seed=seed,
            start=self._start(seed),
            validation=self._validation(),
            on_epoch=on_epoch,
        )
        if state.status == "changed":
            logger.warning("%s: the earlier model was moved to %s", folder, move_aside(folder))
        with output.write() as partial:
            self._save(fit, Path(partial), seed)
        return BagOutcome(card=ModelCard.load(folder), trained=True)

    def choose_threshold(self, model: Path) -> OperatingThreshold:
        """Choose the operating threshold of a model folder, or of an ensemble's, on the slide
        scores of the validation slides, and write it to its card."""
        ensemble = Ensemble.load(model)
        loaded, bags = load_bag_ensemble(ensemble), self.by_split["validation"]
        threshold = choose_among(
            np.array([loaded.predict(bag.features.features).slide for bag in bags]),
            np.array([bag.is_tumor for bag in bags], bool),
        )
        if threshold != ensemble.operating_threshold:
            ensemble.save_operating_threshold(threshold)
        return threshold

    def _validation(self) -> tuple[list[np.ndarray], list[Any]] | None:
        """Bags of the validation slides; None where they lack a class."""
        bags = self.by_split["validation"]
        arrays, labels = _arrays(bags)
        classes = np.concatenate([np.ravel(label) for label in labels]) if bags else np.empty(0)
        if {0, 1} <= set(classes.tolist()):
            return arrays, labels
        logger.warning(
            "the validation slides hold no tumour or nothing normal: the weights of the last epoch "
            "are kept"
        )
        return None

    def _start(self, seed: int) -> BagStart | None:
        """Return the weights that a member begins with: those of the member at its place."""
        if self.initial is None:
            return None
        models = load_bag_ensemble(self.initial).models
        return BagStart(model=models[seed % len(models)])

    def _output(self, folder: Path, seed: int) -> Output:
        slides = {bag.slide.id: _identify(bag) for bag in self.bags}
        recipe = Recipe(
            stage=STAGE,
            settings={**self.settings.model_dump(mode="json"), "seed": seed},
            inputs={
                "slides": slides,
                **({"initial": self.initial.identity} if self.initial else {}),
            },
        )
        return Output(location=folder, recipe=recipe, files=(CARD, WEIGHTS, HISTORY))

    def _save(self, fit: BagFit, folder: Path, seed: int) -> None:
        save_bag_model(fit.model, folder)
        rows = pd.DataFrame([asdict(row) for row in fit.history])
        rows.to_csv((folder / HISTORY).absolute(), index=False, lineterminator="\n")
        self._describe(fit, folder, seed).save(folder)

    def _describe(self, fit: BagFit, folder: Path, seed: int) -> ModelCard:
        first = self.bags[0].features
        numbers = sum(weight.size for weight in fit.model.weights)
        settings = {**self.settings.model_dump(mode="json"), "seed": seed}
        return ModelCard(
            architecture=BAG_ARCHITECTURE,
            options=fit.model.options.model_dump(mode="json"),
            input_spec=_input_spec(self.bags),
            features=FeatureInput(
                encoder=first.encoder, encoder_hash=first.encoder_hash, length=fit.model.length
            ),
            parameters={"all": numbers, "trained": numbers},
            training={
                "settings": settings,
                "slides": {
                    split: [bag.slide.id for bag in bags] for split, bags in self.by_split.items()
                },
                "best": asdict(_row_of(fit)),
                "optimiser": "AdamW of Keras 3, cosine (no weight decay of biases)",
                "backend": keras.backend.backend(),
                "keras": keras.__version__,
            },
            weights_sha256=hash_weights(folder),
        )


def _row_of(fit: BagFit) -> BagHistoryRow:
    return next(row for row in fit.history if row.epoch == fit.best_epoch)


def _arrays(bags: Sequence[CohortBag]) -> tuple[list[np.ndarray], list[Any]]:
    """Features and labels as `fit_bags` takes them."""
    labels = [int(bag.is_tumor) if bag.windows is None else bag.windows for bag in bags]
    return [bag.features.features for bag in bags], labels


def _identify(bag: CohortBag) -> dict[str, Any]:
    """Identity of what a training takes of a slide."""
    labels = None if bag.windows is None else hashlib.sha256(bag.windows.tobytes()).hexdigest()
    return {
        "split": bag.slide.split,
        "label": bag.slide.label,
        "features": bag.features.content_sha256,
        **({"windows": labels} if labels else {}),
    }


def _input_spec(bags: Sequence[CohortBag]) -> InputSpec:
    """Return the windows that the encoder took."""
    first = bags[0].features
    centre = min(1.0, first.stride_level0 / first.side_level0)
    card = first.encoder_card
    return InputSpec(
        patch_px=first.patch_px,
        centre_px=max(1, round(first.patch_px * centre)),
        mpps=(first.mpp, *card.get("further_mpp", ())),
        stain=card.get("stain"),
    )
