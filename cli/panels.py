"""The panels of options in `--help`, and the few options of each command that it shows first."""

from collections.abc import Mapping

__all__ = ["ARGUMENTS", "EVERYDAY", "GENERAL", "PANELS", "panel_of"]

ARGUMENTS = "Arguments"
GENERAL = "General"

PANELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Phantoms": {
        "PhantomSettings": (
            "slides",
            "size_px",
            "mpp",
            "tumor_share",
            "slides_per_patient",
            "tile_px",
            "jpeg_quality",
            "seed",
        ),
    },
    "Patches": {
        "RunSettings": ("mpp", "patch_px", "centre_px"),
        "TileSettings": (
            "mpp",
            "further_mpp",
            "patch_px",
            "centre_px",
            "stride_px",
            "phase_px",
            "margin_px",
            "tumor_above",
            "border_um",
            "stain",
            "check_space",
        ),
    },
    "Tissue": {
        "RunSettings": ("min_tissue",),
        "TileSettings": ("min_tissue",),
        "PredictSettings": ("min_tissue",),
        "TissueSettings": ("method", "mpp", "cut_ink", "min_area_um2", "min_hole_um2"),
    },
    "Hard negatives": {"HardSettings": ("threshold", "per_slide")},
    "Network": {
        "TrainSettings": (
            "architecture",
            "initial_weights",
            "scales",
            "shrink",
            "stain",
            "dropout",
        ),
    },
    "Training": {
        "TrainSettings": (
            "recipe",
            "examples",
            "batch_size",
            "members",
            "seed",
            "checkpoint_minutes",
            "calibrate",
            "track",
        ),
        "RunSettings": ("members",),
    },
    "Validation": {
        "TrainSettings": (
            "validate_every",
            "validation_patches",
            "validate_slides_every",
            "best",
            "patience",
        ),
    },
    "Layers that learn": {"TrainSettings": ("freeze", "unfreeze_after", "unfrozen_rate")},
    "Device": {"TrainSettings": ("devices", "precision", "xla")},
    "Learning rate and optimiser": {
        "TrainSettings": (
            "optimizer",
            "learning_rate",
            "schedule",
            "warm_up",
            "weight_decay",
            "clip_norm",
            "label_smoothing",
            "average",
            "halve_every",
            "cooldown",
            "momentum",
            "rho",
            "epsilon",
            "batch_norm_momentum",
        ),
    },
    "Heatmap": {
        "PredictSettings": ("stride_px", "orientations", "batch_size", "runtime", "architecture")
    },
    "Detections": {"PredictSettings": ("threshold", "radius_um")},
    "Figures": {
        "EvaluateSettings": (
            "false_positives_per_slide",
            "slide_threshold",
            "specificities",
            "sensitivities",
            "calibration_bins",
            "subgroups",
            "official",
            "pn_stages",
        ),
    },
    "Intervals": {"EvaluateSettings": ("resamples", "confidence", "seed")},
    "Report": {"EvaluateSettings": ("picture_px", "gallery")},
    "Split and quotas": {
        "TileSettings": (
            "splits",
            "tumor_per_slide",
            "normal_per_slide",
            "tumor_per_patient",
            "normal_per_patient",
            "seed",
        ),
        "PredictSettings": ("splits",),
        "EvaluateSettings": ("split",),
    },
    "Sample of each slide": {
        "SampleSettings": ("tiles", "tiles_per_level", "patches", "overview_mpx", "minutes"),
    },
    "Where it runs": {
        "BatchSettings": ("workers", "threads", "gpus", "memory_gb", "cluster", "scheduler"),
    },
    "Slides and annotations": {
        "RunSettings": ("slide_mpp", "allow_upsampling", "groups"),
        "TileSettings": ("slide_mpp", "allow_upsampling", "groups"),
        "PredictSettings": ("slide_mpp", "allow_upsampling"),
        "EvaluateSettings": ("groups",),
    },
    "Augmentation (defaults of recipe paper)": {
        "TrainSettings": ("use_copies", "colour_warm_up"),
        "TileSettings": ("copies",),
        "AugmentSettings": (
            "jitter_px",
            "orientations",
            "brightness",
            "saturation",
            "hue",
            "contrast",
            "stain",
            "stain_shift",
            "blur_px",
            "jpeg_quality",
        ),
    },
    "Lesions": {"EvaluateSettings": ("lesion_mpp", "growth_um", "itc_um")},
    "Jobs of a queueing system": {
        "BatchSettings": (
            "queue",
            "account",
            "jobs",
            "min_jobs",
            "cores",
            "walltime",
            "interface",
            "job_directives",
            "job_prologue",
        ),
    },
    "A running Dask": {"BatchSettings": ("tls_ca_file", "tls_cert_file", "tls_key_file")},
    "Failures": {
        "BatchSettings": (
            "max_attempts",
            "task_timeout_s",
            "worker_timeout_s",
            "retry_failed",
            "clear_lock",
        ),
    },
    GENERAL: {"RunSettings": ("seed",)},
}
"""Panel → settings class → fields, in the order of `--help-all`: panels with everyday options, then
the rest. Every field stands in one panel; settings within settings under their own class."""

LOCATION = ("workers", "cluster")
NETWORK = ("train.recipe", "train.architecture", "train.examples")
EVERYDAY: Mapping[str, tuple[str, ...]] = {
    "demo": ("quick", "seed", *LOCATION),
    "run": ("mpp", "patch-px", "centre-px", *NETWORK, *LOCATION),
    "doctor": ("mpp", "patch-px", "centre-px", *NETWORK, *LOCATION),
    "tile": (
        "mpp",
        "patch-px",
        "centre-px",
        "tissue.method",
        "tumor-per-slide",
        "normal-per-slide",
        "from-heatmaps",
        *LOCATION,
    ),
    "train": (
        "recipe",
        "architecture",
        "initial-weights",
        "examples",
        "members",
        "seed",
        "from-slides",
    ),
    "predict": ("orientations", "stride-px", "threshold", "radius-um", "splits", *LOCATION),
    "evaluate": ("split", "subgroups", "slide-threshold", "resamples", "picture-px"),
    "compare": ("further", "split", "resamples"),
    "phantom": ("slides", "size-px", "mpp", "tumor-share", "seed", *LOCATION),
}
"""Options that `--help` shows; a command without an entry shows all of its options."""


def panel_of(settings: str, field: str) -> str:
    """Return the panel of a field of a settings class; the last one for a field without."""
    for panel, members in PANELS.items():
        if field in members.get(settings, ()):
            return panel
    return GENERAL
