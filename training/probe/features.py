"""Features of stored patches, kept on disk: a probe that was killed, repeated, lengthened or
trained with another seed computes only those that are missing.

MODEL.features/              one for all members of an ensemble
  recipe.json                weights and settings that the features depend on
  part_3f2a….npz             `keys` (N,) text: hash of the slide's patches, class, index;
                             `features` (N, F) float32

They stay beside the finished model, and may be removed at any time.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from ...models import ENSEMBLE
from ...patching import PatchStore
from ...storage import Recipe, SettingsError, StoreError, atomic_file, remove_folder, remove_litter
from ...wsi import InputSpec
from ..sampler import Place
from ..settings import TrainSettings

__all__ = ["FeatureCache", "features_folder", "recipe_of_features"]

logger = logging.getLogger(__name__)

RECIPE = "recipe.json"
PART = re.compile(r"part_\w+\.npz")


def features_folder(model: Path) -> Path:
    """Return the folder of the features of a model, or of the ensemble whose member it is."""
    shared = model.parent if (model.parent / ENSEMBLE).is_file() else model
    return shared.with_name(f"{shared.name}.features")


def recipe_of_features(network: keras.Model, settings: TrainSettings, spec: InputSpec) -> Recipe:
    """Return the recipe of the features before a network's last layer. The weights are those that
    it has, because layers that its initial weights do not fit are random."""
    digest = hashlib.sha256()
    for layer in network.layers[:-1]:
        for weight in layer.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
    options = settings.network_options(spec)
    return Recipe(
        stage="features",
        settings={
            "architecture": settings.architecture,
            "options": options.model_dump(mode="json", exclude={"batch_norm_momentum", "dropout"}),
            "input_spec": spec.model_dump(mode="json"),
            "precision": settings.precision,
            "backend": keras.backend.backend(),
        },
        inputs={"weights_sha256": digest.hexdigest()},
    )


@dataclass(frozen=True)
class FeatureCache:
    """Features of patches of a store, computed by one recipe."""

    folder: Path
    recipe: Recipe
    store: PatchStore

    def begin(self) -> None:
        """Make the folder, or clean up what a killed process left. Features of another recipe are
        removed, because they can be computed again.

        Raises:
            SettingsError: the folder holds something else.
        """
        self._refuse_foreign()
        differences = self._differences()
        if differences:
            logger.warning(
                "%s: the features are computed anew, because of %s",
                self.folder,
                "; ".join(differences[:5]),
            )
            remove_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_litter(self.folder)
        self.recipe.save(self.folder / RECIPE)

    def find(self, places: Sequence[Place]) -> dict[Place, np.ndarray]:
        """Return the features (F,) float32 of those places that have any. Damaged files are
        removed with a warning."""
        wanted = {self._key(place): place for place in places}
        found = {}
        for path in sorted(self.folder.glob("part_*.npz")):
            for key, features in self._read(path):
                if key in wanted:
                    found[wanted[key]] = features
        return found

    def add(self, places: Sequence[Place], features: np.ndarray) -> None:
        """Keep the features (N, F) float32 of places, all of them or none."""
        keys = np.array([self._key(place) for place in places])
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
        with atomic_file(self.folder / f"part_{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, keys=keys, features=features.astype(np.float32, copy=False))

    def _refuse_foreign(self) -> None:
        if not self.folder.exists():
            return
        entries = [self.folder] if self.folder.is_file() else list(self.folder.iterdir())
        names = {path.name for path in entries if not path.name.startswith(".")} - {RECIPE}
        others = sorted(name for name in names if not PART.fullmatch(name))
        if others:
            raise SettingsError(
                f"{self.folder}: is needed for the features of this probe, and holds something "
                f"else ({', '.join(others[:3])}); move it away, or name the model otherwise"
            )

    def _differences(self) -> list[str]:
        if not self.folder.exists():
            return []
        with suppress(StoreError):
            made = Recipe.load(self.folder / RECIPE)
            if made is not None:
                return made.differences(self.recipe)
        return ["a recipe that cannot be read"]

    def _read(self, path: Path) -> Iterator[tuple[str, np.ndarray]]:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                keys, features = arrays["keys"].tolist(), arrays["features"]
            pairs = list(zip(keys, features, strict=True))
        except Exception as error:  # damaged bytes raise errors of zipfile, zlib and NumPy
            logger.warning("%s: cannot be read (%s); its features are computed anew", path, error)
            path.unlink()
            return
        yield from pairs

    def _key(self, place: Place) -> str:
        """Name a patch by the content of its slide, so that a slide tiled again has new ones."""
        slide, name, index = place
        return f"{self._contents[slide]} {name} {index}"

    @cached_property
    def _contents(self) -> dict[str, str]:
        return {slide.id: slide.sha256 for slide in self.store.slides}
