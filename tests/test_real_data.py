"""The reading rooms on real slides: other programs' files, and a second decoder as the judge."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from conftest import REAL_DATA, even_odd
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings, Truth
from gigaslide.eval.camelyon16.lesions import LevelFive, label_level_5
from gigaslide.eval.camelyon16.programs import PROGRAMS
from gigaslide.patching import PatchStore, TileSettings, tile_cohort
from gigaslide.storage import SlideError
from gigaslide.wsi import Annotation, TissueSettings, open_slide, tissue_mask

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository"),
]
COLON = REAL_DATA / "colon"
WHOLE = REAL_DATA / "whole" / "colon_resection.tif"
FORMATS = REAL_DATA / "formats"


def first_of(label: str) -> Path:
    return next(slide.path for slide in Cohort.load(COLON / "cohort.csv") if slide.label == label)


@pytest.mark.parametrize("label", ["tumor", "normal"])
def test_windows_equal_another_decoders_pixels(label):
    path = first_of(label)
    pixels = tifffile.imread(path, level=0)
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(0)
    xy = np.stack([rng.integers(0, width - 299, 25), rng.integers(0, height - 299, 25)], axis=1)
    with open_slide(path) as slide:
        assert slide.size == (width, height)
        for index, window in slide.read_windows(xy, size=299, mpp=slide.info.mpp):
            x, y = xy[index]
            assert np.array_equal(window, pixels[y : y + 299, x : x + 299])


@pytest.mark.parametrize("mpp", [2.0, 3.7, 11.0])
def test_coarser_windows_show_the_same_place_as_level_0(mpp):
    with open_slide(WHOLE) as slide:
        scale = slide.scale(mpp)
        xy = np.array([(6000, 5000), (9000, 7000), (12000, 4000)])
        size = 64
        side = round(size * scale.level0)
        coarse = dict(slide.read_windows(xy, size=size, mpp=mpp))
        fine = {
            i: slide.read_level(0, x=x, y=y, width=side, height=side)
            for i, (x, y) in enumerate(xy.tolist())
        }
    for index, window in coarse.items():
        edges = np.linspace(0, side, size + 1).round().astype(int)
        rows = np.add.reduceat(fine[index].astype(float), edges[:-1], axis=0)
        means = np.add.reduceat(rows, edges[:-1], axis=1) / (
            np.diff(edges)[:, None, None] * np.diff(edges)[:, None]
        )
        grey, expected = window.mean(axis=2), means.mean(axis=2)

        def likeness(dx: int, dy: int, grey=grey, expected=expected) -> float:
            inner = grey[4:-4, 4:-4]
            moved = expected[4 + dy : size - 4 + dy, 4 + dx : size - 4 + dx]
            return float(np.corrcoef(inner.ravel(), moved.ravel())[0, 1])

        found = {(dx, dy): likeness(dx, dy) for dx in range(-3, 4) for dy in range(-3, 4)}
        assert max(found, key=found.__getitem__) == (0, 0)
        assert found[0, 0] > 0.8


@pytest.mark.parametrize(
    ("name", "mpp"),
    [
        ("CMU-1-Small-Region.svs", 0.499),
        ("dicom-CMU-1-Small-Region/level-0-frames-0-30.dcm", 0.499),
        ("hamamatsu (fluorescence).ndpi", None),
        ("aperio-jpeg2000.svs", None),
    ],
)
def test_formats_open_and_give_pixels(name, mpp):
    with open_slide(FORMATS / name, fallback_mpp=0.5) as slide:
        if mpp is not None:
            assert slide.info.mpp == pytest.approx(mpp, rel=1e-3)
        overview = slide.overview(slide.info.mpp * 16)
        assert not overview.unreadable.any()
        assert overview.image.std() > 1
        width, height = slide.size
        middle = slide.read_level(0, x=width // 2, y=height // 2, width=50, height=30)
        assert middle.shape == (30, 50, 3)
        assert np.ptp(middle) > 0


def test_aperio_without_mpp_is_asked_for():
    with pytest.raises(SlideError, match=r"aperio-jpeg2000\.svs: .*µm/px"):
        open_slide(FORMATS / "aperio-jpeg2000.svs")


def test_file_that_is_no_brightfield_slide_is_refused_clearly():
    with pytest.raises(SlideError, match="vectra"):
        open_slide(FORMATS / "vectra (not a brightfield slide).qptiff")


def test_tissue_of_a_whole_slide_is_darker_than_its_glass():
    with open_slide(WHOLE) as slide:
        overview = slide.overview(16.0)
        tissue = tissue_mask(slide, TissueSettings(mpp=16.0))
    assert tissue.mask.shape == overview.image.shape[:2]
    assert 0.1 < tissue.mask.mean() < 0.9
    grey = overview.image.mean(axis=2)
    assert np.median(grey[tissue.mask]) < np.median(grey[~tissue.mask]) - 20
    assert np.percentile(grey[~tissue.mask], 5) > 190


def counted_share(outlines, x: float, y: float, *, side_px: int) -> float:
    """Share of pixel centres in a tumour group and in no exclusion, ring by ring; a hair off the
    lines."""
    at_y, at_x = np.mgrid[:side_px, :side_px] + 0.5 + 1e-6
    in_group = {group: np.zeros(at_x.shape, bool) for group in ("_0", "_2")}
    for outline in outlines:
        ring = list(outline.polygon.exterior.coords)[:-1]
        in_group[outline.group] |= even_odd([(ring, [])], at_x + x, at_y + y)
    return float((in_group["_0"] & ~in_group["_2"]).mean())


def test_tiling_the_real_cohort_gives_its_pixels_and_labels(tmp_path):
    train = [slide for slide in Cohort.load(COLON / "cohort.csv") if slide.split == "train"]
    ill, well = (
        next(slide for slide in train if slide.label == label) for label in ("tumor", "normal")
    )
    settings = TileSettings(
        mpp=0.6206, patch_px=139, centre_px=64, tumor_per_slide=30, normal_per_slide=30
    )
    summary = tile_cohort(
        Cohort(slides=(ill, well)), tmp_path / "store", settings, BatchSettings(workers=0)
    )
    assert summary.exit_status == 0
    assert [slide.counts for slide in PatchStore(tmp_path / "store").slides] == [
        {"tumor": 30, "normal": 30},
        {"tumor": 0, "normal": 30},
    ]
    pixels = tifffile.imread(ill.path, level=0)
    outlines = Annotation.load(ill.annotation).outlines
    assert {outline.group for outline in outlines} == {"_0", "_2"}
    offset = (139 - 64) // 2 + 8
    for name in ("tumor", "normal"):
        group = zarr.open_group(tmp_path / "store" / ill.id / name, mode="r")
        arrays = (group[array][:] for array in ("xy", "images", "tumor_fraction"))
        for (x, y), patch, share in zip(*arrays, strict=True):
            assert np.array_equal(patch, pixels[y : y + 155, x : x + 155])
            # The outlines have whole coordinates, so that some pixel centres lie on a slanted line.
            assert share == pytest.approx(
                counted_share(outlines, x + offset, y + offset, side_px=64), abs=0.01
            )
            assert (share > 0) == (name == "tumor")


@pytest.mark.parametrize(
    ("name", "lesions", "isolated"), [("tumor_101", 5, 0), ("tumor_009", 4, 0), ("tumor_023", 4, 3)]
)
def test_lesions_of_camelyon16_are_as_many_by_outlines_and_by_level_5_masks(
    name, lesions, isolated
):
    """Real outlines, on a slide of about the largest size there is."""
    path = REAL_DATA / "camelyon16" / "lesion_annotations" / f"{name}.xml"
    slide = CohortSlide(id=name, path=path.with_suffix(".tif"), annotation=path, label="tumor")
    size = (100_000, 222_000)
    truth = Truth.of_slide(slide, slide_size=size, slide_mpp=0.243, settings=EvaluateSettings())
    level = LevelFive(tumor=truth.tumor, downsample=32.0, mpp=0.243)
    official = {n: label_level_5(level, p, slide_size=size) for n, p in PROGRAMS.items()}
    for found in (truth.lesions, *official.values()):
        assert (len(found.measures), int(found.measures.is_itc.sum())) == (lesions, isolated)
    places = [found.measures.centre_level0 for found in (truth.lesions, official["camelyon16-e2"])]
    distance = np.linalg.norm(places[0][:, None] - places[1], axis=2)
    assert distance.min(axis=1).max() < 32
    assert truth.lesions.at(places[1]).any()
