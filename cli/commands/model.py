"""`gigaslide model`: info, check, export and quantise."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...models import (
    EXPORT_FORMATS,
    ExportFormat,
    ModelCard,
    ModelCheck,
    Predictor,
    check_model,
    describe_model,
    export_model,
    load_predictor,
    quantise_model,
)
from ...storage import parse_location
from ..terminal.progress import print_line, quiet_tensorflow
from ..terminal.tables import print_check, print_facts

__all__ = ["model"]

ModelFolder = Annotated[Path, Parameter(help="Model folder made by gigaslide train.")]
OwnNetwork = Annotated[
    str, Parameter(help="module:function of a network of your own, as given to gigaslide train.")
]


def show_info(model: ModelFolder) -> int:
    """Describe a model: network, input, training, threshold, temperature, state of its weights.

    Exit status 2: the weights are not those of the card.
    """
    facts = describe_model(model)
    print_facts(facts)
    return 2 if facts[-1][1].startswith("DAMAGED") else 0


def check(
    model: ModelFolder,
    *,
    store: Annotated[
        str,
        Parameter(help="Patch store whose validation patches, normal and tumour, are scored too."),
    ] = "",
    architecture: OwnNetwork = "",
) -> int:
    """Score pictures that hold no tumour: glass, black, grey, pen strokes, normal tissue, blur.

    A picture is warned of if half of its windows reach the operating threshold, or 0.5 where none
    was chosen. Outputs that are all equal, nearly all 0 or 1, or not numbers are told too. Pixels
    are normalised as in the prediction of one slide.

    Exit status 2: there is a warning.
    """
    card = ModelCard.load(model)
    with quiet_tensorflow():
        predictor = load_predictor(model, runtime="keras", architecture=architecture)
        found = _check(predictor, card, store)
    print_check(found)
    return 2 if found.warnings else 0


def _check(predictor: Predictor, card: ModelCard, store: str) -> ModelCheck:
    if not store:
        return check_model(predictor, card)
    from ...patching import PatchStore
    from ...training import check_with_patches, draw_validation_patches

    patches = draw_validation_patches(PatchStore(parse_location(store, Path())), card)
    return check_with_patches(predictor, card, patches)


def export(
    model: ModelFolder,
    out: Annotated[Path, Parameter(help="Folder to make: the network, card.json, export.json.")],
    *,
    formats: Annotated[
        tuple[ExportFormat, ...], Parameter(name="--format", help="File format. Repeatable.")
    ] = EXPORT_FORMATS,
    architecture: OwnNetwork = "",
) -> int:
    """Export a model for other programs, with its preprocessing and temperature inside.

    Input: (N, P, P, 3) uint8 RGB, for several scales (N, scales, P, P, 3), the finest first. Stain
    normalisation is not inside. Each format is run on drawn tissue and on noise, and refused if a
    probability differs from Keras's by more than 1e-5. ONNX needs gigaslide[onnx].
    """
    with quiet_tensorflow():
        differences = export_model(model, out, formats, architecture=architecture)
    for name, difference in differences.items():
        print_line(f"{name}: largest difference from Keras {difference:.2g}")
    stain = ModelCard.load(model).input_spec.stain
    if stain is not None:
        print_line(f"stain: the network expects pixels normalised by {stain}; it does not do so")
    print_line(str(out))
    return 0


def quantise(
    model: ModelFolder,
    store: Annotated[
        str, Parameter(help="Patch store whose validation patches give the ranges of int8.")
    ],
    *,
    architecture: OwnNetwork = "",
) -> int:
    """Quantise a model to int8 for OpenVINO on a CPU, after training: MODEL/int8.

    Half of the patches give the ranges; on the other half probabilities are compared with Keras's,
    and refused if one differs by more than 0.1. The dense first pass of gigaslide predict --mode
    fast and fastest then uses it, about twice as fast, and all patches with --precision int8. Needs
    gigaslide[int8].
    """
    from ...patching import PatchStore
    from ...training import draw_validation_patches

    patches = draw_validation_patches(
        PatchStore(parse_location(store, Path())), ModelCard.load(model)
    )
    with quiet_tensorflow():
        difference = quantise_model(model, patches.patches, architecture=architecture)
    print_line(f"int8: largest difference from Keras {difference:.2g}, on other patches")
    print_line(str(model / "int8"))
    return 0


model = {"info": show_info, "check": check, "export": export, "quantise": quantise}
