"""Cohorts whose slides live at URLs: read, written, tiled, predicted and scored like those on a
disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import PatchStore
from gigaslide.storage import file_identity, location_exists
from gigaslide.storage.location import name_of, parse_location
from predicting import predict, write_model
from test_readers_omezarr import write_ome_zarr
from tiling import classes_of, content_hash, made_slide, tile

SIGNED = "https://example.org/data/slide%20two.tif?key=a/b.svs"


@pytest.mark.parametrize(
    ("text", "location", "name"),
    [
        ("s3://bucket/a b/slide.tif", "s3://bucket/a b/slide.tif", "slide.tif"),
        ("gs://bucket/slide#1?.svs", "gs://bucket/slide#1?.svs", "slide#1?.svs"),
        ("s3://bucket/slide.ome.zarr/", "s3://bucket/slide.ome.zarr", "slide.ome.zarr"),
        (SIGNED, SIGNED, "slide two.tif"),
        ("file:///data/a%20b.tif", Path("/data/a b.tif"), "a b.tif"),
        ("sub/a.tif", Path("/cohort/sub/a.tif"), "a.tif"),
        ("/abs/a.tif", Path("/abs/a.tif"), "a.tif"),
    ],
)
def test_paths_and_urls(text, location, name):
    assert parse_location(text, Path("/cohort")) == location
    assert name_of(location) == name


def test_a_table_with_urls_is_read_and_written_back(tmp_path):
    lines = [
        "slide,label",
        "s3://bucket/one/a.tif,tumor",
        "s3://bucket/two/a.tif,normal",
        f"{SIGNED},",
        "b.svs,normal",
    ]
    (tmp_path / "cohort.csv").write_text("\n".join(lines))
    cohort = Cohort.load(tmp_path / "cohort.csv")
    assert [slide.path for slide in cohort] == [
        "s3://bucket/one/a.tif",
        "s3://bucket/two/a.tif",
        SIGNED,
        tmp_path / "b.svs",
    ]
    first, second, third, fourth = (slide.id for slide in cohort)
    assert first != second
    assert first.startswith("a-")
    assert (third, fourth) == ("slide_two", "b")
    cohort.save(tmp_path / "again.csv")
    assert Cohort.load(tmp_path / "again.csv") == cohort
    assert "\ns3://bucket/one/a.tif,,tumor" in (tmp_path / "again.csv").read_text()
    only_urls = Cohort.of_rows([slide for slide in cohort if isinstance(slide.path, str)])
    assert [slide.path for slide in only_urls] == [slide.path for slide in cohort][:3]


def remote_twin(bucket, slide: CohortSlide) -> CohortSlide:
    return CohortSlide(
        id=slide.id,
        path=bucket.upload(slide.path, slide.path.name),
        annotation=slide.annotation,
        label=slide.label,
        split=slide.split,
    )


@pytest.mark.slow
def test_tiling_from_a_bucket_gives_the_same_store_and_resumes(bucket, tmp_path):
    slides = [
        made_slide(tmp_path, "ill.tif", seed=1, label="tumor", split="train"),
        made_slide(tmp_path, "well one.tif", seed=2, label="normal", split="train"),
    ]
    remote = Cohort.of_rows([remote_twin(bucket, slide) for slide in slides])
    tile(Cohort.of_rows(slides), tmp_path / "local")
    assert tile(remote, tmp_path / "remote").exit_status == 0
    assert content_hash(PatchStore(tmp_path / "remote")) == content_hash(
        PatchStore(tmp_path / "local")
    )
    assert len(list(classes_of(PatchStore(tmp_path / "remote")))) == 4
    assert {outcome.status for outcome in tile(remote, tmp_path / "remote").outcomes} == {"skipped"}


def test_fault_16_object_that_was_replaced_is_made_again_and_said(bucket, tmp_path):
    slide = made_slide(tmp_path, "replaced.tif", seed=1, label="normal", split="train")
    remote = Cohort.of_rows([remote_twin(bucket, slide)])
    tile(remote, tmp_path / "store", normal_per_slide=5)
    before = file_identity(remote.slides[0].path)
    write_tiff(slide.path, stained_slide(9))
    bucket.upload(slide.path, slide.path.name)
    assert file_identity(remote.slides[0].path)["modified"] != before["modified"]
    (outcome,) = tile(remote, tmp_path / "store", normal_per_slide=5).outcomes
    assert outcome.status == "done"
    assert "made again: inputs.slide." in outcome.reason


def test_prediction_from_a_bucket(bucket, tmp_path):
    path = write_tiff(tmp_path / "predicted.tif", stained_slide(3))
    url = bucket.upload(path, "predicted.tif")
    cohort = Cohort.of_rows([CohortSlide(id="predicted", path=url)])
    model = write_model(tmp_path / "model")
    predict(cohort, model, tmp_path / "out")
    local = Cohort.of_rows([CohortSlide(id="predicted", path=path)])
    predict(local, model, tmp_path / "local")
    one, other = (tmp_path / folder / "detections.csv" for folder in ("out", "local"))
    assert one.read_text() == other.read_text()
    again = predict(cohort, model, tmp_path / "out")
    assert "1 skipped" in again.headline()


def test_evaluation_draws_slides_from_a_bucket(bucket, plain):
    plain.rows = [remote_twin(bucket, row) for row in plain.rows]
    plain.evaluate()
    assert "no picture" not in plain.html()


def test_slides_that_cannot_be_reached_fail_alone(bucket, tmp_path):
    good = remote_twin(
        bucket, made_slide(tmp_path, "good.tif", seed=2, label="normal", split="train")
    )
    gone = CohortSlide(id="gone", path="s3://slides/gone.tif", label="normal", split="train")
    assert location_exists(good.path)
    assert not location_exists(gone.path)
    summary = tile(Cohort.of_rows([good, gone]), tmp_path / "store")
    assert summary.exit_status == 2
    assert {outcome.slide: outcome.status for outcome in summary.outcomes} == {
        "good": "done",
        "gone": "failed",
    }
    (reason,) = (outcome.reason for outcome in summary.outcomes if outcome.slide == "gone")
    assert "s3://slides/gone.tif: no such" in reason


def test_identity_of_a_zarr_folder_changes_with_its_metadata(tmp_path):
    path = write_ome_zarr(tmp_path / "slide.ome.zarr")
    first = file_identity(path)
    assert first["name"] == "slide.ome.zarr"
    shutil.rmtree(path)
    write_ome_zarr(path, np.zeros((727, 1131, 3), np.uint8), mpp=0.5)
    assert file_identity(path) != first
