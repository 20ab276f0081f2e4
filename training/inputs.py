"""Inputs of a training: patches of both splits, the input of the network, initial weights, whole
validation slides; and the recipe that they and the settings make."""

import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ..cohort import Cohort
from ..patching import PatchStore
from ..storage import Recipe, SettingsError, StoreError
from ..wsi import InputSpec
from .initial_weights import identify_initial_weights
from .network.build import NetworkBuilder
from .sampler import CORRECTED_SHARE, Sampler
from .settings import TrainSettings
from .validation.slides import SlideValidation
from .validation.validate import DueSlideValidation

__all__ = ["TrainingInputs"]


class TrainingInputs:
    """Inputs of one training, checked, and its recipe."""

    def __init__(
        self, store: PatchStore, folder: Path, settings: TrainSettings, slides: Cohort | None
    ) -> None:
        self.store, self.folder, self.settings = store, folder, settings
        self.tiles, self.spec = store.tile_settings, _choose_input(store, settings)
        self.steps = math.ceil(settings.examples / settings.batch_size)
        self._check_store()
        self.sampler.check()
        self.validation_sampler.check()
        self.slide_validation = self._plan_slide_validation(slides)

    def _check_store(self) -> None:
        jitter_px, margin_px = self.settings.augment.jitter_px, self.tiles.margin_px
        if self.settings.use_copies and not self.tiles.copies:
            raise SettingsError(
                f"{self.store.path}: holds no augmented copies; tile with --copies, or omit "
                "--use-copies"
            )
        if jitter_px > margin_px:
            raise SettingsError(
                f"{self.store.path}: a jitter of {jitter_px} px needs as much margin, the store "
                f"has {margin_px} px; lower --augment.jitter-px or tile with a larger --margin-px"
            )

    def _plan_slide_validation(self, slides: Cohort | None) -> DueSlideValidation | None:
        settings = self.settings
        if not settings.validate_slides_every:
            return None
        if slides is None:
            raise SettingsError(
                "validate_slides_every needs the cohort of the slides; give it with "
                "--validation-slides"
            )
        size = settings.batch_size
        found = SlideValidation.of(slides, self.spec, self.tiles, batch_size=size)
        every = max(1, settings.validate_slides_every // size)
        return DueSlideValidation(found, every, self.steps)

    @property
    def builder(self) -> NetworkBuilder:
        return NetworkBuilder(self.settings, self.spec, self.steps)

    @cached_property
    def sampler(self) -> Sampler:
        return Sampler(
            store=self.store,
            split="train",
            spec=self.spec,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            augment=None if self.settings.recipe == "probe" else self.settings.augment,
            warm_up=math.ceil(self.settings.colour_warm_up * self.steps),
            stain=self.spec.stain,
            copies=self.tiles.copies if self.settings.use_copies else 0,
            corrected=CORRECTED_SHARE
            if self.settings.corrected is None
            else self.settings.corrected,
        )

    @cached_property
    def validation_sampler(self) -> Sampler:
        """Sampler of the patches that every validation scores, as its batch 0."""
        return Sampler(
            store=self.store,
            split="validation",
            spec=self.spec,
            batch_size=self.settings.validation_patches,
            seed=self.settings.seed,
            augment=None,
            stain=self.spec.stain,
        )

    def check_unchanged(self) -> None:
        """Pass if the patches are those with which the training began.

        Raises:
            StoreError: slides were tiled again, or removed.
        """
        now = {slide.id: slide.sha256 for slide in replace(self.store).slides}
        changed = [one for one, sha256 in self._groups.items() if now.get(one) != sha256]
        if changed:
            raise StoreError(
                f"{self.store.path}: {', '.join(changed[:5])} changed while the training ran; its "
                "last checkpoint stays, and holds for the patches as they were"
            )

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Checksum of the patches of each slide that the training uses."""
        splits = (self.sampler.split, self.validation_sampler.split)
        return {slide.id: slide.sha256 for slide in self.store.slides if slide.split in splits}

    @cached_property
    def recipe(self) -> Recipe:
        # Contents, not times: a copied store is the same store. Slides of another split may come
        # and go.
        splits = (self.sampler.split, self.validation_sampler.split)
        used = [slide for slide in self.store.slides if slide.split in splits]
        # Of the initial weights the hash counts, not the path. Trackers and the time between
        # checkpoints change nothing; the temperature of a finished model may change. A member of an
        # ensemble is trained as if it were alone.
        extent = {"examples", "validate_every", "validate_slides_every", "patience"}
        others = {"initial_weights", "track", "checkpoint_minutes", "calibrate", "members"}
        return Recipe(
            stage="train",
            settings=self.settings.model_dump(mode="json", exclude=extent | others),
            inputs={
                "tile": self.tiles.of_recipe(),
                "slides": {s.id: {"split": s.split, "group": s.sha256} for s in used},
                **identify_initial_weights(self.settings, self.folder),
            },
            extent=self.settings.model_dump(mode="json", include=extent),
        )


def _choose_input(store: PatchStore, settings: TrainSettings) -> InputSpec:
    """Return the patches that the network sees: the scales asked for, else the finest, and the
    stain normalisation.

    Raises:
        SettingsError: a scale that the store does not hold, or the finest one is left out, to
            which the sizes of patches refer.
    """
    held = store.input_spec.mpps
    asked = settings.scales or held[:1]
    mpps = tuple(mpp for mpp in held if any(math.isclose(mpp, one, rel_tol=1e-3) for one in asked))
    if len(mpps) < len(set(asked)) or mpps[:1] != held[:1]:
        raise SettingsError(
            f"{store.path}: holds patches of {', '.join(f'{mpp:g}' for mpp in held)} µm/px, and "
            f"--scales asks for {', '.join(f'{mpp:g}' for mpp in asked)}; name the finest and any "
            "others of the store, or tile with --further-mpp"
        )
    stain = None if settings.stain == "none" else settings.stain
    return store.input_spec.model_copy(update={"mpps": mpps, "stain": stain})
