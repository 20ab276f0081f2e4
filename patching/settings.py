"""Settings of the patching room."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from ..storage import Settings
from ..wsi import GroupMeaning, InputSpec, StainMethod, TissueSettings

__all__ = ["AugmentSettings", "HardSettings", "TileSettings"]


class AugmentSettings(Settings):
    """Random changes of a training patch (Liu et al. 2017; TF-Slim's order of the colours)."""

    jitter_px: int = Field(default=8, ge=0)
    """The patch moves by up to so much in x and in y (px); not more than the store's margin."""
    orientations: bool = True
    """Draw one of 4 rotations × mirrored or not."""
    brightness: float = Field(default=64 / 255, ge=0)
    """Added to all channels: up to ± this, of a full scale of 1."""
    saturation: float = Field(default=0.25, ge=0, le=1)
    """Saturation is multiplied by 1 ± up to this."""
    hue: float = Field(default=0.04, ge=0, le=0.5)
    """Hue is turned by up to ± this part of a turn."""
    contrast: float = Field(default=0.75, ge=0, le=1)
    """Distance from the patch's mean colour is multiplied by 1 ± up to this."""
    stain: float = Field(default=0, ge=0, le=1)
    """Amounts of haematoxylin and of eosin are each multiplied by 1 ± up to this; 0 = off, as in
    the paper."""
    stain_shift: float = Field(default=0, ge=0, le=1)
    """Up to ± this optical density of each stain is added everywhere; 0 = off."""
    blur_px: float = Field(default=0, ge=0)
    """Gaussian blur with a standard deviation from 0 to this (px); 0 = off."""
    jpeg_quality: int = Field(default=100, ge=1, le=100)
    """JPEG artefacts of a quality from this to 100; 100 = off."""

    def milder(self, share: float) -> "AugmentSettings":
        """The same with every colour range at a share (0 to 1) of its size."""
        colours = ("brightness", "saturation", "hue", "contrast", "stain", "stain_shift")
        return self.model_copy(update={name: getattr(self, name) * share for name in colours})


class TileSettings(Settings):
    """Which patches are taken from which slides. The defaults are those of Liu et al. 2017 where it
    gives any."""

    mpp: float = Field(default=0.25, gt=0)
    """Scale of the patches (µm/px); 0.25 is 40X, 0.5 is 20X."""
    further_mpp: tuple[PositiveFloat, ...] = ()
    """Further scales of every patch (µm/px), around the same centre and of the same side in px; the
    option repeated for
    each: 0.5 or 1 beside 0.25 for a model of several magnifications."""
    patch_px: int = Field(default=299, ge=75)
    """Side of a patch, the network's input (px); 75, 139, 171, 299 … (11 mod 32) waste no pixel in
    Inception."""
    centre_px: int = Field(default=128, ge=1)
    """Side of the centre square that gives the label (px); 128 suits a patch of 299, 64 one of 139.
    """
    stride_px: int | None = Field(default=None, ge=1)
    """Distance of neighbouring patches (px); by default the centre's side, then halved up to twice
    until a slide fills its quota."""
    phase_px: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    """By how much the grid of patches lies off the slide's corner in x and in y (px)."""
    margin_px: int = Field(default=8, ge=0)
    """Extra px stored on each side of a patch, the room for jitter."""
    tumor_above: float = Field(default=0, ge=0, lt=1)
    """A patch is tumour if more than this share of its centre square is: 0 = any pixel, as in the
    paper. With less tumour than that but some, it is left out."""
    border_um: float = Field(default=0, ge=0)
    """Patches whose centre square comes as near to a lesion's outline as this are left out (µm); 0
    = none."""
    tumor_per_slide: int = Field(default=300, ge=0)
    """At most so many tumour patches from a slide, drawn at random; small lesions keep all of
    theirs first."""
    normal_per_slide: int = Field(default=300, ge=0)
    """At most so many normal patches from a slide, drawn at random; tumour slides give them too,
    unless the cohort says that not every tumour is drawn on them."""
    tumor_per_patient: int | None = Field(default=None, ge=0)
    """At most so many tumour patches from a patient, an equal share of it from each tumour slide.
    """
    normal_per_patient: int | None = Field(default=None, ge=0)
    """At most so many normal patches from a patient, an equal share of it from each slide."""
    min_tissue: float = Field(default=0.5, ge=0, le=1)
    """Least share of tissue in the centre square."""
    tissue: TissueSettings = TissueSettings()
    splits: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation")
    """Sides of the split that are tiled, the option repeated for each; test slides are only needed
    by predict."""
    slide_mpp: float | None = Field(default=None, gt=0)
    """µm/px for slides whose file and cohort row do not say it."""
    allow_upsampling: bool = False
    """Accept slides that are coarser than mpp."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """What further annotation groups mean, by name: tumor, exclusion or other; as in
    --groups.Stroma other."""
    stain: tuple[StainMethod, ...] = ()
    """Methods of stain normalisation that are fitted to each slide's tissue and kept with its
    patches, which stay as they are; the option repeated for each."""
    copies: int = Field(default=0, ge=0)
    """Augmented copies that are stored beside each patch; 0 = none, training draws anew each time.
    """
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the copies."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random choice; the draw of a slide depends on this and its id alone."""
    check_space: bool = True
    """Begin only if the disk could hold the store with every quota filled."""

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
        """What the patches of a slide depend on, as plain JSON."""
        return self.model_dump(mode="json", exclude={"splits", "check_space"})

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
                "copies are kept of one scale only; draw those of several anew, or leave out "
                "further_mpp"
            )
        if self.copies and self.augment.jitter_px > self.margin_px:
            raise ValueError(
                f"a jitter of {self.augment.jitter_px} px needs as much margin_px, not "
                f"{self.margin_px}"
            )
        return self


class HardSettings(Settings):
    """Which mistakes of a model become hard negatives."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Least probability of a cell without tumour."""
    per_slide: int = Field(default=100, ge=1)
    """At most so many patches from a slide and a heatmap, the highest probabilities first."""
