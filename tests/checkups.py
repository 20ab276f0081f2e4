"""Cohorts of made slides for the doctor, and what it says of them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import HEIGHT, TUMOR_RINGS, WIDTH, geojson, halved, stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.doctor import CohortCheckup, DoctorSettings, Finding, examine_cohort, load_cohort
from gigaslide.patching import TileSettings

TILE = TileSettings(
    mpp=0.5,
    patch_px=75,
    centre_px=32,
    margin_px=4,
    tumor_per_slide=40,
    normal_per_slide=50,
    min_tissue=0.3,
)
LEVELS = halved((WIDTH, HEIGHT), 2)
HEAD = "slide,annotation,label,patient,split,mpp\n"


class DeadlyPath(type(Path())):
    """A file that ends the process that looks at it, as a broken decoder would."""

    def is_file(self, **_) -> bool:
        os._exit(9)


def drawn(
    path: Path, rings: list[tuple[list, list]] = TUMOR_RINGS, *, group: str = "Tumor"
) -> Path:
    """An annotation beside a slide."""
    annotation = path.with_suffix(".geojson")
    annotation.write_text(json.dumps(geojson(rings, group=group)))
    return annotation


def slide(path: Path, seed: int = 0, *, tumor: bool = False, **options) -> CohortSlide:
    """A made slide as a training row of its own patient."""
    write_tiff(path, stained_slide(seed), **{"level_sizes": LEVELS, **options})
    return CohortSlide(
        id=path.stem,
        path=path,
        annotation=drawn(path) if tumor else None,
        label="tumor" if tumor else "normal",
        patient=path.stem,
        split="train",
    )


def settings(**changes) -> DoctorSettings:
    tile = {name: changes.pop(name) for name in list(changes) if name in TileSettings.model_fields}
    return DoctorSettings(tile=TILE.model_copy(update=tile), **changes)


def checked(cohort: Cohort, *, known: Iterable[Finding] = (), **changes) -> CohortCheckup:
    return examine_cohort(
        cohort, settings(**changes), BatchSettings(workers=0), name="cohort", known=list(known)
    )


def checked_csv(folder: Path, rows: list[str], *, name: str = "cohort.csv") -> CohortCheckup:
    path = folder / name
    path.write_text(HEAD + "\n".join(rows) + "\n")
    cohort, known = load_cohort(path)
    return checked(cohort, known=known)


def alone(row: CohortSlide, **changes) -> list[tuple[str, str, str]]:
    """(severity, check, words) of all that is found on one slide."""
    [checkup] = checked(Cohort(slides=(row,)), **changes).slides
    return [(found.severity, found.check, found.message) for found in checkup.findings]


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    """The table of six slides without fault, on each side one with tumour and one without; not to
    be changed."""
    folder, rows = tmp_path_factory.mktemp("good"), []
    for number, side in enumerate(("train", "validation", "test")):
        for kind, seed in (("tumor", 2 * number), ("normal", 2 * number + 1)):
            row = slide(folder / f"{side}-{kind}.tif", seed, tumor=kind == "tumor")
            rows.append(
                f"{row.path.name},{row.annotation.name if row.annotation else ''},{kind},p{seed},{side},"  # noqa: E501
            )
    (folder / "cohort.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return folder / "cohort.csv"
