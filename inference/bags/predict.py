"""Predict slides from the features of their windows: the same folders as `predict_cohort`, without
reading the slides again."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    SlideOutcome,
    open_run_folder,
    run_slides,
)
from ...cohort import Cohort, CohortSlide
from ...models import BagEnsemble, Ensemble, ModelCard, choose_backend, load_bag_ensemble
from ...storage import (
    GROUP,
    ModelError,
    Output,
    Recipe,
    SettingsError,
    SlideError,
    StoreError,
    file_identity,
    format_count,
    read_file,
)
from ...wsi import SlideFeatures, is_same_mpp, open_slide
from ..exports.beside_heatmap import beside_output, write_beside_heatmap
from ..exports.exporters import remove_exports
from ..predict import begin_predictions, end_predictions, slides_to_predict, with_default_workers
from ..prediction_folder import (
    HEATMAP,
    HEATMAP_STAGE,
    describe_heatmap,
    refuse_foreign_folder,
    refuse_missing_slide,
)
from ..settings import PredictSettings
from .encoder_patients import refuse_encoder_patients
from .feature_heatmap import draw_windows
from .localise import ATTENTION_MAPS, Localise, describe_attention, localise

__all__ = ["check_features", "predict_from_features"]

logger = logging.getLogger(__name__)

OF_FEATURES = {"detect", "radius_um", "threshold", "splits"}
"""Settings of a prediction that have a meaning for features."""


def predict_from_features(
    cohort: Cohort,
    models: Path | Sequence[Path],
    features: Path,
    out: Path,
    settings: PredictSettings,
    batch: BatchSettings,
    *,
    way: Localise = "score",
    listener: Listener = SILENT,
) -> BatchSummary:
    """Predict the slides of the wanted splits from FEATURES/<slide>.zarr; skip unchanged slides.

    A heatmap has the score that the model gives the slide as a whole, and a value for each window,
    see `localise`. Slides whose attention is not to be trusted are warned of.

    Raises:
        SettingsError: no slide to predict, settings that need pixels, attention of a model without,
            or test patients that the encoder learnt from.
        ModelError: a model folder is damaged, or its model takes pixels.
        ClusterError: another run predicts into this folder.
        Stopped: a signal asked to stop.
    """
    _refuse_settings_of_pixels(settings)
    slides = slides_to_predict(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(f"no slide to predict: none has its split among {wanted}; see --splits")
    ensemble = Ensemble.load(models)
    _refuse_unfit_models(ensemble, way)
    is_tested = [slide for slide in slides if slide.split in ("test", "")]
    for card in _encoder_cards(features, slides):
        refuse_encoder_patients(cohort, card, tested=is_tested)
    choose_backend()
    batch = with_default_workers(batch)
    with open_run_folder(out, batch) as folder:
        begin_predictions(out, slides)
        work = _FeaturePrediction(
            models=ensemble, features=features, out=out, settings=settings, way=way
        )
        summary = run_slides(work, slides, batch, folder=folder, listener=listener)
        end_predictions(out, summary, ensemble)
    _warn_of_attention(summary.outcomes)
    return summary


@dataclass(frozen=True, kw_only=True)
class _FeaturePrediction:
    """Prediction of one slide, for `run_slides`."""

    models: Ensemble
    features: Path
    out: Path
    settings: PredictSettings
    way: Localise

    def __call__(self, slide: CohortSlide) -> SlideOutcome:
        refuse_missing_slide(slide)
        refuse_foreign_folder(self.out / slide.id)
        features = _load_features(self.features, slide)
        for card in self.models.cards[:1]:
            check_features(features, card)
        output = self._output(slide, features)
        state = output.state()
        if state.is_unchanged:
            attributes = dict(state.attributes)
        else:
            # They describe another heatmap, which nobody sees any more.
            beside_output(self.out / slide.id, "", self.settings).remove()
            remove_exports(self.out / slide.id, slide.id)
            attributes = self._predict(output, features)
        detections, why = write_beside_heatmap(
            self.out / slide.id,
            attributes["content_sha256"],
            self.settings,
            open_slide=lambda: open_slide(
                slide.path, mpp=slide.mpp, fallback_mpp=features.slide_mpp
            ),
        )
        is_kept = state.is_unchanged and not why
        reasons = [attributes.get("attention", ""), "" if len(features) else "no tissue"]
        reasons += [f"detections made again: {why}"] if why else []
        return SlideOutcome(
            slide=slide.id,
            status="skipped" if is_kept else "done",
            reason="; ".join(filter(None, reasons)),
            counts={**attributes["counts"], "detections": detections},
        )

    def _output(self, slide: CohortSlide, features: SlideFeatures) -> Output:
        inputs = {
            "slide": file_identity(slide.path),
            "mpp": slide.mpp,
            "features": features.content_sha256,
            "model": self.models.identity,
        }
        return Output(
            location=self.out / slide.id / HEATMAP,
            recipe=Recipe(stage=HEATMAP_STAGE, settings={"localise": self.way}, inputs=inputs),
            recipe_file=GROUP,
        )

    def _predict(self, output: Output, features: SlideFeatures) -> dict[str, Any]:
        """Write the heatmap; return its attributes."""
        models = _load_models(self.models, self.models.hash)
        found = models.predict(features.features)
        heatmap = draw_windows(
            features,
            localise(models, features.features, features.xy, found, self.way),
            slide_score=found.slide if len(features) else None,
            model_hash=self.models.hash,
        )
        facts = {"localise": self.way, "attention": describe_attention(models, found)}
        attributes = describe_heatmap(heatmap, facts)
        with output.write(attributes) as partial:
            heatmap.save_arrays(Path(partial))
        return attributes


@lru_cache(maxsize=2)
def _load_models(ensemble: Ensemble, _hash: str) -> BagEnsemble:
    return load_bag_ensemble(ensemble)


def check_features(features: SlideFeatures, card: ModelCard) -> None:
    """Pass if a model takes these features.

    Raises:
        StoreError: they are of another encoder, length or scale.
        ModelError: the model takes pixels.
    """
    taken, spec = card.features, card.input_spec
    if taken is None:
        raise ModelError("the model takes pixels of windows, not features")
    differences = []
    if (features.encoder_hash or features.encoder) != (taken.encoder_hash or taken.encoder):
        theirs = f"{features.encoder} {features.encoder_hash[:12]}"
        differences.append(f"encoder {theirs}, not {taken.encoder} {taken.encoder_hash[:12]}")
    if features.features.shape[1] != taken.length:
        differences.append(f"{features.features.shape[1]} features, not {taken.length}")
    if features.patch_px != spec.patch_px:
        differences.append(f"windows of {features.patch_px} px, not {spec.patch_px}")
    if not is_same_mpp(features.mpp, spec.mpp):
        differences.append(f"{features.mpp:.4g} µm/px, not {spec.mpp:.4g}")
    if differences:
        raise StoreError(
            f"features of {features.slide}: {'; '.join(differences)}; encode the slides as those "
            "of the model's training were"
        )


def _load_features(folder: Path, slide: CohortSlide) -> SlideFeatures:
    path = folder / f"{slide.id}.zarr"
    if not path.is_dir():
        raise SlideError(f"{path}: no features of {slide.id}; run gigaslide features")
    found = SlideFeatures.load(path)
    if found.slide != slide.id:
        raise SlideError(f"{path}: holds features of {found.slide}; encode {slide.id} again")
    return found


def _encoder_cards(folder: Path, slides: Iterable[CohortSlide]) -> list[dict[str, Any]]:
    """Return the different cards of the encoders of these slides' features, unchecked."""
    found = {}
    for slide in slides:
        try:
            group = json.loads(read_file(folder / f"{slide.id}.zarr", GROUP) or b"{}")
            card = group["attributes"]["encoder_card"]
        except (ValueError, KeyError, TypeError):
            continue  # which its own prediction tells
        if isinstance(card, dict):
            found[json.dumps(card, sort_keys=True)] = card
    return list(found.values())


def _refuse_settings_of_pixels(settings: PredictSettings) -> None:
    default = PredictSettings()
    given = [
        f"--{name.replace('_', '-')}"
        for name in sorted(settings.model_fields_set - OF_FEATURES)
        if getattr(settings, name) != getattr(default, name)
    ]
    if given:
        raise SettingsError(
            f"{', '.join(given)}: the windows and their features exist already; omit with "
            "--features"
        )


def _refuse_unfit_models(ensemble: Ensemble, way: Localise) -> None:
    for folder, card in zip(ensemble.folders, ensemble.cards, strict=True):
        if card.features is None:
            raise ModelError(
                f"{folder}: takes pixels of windows, not features; leave out --features, or give a "
                "model that gigaslide train --labels made"
            )
        if way in ATTENTION_MAPS and card.options.get("pooling") != "attention":
            raise SettingsError(
                f"--localise {way}: {folder} pools windows by {card.options.get('pooling')} and "
                "has no attention; give score or shapley"
            )


def _warn_of_attention(outcomes: Iterable[SlideOutcome]) -> None:
    by_note: dict[str, list[str]] = {}
    for one in outcomes:
        for note in one.reason.split("; "):
            if note.startswith("attention "):
                by_note.setdefault(note, []).append(one.slide)
    for note, slides in by_note.items():
        logger.warning(
            "%s on %s, such as %s; do not read it there, --localise score does not use it",
            note,
            format_count(len(slides), "slide"),
            slides[0],
        )
