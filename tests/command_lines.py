"""Commands as a user types them: a small cohort, options of a quick run, and one such run."""

import json
from pathlib import Path

import pytest
from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.cli import main

HERE = ["--workers", "0"]


SMALL = ["--mpp", "0.5", "--patch-px", "75", "--centre-px", "32", "--margin-px", "8", *HERE]


SMALL_RUN = [
    *("--mpp", "0.5", "--tile.patch-px", "75", "--tile.centre-px", "32", "--tile.margin-px", "8"),
    *HERE,
]


SHORT = ["--train.examples", "64", "--train.batch-size", "16", "--train.validation-patches", "32"]


def write_cohort(folder: Path, rows: list[str]) -> Path:
    (folder / "cohort.csv").write_text(
        "slide,annotation,label,patient,split,mpp\n" + "\n".join(rows) + "\n"
    )
    return folder / "cohort.csv"


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """Five slides, one of them empty, through every stage."""
    folder = tmp_path_factory.mktemp("run")
    for number in range(3):
        write_tiff(folder / f"t{number}.tif", stained_slide(number))
        (folder / f"t{number}.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    write_tiff(folder / "n <script>.tif", stained_slide(7))
    (folder / "broken.tif").write_bytes(b"")
    rows = [
        "t0.tif,t0.geojson,tumor,a,train,",
        "t1.tif,t1.geojson,tumor,b,validation,",
        "t2.tif,t2.geojson,tumor,c,test,",
        '"n <script>.tif",,normal,<script>alert(1)</script>,test,',
        "broken.tif,,normal,e,test,",
    ]
    cohort = write_cohort(folder, rows)
    quick = ["--predict.orientations", "1", "--evaluate.resamples", "50"]
    options = [*SMALL_RUN, *SHORT, *quick]
    command = ["run", str(cohort), str(folder / "out"), *options]
    return folder, command, main(command)


GOOD = ["t0.tif,,tumor,a,train,", "t1.tif,,tumor,b,validation,", "t2.tif,,tumor,c,test,"]
