"""The few options of each command that `--help` shows first, those that no help shows, and the ways
to use a command that has several."""

from collections.abc import Mapping

__all__ = ["EVERYDAY", "NOT_SHOWN", "WAYS"]

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
        "labels",
        "task",
    ),
    "predict": (
        "mode",
        "compare",
        "stride-px",
        "threshold",
        "detect",
        "splits",
        "features",
        *LOCATION,
    ),
    "export": ("to", "slides", "out", "level", "simplify-um", *LOCATION),
    "features": (
        "encoder",
        "encoder-weights",
        "encoder-card",
        "patch-px",
        "mpp",
        "stride-px",
        *LOCATION,
    ),
    "view": ("predictions", "annotations", "annotator", "read-only", "browser", "port"),
    "serve": ("cohort", "out", "port", "upload-gb", "cluster", "scheduler"),
    "propose": ("predictions", "threshold", "min-area-um2", "min-hole-um2", "tolerance-um"),
    "next": ("predictions", "order", "count", "random-share", "out"),
    "minutes": ("report", "resamples"),
    "evaluate": ("split", "subgroups", "slide-threshold", "resamples", "picture-px"),
    "compare": ("further", "split", "resamples"),
    "study labels": ("features", "folds", "seeds", "plan", *LOCATION),
    "study size": ("features", "folds", "seeds", "plan", *LOCATION),
    "study transfer": ("encoders", "folds", "seeds", "plan", *LOCATION),
    "study finetune": ("store", "starts", "folds", "seeds", "plan", *LOCATION),
    "study curriculum": (
        "initial-weights",
        "architecture",
        "mpp",
        "steps",
        "folds",
        "seeds",
        "plan",
        *LOCATION,
    ),
    "study noise": ("features", "folds", "seeds", "plan", *LOCATION),
    "study weak": ("features", "source", "folds", "seeds", "plan", *LOCATION),
    "phantom": ("slides", "size-px", "mpp", "tumor-share", "difficulty", "seed", *LOCATION),
}
"""Options that `--help` shows; a command without an entry shows all of its options."""


NOT_SHOWN = ("--bags.labels",)
"""Options that no help shows, because another one, --labels, sets the same field."""


WAYS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "STORE MODEL",
        "COHORT MODEL --from-slides",
        "FEATURES MODEL --labels LABELS --cohort COHORT",
        "COHORT MODEL --task regions",
        "COHORT MODEL --task slides",
    ),
}
"""Usage lines of a command that can be called in several ways, without its name. A command that is
not listed has one line, made from its arguments."""
