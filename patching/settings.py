"""Settings of the patching room."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from ..cohort import Quality
from ..storage import Settings
from ..wsi import GroupMeaning, InputSpec, StainMethod, TissueSettings

__all__ = ["AugmentSettings", "CorrectionSettings", "HardSettings", "TileSettings"]


STAIN_CHANGE = 2
"""Version of how pixels get other amounts of the stains. A store of augmented copies holds it: in
version 1, one value in 300 000 was one level off."""


class AugmentSettings(Settings):
    """Random changes of a training patch (Liu et al. 2017; TF-Slim's order of the colours)."""

    jitter_px: int = Field(default=8, ge=0)
    """Maximum shift of the patch in x and in y (px). Limited by the margin of the store."""
    orientations: bool = True
    """Rotate by a random multiple of 90° and mirror at random."""
    brightness: float = Field(default=64 / 255, ge=0)
    """Maximum change of brightness, of a full scale of 1. The same for all channels."""
    saturation: float = Field(default=0.25, ge=0, le=1)
    """Maximum relative change of saturation: a factor of 1 ± this."""
    hue: float = Field(default=0.04, ge=0, le=0.5)
    """Maximum rotation of the hue (share of a full turn)."""
    contrast: float = Field(default=0.75, ge=0, le=1)
    """Maximum relative change of contrast around the mean colour of the patch."""
    stain: float = Field(default=0, ge=0, le=1)
    """Maximum relative change of haematoxylin and of eosin, each drawn for itself. 0: off, as in
    Liu et al."""
    stain_shift: float = Field(default=0, ge=0, le=1)
    """Maximum optical density of each stain added everywhere. 0: off."""
    blur_px: float = Field(default=0, ge=0)
    """Maximum standard deviation of a Gaussian blur (px). 0: off."""
    jpeg_quality: int = Field(default=100, ge=1, le=100)
    """Minimum quality of JPEG artefacts. 100: off."""

    def milder(self, share: float) -> "AugmentSettings":
        """Return a copy with every colour range at a share (0 to 1) of its size."""
        colours = ("brightness", "saturation", "hue", "contrast", "stain", "stain_shift")
        return self.model_copy(update={name: getattr(self, name) * share for name in colours})


class TileSettings(Settings):
    """Choice of slides and patches. The defaults are those of Liu et al. 2017 where it
    gives any."""

    mpp: float = Field(default=0.25, gt=0, le=40)
    """Scale of the patches (µm/px): 0.25 is 40X, 0.5 is 20X."""
    further_mpp: tuple[PositiveFloat, ...] = ()
    """Coarser scales stored beside mpp (µm/px), around the same centre. Repeatable. For models of
    several magnifications: 0.5 or 1 beside 0.25."""
    patch_px: int = Field(default=299, ge=75)
    """Side of a patch, the input of the network (px). Inception wastes no pixel at 75, 139, 171,
    299, … (11 mod 32)."""
    centre_px: int = Field(default=128, ge=1)
    """Side of the centre square that gives the label (px). 128 suits a patch of 299, 64 one of
    139."""
    stride_px: int | None = Field(default=None, ge=1)
    """Distance between neighbouring patches (px). Default: centre_px, halved up to twice until a
    slide fills its quota."""
    phase_px: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    """Offset of the grid of patches from the corner of the slide, in x and y (px)."""
    margin_px: int = Field(default=8, ge=0)
    """Extra pixels stored on each side of a patch, for random shifts (px)."""
    tumor_above: float = Field(default=0, ge=0, lt=1)
    """Share of the centre square above which a patch is tumour. 0: any tumour pixel, as in Liu et
    al. Patches with less tumour, but some, are left out."""
    border_um: float = Field(default=0, ge=0)
    """Leave out patches this close to the outline of a lesion (µm). Measured from the centre
    square. 0: none."""
    tumor_per_slide: int = Field(default=300, ge=0)
    """Maximum tumour patches per slide. Drawn at random; small lesions keep all of their patches
    first."""
    normal_per_slide: int = Field(default=300, ge=0)
    """Maximum normal patches per slide. Drawn at random, from tumour slides too, except those on
    which not every tumour is outlined."""
    tumor_per_patient: int | None = Field(default=None, ge=0)
    """Maximum tumour patches per patient, an equal share from each tumour slide."""
    normal_per_patient: int | None = Field(default=None, ge=0)
    """Maximum normal patches per patient, an equal share from each slide."""
    min_tissue: float = Field(default=0.5, ge=0, le=1)
    """Minimum share of tissue in the centre square."""
    tissue: TissueSettings = TissueSettings()
    splits: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation")
    """Split to tile. Repeatable. Only predict needs the test slides."""
    quality: Quality | None = None
    """Quality of the training slides, by the cohort's column quality: weak or strong. Validation
    slides are strong ones. Default: all slides."""
    slide_mpp: float | None = Field(default=None, gt=0)
    """µm/px of slides whose file and cohort row do not give it."""
    allow_upsampling: bool = False
    """Accept slides that are coarser than mpp."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of an annotation group: tumor, exclusion or other. Example: --groups.Stroma other."""
    stain: tuple[StainMethod, ...] = ()
    """Stain normalisation to fit to each slide and store. Repeatable. The patches themselves stay
    unchanged."""
    copies: int = Field(default=0, ge=0)
    """Augmented copies stored beside each patch. 0: none; training augments patches as it reads
    them."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the copies."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random choice of patches. The choice of a slide depends on this and its id
    alone."""
    check_space: bool = True
    """Refuse to start if the disk cannot hold the store with every quota filled."""

    @property
    def stored_px(self) -> int:
        """Side of a stored patch, margin included (px)."""
        return self.patch_px + 2 * self.margin_px

    @property
    def input_spec(self) -> InputSpec:
        """Geometry of the patches, margin excluded, at all scales."""
        mpps = (self.mpp, *sorted(self.further_mpp))
        return InputSpec(patch_px=self.patch_px, centre_px=self.centre_px, mpps=mpps)

    @property
    def scales(self) -> dict[str, float]:
        """µm/px of each array of unchanged patches, the finest first."""
        further = {f"images_{mpp:g}": mpp for mpp in sorted(self.further_mpp)}
        return {"images": self.mpp, **further}

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each array of pixels in the store."""
        arrays: dict[str, tuple[int, ...]] = dict.fromkeys(
            self.scales, (self.stored_px, self.stored_px, 3)
        )
        if self.copies:
            arrays["augmented"] = (self.copies, self.patch_px, self.patch_px, 3)
        return arrays

    def of_recipe(self) -> dict[str, Any]:
        """Return the settings that the patches of a slide depend on, as plain JSON."""
        made = self.model_dump(mode="json", exclude={"splits", "quality", "check_space"})
        if self.copies and (self.augment.stain or self.augment.stain_shift):
            made["stain_change"] = STAIN_CHANGE
        return made

    @model_validator(mode="after")
    def _centre_fits(self) -> "TileSettings":
        if self.centre_px > self.patch_px:
            raise ValueError(f"centre_px {self.centre_px} is larger than patch_px {self.patch_px}")
        if len(self.scales) <= len(self.further_mpp) or any(
            mpp <= self.mpp for mpp in self.further_mpp
        ):
            raise ValueError(
                f"further_mpp {self.further_mpp} must be coarser than mpp {self.mpp}, each once"
            )
        if self.copies and self.further_mpp:
            raise ValueError(
                "copies are stored for one scale only; set copies to 0, or leave out further_mpp"
            )
        if self.copies and self.augment.jitter_px > self.margin_px:
            raise ValueError(
                f"a jitter of {self.augment.jitter_px} px needs as much margin_px, not "
                f"{self.margin_px}"
            )
        return self


class HardSettings(Settings):
    """Choice of a model's mistakes that become hard negatives."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Minimum probability of a cell without tumour."""
    per_slide: int = Field(default=100, ge=1)
    """Maximum hard negatives per slide and heatmap, highest probability first."""


class CorrectionSettings(Settings):
    """Choice of patches of what a person corrected."""

    per_slide: int = Field(default=100, ge=1)
    """Maximum patches of each class per slide, drawn at random."""
