"""Mistakes with `gigaslide annotations` and `gigaslide minutes`: what is wrong, and what to do."""

from pathlib import Path

import pytest
from gigaslide.annotate import AnnotationFolder
from gigaslide.cli import main


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["annotations", "list", "ann", "other"], ["other", "no version", "annotations list ann"]),
        (["annotations", "accept", "ann", "other"], ["other", "no version", "annotations list"]),
        (["annotations", "restore", "ann", "other", "2"], ["other", "no version"]),
        (
            ["annotations", "save", "cohort.csv", "ann", "a", "no.geojson"],
            ["no.geojson", "no such"],
        ),
        (["minutes", "cohort.csv"], ["cohort.csv: no annotations"]),
    ],
)
def test_a_slide_or_file_that_is_not_there_is_named(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    AnnotationFolder.create(Path("ann"))
    Path("a.tif").write_bytes(b"not read")
    Path("cohort.csv").write_text("slide,label\na.tif,tumor\n")
    assert main(words) == 1
    shown = capsys.readouterr().err
    for part in expected:
        assert part in shown
    assert "Errno" not in shown
