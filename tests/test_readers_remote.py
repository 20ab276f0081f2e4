"""Slides in a bucket and on a web server that the tests start: the same pixels, and only the bytes
that are needed."""

import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from bucket import hang_up
from conftest import write_tiff
from gigaslide.storage import SlideError, UnreadableRegionError
from gigaslide.storage.location import location_exists, name_of, remote_identity
from gigaslide.wsi import open_slide
from gigaslide.wsi.readers import open_reader, remote
from test_readers_omezarr import write_ome_zarr
from test_readers_tiff import APERIO, stained, whole_level, write_levels, write_ome

WIDTH, HEIGHT = 3001, 2207
SIZES = ((3001, 2207), (1501, 1104), (751, 552))
JPEG = {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2), "description": APERIO}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    return write_levels(
        tmp_path_factory.mktemp("local") / "slide.svs", stained(WIDTH, HEIGHT), SIZES, **JPEG
    )


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr("gigaslide.storage.retry.FIRST_PAUSE_S", 0.0)


def test_ten_windows_of_a_slide_in_a_bucket_cost_little_more_than_their_tiles(bucket, local):
    url = bucket.upload(local, "a folder/slide 切片.svs")
    whole = local.stat().st_size
    assert whole > 2_000_000
    rng = np.random.default_rng(4)
    xy = np.stack([rng.integers(0, WIDTH - 200, 10), rng.integers(0, HEIGHT - 200, 10)], axis=1)
    with open_slide(local) as slide:
        expected = dict(slide.read_windows(xy, size=150, mpp=slide.info.mpp))
    bucket.sent = bucket.requests = 0
    with open_slide(url) as slide:
        opening = bucket.sent
        found = dict(slide.read_windows(xy, size=150, mpp=slide.info.mpp))
        assert slide.info.path == url
        assert slide.info.reader_reason.startswith("read in place by byte ranges; not compared")
    tiles = {
        (row, column)
        for x, y in xy
        for row in (y // 240, (y + 149) // 240)
        for column in (x // 256, (x + 149) // 256)
    }
    for index, window in expected.items():
        assert np.array_equal(found[index], window)
    assert opening <= 4 * remote.BLOCK_BYTES
    # A tile has its share of the whole file, which has coarser levels too, give or take half of it.
    assert bucket.sent - opening <= 1.5 * len(tiles) * whole / (12 * 10)
    assert bucket.requests <= 8 + len(tiles)


@pytest.mark.parametrize("kind", ["plain", "aperio", "ome"])
def test_levels_and_pixels_are_the_local_files(bucket, local, tmp_path, kind):
    path = {
        "plain": lambda: write_tiff(
            tmp_path / "plain.tif", stained(900, 700), level_sizes=((450, 350),)
        ),
        "aperio": lambda: local,
        "ome": lambda: write_ome(
            tmp_path / "slide.ome.tif", stained(900, 700), ((900, 700), (450, 350))
        ),
    }[kind]()
    reader, _ = open_reader(bucket.upload(path, path.name))
    with closing(reader), closing(open_reader(path)[0]) as expected:
        assert reader.pyramid == expected.pyramid
        assert np.array_equal(whole_level(reader, 1), whole_level(expected, 1))


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_in_a_bucket(bucket, tmp_path, version):
    path = write_ome_zarr(tmp_path / "slide.ome.zarr", version=version, chunk=(256, 256))
    url = bucket.upload(path, f"version {version}.ome.zarr")
    assert location_exists(url)
    assert remote_identity(url)["name"] == f"version {version}.ome.zarr"
    reader, why = open_reader(url)
    with closing(reader), closing(open_reader(path)[0]) as expected:
        assert (reader.name, why[:13]) == ("OME-Zarr chunks", "read in place")
        assert reader.pyramid == expected.pyramid
        bucket.requests = 0
        assert np.array_equal(reader.tile(0, 1, 2), expected.tile(0, 1, 2))
        assert bucket.requests <= 2  # zarr-python asks for the size first
        assert np.array_equal(whole_level(reader, 1), whole_level(expected, 1))


def test_what_must_be_copied_first_is_said(bucket, tmp_path):
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8\xff" + bytes(500))
    with pytest.raises(SlideError, match=r"s3://slides/slide\.mrxs.*copy"):
        open_reader(bucket.upload(tmp_path / "slide.mrxs", "slide.mrxs"))
    with pytest.raises(SlideError, match=r"s3://slides/gone\.tif"):
        open_reader("s3://slides/gone.tif")
    with pytest.raises(SlideError, match=r"s3://slides/gone\.zarr"):
        open_reader("s3://slides/gone.zarr")
    with pytest.raises(SlideError, match=r"nowhere://a/b\.tif.*s3://.*gs://.*https://"):
        open_reader("nowhere://a/b.tif")
    assert not location_exists("s3://slides/gone.tif")


def test_missing_package_is_named(monkeypatch):
    lost = {"class": "not_there.FileSystem", "err": "Install nothere to access it"}
    monkeypatch.setitem(
        fsspec.available_protocols.__globals__["known_implementations"], "nothere", lost
    )
    with pytest.raises(
        SlideError,
        match=r"nothere://a/b\.tif.*pip install 'gigaslide\[remote\]'",
    ):
        open_reader("nothere://a/b.tif")


def test_fault_31_reads_that_fail_are_tried_again_and_no_level_is_lost(
    bucket, local, monkeypatch, quick
):
    url = bucket.upload(local, "flaky.svs")
    read, failures = remote.RemoteBytes.read, iter([])

    def flaky(self, offset, length):
        cat_file = self.files.cat_file

        def cut_off(*args, **options):
            if next(failures, False):
                raise ConnectionResetError("cut off")
            return cat_file(*args, **options)

        monkeypatch.setattr(self.files, "cat_file", cut_off)
        try:
            return read(self, offset, length)
        finally:
            monkeypatch.setattr(self.files, "cat_file", cat_file)

    monkeypatch.setattr(remote.RemoteBytes, "read", flaky)
    failures = iter([True, True, False] * 6)
    with closing(open_reader(url)[0]) as reader:
        assert len(reader.pyramid.levels) == 3
        assert reader.tile(0, 3, 3) is not None
        failures = iter([True] * 3)
        with pytest.raises(UnreadableRegionError, match="cut off"):
            reader.tile(0, 3, 3)
        assert reader.tile(0, 3, 3) is not None
    failures = iter([False, False] + [True] * 30)
    with pytest.raises(SlideError, match=r"flaky\.svs.*ConnectionResetError"):
        open_reader(url)


class WebServer(BaseHTTPRequestHandler):
    """Serves one file; by ranges where asked for under /ranges."""

    content = b""
    refusals = 0
    """So many requests are answered by 503 before the next good one."""

    def do_GET(self) -> None:
        if WebServer.refusals > 0:
            WebServer.refusals -= 1
            self.send_error(503)
            return
        start, end = 0, len(self.content)
        by_ranges = self.path.startswith("/ranges")
        if by_ranges and "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(self.content)}")
        else:
            self.send_response(200)
        if by_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", '"first"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.content[start:end])

    do_HEAD = do_GET  # noqa: N815 - the names are http.server's

    def log_message(self, format: str, *args) -> None:  # noqa: A002
        pass


def test_slide_on_a_web_server(local, monkeypatch):
    pytest.importorskip("aiohttp")
    WebServer.content = local.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), WebServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        url = f"{address}/ranges/slide%20a.svs?signature=x"
        assert name_of(url) == "slide a.svs"
        assert remote_identity(url) == {
            "name": "slide a.svs",
            "bytes": local.stat().st_size,
            "modified": "first",
        }
        with closing(open_reader(url)[0]) as reader, closing(open_reader(local)[0]) as expected:
            assert reader.pyramid == expected.pyramid
            assert np.array_equal(whole_level(reader, 2), whole_level(expected, 2))
        with pytest.raises(SlideError, match=r"byte ranges.*copy"):
            open_reader(f"{address}/whole/slide.svs")
        monkeypatch.setattr("gigaslide.storage.retry.FIRST_PAUSE_S", 0.0)
        WebServer.refusals = 2
        with closing(open_reader(url)[0]) as reader:
            assert reader.pyramid == expected.pyramid
        WebServer.refusals = 99
        with pytest.raises(SlideError, match=r"slide%20a\.svs: ") as refusal:
            open_reader(url.replace("http://", "http://me:s3cret@"))
        assert "s3cret" not in str(refusal.value)
        assert "signature=x" not in str(refusal.value)
    finally:
        WebServer.refusals = 0
        hang_up(fsspec.get_filesystem_class("http"))
        server.shutdown()
        thread.join()
        server.server_close()
