"""`gigaslide train`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Quality
from ...patching import TileSettings
from ...storage import Settings, SettingsError, parse_location
from ...training import BagLabels, BagSettings, RegionSettings, TopWindowSettings, TrainSettings
from ..options.arguments import Annotations, Batch
from ..stages.annotations import load_cohort
from ..stages.feature_training import check_feature_options, train_on_features
from ..stages.from_slides import check_where, train_from_slides
from ..stages.task_training import (
    refuse_options_of_patches,
    train_on_regions,
    train_on_slide_labels,
)
from ..stages.train import train_stage
from ..stages.train_job import is_trained_here, train_in_job

__all__ = ["train"]

FEATURES = "Features (--labels)"


StoreOrCohort = Annotated[
    str,
    Parameter(
        help="Patch store: a folder, s3://… or gs://…; or the cohort CSV, or the folder made by "
        "gigaslide features, as above."
    ),
]
Model = Annotated[Path, Parameter(help="Model folder to make, or to continue.")]
FromSlides = Annotated[
    bool,
    Parameter(
        group="Straight from slides (--from-slides)",
        negative="",
        help="Read the patches from the slides of a cohort; no store is made. They are those "
        "that gigaslide tile would store by the options --tile.….",
    ),
]
ValidationSlides = Annotated[
    Path | None,
    Parameter(
        group="Validation",
        help="Cohort CSV whose validation slides --validate-slides-every predicts. With "
        "--from-slides it is the same cohort.",
    ),
]
Labels = Annotated[
    BagLabels | None,
    Parameter(
        group="Training",
        help="Learn from features, with --cohort. slides: from one label for each slide, by "
        "attention; windows: from one for each window, by the outlines.",
    ),
]
CohortOfFeatures = Annotated[
    Path | None,
    Parameter(
        group=FEATURES,
        help="Cohort CSV with labels, patients and splits of the slides. Needed with --labels.",
    ),
]
QualityOfSlides = Annotated[
    Quality | None,
    Parameter(
        group=FEATURES,
        help="Quality of the training slides, by the cohort's column quality. Validation "
        "slides are strong ones. Default: all slides.",
    ),
]
Task = Annotated[
    Literal["patches", "regions", "slides"],
    Parameter(
        group="Training",
        help="What it learns. patches: windows as a whole; regions: every px, from "
        "outlines on a few slides; slides: windows, from one label for each slide. regions and "
        "slides read straight from the slides.",
    ),
]


def train(
    store: StoreOrCohort,
    model: Model,
    *,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
    from_slides: FromSlides = False,
    validation_slides: ValidationSlides = None,
    labels: Labels = None,
    cohort: CohortOfFeatures = None,
    quality: QualityOfSlides = None,
    bags: BagSettings = BagSettings(),
    task: Task = "patches",
    regions: RegionSettings = RegionSettings(),
    slides: TopWindowSettings = TopWindowSettings(),
    tile: TileSettings = TileSettings(),
    annotations: Annotations = None,
    batch: Batch = BatchSettings(),
) -> int:
    """Train a model. Run the same command again, and a stopped training continues.

    By default a network learns from the patches of a store; with --from-slides from the same
    patches, read from the slides. With --cluster slurm, such a training runs as a job.

    --labels: three small networks learn from features, in seconds to minutes. --task regions: a
    U-Net learns outlined regions, such as glands, from a few slides. --task slides: a network
    learns from the labels of slides alone, by the windows of each slide that it scores highest.
    These three take --members, --seed and options of their own, which begin with --bags, --regions
    or --slides and are listed by --help-all; --labels also takes --initial-weights. Other options
    of Network and Training are not for them.
    """
    _refuse_other_tasks(task, regions=regions, slides=slides)
    if task != "patches":
        if labels is not None or cohort is not None or from_slides or validation_slides is not None:
            raise SettingsError(
                f"--task {task}: takes the cohort in place of the store; leave out --labels, "
                "--cohort, --from-slides and --validation-slides"
            )
        refuse_options_of_patches(settings, tile, batch, task=task)
        rows = load_cohort(Path(store), annotations)
        if task == "regions":
            return train_on_regions(rows, model, regions, settings)
        return train_on_slide_labels(rows, model, slides, settings)
    if labels is not None or cohort is not None or bags != BagSettings():
        table = check_feature_options(settings, tile, batch, labels=labels, cohort=cohort)
        bags = BagSettings(**{**bags.model_dump(), "labels": labels})
        rows = load_cohort(table, annotations).take_quality(quality)
        return train_on_features(Path(store), model, rows, bags, settings)
    if quality is not None:
        option = "--tile.quality" if from_slides else "gigaslide tile --quality"
        raise SettingsError(f"--quality: is for features; give it with {option}, or omit")
    check_where(tile, batch, from_slides=from_slides)
    if validation_slides is not None and (from_slides or not settings.validate_slides_every):
        reason = "--from-slides has its cohort" if from_slides else "give --validate-slides-every"
        raise SettingsError(f"--validation-slides: {reason}, or leave it out")
    if not from_slides:
        return _train_on_store(store, model, settings, batch, validation_slides, annotations)
    rows = load_cohort(Path(store), annotations)
    if batch.cluster:
        words = ("train", store, str(model), "--from-slides", *_words(annotations))
        return train_in_job(words, model, settings, batch, tiles=tile)
    return train_from_slides(rows, model, settings, tile, batch)


def _refuse_other_tasks(task: str, **settings: Settings) -> None:
    """Pass if the settings of all tasks but this one are the defaults; settings: by the task."""
    for name, given in settings.items():
        if task != name and given != type(given)():
            raise SettingsError(f"--{name}.…: are for --task {name}; add it, or leave them out")


def _train_on_store(
    store: str,
    model: Path,
    settings: TrainSettings,
    batch: BatchSettings,
    validation_slides: Path | None,
    annotations: Path | None,
) -> int:
    """Train on a patch store, here or as a job; annotations are those of the validation slides."""
    if annotations is not None and validation_slides is None:
        raise SettingsError(
            "--annotations: the store has its patches already; give it to gigaslide tile, or omit"
        )
    held_out = None if validation_slides is None else load_cohort(validation_slides, annotations)
    if batch.cluster and not is_trained_here(store, model, settings, held_out):
        words = ("train", store, str(model))
        if validation_slides is not None:
            words += ("--validation-slides", str(validation_slides), *_words(annotations))
        return train_in_job(words, model, settings, batch)
    train_stage(parse_location(store, Path()), model, settings, slides=held_out)
    return 0


def _words(annotations: Path | None) -> tuple[str, ...]:
    return () if annotations is None else ("--annotations", str(annotations))
