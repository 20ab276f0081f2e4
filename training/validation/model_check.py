"""Check of a model on drawn pictures and on patches of a store."""

import numpy as np

from ...models import Forward, ModelCard, ModelCheck, check_model
from ...patching import PatchStore
from ...storage import SettingsError
from ..sampler import Batch, Sampler

__all__ = ["CHECKED", "check_with_patches", "draw_validation_patches"]

CHECKED = 16  # patches of each class in a check


def check_with_patches(
    predict: Forward, card: ModelCard, patches: Batch, *, batch_size: int = CHECKED * 2
) -> ModelCheck:
    """Check a model with the first patches of each class of a batch, see `check_model`."""
    is_tumor = patches.labels == card.input_spec.tumor
    normal, tumor = (patches.patches[one][:CHECKED] for one in (~is_tumor, is_tumor))
    return check_model(
        predict,
        card,
        normal=normal if len(normal) else None,
        tumor=tumor if len(tumor) else None,
        batch_size=batch_size,
    )


def draw_validation_patches(store: PatchStore, card: ModelCard) -> Batch:
    """Draw patches of a store's validation slides as the model of a card takes them.

    Raises:
        SettingsError: the store's patches are not of the model's kind, or it has no validation
            slide with both classes.
    """
    spec, held = card.input_spec, store.input_spec
    wanted = {"patch_px": spec.patch_px, "mpps": spec.mpps}
    found = {
        "patch_px": held.patch_px,
        "mpps": tuple(mpp for mpp in held.mpps if np.isclose(mpp, spec.mpps, rtol=1e-3).any()),
    }
    if wanted != found:
        raise SettingsError(
            f"{store.path}: has patches of {held.patch_px} px at {held.mpps} µm/px, the model "
            f"takes {spec.patch_px} px at {spec.mpps} µm/px; give the store that it was trained on"
        )
    sampler = Sampler(
        store=store,
        split="validation",
        spec=spec,
        batch_size=2 * CHECKED,
        seed=0,
        augment=None,
        stain=spec.stain,
    )
    sampler.check()
    return sampler.draw(0)
