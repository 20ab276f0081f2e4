"""Features of a cohort from the HDF5 files of other programs, and back in TRIDENT's layout."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ...batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    SlideOutcome,
    open_run_folder,
    run_slides,
)
from ...cohort import Cohort, CohortSlide
from ...storage import (
    GROUP,
    Output,
    Recipe,
    SettingsError,
    SlideError,
    file_identity,
    format_count,
    location_exists,
    name_of,
)
from ...wsi import (
    SlideFacts,
    SlideFeatures,
    open_slide,
    read_foreign_features,
    trident_folder,
    write_trident,
)

__all__ = [
    "FEATURE_FORMATS",
    "FeatureFormat",
    "ForeignFeatures",
    "export_features",
    "find_features",
    "import_features",
]

logger = logging.getLogger(__name__)

FeatureFormat = Literal["trident"]
FEATURE_FORMATS: tuple[FeatureFormat, ...] = get_args(FeatureFormat)
IMPORT_STAGE = "features-import"
"""Another stage than that of encoding: neither replaces what the other made."""
SUFFIXES = (".h5", ".hdf5")
HERE = BatchSettings(workers=0)


@dataclass(frozen=True, kw_only=True)
class ForeignFeatures:
    """Features that another program made, and facts that its files may lack."""

    folder: Path
    """Folder with the .h5 files of TRIDENT, CLAM or STAMP, at any depth."""
    patches: Path | None = None
    """CLAM's folder of patches, which tells their size."""
    patch_level0: float | None = None
    """Side of a patch in level-0 px, where no file tells it."""
    slide_mpp: float | None = None
    """µm/px of slides whose file and cohort row do not give it."""


@dataclass(frozen=True, kw_only=True)
class _Import:
    """Import of one slide, for `run_slides`."""

    files: dict[str, Path]
    given: ForeignFeatures
    out: Path

    def __call__(self, slide: CohortSlide) -> SlideOutcome:
        path = self._find(slide)
        patches = self._patches(path)
        output = self._output(slide, path, patches)
        state = output.state()
        if state.is_unchanged:
            windows = state.attributes["counts"]["windows"]
            return SlideOutcome(slide=slide.id, status="skipped", counts={"windows": windows})
        features = read_foreign_features(path, self._facts(slide), patches=patches)
        counts = {"windows": len(features), "unreadable": 0, "length": features.features.shape[1]}
        with output.write({**features.attributes, "counts": counts}) as partial:
            features.save_arrays(Path(partial))
        return SlideOutcome(slide=slide.id, status="done", counts={"windows": len(features)})

    def _find(self, slide: CohortSlide) -> Path:
        for name in (slide.id, Path(name_of(slide.path)).stem):
            if name in self.files:
                return self.files[name]
        raise SlideError(f"{slide.id}: no {slide.id}.h5 among the files to import")

    def _patches(self, path: Path) -> Path | None:
        """CLAM's file of the patches of a slide, where one is."""
        folders = [self.given.patches] if self.given.patches else []
        folders += [path.parent / "patches", path.parent.parent / "patches"]
        found = (folder / f"{path.stem}.h5" for folder in folders)
        return next((one for one in found if one.is_file()), None)

    def _output(self, slide: CohortSlide, path: Path, patches: Path | None) -> Output:
        inputs = {"h5": file_identity(path), "mpp": slide.mpp}
        if patches is not None:
            inputs["patches"] = file_identity(patches)
        settings = {"patch_level0": self.given.patch_level0, "slide_mpp": self.given.slide_mpp}
        return Output(
            location=self.out / f"{slide.id}.zarr",
            recipe=Recipe(stage=IMPORT_STAGE, settings=settings, inputs=inputs),
            recipe_file=GROUP,
        )

    def _facts(self, slide: CohortSlide) -> SlideFacts:
        """Facts from the slide's file; where that is absent, from the cohort."""
        given = self.given
        if location_exists(slide.path):
            with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=given.slide_mpp) as opened:
                return SlideFacts(
                    id=slide.id,
                    mpp=opened.info.mpp,
                    size=opened.size,
                    level_downsamples=opened.info.level_downsamples,
                    patch_level0=given.patch_level0,
                )
        mpp = slide.mpp or given.slide_mpp
        if mpp is None:
            raise SlideError(
                f"{slide.id}: the slide {slide.path} is not there, and its µm/px is unknown; give "
                "it in the cohort's mpp column or with --slide-mpp"
            )
        return SlideFacts(id=slide.id, mpp=mpp, size=slide.size, patch_level0=given.patch_level0)


def import_features(
    cohort: Cohort, given: ForeignFeatures, out: Path, *, listener: Listener = SILENT
) -> BatchSummary:
    """Import features of other programs, one file for each slide of a cohort, which is found by the
    slide's name; see `read_foreign_features`.

    Raises:
        SettingsError: no .h5 file below the folder, or two of one name.
    """
    files = _find_files(given.folder)
    known = {name for slide in cohort for name in (slide.id, Path(name_of(slide.path)).stem)}
    if further := sorted(files.keys() - known):
        logger.warning(
            "%s: %s of no slide of the cohort, such as %s",
            given.folder,
            format_count(len(further), "file"),
            further[0],
        )
    work = _Import(files=files, given=given, out=out)
    with open_run_folder(out, HERE) as run_folder:
        return run_slides(work, list(cohort), HERE, folder=run_folder, listener=listener)


def _find_files(folder: Path) -> dict[str, Path]:
    """Files by their name without its ending."""
    if not folder.is_dir():
        raise SettingsError(f"{folder}: no such folder; give the folder of the .h5 files")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        is_patches = path.parent.name == "patches"  # of CLAM and TRIDENT: without features
        if path.suffix.lower() not in SUFFIXES or is_patches or not path.is_file():
            continue
        if path.stem in files:
            raise SettingsError(
                f"{folder}: has two files of {path.stem}: {files[path.stem]} and {path}; give the "
                "folder of one encoder"
            )
        files[path.stem] = path
    if not files:
        raise SettingsError(f"{folder}: has no .h5 file; give the folder of the features")
    return files


def export_features(
    features: Path,
    out: Path,
    *,
    to: FeatureFormat = "trident",
    on_slide: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write each FEATURES/<slide>.zarr in another layout below a folder; return the files.

    Raises:
        SettingsError: no features there, or an unknown layout.
        StoreError: damaged features.
    """
    if to not in FEATURE_FORMATS:
        raise SettingsError(f"{to}: unknown layout of features; known are {FEATURE_FORMATS}")
    groups = find_features(features)
    written = []
    for group in groups:
        one = SlideFeatures.load(group)
        path = out / trident_folder(one) / f"{one.slide}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_trident(one, path)
        written.append(path)
        if on_slide is not None:
            on_slide(path)
    return written


def find_features(folder: Path) -> list[Path]:
    """Return the finished features in a folder, by the name of their slide.

    Raises:
        SettingsError: there are none.
    """
    groups = sorted(path.parent for path in folder.glob(f"[!.]*.zarr/{GROUP}"))
    if not groups:
        raise SettingsError(f"{folder}: has no features; give a folder of gigaslide features")
    return groups
