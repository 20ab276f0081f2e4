"""`gigaslide features`: of the slides of a cohort; import and export."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...inference import FeatureFormat, FeatureSettings, ForeignFeatures
from ..options.arguments import Batch, CohortFile
from ..stages.features import export_stage, features_stage, import_stage

__all__ = ["features"]


def extract(
    cohort: CohortFile,
    out: Annotated[Path, Parameter(help="Folder for features; finished slides are skipped.")],
    *,
    settings: Annotated[FeatureSettings, Parameter(name="*")],
    batch: Batch = BatchSettings(),
) -> int:
    """Write a feature vector for every window of tissue: OUT/<slide>.zarr for each slide.

    Encoders are a model folder of gigaslide (the features before its classifier), an ONNX file with
    a JSON card, a network by name with --encoder-weights, or module:function of your own. Nothing
    is downloaded.
    """
    return features_stage(Cohort.load(cohort), out, settings, batch)


def import_files(
    folder: Annotated[Path, Parameter(help="Folder with the .h5 files of TRIDENT, CLAM or STAMP.")],
    out: Annotated[Path, Parameter(help="Folder for features; imported slides are skipped.")],
    *,
    cohort: CohortFile,
    patches: Annotated[
        Path | None, Parameter(help="CLAM's folder of patches, which tells their size.")
    ] = None,
    patch_level0: Annotated[
        float | None, Parameter(help="Side of a patch in level-0 px, where no file tells it.")
    ] = None,
    slide_mpp: Annotated[
        float | None, Parameter(help="µm/px of slides whose file and cohort row do not give it.")
    ] = None,
) -> int:
    """Import features of other programs: one .h5 file for each slide of the cohort, by its name.

    The layout is told by what a file holds. Only numbers are read; links to other files are not
    followed.
    """
    given = ForeignFeatures(
        folder=folder, patches=patches, patch_level0=patch_level0, slide_mpp=slide_mpp
    )
    return import_stage(Cohort.load(cohort), given, out)


def export_files(
    features: Annotated[Path, Parameter(help="Folder made by gigaslide features.")],
    out: Annotated[Path, Parameter(help="Folder for the files of the other program.")],
    *,
    to: Annotated[FeatureFormat, Parameter(help="Layout of the files.")] = "trident",
) -> int:
    """Export features for other programs: OUT/20x_224px_0px_overlap/features_NAME/SLIDE.h5.

    The µm/px, the encoder's card and hash are kept as further attributes.
    """
    return export_stage(features, out, to)


features = {"": extract, "import": import_files, "export": export_files}
