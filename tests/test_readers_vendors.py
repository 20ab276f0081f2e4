"""Slides of makers of whom we have no files: made by hand after what OpenSlide reads of them, and
its pixels."""

from contextlib import closing
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from conftest import block_means
from gigaslide.wsi import open_slide
from gigaslide.wsi.readers import open_reader
from test_readers_tiff import level_by_openslide, stained, whole_level

WIDTH, HEIGHT = 1024, 720  # whole tiles of 256 × 240 px at level 0, as Philips pads its pages
JPEG = {"tile": (240, 256), "compression": "jpeg", "photometric": "rgb", "metadata": None}


def attribute(name: str, content: str, kind: str = "IString") -> str:
    return (
        f'<Attribute Name="{name}" Group="0x0" Element="0x0" PMSVR="{kind}">{content}</Attribute>'
    )


def philips_xml(spacings_mm: list[float]) -> str:
    """What Philips writes into the first description, as far as OpenSlide reads it."""
    levels = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation">'
        f"{attribute('DICOM_PIXEL_SPACING', f'&quot;{mm}&quot; &quot;{mm}&quot;', 'IDoubleArray')}"
        f"{attribute('PIIM_PIXEL_DATA_REPRESENTATION_NUMBER', str(number), 'IUInt16')}</DataObject>"
        for number, mm in enumerate(spacings_mm)
    )
    scan = (
        attribute("PIM_DP_IMAGE_TYPE", "WSI")
        + attribute(
            "DICOM_PIXEL_SPACING",
            f"&quot;{spacings_mm[0]}&quot; &quot;{spacings_mm[0]}&quot;",
            "IDoubleArray",
        )
        + attribute(
            "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE",
            f"<Array>{levels}</Array>",
            "IDataObjectArray",
        )
    )
    image = f'<Array><DataObject ObjectType="DPScannedImage">{scan}</DataObject></Array>'
    whole = attribute("DICOM_MANUFACTURER", "PHILIPS") + attribute(
        "PIM_DP_SCANNED_IMAGES", image, "IDataObjectArray"
    )
    return f'<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">{whole}</DataObject>'  # noqa: E501


def write_philips(path: Path) -> tuple[Path, np.ndarray]:
    """Two levels by 2, whose pages are given in whole tiles; the true size is told by the spacings
    alone."""
    pixels = stained(WIDTH, HEIGHT)
    half = block_means(pixels, columns=WIDTH // 2, rows=HEIGHT // 2)
    page = np.full((480, 512, 3), 255, np.uint8)
    page[: half.shape[0], : half.shape[1]] = half
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            pixels, description=philips_xml([0.00025, 0.0005]), software="Philips DP v1.0", **JPEG
        )
        tiff.write(page, subfiletype=1, **JPEG)
    return path, half


def test_philips_pages_in_whole_tiles_are_cut_to_their_level(tmp_path):
    path, half = write_philips(tmp_path / "philips.tiff")
    reader, why = open_reader(path)
    with closing(reader):
        assert (reader.name, why) == (
            "native TIFF tiles",
            "compared tiles are equal to OpenSlide's",
        )
        assert reader.pyramid.vendor == "philips"
        assert [(level.width, level.height) for level in reader.pyramid.levels] == [
            (1024, 720),
            (512, 360),
        ]
        for level in range(2):
            assert np.array_equal(whole_level(reader, level), level_by_openslide(path, level))
        assert (
            np.abs(whole_level(reader, 1).astype(int) - half).mean() < 6
        )  # JPEG's loss, and no row of padding
    with open_slide(path) as slide:
        assert slide.info.mpp == pytest.approx(0.25)


NANOMETRES = 500  # per px of level 0


def scn_xml(*, collection: tuple[int, int], view: tuple[int, int, int, int]) -> str:
    """Leica's description: a macro image of the whole glass, and one area of it; sizes in nm."""
    source = "<illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>"  # noqa: E501

    def image(
        ifds: list[tuple[int, int, int]], place: tuple[int, int, int, int], objective: float
    ) -> str:
        dimensions = "".join(
            f'<dimension r="{r}" ifd="{ifd}" sizeX="{x}" sizeY="{y}"/>'
            for r, (ifd, x, y) in enumerate(ifds)
        )
        width, height, x, y = place
        return (
            '<image name="image" '
            'uuid="urn:uuid:1"><creationDate>2011-01-01T00:00:00Z</creationDate>'
            f'<device model="Leica SCN400;Leica SCN" version="1.5"/>'
            f'<pixels sizeX="{ifds[0][1]}" sizeY="{ifds[0][2]}">{dimensions}</pixels>'
            f'<view sizeX="{width}" sizeY="{height}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>'
            f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>{source}"
            "</scanSettings></image>"
        )

    width, height = collection
    macro = image([(2, 64, 45)], (width, height, 0, 0), 0.6)
    area = image([(0, WIDTH, HEIGHT), (1, WIDTH // 4, HEIGHT // 4)], view, 20)
    return (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" '
        'uuid="urn:uuid:0">'
        f'<collection name="c" uuid="urn:uuid:0" sizeX="{width}" sizeY="{height}" '
        f'barcode="">{macro}{area}'
        "</collection></scn>"
    )


def write_scn(path: Path, *, offset_nm: tuple[int, int], glass_nm: tuple[int, int]) -> Path:
    pixels = stained(WIDTH, HEIGHT)
    view = (WIDTH * NANOMETRES, HEIGHT * NANOMETRES, *offset_nm)
    resolution = {"resolution": (1e7 / NANOMETRES,) * 2, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            pixels, description=scn_xml(collection=glass_nm, view=view), **resolution, **JPEG
        )
        for columns, rows in ((WIDTH // 4, HEIGHT // 4), (64, 45)):
            tiff.write(block_means(pixels, columns=columns, rows=rows), subfiletype=1, **JPEG)
    return path


def test_scn_is_laid_on_its_glass_by_openslide(tmp_path):
    glass = (WIDTH * NANOMETRES * 2, HEIGHT * NANOMETRES * 2)
    path = write_scn(
        tmp_path / "slide.scn", offset_nm=(301 * NANOMETRES, 207 * NANOMETRES), glass_nm=glass
    )
    with openslide.OpenSlide(path) as handle:
        expected = np.asarray(handle.read_region((290, 200), 0, (40, 30)))
    with open_slide(path) as slide:
        assert slide.info.reader == "OpenSlide"
        assert slide.info.reader_reason == "leica slides are read by OpenSlide"
        assert slide.info.mpp == pytest.approx(0.5)
        assert slide.info.bounds is not None
        assert (slide.info.bounds.x, slide.info.bounds.y) == (301, 207)
        window = slide.read_level(0, x=290, y=200, width=40, height=30)
        assert np.array_equal(window[7:, 11:], expected[7:, 11:, :3])
        assert (window[:7] == slide.info.background).all()
        assert not (window[7:, 11:] == slide.info.background).all(axis=2).all()
