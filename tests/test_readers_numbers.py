"""µm/px in vendors' metadata, with decimal points, commas and exponents: alike on disk and at a
URL."""

from contextlib import closing
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from conftest import position_coded
from gigaslide.wsi.readers import open_reader
from test_readers_tiff import APERIO
from test_readers_vendors import philips_xml

PIXELS = position_coded(900, 700)
JPEG = {"tile": (240, 256), "compression": "jpeg", "photometric": "rgb"}
UM = ("0.4990", "0,4990", "4.990e-1", "4,990E-01")
MM = ("0.000499", "0,000499", "4.990e-4", "4,990E-04")  # Philips


def write(path: Path, vendor: str, number: str) -> None:
    if vendor == "aperio":
        text = APERIO.replace("0.4990", number)
        tifffile.imwrite(path, PIXELS, description=text, metadata=None, **JPEG)
    elif vendor == "philips":
        text = philips_xml([0.25]).replace("0.25", number)
        tifffile.imwrite(
            path, PIXELS, description=text, software="Philips DP v1.0", metadata=None, **JPEG
        )
    else:
        size = {"axes": "YXS", "PhysicalSizeX": 0.123, "PhysicalSizeY": 0.123}
        tifffile.imwrite(path, PIXELS, ome=True, metadata=size, **JPEG)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            text = tiff.pages.first.description.replace("0.123", number)
            tiff.pages.first.tags["ImageDescription"].overwrite(text)


@pytest.mark.parametrize("style", range(len(UM)))
@pytest.mark.parametrize("vendor", ["aperio", "philips", "ome"])
def test_um_per_px_is_read_alike_on_disk_and_at_a_url(tmp_path, bucket, vendor, style):
    path = tmp_path / f"slide{'.ome' if vendor == 'ome' else ''}.tif"
    write(path, vendor, (MM if vendor == "philips" else UM)[style])
    with closing(open_reader(path)[0]) as local:
        assert local.pyramid.mpp_xy == pytest.approx((0.499, 0.499))
        with closing(open_reader(bucket.upload(path, path.name))[0]) as remote:
            assert remote.pyramid == local.pyramid
    if vendor != "ome":
        with openslide.OpenSlide(path) as handle:
            assert handle.properties["openslide.vendor"] == vendor


@pytest.mark.parametrize("text", ["MPP = unknown", "MPP = ", "AppMag = 40"])
def test_um_per_px_that_is_no_number_is_none(tmp_path, bucket, text):
    path = tmp_path / "slide.svs"
    description = APERIO.replace("MPP = 0.4990", text)
    tifffile.imwrite(
        path, np.ascontiguousarray(PIXELS), description=description, metadata=None, **JPEG
    )
    for place in (path, bucket.upload(path, path.name)):
        with closing(open_reader(place)[0]) as reader:
            assert reader.pyramid.mpp_xy is None
