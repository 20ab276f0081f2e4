"""Features of TRIDENT, CLAM and STAMP come in rightly, and go out in TRIDENT's layout."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import HEIGHT, WIDTH, stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import ForeignFeatures, export_features, import_features
from gigaslide.storage import SettingsError, StoreError
from gigaslide.wsi import SlideFacts, SlideFeatures, read_foreign_features
from test_features import features

FACTS = SlideFacts(id="a", mpp=0.25, size=(90, 70), level_downsamples=(1.0, 4.0))
XY = np.array([[0, 0], [448, 0], [0, 896], [1344, 448]])
VALUES = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def write_h5(path: Path, arrays: dict, attributes: dict | None = None) -> Path:
    """attributes: by array, "" for the file's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for name, given in (attributes or {}).items():
            item = file[name] if name else file
            for key, value in given.items():
                item.attrs[key] = value
    return path


TRIDENT = {
    "patch_size": 224,
    "patch_size_level0": 448,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "a",
    "savetodir": "/there",
    "level0_width": 5000,
    "level0_height": 4000,
}


def test_a_file_of_trident(tmp_path):
    path = write_h5(
        tmp_path / "features_uni_v1" / "a.h5",
        {"features": VALUES, "coords": XY},
        {"coords": {**TRIDENT, "overlap": 56}},
    )
    found = read_foreign_features(path, FACTS)
    np.testing.assert_allclose(found.features, VALUES, rtol=2**-10)
    np.testing.assert_array_equal(found.xy, XY)
    assert (found.patch_px, found.side_level0, found.stride_level0) == (224, 448, 336)
    assert (found.mpp, found.slide_mpp, found.slide_size) == (0.5, 0.25, (90, 70))
    assert (found.slide, found.encoder, found.encoder_hash) == ("a", "uni_v1", "")
    unsized = SlideFacts(id="a", mpp=0.25)
    assert read_foreign_features(path, unsized).slide_size == (5000, 4000)


def test_a_file_of_clam_takes_the_size_of_its_patches_from_another(tmp_path):
    path = write_h5(
        tmp_path / "h5_files" / "a.h5", {"features": VALUES, "coords": XY.astype(np.int32)}
    )
    with pytest.raises(StoreError, match=r"coords \(4, 2\).*--patches.*--patch-level0"):
        read_foreign_features(path, FACTS)
    given = SlideFacts(id="a", mpp=0.25, size=(90, 70), patch_level0=512)
    assert read_foreign_features(path, given).side_level0 == 512
    said = {"patch_size": 256, "patch_level": 1}
    for attributes in (said, {**said, "downsample": (4.0, 4.0)}):
        patches = write_h5(tmp_path / "p.h5", {"coords": XY}, {"coords": attributes})
        found = read_foreign_features(path, FACTS, patches=patches)
        assert (found.patch_px, found.side_level0, found.mpp) == (256, 1024, 1.0)
        assert found.stride_level0 == 448
        np.testing.assert_array_equal(found.xy, XY)


def test_clams_grids_of_two_pieces_of_tissue_have_one_stride(tmp_path):
    """Each piece has a grid of its own, here 3 px right of and 5 px above the other's."""
    steps = np.stack(np.meshgrid(np.arange(4), np.arange(3), indexing="ij"), axis=-1)
    pieces = [steps.reshape(-1, 2) * 512 + corner for corner in ((97, 4100), (100, 41), (9000, 46))]
    xy = np.concatenate([*pieces, [[20_000, 30_000]]])
    values = np.zeros((len(xy), 2), np.float32)
    path = write_h5(tmp_path / "a.h5", {"features": values, "coords": xy})
    given = SlideFacts(id="a", mpp=0.25, size=(90, 70), patch_level0=512)
    assert read_foreign_features(path, given).stride_level0 == 512
    alone = write_h5(tmp_path / "b.h5", {"features": values[:1], "coords": xy[:1]})
    assert read_foreign_features(alone, given).stride_level0 == 512


@pytest.mark.parametrize("size", [{"tile_size_um": 112.0, "tile_size_px": 224}, {"tile_size": 112}])
@pytest.mark.parametrize("name", ["feats", "patch_embeddings"])
def test_a_file_of_stamp_has_coordinates_in_um(tmp_path, size, name):
    path = write_h5(
        tmp_path / "a.h5",
        {name: VALUES.astype(np.float16), "coords": XY * 0.25},
        {"": {"unit": "um", "extractor": "ctranspath", **size}},
    )
    found = read_foreign_features(path, FACTS)
    np.testing.assert_array_equal(found.xy, XY)
    np.testing.assert_array_equal(found.features, VALUES.astype(np.float16))
    assert (found.patch_px, found.side_level0, found.mpp) == (224, 448, 0.5)
    assert found.encoder == "ctranspath"


@pytest.mark.parametrize(
    ("arrays", "attributes", "said"),
    [
        ({"embeddings": VALUES, "coords": XY}, {}, r"embeddings \(4, 6\)"),
        ({"feats": VALUES, "coords": XY}, {"": {"units": "px"}}, "units"),
        ({"features": VALUES}, {}, r"features \(4, 6\)"),
        ({"features": VALUES[:3], "coords": XY}, {"coords": TRIDENT}, "do not go together"),
        (
            {"features": VALUES, "coords": XY},
            {"coords": {"patch_size_level0": 448, "size": 224}},
            "patch_size of coords.*size",
        ),
        (
            {"features": VALUES, "coords": XY},
            {"coords": {**TRIDENT, "patch_size": 0}},
            "no usable.*patch_size",
        ),
        ({"feats": VALUES, "coords": XY}, {"": {"unit": "um"}}, "tile_size_um or tile_size"),
        ({"features": VALUES.astype("S"), "coords": XY}, {"coords": TRIDENT}, "not numbers"),
        ({"features/x": VALUES, "coords": XY}, {"coords": TRIDENT}, "group"),
    ],
)
def test_files_of_another_layout_are_refused_with_a_list_of_what_they_hold(
    tmp_path, arrays, attributes, said
):
    path = write_h5(tmp_path / "a.h5", arrays, attributes)
    with pytest.raises(StoreError, match=rf"a\.h5.*{said}"):
        read_foreign_features(path, FACTS)


def test_fault_44_features_that_are_nan_or_too_large_name_the_slide(tmp_path):
    for wrong in (np.nan, 1e9):
        values = VALUES.copy()
        values[2, 3] = wrong
        arrays = {"features": values, "coords": XY}
        path = write_h5(tmp_path / "a.h5", arrays, {"coords": TRIDENT})
        with pytest.raises(StoreError, match="features of a: 1 of 4"):
            read_foreign_features(path, FACTS)


def test_fault_42_links_out_of_a_file_are_not_followed(tmp_path):
    secret = write_h5(tmp_path / "secret.h5", {"features": VALUES})
    raw = tmp_path / "raw.bin"
    raw.write_bytes(VALUES.tobytes())
    path = tmp_path / "a.h5"

    def link(file: h5py.File) -> None:
        file["features"] = h5py.ExternalLink(str(secret), "features")

    def soft(file: h5py.File) -> None:
        file["features"] = h5py.SoftLink("/coords")

    def outside(file: h5py.File) -> None:
        file.create_dataset("features", (4, 6), "f4", external=[(str(raw), 0, raw.stat().st_size)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4, 6), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "features", (4, 6))
        file.create_virtual_dataset("features", layout)

    for make in (link, soft, outside, virtual):
        with h5py.File(path, "w") as file:
            file["coords"] = XY
            make(file)
        with pytest.raises(StoreError, match=r"features (is a link|lies in another file)"):
            read_foreign_features(path, FACTS)


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(90)])
def test_files_that_are_not_hdf5_are_refused(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.h5"):
        read_foreign_features(path, FACTS)


def test_fault_52_an_array_larger_than_memory_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (10**9, 1000), "f4", chunks=(1, 1000))
        file["coords"] = XY
    with pytest.raises(StoreError, match="4000 GB"):
        read_foreign_features(tmp_path / "a.h5", FACTS)


def test_export_to_trident_and_back_keeps_everything(tmp_path):
    rng = np.random.default_rng(1)
    one = features(
        features=rng.normal(size=(4, 3)).astype(np.float16),
        encoder="uni v1/2",
        side_level0=10.0,
        stride_level0=8.0,
    )
    one.save(tmp_path / "in" / "a.zarr")
    (path,) = export_features(tmp_path / "in", tmp_path / "out")
    assert path == tmp_path / "out" / "20x_5px_1px_overlap" / "features_uni_v1_2" / "a.h5"
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float32
        assert file["coords"].dtype == np.int64
        wanted = {"patch_size": 5, "patch_size_level0": 10, "overlap": 1, "name": "a"}
        wanted |= {"level0_magnification": 40, "target_magnification": 20}
        wanted |= {"level0_width": 90, "level0_height": 70}
        assert wanted.items() <= dict(file["coords"].attrs).items()
    back = read_foreign_features(path, FACTS)
    assert back.attributes == one.attributes
    np.testing.assert_array_equal(back.features, one.features)
    np.testing.assert_array_equal(back.xy, one.xy)


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    """A slide that is there, one that is not, and one without features."""
    path = write_tiff(tmp_path / "slides" / "here.tif", stained_slide(1), mpp=0.25)
    rows = [
        CohortSlide(id="here", path=path),
        CohortSlide(id="gone", path=tmp_path / "gone.svs", mpp=0.5, size=(300, 200)),
        CohortSlide(id="bare", path=tmp_path / "bare.svs", mpp=0.5),
    ]
    return Cohort.of_rows(rows)


def test_a_folder_is_imported_by_the_names_of_the_slides(cohort, tmp_path, caplog):
    folder = tmp_path / "job" / "20x"
    for name in ("here", "gone", "stranger"):
        arrays = {"features": VALUES, "coords": XY}
        write_h5(folder / "features_uni" / f"{name}.h5", arrays, {"coords": TRIDENT})
        write_h5(folder / "patches" / f"{name}.h5", {"coords": XY}, {"coords": TRIDENT})
    summary = import_features(cohort, ForeignFeatures(folder=folder), tmp_path / "out")
    assert summary.exit_status == 2
    statuses = {one.slide: one.status for one in summary.outcomes}
    assert statuses == {"here": "done", "gone": "done", "bare": "failed"}
    assert "stranger" in caplog.text
    here, gone = (
        SlideFeatures.load(tmp_path / "out" / f"{name}.zarr") for name in ("here", "gone")
    )
    assert (here.slide_size, here.slide_mpp, here.mpp) == ((WIDTH, HEIGHT), 0.25, 0.5)
    assert (gone.slide_size, gone.slide_mpp, gone.mpp) == ((300, 200), 0.5, 1.0)
    again = import_features(cohort, ForeignFeatures(folder=folder), tmp_path / "out")
    assert [one.status for one in again.outcomes if one.slide != "bare"] == ["skipped", "skipped"]


def test_folders_without_files_or_with_two_of_one_name_are_refused(cohort, tmp_path):
    with pytest.raises(SettingsError, match=r"no \.h5 file"):
        import_features(cohort, ForeignFeatures(folder=tmp_path / "slides"), tmp_path / "out")
    for encoder in ("features_uni", "features_virchow"):
        write_h5(tmp_path / "two" / encoder / "here.h5", {"features": VALUES, "coords": XY})
    with pytest.raises(SettingsError, match="one encoder"):
        import_features(cohort, ForeignFeatures(folder=tmp_path / "two"), tmp_path / "out")
    with pytest.raises(SettingsError, match="no features"):
        export_features(tmp_path / "slides", tmp_path / "out")


MODULE = "def encode(patches):\n    return patches.mean(axis=(1, 2))\n"


def test_the_commands_encode_export_and_import(cohort, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("mean_colour.py").write_text(MODULE)
    gone = CohortSlide(id="gone", path=tmp_path / "gone.tif")
    Cohort(slides=(*cohort.slides[:1], gone)).save(tmp_path / "cohort.csv")
    given = ["--encoder", "mean_colour:encode", "--patch-px", "96", "--mpp", "0.25"]
    assert main(["features", "cohort.csv", "out", *given, "--workers", "0"]) == 2
    said = capfd.readouterr().err
    assert "2 of 2 slides" in said  # the bar
    assert "WARNING: gone failed" in said
    Cohort(slides=cohort.slides[:1]).save(tmp_path / "cohort.csv")
    assert main(["features", "export", "out", "trident"]) == 0
    assert main(["features", "import", "trident", "back", "--cohort", "cohort.csv"]) == 0
    assert "40x_96px_0px_overlap" in capfd.readouterr().out
    first, second = (SlideFeatures.load(Path(name) / "here.zarr") for name in ("out", "back"))
    assert len(first) > 20
    assert first.attributes == second.attributes
    # What took an hour is not replaced by an import.
    assert main(["features", "import", "trident", "out", "--cohort", "cohort.csv"]) != 0
    assert SlideFeatures.load(Path("out") / "here.zarr").attributes == first.attributes
