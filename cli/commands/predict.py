"""`gigaslide predict`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort, CohortSlide, propose_cohort
from ...inference import Localise, PredictSettings
from ...models import CARD, ENSEMBLE
from ...storage import SettingsError, name_of, parse_location
from ...wsi import GroupMeaning
from ..options.arguments import Batch
from ..stages.feature_training import predict_from_features_stage
from ..stages.parity import check_parity, parity_stage, settings_of_cam
from ..stages.predict import predict_stage
from ..stages.run_settings import worst_status

__all__ = ["predict"]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")  # workbooks are refused by name


Compare = Annotated[
    Literal["exact"] | None,
    Parameter(
        group="Heatmap",
        help="After a fast mode, predict in exact mode too, and write how far they differ "
        "into PREDICTIONS-comparison.",
    ),
]
Groups = Annotated[
    dict[str, GroupMeaning] | None,
    Parameter(
        group="Heatmap",
        help="Meaning of an annotation group for --compare: tumor, exclusion or other. "
        "Example: --groups.Stroma other.",
    ),
]
Features = Annotated[
    Path | None,
    Parameter(
        group="Heatmap",
        help="Folder of gigaslide features, for a model that was trained on them.",
    ),
]
WindowValue = Annotated[
    Localise | Literal["cam"],
    Parameter(
        group="Heatmap",
        help="Value of each window in the heatmap. score: its own probability; attention: its "
        "weight in the slide's score; attention-score: both multiplied; shapley: its share in "
        "the slide's score by hierarchical Shapley values. cam, of models of pixels: the class "
        "activation map, the network's classifier on each of its features.",
    ),
]


def predict(
    slides: Annotated[str, Parameter(help="Cohort CSV, one slide, or a folder of slides.")],
    model: Annotated[
        Path, Parameter(help="Model folder made by gigaslide train, or a folder of several.")
    ],
    predictions: Annotated[
        Path, Parameter(help="Folder for heatmaps and detections; finished slides are skipped.")
    ],
    *,
    compare: Compare = None,
    groups: Groups = None,
    settings: Annotated[PredictSettings, Parameter(name="*")] = PredictSettings(),
    features: Features = None,
    localise: WindowValue = "score",
    batch: Batch = BatchSettings(),
) -> int:
    """Predict slides with a model: a heatmap, its picture and detections for each slide.

    --mode exact scores each cell in 8 orientations, as in Liu et al. --mode fast looks at all cells
    quickly and scores exactly those that may be tumour: the fewer, the faster. --mode fastest only
    looks quickly. docs/inference.md tells how much time each saves with which network.

    --features predicts from the features of windows, for a model of gigaslide train --labels.

    By default this process predicts alone, with all cores or the GPU. --workers divides the cores,
    --gpus gives each GPU a process; --cluster and --scheduler are for many machines.
    """
    if groups and not compare:
        raise SettingsError("--groups: is for --compare exact, which reads annotations; add it")
    cohort = _load_slides(slides)
    if features is not None:
        if compare:
            raise SettingsError("--compare exact: is for models of pixels; leave out --features")
        if localise == "cam":
            raise SettingsError("--localise cam: is for models of pixels; leave out --features")
        return predict_from_features_stage(
            cohort, model, features, predictions, settings, batch, way=localise
        )
    if localise == "cam":
        settings = settings_of_cam(settings)
    elif localise != "score":
        raise SettingsError(f"--localise {localise}: is for models of features; add --features")
    if compare:
        check_parity(settings)
    status = predict_stage(cohort, model, predictions, settings, batch)
    if not compare or status == 1:
        return status
    compared = parity_stage(cohort, model, predictions, settings, batch, groups=groups or {})
    return worst_status([status, compared])


def _load_slides(slides: str) -> Cohort:
    """Load the slides of a cohort CSV, of a folder (all of them, whatever their split), or one.

    Raises:
        SettingsError: the folder is a model, or has no slides.
    """
    path = parse_location(slides, Path())
    if isinstance(path, Path):
        if any((path / name).is_file() for name in (CARD, ENSEMBLE)):
            raise SettingsError(
                f"{slides}: is a model folder, where slides are expected; the order is gigaslide "
                "predict SLIDES MODEL PREDICTIONS"
            )
        if path.suffix.lower() in TABLE_SUFFIXES:
            return Cohort.load(path)
        if path.is_dir() and path.suffix.lower() != ".zarr":
            proposed = propose_cohort(path, with_annotations=False)
            return Cohort(slides=tuple(replace(slide, split="") for slide in proposed))
    return Cohort.of_rows([CohortSlide(id=Path(name_of(path)).stem, path=path)])
