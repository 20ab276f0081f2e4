"""Files and outputs in a folder and in a bucket."""

import json
from pathlib import Path

import pytest
from bucket import after
from gigaslide.storage import (
    GROUP,
    BlockRecord,
    Output,
    Recipe,
    SettingsError,
    StoreError,
    delete_file,
    list_files,
    read_file,
    read_files,
    read_part,
    write_checksummed,
    write_file,
)
from gigaslide.storage.files import delete_files
from gigaslide.storage.partial_output import BucketPartial, FolderPartial


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def recipe(size: int = 1) -> Recipe:
    return Recipe(stage="shape", settings={"size": size}, inputs={})


def test_files_below_a_location_in_a_folder_and_a_bucket(bucket, tmp_path):
    for location in (tmp_path / "a", "s3://slides/blocks/files"):
        for name in ("m", "m.n", "m-o", ".h/x", "z"):
            write_file(location, name, b"0123" + name.encode())
        assert sorted(list_files(location, prefix="m")) == ["m", "m-o", "m.n"]
        assert read_part(location, "m.n", start=2, stop=5) == b"23m"
        assert read_files(location, ["z", "no", "m"]) == [b"0123z", None, b"0123m"]
        with pytest.raises(StoreError, match=r"no\.such: is gone"):
            read_part(location, "no.such", start=2, stop=5)
        with pytest.raises(StoreError, match=r"files/m|a/m"):
            read_part(location, "m", start=0, stop=6)
        delete_file(location, "z")
        delete_file(location, "z")
        assert "z" not in list_files(location)
        delete_files(location)
        assert list_files(location) == []


def test_checksum_of_a_written_file_is_the_one_that_is_found_later(bucket, tmp_path):
    for location in (tmp_path / "a", "s3://slides/checksums/a"):
        made = FolderPartial if isinstance(location, Path) else BucketPartial
        partial = made(location, {"size": 1})
        partial.begin()
        checksum = write_checksummed(partial.whole, "c/0/0", [b"shard", b"", b"\0" * 2**20])
        assert read_file(partial.whole, "c/0/0") == b"shard" + b"\0" * 2**20
        partial.save_record(0, BlockRecord(files={"c/0/0": checksum}, counts={"rows": 1}))
        assert list(partial.check_records()) == [0]
        write_checksummed(partial.whole, "c/0/0", [b"shard", b"\1" * 2**20])
        assert list(partial.records()) == [0]
        assert list(partial.check_records()) == list(partial.records()) == []


@pytest.mark.parametrize("kind", ["folder", "bucket"])
@pytest.mark.parametrize("recipe_file", ["recipe.json", GROUP])
def test_states_of_an_output(bucket, tmp_path, kind, recipe_file):
    base = tmp_path if kind == "folder" else f"s3://slides/outputs/{recipe_file}"
    location = tmp_path / "x" if kind == "folder" else f"{base}/x"
    small, large = (
        Output(location=location, recipe=recipe(size), recipe_file=recipe_file, files=("data",))
        for size in (1, 2)
    )
    assert small.state().status == "absent"
    with small.write({"sum": 1}) as folder:
        write_file(folder, "data", b"small")
    assert small.state().is_unchanged
    assert small.state().attributes["sum"] == 1
    state = large.state()
    assert (state.status, state.differences) == ("changed", ("settings.size: 1 → 2",))
    other = Output(
        location=location, recipe=Recipe(stage="b", settings={}, inputs={}), recipe_file=recipe_file
    )
    assert other.state().status == "foreign"
    with pytest.raises(SettingsError, match="x: exists already"):
        other.refuse_foreign()

    large.set_aside()  # its replacement is begun, and then the first is asked for again
    assert read_file(location, recipe_file) is None
    partial = large.partial()
    partial.begin()
    assert large.state().status == "begun"
    write_file(partial.whole, "data", b"large")
    write_file(partial.whole, "more", b"large")
    assert small.state().is_unchanged
    assert read_file(location, "data") == b"small"
    assert [name for name in list_files(base) if "previous" in name] == []
    assert sorted(list_files(location)) == sorted(["data", recipe_file])

    large.set_aside()
    partial.begin()
    write_file(partial.whole, "data", b"large")
    large.commit(partial, {})
    assert large.state().is_unchanged
    assert read_file(location, "data") == b"large"
    assert [name for name in list_files(base) if not name.startswith("x/")] == []
    write_file(location, recipe_file, b'{"stage": ')
    with pytest.raises(StoreError, match=rf"{recipe_file}: damaged"):
        large.state()
    large.remove()
    assert list_files(base) == []


def test_output_without_one_of_its_files_is_made_again(tmp_path):
    output = Output(location=tmp_path / "x", recipe=recipe(), files=("page.html", "tables"))
    with output.write() as folder:
        write_file(folder, "page.html", b"page")
        write_file(folder, "tables/a.csv", b"")
    assert output.state().is_unchanged
    (tmp_path / "x" / "page.html").write_bytes(b"")
    assert output.state().differences == ("page.html: missing",)


def test_what_is_not_ours_is_foreign_and_stays(bucket, tmp_path):
    (tmp_path / "file").write_text("mine")
    write_file(tmp_path / "folder", "notes.txt", b"mine")
    write_file("s3://slides/foreign/x", "notes.txt", b"mine")
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"by": "me"}}
    write_file(tmp_path / "group", GROUP, json.dumps(group).encode())
    (tmp_path / "empty").mkdir()
    for location, recipe_file in (
        (tmp_path / "file", "recipe.json"),
        (tmp_path / "folder", "recipe.json"),
        ("s3://slides/foreign/x", GROUP),
        (tmp_path / "group", GROUP),
    ):
        output = Output(location=location, recipe=recipe(), recipe_file=recipe_file)
        with pytest.raises(SettingsError, match="a new folder"), output.write():
            pass
    assert (tmp_path / "file").read_text() == "mine"
    assert Output(location=tmp_path / "empty", recipe=recipe()).state().status == "absent"


def test_fault_23_killed_while_an_output_is_set_aside_or_begun(bucket, requests):
    """After any number of changes, no reader finds half an output and the next run replaces it."""
    base = "s3://slides/blocks/aside"
    names = ["zarr.json", "tumor/zarr.json", "a/c/0", "hard-1/zarr.json"]
    old, new = (
        Output(location=f"{base}/group", recipe=recipe(size), recipe_file=GROUP) for size in (1, 2)
    )
    changes, killed = 0, True
    while killed:
        with old.write() as folder:
            for name in names[1:]:
                write_file(folder, name, b"{}")
        requests(after(changes))
        try:
            new.set_aside()
            new.partial().begin()
            killed = False
        except StoreError:
            pass
        requests()
        left = list_files(f"{base}/group")
        assert "zarr.json" not in left or sorted(left) == sorted(names)
        if changes % 2:
            assert old.state().is_unchanged  # brought back, whole
            assert sorted(list_files(f"{base}/group")) == sorted(names)
        if new.state().status == "changed":
            new.set_aside()
        partial = new.partial()
        partial.begin()
        write_file(partial.whole, "b", b"{}")
        new.commit(partial, {})
        assert sorted(list_files(base)) == ["group/b", "group/zarr.json"]
        new.remove()
        changes += 1
    assert changes > 10


def test_an_output_may_share_its_folder(tmp_path):
    other = tmp_path / "slide" / "heatmap.zarr"
    other.mkdir(parents=True)
    recipe = Recipe(stage="detections", settings={"threshold": 0.5}, inputs={})
    output = Output(
        location=tmp_path / "slide", recipe=recipe, files=("a.csv", "b.png"), shares_folder=True
    )
    assert output.state().status == "absent"
    with pytest.raises(FileNotFoundError), output.write() as folder:
        (folder / "nowhere" / "a.csv").write_text("half")
    assert names(tmp_path / "slide") == ["heatmap.zarr"]
    attributes = {}
    with output.write(attributes) as folder:
        for name in output.files:
            (folder / name).write_text(name)
        attributes["rows"] = 3
    assert output.state().is_unchanged
    assert output.state().attributes == {"rows": 3}
    assert names(tmp_path / "slide") == [
        "a.csv",
        "b.png",
        "heatmap.zarr",
        "recipe.json",
    ]
    (tmp_path / "slide" / "b.png").unlink()
    assert output.state().differences == ("b.png: missing",)
    output.remove()
    assert names(tmp_path / "slide") == ["heatmap.zarr"]
