"""docs/camelyon16.md walked on phantoms in the folders of CAMELYON16, from cohort to report."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort

TRAIN = ("--architecture", "compact", "--examples", "96", "--validate-every", "48")
SIZE_PX = 1500


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Phantoms under the names of the published slides."""
    root = tmp_path_factory.mktemp("camelyon16")
    made = root / "phantoms"
    words = ("--slides", "10", "--size-px", str(SIZE_PX), "--seed", "16", "--workers", "0")
    assert main(["phantom", str(made), *words]) == 0
    rows = list(csv.DictReader((made / "cohort.csv").read_text().splitlines()))
    by_label = {
        label: [row for row in rows if row["label"] == label] for label in ("tumor", "normal")
    }
    assert min(map(len, by_label.values())) >= 4
    folder = root / "CAMELYON16"
    known = []
    for label, found in by_label.items():
        for number, row in enumerate(found):
            if number < len(found) - 1:
                place, name = f"training/{label}", f"{label}_{number + 1:03}"
                outlines = "training/lesion_annotations"
            else:
                place, name = "testing/images", f"test_{len(known) + 1:03}"
                outlines = "testing/lesion_annotations"
                known.append((name, "Tumor" if label == "tumor" else "Normal"))
            copy(made / row["slide"], folder / place / f"{name}.tif")
            if row["annotation"]:
                copy(made / row["annotation"], folder / outlines / f"{name}.xml")
    text = "".join(f"{name},{label},IDC,None\n" for name, label in known)
    (folder / "testing" / "reference.csv").write_text(text)
    return folder


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@pytest.mark.slow
def test_the_page_can_be_followed_from_the_files_to_the_report(published, monkeypatch, capsys):
    monkeypatch.chdir(published.parent)
    assert main(["cohort", "CAMELYON16", "cohort.csv"]) == 0
    cohort = Cohort.load(Path("cohort.csv"))
    splits = {slide.id: slide.split for slide in cohort}
    assert {splits["test_001"], splits["test_002"]} == {"test"}
    assert {split for name, split in splits.items() if "test" not in name} == {
        "train",
        "validation",
    }
    labels = {slide.id: slide.label for slide in cohort}
    assert (labels["test_001"], labels["test_002"]) == ("tumor", "normal")
    # What else doctor finds in phantoms is its own business.
    main(["doctor", "cohort.csv", "checkup", "--mpp", "0.5", "--workers", "0"])
    assert re.search(r"predict.*\d", capsys.readouterr().out)
    stages = (
        ("tile", "cohort.csv", "store", "--mpp", "0.5", "--workers", "0"),
        ("train", "store", "model", *TRAIN),
        ("predict", "cohort.csv", "model", "predictions", "--mode", "fastest"),
        ("evaluate", "cohort.csv", "predictions", "report", "--official"),
    )
    for words in stages:
        assert main(list(words)) == 0, words
    metrics = json.loads(Path("report/metrics.json").read_text())
    programs = metrics["official"]["programs"]
    assert set(programs) >= {"camelyon16-e1", "camelyon16-e2"}
    page = Path("report/report.html").read_text()
    assert "Liu" in page
    assert Path("predictions/test_001/heatmap.png").is_file()
    assert not Path("predictions/tumor_001").exists()
