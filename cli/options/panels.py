"""The panels of options in `--help-all`."""

from collections.abc import Mapping

__all__ = ["ARGUMENTS", "GENERAL", "PANELS", "panel_of"]

ARGUMENTS = "Arguments"
GENERAL = "General"

OF_STUDIES = ("folds", "repeats", "seeds", "seed", "primary")
OF_SAMPLES = ("draws", "few", "target")

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
        "FeatureSettings": ("min_tissue",),
        "TissueSettings": ("method", "mpp", "cut_ink", "min_area_um2", "min_hole_um2"),
    },
    "Hard negatives": {
        "HardSettings": ("threshold", "per_slide"),
        "CorrectionSettings": ("per_slide",),
    },
    "Study": {
        "LabelsSettings": (
            "features",
            *OF_STUDIES,
            "weak_labels",
            "strong_labels",
            *OF_SAMPLES,
            "minutes_per_slide_label",
            "minutes_per_outline",
            "minutes_per_window",
        ),
        "SizeSettings": ("features", *OF_STUDIES, "slides", "learners", *OF_SAMPLES),
        "NoiseSettings": ("features", *OF_STUDIES, "flipped", "learners"),
        "TransferSettings": ("encoders", *OF_STUDIES, "learners"),
        "FinetuneSettings": (
            "store",
            "starts",
            *OF_STUDIES,
            "architecture",
            "freeze",
            "learning_rates",
            "steps",
            "batch_size",
            "dropout",
            "patches_per_slide",
        ),
        "WeakSettings": (
            "features",
            *OF_STUDIES,
            "source",
            "slides",
            "score_above",
            "frozen_share",
            "unfrozen_rate",
            *OF_SAMPLES,
        ),
        "CurriculumSettings": (
            *OF_STUDIES,
            "mpp",
            "most_px",
            "augmentation",
            "findings",
            "steps",
            "patch_steps",
            "patch_px",
            "patches_per_step",
            "slides_per_step",
            "learning_rate",
            "weight_decay",
            "width",
            "sharpness",
            "checkpoints",
            "radius_um",
        ),
    },
    "Network": {
        "TrainSettings": (
            "architecture",
            "initial_weights",
            "scales",
            "widths",
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
            "corrected",
            "calibrate",
            "track",
        ),
        "RunSettings": ("members",),
    },
    "Learning from features": {
        "BagSettings": (
            "labels",
            "pooling",
            "epochs",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "hidden",
            "attention",
            "feature_dropout",
            "dropout",
            "max_windows",
            "window_dropout",
            "validate_every",
            "groups",
        ),
    },
    "Learning regions": {
        "RegionSettings": (
            "mpp",
            "crop_px",
            "cell_px",
            "epochs",
            "steps",
            "batch_size",
            "learning_rate",
            "positive",
            "width",
            "stages",
            "encoder",
            "encoder_weights",
            "stain",
            "validation_crops",
            "previews",
            "groups",
            "min_tissue",
            "slide_mpp",
            "allow_upsampling",
        ),
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
            "penalty",
            "halve_every",
            "cooldown",
            "momentum",
            "rho",
            "epsilon",
            "batch_norm_momentum",
        ),
    },
    "Encoder": {
        "FeatureSettings": (
            "encoder",
            "encoder_weights",
            "encoder_card",
            "runtime",
            "batch_size",
            "architecture",
        ),
    },
    "Windows": {"FeatureSettings": ("patch_px", "mpp", "stride_px")},
    "Heatmap": {
        "PredictSettings": (
            "mode",
            "first_pass",
            "exact_above",
            "stride_px",
            "orientations",
            "batch_size",
            "runtime",
            "precision",
            "xla",
            "architecture",
        )
    },
    "Detections": {"PredictSettings": ("detect", "threshold", "radius_um")},
    "Export": {
        "ExportSettings": (
            "to",
            "level",
            "simplify_um",
            "origin",
            "cell_px",
            "colours",
            "picture_px",
        ),
    },
    "Proposals": {
        "ProposeSettings": ("threshold", "min_area_um2", "min_hole_um2", "tolerance_um", "group"),
    },
    "Order": {
        "OrderSettings": ("order", "count", "random_share", "side_um", "threshold", "seed"),
    },
    "Deal of slides between ways to annotate": {"Deal": ("scratch", "blind", "seed")},
    "Page": {"ServerSettings": ("browser", "read_only")},
    "Server": {"ServerSettings": ("port", "host", "base_url", "socket", "allow_host")},
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
    "Intervals": {
        "EvaluateSettings": ("resamples", "confidence", "seed"),
        "LabelsSettings": ("resamples", "confidence"),
        "SizeSettings": ("resamples", "confidence"),
        "NoiseSettings": ("resamples", "confidence"),
        "TransferSettings": ("resamples", "confidence"),
        "WeakSettings": ("resamples", "confidence"),
        "CurriculumSettings": ("resamples", "confidence"),
        "FinetuneSettings": ("resamples", "confidence"),
    },
    "Report": {"EvaluateSettings": ("picture_px", "gallery")},
    "Choice of slides": {
        "TileSettings": ("splits", "quality"),
        "PredictSettings": ("splits",),
        "FeatureSettings": ("splits",),
        "EvaluateSettings": ("split",),
    },
    "Number of patches": {
        "TileSettings": (
            "tumor_per_slide",
            "normal_per_slide",
            "tumor_per_patient",
            "normal_per_patient",
            "seed",
        ),
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
        "PredictSettings": ("slide_mpp", "allow_upsampling", "allow_tumor_on_glass"),
        "FeatureSettings": ("slide_mpp", "allow_upsampling"),
        "EvaluateSettings": ("groups",),
        "LabelsSettings": ("groups",),
        "SizeSettings": ("groups",),
        "NoiseSettings": ("groups",),
        "TransferSettings": ("groups",),
        "WeakSettings": ("groups",),
        "CurriculumSettings": ("groups",),
        "FinetuneSettings": ("groups",),
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


def panel_of(settings: str, field: str) -> str:
    """Return the panel of a field of a settings class; the last one for a field without."""
    for panel, members in PANELS.items():
        if field in members.get(settings, ()):
            return panel
    return GENERAL
