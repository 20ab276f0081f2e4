"""Files and groups in a folder and in a bucket."""

import pytest
from bucket import after
from gigaslide.batch import FolderPieces
from gigaslide.patching.group import BucketPieces, refuse_foreign, remove_group, whole_group
from gigaslide.patching.place import (
    delete_all,
    names_in,
    read_files,
    read_part,
    write_file,
    write_piece,
)
from gigaslide.storage import SettingsError, StoreError


def test_files_below_a_place_in_a_folder_and_a_bucket(bucket, tmp_path):
    for place in (tmp_path / "a", "s3://slides/blocks/files"):
        for name in ("m", "m.n", "m-o", ".h/x", "z"):
            write_file(place, name, b"0123" + name.encode())
        assert sorted(names_in(place, prefix="m")) == ["m", "m-o", "m.n"]
        assert read_part(place, "m.n", start=2, stop=5) == b"23m"
        with pytest.raises(StoreError, match=r"no\.such: is gone; leave it alone"):
            read_part(place, "no.such", start=2, stop=5)
        with pytest.raises(StoreError, match="cannot be read"):
            read_part(place, "m", start=0, stop=6)
        delete_all(place, but="m")
        assert names_in(place) == ["m"]
        delete_all(place)
        assert names_in(place) == []


def test_the_sign_of_a_piece_is_the_one_that_is_found_later(bucket, tmp_path):
    for pieces in (FolderPieces(tmp_path / "a"), BucketPieces("s3://slides/signs/a")):
        pieces.begin_anew()
        sign = write_piece(pieces.whole, "c/0/0", [b"shard", b"", b"\0" * 2**20])
        assert read_files(pieces.whole, ["c/0/0"]) == [b"shard" + b"\0" * 2**20]
        pieces.record(0, {"c/0/0": sign}, {"rows": 1})
        assert list(pieces.done()) == [0]
        write_piece(pieces.whole, "c/0/0", [b"shard", b"\1" * 2**20])
        assert list(pieces.done()) == []
        assert list(pieces.receipts()) == [0]
        assert list(pieces.keep_done()) == list(pieces.receipts()) == []


def test_fault_23_killed_while_a_group_is_removed(bucket, requests):
    place = "s3://slides/blocks/removed/group"
    for changes in range(7):
        names = ["zarr.json", "tumor/zarr.json", "a/c/0", "hard-1/zarr.json"]
        for name in names:
            write_file(place, name, b"{}")
        requests(after(changes))
        try:
            remove_group(place)
        except StoreError:
            assert changes < 6
        else:
            assert changes == 6  # the sign that it is ours comes first and goes last
        requests()
        left = names_in(place)
        assert (
            not left or "zarr.json" not in left or len(left) == len(names)
        )  # whole, or no reader finds it
        refuse_foreign(place)
        with whole_group(place) as empty:
            assert names_in(empty) == []
        assert names_in("s3://slides/blocks/removed") == []
    write_file(place, "notes.txt", b"mine")
    with pytest.raises(SettingsError, match="no group of ours"):
        refuse_foreign(place)
