"""Features of slides: right windows, the same bytes by any workers and after any interruption."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HEIGHT, WIDTH, stained_slide, tile_place, write_tiff
from encoding import A_BLOCK, CARD, PX, SETTINGS, colours, encode_slides
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference.features.encode import encode_windows
from gigaslide.models import Encoder
from gigaslide.storage import SettingsError, StoreError
from gigaslide.wsi import SlideFeatures, open_slide, tissue_mask
from predicting import content, digest, write_slides
from test_batch_blocks import journal

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Cohort:
    return write_slides(tmp_path_factory.mktemp("slides"), 1, 2)


@pytest.fixture(scope="module")
def encoded(slides, tmp_path_factory) -> Path:
    """Features of an uninterrupted run in this process."""
    out = tmp_path_factory.mktemp("encoded")
    assert encode_slides(slides, out).exit_status == 0
    return out


def load(out: Path, slide: str = "s1") -> SlideFeatures:
    return SlideFeatures.load(out / f"{slide}.zarr")


def test_each_feature_is_that_of_the_window_at_its_place(encoded):
    found, pixels = load(encoded), stained_slide(1)
    assert found.features.dtype == np.float16
    inside = ((found.xy >= 0) & (found.xy + PX <= (WIDTH, HEIGHT))).all(axis=1)
    assert inside.sum() > 100
    windows = np.stack([pixels[y : y + PX, x : x + PX] for x, y in found.xy[inside]])
    np.testing.assert_allclose(found.features[inside], colours(windows), rtol=2**-10)
    assert len(np.unique(found.features[:, 0])) > 40


def test_windows_are_those_with_half_of_tissue_and_no_others(slides, encoded):
    found = load(encoded)
    with open_slide(slides.slides[0].path) as slide:
        tissue = tissue_mask(slide, SETTINGS.tissue)
    columns, rows = -(-WIDTH // PX), -(-HEIGHT // PX)
    every = np.array([(x * PX, y * PX) for x in range(columns) for y in range(rows)])
    wanted = every[tissue.fraction(every, side_level0=PX) >= 0.5]
    assert set(map(tuple, found.xy.tolist())) == set(map(tuple, wanted.tolist()))
    assert len(found) == len(wanted) < len(every)


def test_attributes_tell_the_geometry_and_the_encoder(encoded):
    found = load(encoded)
    assert (found.patch_px, found.mpp, found.side_level0, found.stride_level0) == (PX, 0.5, PX, PX)
    assert (found.slide_size, found.slide_mpp) == ((WIDTH, HEIGHT), 0.5)
    assert (found.encoder, found.encoder_hash) == ("colours", "h")
    assert found.encoder_card == CARD.model_dump(mode="json")


def test_stride_and_coarser_windows_of_a_slide(slides, tmp_path):
    card = CARD.model_copy(update={"mpp": 0.8})
    settings = SETTINGS.model_copy(update={"stride_px": 40})
    encode_slides(slides, tmp_path, settings, card=card)
    found = load(tmp_path)
    assert found.side_level0 == pytest.approx(PX * 1.6)
    assert found.stride_level0 == pytest.approx(64)
    assert np.unique(found.xy[:, 0] % 64).tolist() == [round(32 - PX * 0.8) % 64]


def test_fault_45_features_do_not_depend_on_block_and_batch(slides, encoded, tmp_path):
    for batch_size, block_px in ((5, 1), (8, 2**30)):
        settings = SETTINGS.model_copy(update={"batch_size": batch_size})
        out = tmp_path / str(batch_size)
        encode_slides(slides, out, settings, blocks={"block_px": block_px})
        found, whole = load(out), load(encoded)
        order, before = (np.lexsort(one.xy.T) for one in (found, whole))
        np.testing.assert_array_equal(found.features[order], whole.features[before])
        np.testing.assert_array_equal(found.xy[order], whole.xy[before])


@pytest.mark.slow
def test_two_workers_give_the_same_files(slides, encoded, tmp_path):
    summary = encode_slides(slides, tmp_path, workers=2, memory_gb=1.5)
    assert len(summary.pace.workers) == 2
    assert content(tmp_path) == content(encoded)


@pytest.mark.slow
def test_fault_23_killed_at_any_change_to_the_disk(tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(1)[100:600, 300:800])
    cohort = Cohort.of_rows([CohortSlide(id="s", path=path)])
    cohort.save(tmp_path / "cohort.csv")
    encode_slides(cohort, tmp_path / "true")
    (tmp_path / "outs").mkdir()
    command = [TESTS / "encoding.py", tmp_path / "cohort.csv", tmp_path / "outs", "10"]
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 3
    assert {line["status"] for line in found} == {0}
    assert {line["digest"] for line in found} == {digest(tmp_path / "true")}
    assert {line["blocks"] for line in found} == {0, 1, 2, 3}


def test_finished_slides_are_skipped_and_another_encoder_replaces_them(slides, tmp_path):
    encode_slides(slides, tmp_path)
    before = content(tmp_path)
    again = encode_slides(slides, tmp_path, SETTINGS.model_copy(update={"splits": ()}))
    assert [one.status for one in again.outcomes] == ["skipped", "skipped"]
    assert content(tmp_path) == before
    replaced = encode_slides(slides, tmp_path, hash_="other")
    assert {one.status for one in replaced.outcomes} == {"done"}
    assert all("encoder.hash: h → other" in one.reason for one in replaced.outcomes)


def test_fault_12_a_slide_without_tissue_has_no_windows(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(3, tissue=False))
    summary = encode_slides(Cohort.of_rows([CohortSlide(id="glass", path=path)]), tmp_path / "out")
    assert summary.exit_status == 0
    assert summary.outcomes[0].reason == "no tissue"
    assert load(tmp_path / "out", "glass").features.shape == (0, 3)


def test_fault_03_a_corrupt_tile_costs_its_windows_only(slides, encoded, tmp_path):
    path = tmp_path / "s1.tif"
    path.write_bytes(slides.slides[0].path.read_bytes())
    offset, length = tile_place(path, 8)  # x 512…767, y 256…511
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)
    summary = encode_slides(Cohort.of_rows([CohortSlide(id="s1", path=path)]), tmp_path / "out")
    assert (summary.exit_status, summary.outcomes[0].status) == (2, "partial")
    found, whole = load(tmp_path / "out"), load(encoded)
    kept = [bool(((xy + PX <= (512, 256)) | (xy >= (768, 512))).any()) for xy in whole.xy]
    assert 0 < len(found) == sum(kept) < len(whole)
    assert summary.outcomes[0].counts["unreadable"] == len(whole) - len(found)
    np.testing.assert_array_equal(found.features, whole.features[kept])


def nan_where_bright(patches: np.ndarray) -> np.ndarray:
    found = colours(patches)
    found[found[:, 0] > 200] = np.nan
    return found


def too_large(patches: np.ndarray) -> np.ndarray:
    return colours(patches) + 1e6


@pytest.mark.parametrize("encode", [nan_where_bright, too_large])
def test_fault_44_features_that_are_not_finite_fail_the_slide_by_name(slides, tmp_path, encode):
    summary = encode_slides(slides, tmp_path, blocks={"encode": encode})
    outcome = summary.outcomes[0]
    assert (outcome.slide, outcome.status) == ("s1", "failed")
    assert "colours" in outcome.reason
    assert "finite" in outcome.reason
    assert not (tmp_path / "s1.zarr").exists()


@pytest.mark.parametrize("scale", [0.0, 1e-12])
def test_features_that_are_all_zero_are_named(slides, tmp_path, caplog, scale):
    encode = {"encode": lambda patches: scale * colours(patches)}
    summary = encode_slides(slides, tmp_path, blocks=encode)
    assert {one.status for one in summary.outcomes} == {"done"}
    assert "s1.tif: the encoder colours gives only zeros" in caplog.text
    assert "s2.tif: the encoder colours gives only zeros" in caplog.text


def test_one_bad_slide_never_stops_the_others(slides, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"no slide")
    gone = CohortSlide(id="gone", path=tmp_path / "gone.tif")
    rows = [CohortSlide(id="bad", path=bad), gone, *slides.slides]
    summary = encode_slides(Cohort.of_rows(rows), tmp_path / "out")
    assert summary.exit_status == 2
    assert [one.status for one in summary.outcomes] == ["failed", "failed", "done", "done"]
    assert (tmp_path / "out" / "run.html").exists()
    assert len(journal(tmp_path / "out", "slide")) == 4


def test_no_slide_of_the_wanted_split_is_refused(slides, tmp_path):
    with pytest.raises(SettingsError, match="validation"):
        encode_slides(slides, tmp_path, SETTINGS.model_copy(update={"splits": ("validation",)}))


def test_the_last_block_is_not_lost(slides, encoded):
    blocks = [line for line in journal(encoded, "block") if line["slide"] == "s1"]
    assert len(blocks) == -(-len(load(encoded)) // A_BLOCK)


def features(**changes) -> SlideFeatures:
    given = {
        "slide": "a",
        "features": np.arange(12, dtype=np.float16).reshape(4, 3),
        "xy": np.arange(8).reshape(4, 2) - 3,
        "patch_px": 5,
        "mpp": 0.5,
        "side_level0": 5.5,
        "stride_level0": 5.5,
        "slide_size": (90, 70),
        "slide_mpp": 0.25,
        "encoder": "e",
        "encoder_hash": "h",
        "encoder_card": {"licence": "MIT"},
    }
    return SlideFeatures(**{**given, **changes})


def test_saved_features_come_back(tmp_path):
    one = features()
    one.save(tmp_path / "a.zarr")
    back = SlideFeatures.load(tmp_path / "a.zarr")
    assert back.attributes == one.attributes
    np.testing.assert_array_equal(back.features, one.features)
    np.testing.assert_array_equal(back.xy, one.xy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": np.full((4, 3), np.nan, np.float16)}, "4 of 4 windows"),
        ({"features": np.full((4, 3), np.inf, np.float16)}, "finite"),
        ({"features": np.zeros((4, 3), np.float32)}, "float32"),
        ({"features": np.zeros((5, 3), np.float16)}, "5 windows"),
        ({"xy": np.zeros((4, 2), np.int32)}, "int32"),
    ],
)
def test_fault_44_impossible_features_are_refused_with_the_slides_name(changes, said):
    with pytest.raises(StoreError, match=f"features of a: .*{said}"):
        features(**changes)


def test_fault_28_a_deleted_chunk_is_an_error(tmp_path):
    features().save(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "features" / "c" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="chunks of features are missing"):
        SlideFeatures.load(tmp_path / "a.zarr")


def test_fault_27_a_flipped_byte_is_an_error(tmp_path):
    features().save(tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr" / "xy" / "c" / "0" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    chunk.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"a\.zarr"):
        SlideFeatures.load(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("runtime", "batch_size"), [("openvino", None), ("keras", None), ("openvino", 8)]
)
def test_a_short_batch_is_filled_only_for_an_encoder_that_needs_it(slides, runtime, batch_size):
    sizes = []

    def note(patches: np.ndarray) -> np.ndarray:
        sizes.append(len(patches))
        return colours(patches)

    encoder = Encoder(card=CARD, encode=note, hash="h", runtime=runtime, batch_size=batch_size)
    assert encoder.length == 3
    sizes.clear()  # those of finding the length
    xy = np.array([(x, y) for x in range(200, 465, 66) for y in range(300, 498, 66)])[:13]
    with open_slide(slides.slides[0].path) as slide:
        indices, features = encode_windows(slide, xy, encoder, SETTINGS)
    assert sizes == ([8, 5] if (runtime, batch_size) == ("openvino", None) else [8, 8])
    assert indices.tolist() == [*range(13)]
    windows = np.stack([stained_slide(1)[y : y + PX, x : x + PX] for x, y in xy])
    np.testing.assert_allclose(features, colours(windows), rtol=2**-10)
