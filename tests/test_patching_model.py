"""The store against a plain model of it: NumPy arrays in a dictionary (fault 55), and shards that
are whole (24)."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from gigaslide.patching import Candidates, PatchStore, TileSettings
from gigaslide.patching import write as write_module
from gigaslide.patching.shard import Layout
from gigaslide.patching.write import write_shards
from gigaslide.storage import Recipe, SettingsError, StoreError
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tiling import write_group

SIDE = 75
TILES = TileSettings(patch_px=SIDE, centre_px=30, margin_px=0)
PER_SHARD = 5
SLIDES = ("a", "b", "c")
NUMBERS = st.integers(0, 13)


def made(rng: np.random.Generator, count: int) -> tuple[Candidates, np.ndarray]:
    windows = Candidates(
        xy=rng.integers(0, 10**6, (count, 2)),
        tumor_fraction=rng.random(count, np.float32),
        tissue_fraction=rng.random(count, np.float32),
        lesion=rng.integers(-1, 9, count).astype(np.int32),
    )
    return windows, rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def write(
    place: Path, classes: dict[str, tuple[Candidates, np.ndarray, np.ndarray]]
) -> dict[str, int]:
    """classes: windows, patches, which are readable."""
    recipe = Recipe(stage="tile", settings=TILES.of_recipe(), inputs={})
    plan = {
        name: (windows, [(int(row), {"images": patches[row]}) for row in np.flatnonzero(readable)])
        for name, (windows, patches, readable) in classes.items()
    }
    return write_group(place, recipe, plan, TILES.arrays)


class StoreMachine(RuleBasedStateMachine):
    """Slides come, are made again, get further patches and go; whatever is read is what the arrays
    hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(write_module, "SHARD_BYTES", PER_SHARD * SIDE * SIDE * 3)
        self.rng = np.random.default_rng(0)
        self.images: dict[tuple[str, str], np.ndarray] = {}
        self.xy: dict[tuple[str, str], np.ndarray] = {}
        self.further: dict[str, list[str]] = {}

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self._describe()

    def _describe(self) -> None:
        rows = {
            slide: {
                "label": "tumor",
                "patient": slide,
                "split": "train",
                "further": self.further.get(slide, []),
            }
            for slide in SLIDES
        }
        PatchStore.describe(self.folder, settings=TILES.model_dump(mode="json"), slides=rows)
        self.store = PatchStore(self.folder)

    def _part(self, count: int) -> tuple[Candidates, np.ndarray, np.ndarray]:
        return *made(self.rng, count), self.rng.random(count) < 0.7

    @rule(slide=st.sampled_from(SLIDES), tumor=NUMBERS, normal=NUMBERS)
    def tile(self, slide: str, tumor: int, normal: int) -> None:
        if (self.folder / slide).exists():
            shutil.rmtree(self.folder / slide)
        parts = {"tumor": self._part(tumor), "normal": self._part(normal)}
        assert write(self.folder / slide, parts) == {
            name: int(ok.sum()) for name, (_, _, ok) in parts.items()
        }
        self.further[slide] = []
        for name, (windows, patches, readable) in parts.items():
            self.images[slide, name] = patches[readable]
            self.xy[slide, name] = windows.xy[readable]
        self._describe()

    @precondition(lambda self: self.images)
    @rule(data=st.data(), count=NUMBERS)
    def add(self, data, count: int) -> None:
        slide = data.draw(st.sampled_from(sorted({slide for slide, _ in self.images})))
        windows, patches, readable = self._part(count)
        name = f"hard-{len(self.further[slide])}"
        write(self.folder / slide / name, {"normal": (windows, patches, readable)})
        self.further[slide].append(name)
        key = slide, "normal"
        self.images[key] = np.concatenate([self.images[key], patches[readable]])
        self.xy[key] = np.concatenate([self.xy[key], windows.xy[readable]])
        self._describe()

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def remove(self, data) -> None:
        slide = data.draw(st.sampled_from(sorted({slide for slide, _ in self.images})))
        shutil.rmtree(self.folder / slide)
        for name in ("tumor", "normal"):
            del self.images[slide, name], self.xy[slide, name]
        self.store = PatchStore(self.folder)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def read(self, data) -> None:
        key = data.draw(st.sampled_from(sorted(self.images)))
        images = self.images[key]
        wanted = np.array(data.draw(st.lists(st.integers(-15, 14), max_size=20)), np.int64)
        try:
            expected = images[wanted]
        except IndexError:
            with pytest.raises(StoreError, match=f"{key[0]}/{key[1]}"):
                self.store.read(*key, wanted)
        else:
            assert np.array_equal(self.store.read(*key, wanted), expected)

    @precondition(lambda self: any(map(len, self.images.values())))
    @rule(data=st.data())
    def read_many(self, data) -> None:
        places = [
            (*key, i)
            for key, images in self.images.items()
            for i in range(-len(images), len(images))
        ]
        wanted = data.draw(st.lists(st.sampled_from(places), max_size=12))
        expected = [self.images[slide, name][index] for slide, name, index in wanted]
        assert np.array_equal(
            self.store.read_many(wanted), np.array(expected, np.uint8).reshape(-1, SIDE, SIDE, 3)
        )

    @invariant()
    def counts_agree(self) -> None:
        expected = {
            slide: {n: len(self.images[slide, n]) for n in ("normal", "tumor")}
            for slide, _ in self.images
        }
        assert {slide.id: slide.counts for slide in self.store.slides} == expected
        for key, xy in self.xy.items():
            assert np.array_equal(self.store.windows(*key).xy, xy)


TestFault55StoreAgainstNumPy = StoreMachine.TestCase
TestFault55StoreAgainstNumPy.settings = effort(max_examples=5, stateful_step_count=8, deadline=None)


@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 5), (5, 4), (10, 2), (10, 4), (3, 2)])
def test_fault_24_part_of_a_shard_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, first, count
):
    monkeypatch.setattr(write_module, "SHARD_BYTES", PER_SHARD * SIDE * SIDE * 3)
    windows, patches = made(np.random.default_rng(1), 13)
    write(tmp_path / "a", {"tumor": (windows, patches, np.ones(13, bool))})
    shards = sorted(
        path for path in (tmp_path / "a" / "tumor" / "images" / "c").rglob("*") if path.is_file()
    )
    assert [path.relative_to(tmp_path / "a" / "tumor" / "images").parts[1] for path in shards] == [
        "0",
        "1",
        "2",
    ]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in shards]
    images, layout = (
        tmp_path / "a" / "tumor" / "images",
        Layout(rows=13, per_shard=5, shape=(SIDE, SIDE, 3)),
    )
    with pytest.raises(StoreError, match=f"rows {first} to {first + count} .* shards of 5"):
        write_shards(images, layout, first, [layout.black] * count)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in shards] == before
    write_shards(
        images, layout, 10, [layout.black] * 3
    )  # the last shard holds three rows and is whole with them
    assert shards[2].read_bytes() != before[2][0]


def test_shards_depend_on_their_own_rows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(write_module, "SHARD_BYTES", PER_SHARD * SIDE * SIDE * 3)
    windows, patches = made(np.random.default_rng(1), 13)
    readable = np.ones(13, bool)
    write(tmp_path / "a", {"tumor": (windows, patches, readable)})
    readable[[2, 3]] = False
    write(tmp_path / "b", {"tumor": (windows, patches, readable)})
    one, other = ((tmp_path / s / "tumor" / "images" / "c").rglob("*") for s in "ab")
    same = [
        a.read_bytes() == b.read_bytes()
        for a, b in zip(sorted(one), sorted(other), strict=True)
        if a.is_file()
    ]
    assert same == [False, True, True]


def test_a_patient_on_two_sides_is_refused_when_written_and_when_read(tmp_path):
    rows = {
        "a": {"label": "tumor", "patient": "p", "split": "train"},
        "b": {"label": "tumor", "patient": "p", "split": "validation"},
    }
    with pytest.raises(SettingsError, match="patient p is in train and validation"):
        PatchStore.describe(tmp_path, settings=TILES.model_dump(mode="json"), slides=rows)
    assert not list(tmp_path.iterdir())
    rows["b"]["patient"] = "q"
    PatchStore.describe(tmp_path, settings=TILES.model_dump(mode="json"), slides=rows)
    text = (tmp_path / "zarr.json").read_text()
    (tmp_path / "zarr.json").write_text(text.replace('"q"', '"p"'))
    with pytest.raises(StoreError, match="patient p is in train and validation"):
        _ = PatchStore(tmp_path).slides
