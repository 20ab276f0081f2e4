"""Training straight from slides, against training on a store of the same slides."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import ARCHITECTURES, ModelCard
from gigaslide.patching import (
    AugmentSettings,
    LivePatches,
    PatchStore,
    TileSettings,
    index_cohort,
    tile_cohort,
)
from gigaslide.patching.open_slides import OpenSlides
from gigaslide.storage import SettingsError, SlideError, StoreError
from gigaslide.training import Sampler, TrainSettings, train
from gigaslide.wsi import CLASSES, TileCache, open_slide
from tiling import made_slide
from tiny_network import TINY

pytestmark = pytest.mark.slow

TILES = TileSettings(
    mpp=0.5, patch_px=75, centre_px=32, margin_px=4, tumor_per_slide=20, normal_per_slide=20
)
SHORT = TrainSettings(
    examples=96,
    batch_size=16,
    validate_every=48,
    validation_patches=32,
    augment=AugmentSettings(jitter_px=4, stain=0.3),
)
ALONE = BatchSettings(workers=0)
TILE = ["--tile.patch-px", "75", "--tile.centre-px", "32", "--tile.margin-px", "4"]
TILE += ["--tile.mpp", "0.5", "--tile.tumor-per-slide", "20", "--tile.normal-per-slide", "20"]
TRAIN = ["--examples", "64", "--batch-size", "16", "--validate-every", "32"]
TRAIN += ["--validation-patches", "32", "--augment.jitter-px", "4"]
OPTIONS = [*TILE, "--workers", "0", *TRAIN]
MORE = ["96" if word == "64" else word for word in OPTIONS]


def damage(path: Path, *places: int) -> None:
    """Make tiles of level 0 undecodable."""
    content = bytearray(path.read_bytes())
    for place in places:
        start, length = tile_place(path, place)
        content[start : start + length] = b"\x55" * length
    path.write_bytes(content)


def make_rows(folder: Path) -> list[CohortSlide]:
    folder.mkdir(exist_ok=True)
    return [
        made_slide(folder, "ill.tif", seed=1, label="tumor", patient="p1", split="train"),
        made_slide(folder, "well.tif", seed=2, label="normal", patient="p2", split="train"),
        made_slide(folder, "ill 2.tif", seed=3, label="tumor", patient="p3", split="validation"),
        made_slide(folder, "held out.tif", seed=4, label="tumor", patient="p4", split="test"),
    ]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    """Three slides to train and validate on, one of them with an unreadable tile, and a test
    slide."""
    rows = make_rows(tmp_path_factory.mktemp("slides") / "made")
    damage(Path(rows[1].path), 2 * 6 + 2)
    return Cohort.of_rows(rows)


@pytest.fixture(scope="module")
def both(cohort, tmp_path_factory) -> Callable[[TileSettings], tuple[PatchStore, LivePatches]]:
    """A store and live patches of the cohort."""

    def make(tiles: TileSettings) -> tuple[PatchStore, LivePatches]:
        folder = tmp_path_factory.mktemp("both")
        stored = tile_cohort(cohort, folder / "store", tiles, ALONE)
        live, summary = index_cohort(cohort, folder / "index", tiles, ALONE)
        assert [(o.slide, o.status, o.counts) for o in summary.outcomes] == [
            (o.slide, o.status, o.counts) for o in stored.outcomes
        ]
        return PatchStore(folder / "store"), live

    return make


@pytest.fixture
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


@pytest.fixture
def slides(tmp_path) -> Path:
    """A cohort.csv of slides that a test may change."""
    rows = make_rows(tmp_path / "slides")
    lines = ["slide,annotation,label,patient,split"]
    for row in rows:
        annotation = row.annotation.name if row.annotation else ""
        lines.append(f"{Path(row.path).name},{annotation},{row.label},{row.patient},{row.split}")
    path = tmp_path / "slides" / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read_weights(model: Path) -> dict[str, bytes]:
    """Bytes of every array of a model's weights."""
    found = {}
    with h5py.File(model / "model.weights.h5") as file:
        file.visititems(
            lambda name, node: (
                found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
            )
        )
    assert len(found) > 6
    return found


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"augment": SHORT.augment, "stain": "reinhard"}),
        ({"mpp": 0.62, "further_mpp": (1.0, 1.7)}, {"augment": SHORT.augment}),
        ({"mpp": 0.4, "allow_upsampling": True}, {"augment": None}),
        ({"copies": 2, "augment": SHORT.augment}, {"augment": None, "copies": 2}),
        ({"tumor_per_patient": 9, "tumor_above": 0.3}, {"augment": None}),
    ],
)
def test_live_patches_are_those_of_a_store_bit_for_bit(both, changes, options):
    store, live = both(TILES.model_copy(update=changes))
    assert [(s.id, s.split, s.patient, s.counts, s.unreadable) for s in live.slides] == [
        (s.id, s.split, s.patient, s.counts, s.unreadable) for s in store.slides
    ]
    assert sum(slide.unreadable for slide in live.slides)
    assert live.tile_settings == store.tile_settings
    for slide in store.slides:
        for name in CLASSES:
            assert np.array_equal(live.windows(slide.id, name).xy, store.windows(slide.id, name).xy)
            every = [(slide.id, name, n) for n in range(slide.counts[name])]
            for array in live.tile_settings.arrays:
                read = live.read_many(every[::-1], array=array)
                assert np.array_equal(read, store.read_many(every[::-1], array=array))
    samplers = [
        Sampler(
            store=source, split="train", spec=store.input_spec, batch_size=24, seed=3, **options
        )
        for source in (store, live)
    ]
    for number in (0, 5):
        drawn, expected = (sampler.draw(number) for sampler in reversed(samplers))
        assert np.array_equal(drawn.labels, expected.labels)
        assert np.array_equal(drawn.patches, expected.patches)
        assert len({patch.tobytes() for patch in drawn.patches}) > 12


def test_threads_and_other_processes_read_the_same_patches(both):
    store, live = both(TILES)
    sampler = Sampler(
        store=live, split="train", spec=live.input_spec, batch_size=16, seed=1, augment=None
    )
    expected = [replace(sampler, store=store).draw(n).patches.tobytes() for n in range(24)]
    with ThreadPoolExecutor(6) as pool:
        assert [batch.patches.tobytes() for batch in pool.map(sampler.draw, range(24))] == expected
    sent = pickle.loads(pickle.dumps(sampler))
    assert sent.draw(7).patches.tobytes() == expected[7]


def test_command_gives_the_weights_of_a_store_bit_for_bit_and_continues(
    slides, tiny, tmp_path, capsys
):
    command = ["train", "--from-slides", str(slides), str(tmp_path / "model"), *OPTIONS]
    assert main(command) == 0
    assert "3 done" in capsys.readouterr().out
    tile = [word.replace("--tile.", "--") for word in TILE]
    assert main(["tile", str(slides), str(tmp_path / "store"), *tile, "--workers", "0"]) == 0
    assert main(["train", str(tmp_path / "store"), str(tmp_path / "other"), *TRAIN]) == 0
    capsys.readouterr()
    models = [tmp_path / "model", tmp_path / "other"]
    assert read_weights(models[0]) == read_weights(models[1])
    on_slides, on_store = (ModelCard.load(model).training["patches_from"] for model in models)
    assert on_slides == on_store
    files = [path for path in (tmp_path / "model.index").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert not any("images" in str(path) for path in files)
    assert main([*command[:4], *MORE]) == 0
    said = capsys.readouterr()
    assert "3 skipped" in said.out
    assert "after 64 examples" in said.err
    with pytest.raises(StoreError, match="not a patch store"):
        PatchStore(tmp_path / "model.index").attributes  # noqa: B018


def test_slide_that_changes_while_training_stops_it_and_the_checkpoint_stays(
    slides, tiny, tmp_path
):
    live, _ = index_cohort(Cohort.load(slides), tmp_path / "index", TILES, ALONE)
    slide = slides.with_name("ill.tif")
    kept = slide.read_bytes()

    def change(examples: int, figures: dict[str, float]) -> None:
        if examples == 64:
            slide.write_bytes(kept[:-1])

    longer = SHORT.model_copy(update={"examples": 960})
    with pytest.raises(SlideError, match=r"ill\.tif.*changed"):
        train(live, tmp_path / "model", longer, on_step=change)
    assert list((tmp_path / "model.checkpoint").rglob("state.json"))
    slide.unlink()
    with pytest.raises(SlideError, match=r"ill\.tif.*cannot be read"):
        live.read_many([("ill", "tumor", 0)])


def test_slide_that_is_gone_stops_before_the_training_starts_anew(slides, tiny, tmp_path, capsys):
    command = ["train", "--from-slides", str(slides), str(tmp_path / "model"), *OPTIONS]
    assert main(command) == 0
    slides.with_name("well.tif").rename(tmp_path / "well.tif")
    assert main([*command[:4], *MORE]) == 1
    said = capsys.readouterr().err
    assert "well" in said
    assert "bring it back" in said
    (tmp_path / "well.tif").rename(slides.with_name("well.tif"))
    assert main([*command[:4], *MORE]) == 0
    assert "after 64 examples" in capsys.readouterr().err


def test_bad_slides_are_left_out_unless_a_split_becomes_empty(slides, tiny, tmp_path, capsys):
    slides.with_name("well.tif").write_bytes(b"no slide")
    command = ["train", "--from-slides", str(slides), str(tmp_path / "model"), *OPTIONS]
    assert main(command) == 2
    assert "well" in capsys.readouterr().err
    assert (tmp_path / "model" / "card.json").exists()
    assert "well" in (tmp_path / "model.index" / "summary.csv").read_text()
    slides.with_name("ill 2.tif").write_bytes(b"no slide")
    assert main([*command[:3], str(tmp_path / "second"), *OPTIONS]) == 1
    assert "validation" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tile.mpp", "0.5"], ["--workers", "2"]])
def test_options_of_slides_are_refused_with_a_store(words, tmp_path, capsys):
    assert main(["train", str(tmp_path), str(tmp_path / "model"), *words]) == 1
    said = capsys.readouterr().err
    assert words[0] in said
    assert "--from-slides" in said
    assert main(["train", str(tmp_path), str(tmp_path / "model"), "--dry-run"]) == 0
    config = tmp_path / "printed.yaml"
    config.write_text(capsys.readouterr().out)
    command = ["train", str(tmp_path / "no store"), str(tmp_path / "model")]
    assert main([*command, "--config", str(config)]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_at_most_so_many_slides_are_open_and_none_is_closed_in_use(cohort):
    paths = {Path(row.path).stem: row.path for row in cohort}
    opened = []

    def open_one(name: str):
        opened.append(open_slide(paths[name]))
        return opened[-1]

    slides = OpenSlides(open_one, most=2)

    def read(slide) -> np.ndarray:
        return slide.read_level(0, x=0, y=0, width=50, height=20)

    with slides.borrow("ill") as first:
        for slide_id in ("well", "ill 2", "ill 2", "held out"):
            with slides.borrow(slide_id):
                pass
        slides.forget("ill")
        assert read(first).shape == (20, 50, 3)
    assert len(opened) == 4
    with slides.borrow("ill") as again:
        assert again is not first
    del slides
    for slide in opened:
        with pytest.raises(Exception, match="closed"):
            slide.read_level(0, x=300, y=300, width=50, height=20, cached=False)


def test_shared_cache_is_bounded_and_tries_an_unreadable_tile_again_on_a_fresh_handle(tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(5))
    kept = path.read_bytes()
    tile_bytes = 256 * 256 * 3
    cache = TileCache(4 * tile_bytes)
    damage(path, 8)
    at = np.array([[256 * 2 + 9, 256 + 7]])
    with open_slide(path, cache=cache) as slide:
        assert [window for _, window in slide.read_windows(at, size=99, mpp=0.5)] == [None]
    path.write_bytes(kept)
    with open_slide(path, cache=cache) as slide:
        [(_, window)] = slide.read_windows(at, size=99, mpp=0.5)
        assert np.array_equal(window, stained_slide(5)[263 : 263 + 99, 521 : 521 + 99])
        for corner in np.random.default_rng(0).integers(0, 1000, (40, 1, 2)):
            list(slide.read_windows(corner, size=99, mpp=0.62))
    assert tile_bytes < cache._tiles.currsize <= 4 * tile_bytes


def test_a_cohort_without_slides_to_train_on_is_refused(cohort, tmp_path):
    tiles = TILES.model_copy(update={"splits": ()})
    with pytest.raises(SettingsError, match="no slide"):
        index_cohort(cohort, tmp_path / "index", tiles, ALONE)
