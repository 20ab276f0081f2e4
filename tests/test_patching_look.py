"""gigaslide store: counts, checksums and the contact sheet; room on the disk."""

import hashlib
import re

import cv2
import numpy as np
import pytest
import zarr
from gigaslide.cli import main
from gigaslide.patching import (
    PatchStore,
    disk_space,
    inventory,
    montage,
    totals,
    verify_store,
)
from gigaslide.patching.disk_space import store_size
from gigaslide.patching.montage import CLASS_COLOURS
from gigaslide.patching.quota import Quota
from gigaslide.storage import StoreError
from gigaslide.wsi import CLASSES
from tiling import SETTINGS, SIDE, classes_of, tile


def test_inventory_counts_what_zarr_python_counts(tiled):
    store, _ = tiled
    table = inventory(store)
    expected = {(slide, name): group["images"].shape[0] for slide, name, group in classes_of(store)}
    assert {
        (row["slide"], name): row[name] for row in table.to_dict("records") for name in CLASSES
    } == expected
    splits = totals(table, ["split"]).set_index("split")
    assert splits.loc["train", "slides"] == splits.loc["train", "patients"] == 2
    assert splits.loc["train", "normal"] == expected["ill", "normal"] + expected["well", "normal"]
    assert splits.loc["validation", "tumor"] == expected["ill_2", "tumor"]


def test_store_info_prints_tables(tiled, capsys):
    assert main(["store", "info", str(tiled[0].path)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"ill_2 +p3 +validation +tumor +50 +40 +0 +0", told)
    assert re.search(r"train +2 +2 +100 +40 +0 +0", told)
    assert "75 px at 0.5 µm/px, stored with a margin of 4 px" in told


def test_store_verify_finds_nothing_in_a_good_store(tiled, capsys):
    assert main(["store", "verify", str(tiled[0].path)]) == 0
    told = capsys.readouterr().out
    assert "230 patches of 3 slides" in told
    digest = hashlib.sha256()
    for slide, name, group in sorted(classes_of(tiled[0]), key=lambda item: item[:2]):
        for array in ("xy", "tumor_fraction", "tissue_fraction", "lesion", "unreadable", "images"):
            values = group[array][:]
            head = f"{slide}/{name}/{array} {len(values)} {values.dtype} {values.shape[1:]}"
            digest.update(head.encode() + values.tobytes())
    assert f"content {digest.hexdigest()}\n" in told


@pytest.mark.parametrize("array", ["images", "xy", "tissue_fraction", "lesion", "unreadable"])
def test_fault_27_verify_finds_a_flipped_byte_in_any_array(copied, capsys, array):
    (file,) = [
        path for path in (copied.path / "ill" / "tumor" / array / "c").rglob("*") if path.is_file()
    ]
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(content)
    damaged = verify_store(PatchStore(copied.path)).damaged
    assert [damage.group for damage in damaged] == ["ill/tumor"]
    assert damaged[0].array.startswith(array)
    assert f"ill/tumor/{array}/c/0" in damaged[0].reason
    assert main(["store", "verify", str(copied.path)]) == 2
    assert f"damaged: ill/tumor/{array}" in capsys.readouterr().out


def test_fault_28_verify_finds_what_is_missing(copied):
    for file in (copied.path / "well" / "normal" / "xy" / "c").rglob("*"):
        if file.is_file():
            file.unlink()
    (damage,) = verify_store(PatchStore(copied.path)).damaged
    assert (damage.group, damage.array) == ("well/normal", "xy")


def test_montage_shows_stored_patches_in_frames_of_their_class(tiled, tmp_path, capsys):
    store, _ = tiled
    assert main(["store", "montage", str(store.path), str(tmp_path / "m.png")]) == 0
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "m.png")), cv2.COLOR_BGR2RGB)
    assert np.array_equal(image, montage(store))
    # Frames are 118 px wide with 4 px of colour; two slides have five of each class, one has normal
    # ones only.
    for name, expected in (("normal", 15), ("tumor", 10)):
        coloured = (image == CLASS_COLOURS[name]).all(axis=2).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(coloured)
        frames = [s for s in stats[1:count] if s[cv2.CC_STAT_WIDTH] == s[cv2.CC_STAT_HEIGHT] == 118]
        assert len(frames) == expected
        left, top = frames[0][:2] + 4
        shown = image[top : top + 110, left : left + 110].astype(float)
        stored = zarr.open_group(store.path / "ill" / name, mode="r")["images"][:][:, 4:-4, 4:-4]
        far = [
            np.abs(cv2.resize(p, (110, 110), interpolation=cv2.INTER_AREA) - shown).mean()
            for p in stored
        ]
        assert min(far) < 8  # the square in the middle is drawn over it
        assert np.sort(far)[1] > 3 * min(far)


def test_size_is_reckoned_and_a_full_disk_is_refused_before_anything_is_written(
    cohort, tmp_path, monkeypatch
):
    size = store_size([Quota(tumor=40, normal=50), Quota(tumor=0, normal=50)], SETTINGS)
    assert size.patches == 140
    assert size.bytes == pytest.approx(140 * SIDE * SIDE * 3 * 0.85, abs=1)
    made_up = {"total": 10**9, "used": 0, "free": 10**6}
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: type("Usage", (), made_up))
    with pytest.raises(
        StoreError, match=r"up to 230 patches may take .* GB in \d+ files.*--no-check-space"
    ):
        tile(cohort, tmp_path / "store")
    assert not list((tmp_path / "store").glob("**/zarr.json"))
    few = {"normal_per_slide": 2, "tumor_per_slide": 2}
    assert tile(cohort, tmp_path / "store", check_space=False, **few).exit_status == 0
    # What is there already takes no room, and the option is no other recipe.
    assert {o.status for o in tile(cohort, tmp_path / "store", **few).outcomes} == {"skipped"}
    with pytest.raises(
        StoreError, match="up to 230 patches may take"
    ):  # of which what is there is none
        tile(cohort, tmp_path / "store")
    assert len(PatchStore(tmp_path / "store").slides) == 3
    made_up["free"] = (
        size.bytes * 230 // 140 + 10**4
    )  # and with 12 patches less there would not be room
    # Each old group is removed when the new one is whole, so all but the largest make room.
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "store").iterdir()
        if folder.is_dir()
    ]
    made_up["free"] -= sum(sizes) - max(sizes)
    assert {o.status for o in tile(cohort, tmp_path / "store").outcomes} == {"done"}


def test_listed_slides_without_patches_are_told(tiled, copied, capsys):
    assert verify_store(tiled[0]).absent == ()
    (copied.path / "well" / "zarr.json").unlink()
    assert verify_store(PatchStore(copied.path)).absent == ("well",)
    assert main(["store", "verify", str(copied.path)]) == 0
    assert "without patches: well;" in capsys.readouterr().out


def test_files_are_counted_right(tiled):
    store, summary = tiled
    shares = [Quota(tumor=o.counts["tumor"], normal=o.counts["normal"]) for o in summary.outcomes]
    files = [path for path in store.path.glob("*/**/*") if path.is_file()]
    empty = 6  # the chunks and shards of the class that has no patches
    assert len(files) == store_size(shares, SETTINGS).files - empty + 1


def test_other_urls_are_refused(tmp_path):
    with pytest.raises(StoreError, match="not a patch store"):
        _ = PatchStore("s3:///nothing").attributes
    with pytest.raises(StoreError, match="s3://BUCKET"):
        _ = PatchStore("ftp://host/store").attributes
