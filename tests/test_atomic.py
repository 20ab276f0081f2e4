"""Files and folders are whole or absent."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gigaslide.storage import (
    SettingsError,
    atomic,
    atomic_file,
    atomic_folder,
    restore_folder,
)
from gigaslide.storage.atomic import remove_folder
from gigaslide.wsi import CellStatus, Heatmap


class Stop(Exception):  # noqa: N818 - not an error of the program
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_absent_until_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.csv"
    with atomic_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent  # a rename over file systems would copy
        assert partial.name.startswith(".")
        assert partial.name.endswith(".partial")
    assert path.read_text() == "half"
    assert names(path.parent) == ["a.csv"]


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, SystemExit])
def test_exception_leaves_no_file_and_keeps_the_old_one(tmp_path, kind):
    path = tmp_path / "a.csv"

    def broken() -> None:
        with atomic_file(path) as partial:
            partial.write_text("half")
            raise kind

    with pytest.raises(kind):
        broken()
    assert names(tmp_path) == []
    path.write_text("old")
    with pytest.raises(kind):
        broken()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with path.open() as reader, atomic_file(path) as partial:
        partial.write_text("new and longer")
        assert path.read_text() == "old"
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


def test_file_that_was_never_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.csv"):
        pass
    assert names(tmp_path) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.csv"
    with atomic_file(path) as one, atomic_file(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def fill(folder: Path, text: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.txt").write_text(text)
    (folder / "recipe.json").write_text("{}")


def test_file_that_is_left_to_the_disk_is_all_there_and_takes_no_memory_once_it_is_on_disk(
    tmp_path, monkeypatch
):
    path, content = tmp_path / "a", os.urandom(2**22)
    path.write_bytes(content)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True
    ).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory; give pytest --basetemp on a disk")
    atomic.start_writeback(path)
    atomic.sync_file(path)
    atomic.start_writeback(path)
    assert resident_pages(path) == 0
    assert path.read_bytes() == content
    assert resident_pages(path) > 0
    monkeypatch.setattr(
        os, "posix_fadvise", lambda *_: Path("/no/such").stat()
    )  # a file system that takes none
    atomic.start_writeback(path)
    monkeypatch.delattr(os, "posix_fadvise")
    atomic.start_writeback(path)
    assert path.read_bytes() == content


def resident_pages(path: Path) -> int:
    """How many pages of a file the system holds in memory; skips where memory is all there is."""
    libc, size = ctypes.CDLL(None, use_errno=True), path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        vector = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector):
            pytest.skip("this system does not tell what it holds in memory")
        return sum(page & 1 for page in vector)


def test_folder_is_whole_or_absent(tmp_path):
    path = tmp_path / "new" / "out"
    with atomic_folder(path) as partial:
        fill(partial, "x")
        assert not path.exists()
    assert (path / "deep" / "a.txt").read_text() == "x"
    assert names(path.parent) == ["out"]


def test_exception_leaves_no_folder_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "out"

    def broken() -> None:
        with atomic_folder(path) as partial:
            fill(partial, "half")
            raise Stop

    with pytest.raises(Stop):
        broken()
    assert names(tmp_path) == []
    with atomic_folder(path) as partial:
        fill(partial, "old")
    with pytest.raises(Stop):
        broken()
    assert (path / "deep" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_replaced_folder_holds_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "out"
    with atomic_folder(path) as partial:
        fill(partial, "old")
        (partial / "left over").write_text("old")
    with atomic_folder(path) as partial:
        fill(partial, "new")
    assert names(path) == ["deep", "recipe.json"]
    assert (path / "deep" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("known_by", ["recipe.json", "zarr.json"])
def test_folder_of_somebody_else_is_refused_before_the_work_and_kept(tmp_path, known_by):
    slide_data = tmp_path / "a"  # what an MRXS slide keeps beside a.mrxs
    slide_data.mkdir()
    other = {"recipe.json": "zarr.json", "zarr.json": "recipe.json"}[known_by]
    (slide_data / other).write_text("mine")
    entered = []
    with (
        pytest.raises(SettingsError, match=rf"a: .*no {known_by}.*give another one"),
        atomic_folder(slide_data, known_by=known_by),
    ):
        entered.append(1)
    assert not entered
    assert (slide_data / other).read_text() == "mine"
    assert names(tmp_path) == ["a"]
    (slide_data / known_by).write_text("{}")
    with atomic_folder(slide_data, known_by=known_by) as partial:
        (partial / "new").touch()
    assert names(slide_data) == ["new"]


def test_file_in_the_way_of_a_folder_is_refused_and_an_empty_folder_is_not(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match=r"file: is a file"), atomic_folder(tmp_path / "file"):
        pass
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as partial:
        fill(partial, "new")
    assert (tmp_path / "empty" / "deep" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["empty", "file"]


def test_folder_that_comes_while_another_is_made_is_kept(tmp_path):
    def late() -> None:
        with atomic_folder(tmp_path / "out") as partial:
            fill(partial, "new")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine").touch()

    with pytest.raises(SettingsError):
        late()
    assert names(tmp_path / "out") == ["mine"]
    assert names(tmp_path) == ["out"]


def test_heatmap_replaces_a_heatmap_only(tmp_path):
    heatmap = Heatmap(
        slide="a",
        probability=np.full((2, 3), 0.5, np.float32),
        status=np.full((2, 3), CellStatus.SCORED, np.uint8),
        origin_level0=(0.0, 0.0),
        stride_level0=64.0,
        centre_level0=64.0,
        centre_px=64,
        slide_size=(192, 128),
        slide_mpp=0.5,
        model_hash="x",
    )
    heatmap.save(tmp_path / "a.zarr")
    heatmap.save(tmp_path / "a.zarr")
    assert Heatmap.load(tmp_path / "a.zarr").slide == "a"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(SettingsError, match=r"no zarr\.json"):
        heatmap.save(tmp_path / "mine")


def test_kill_between_the_two_renames_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "out [1]"
    with atomic_folder(path) as partial:
        fill(partial, "old")
    rename, done = Path.rename, []

    def dies(self: Path, target: Path) -> Path:
        if done:
            os._exit(9)
        done.append(target)
        return rename(self, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "rename", dies)
        with atomic_folder(path) as partial:
            fill(partial, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not path.exists()
    (tmp_path / ".out [1]x.01234567.old").mkdir()  # of another output
    restore_folder(path)
    assert (path / "deep" / "a.txt").read_text() == "old"
    restore_folder(tmp_path / "never was")
    assert not (tmp_path / "never was").exists()


def test_new_folder_that_fails_gives_back_what_a_kill_had_moved_aside(tmp_path):
    fill_old = tmp_path / ".out.0123abcd.old"
    fill_old.mkdir()
    fill(fill_old, "old")
    with pytest.raises(Stop), atomic_folder(tmp_path / "out"):
        raise Stop
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_folder_is_removed_whole(tmp_path, monkeypatch):
    path = tmp_path / "out"
    with atomic_folder(path) as partial:
        fill(partial, "old")
    seen = []
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda gone: seen.append((gone, path.exists())))
    remove_folder(path)
    assert [exists for _, exists in seen] == [False]
    assert seen[0][0].name.endswith(".partial")
