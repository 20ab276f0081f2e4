"""The doctor on single slides: every finding provoked by a fault that was made for it, and none on
a good slide."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import shapely
import tifffile
from checkups import LEVELS, alone, checked, drawn, slide
from conftest import HEIGHT, TUMOR_RINGS, WIDTH, block_means, stained_slide, tile_place, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.doctor import SampleSettings
from gigaslide.wsi import Slide, TissueSettings, open_slide, tissue_mask

TILE_PX = 256


@pytest.fixture(scope="module")
def ill(tmp_path_factory) -> CohortSlide:
    """A slide with tumour drawn on it, without fault; its files are not to be changed."""
    return slide(tmp_path_factory.mktemp("ill") / "ill.tif", 1, tumor=True)


@cache
def corners_of_tiles(level: int, *, stained: bool) -> set[tuple[int, int]]:
    """Level px (x, y) of the level's tiles, all or those with a stained pixel, by looking at every
    one."""
    pixels = stained_slide(1)
    if level:
        pixels = block_means(pixels, columns=LEVELS[level - 1][0], rows=LEVELS[level - 1][1])
    pink = pixels[..., 1] < 200
    places = [
        (x, y) for y in range(0, pink.shape[0], TILE_PX) for x in range(0, pink.shape[1], TILE_PX)
    ]
    return {
        (x, y) for x, y in places if not stained or pink[y : y + TILE_PX, x : x + TILE_PX].any()
    }


def test_a_good_slide_has_no_finding_and_its_figures_are_right(ill):
    [checkup] = checked(Cohort(slides=(ill,))).slides
    assert checkup.findings == ()
    assert checkup.worst is None
    assert (checkup.pixels.width, checkup.pixels.height, checkup.pixels.mpp) == (WIDTH, HEIGHT, 0.5)
    assert checkup.pixels.reader_reason == "compared tiles are equal to OpenSlide's"
    with open_slide(ill.path) as opened:
        mask = tissue_mask(opened, TissueSettings())
    assert checkup.tissue_mm2 == pytest.approx(
        mask.mask.sum() * (mask.scale_level0 * 0.5) ** 2 / 1e6
    )
    pieces_px = np.pi * (470 * 410 + 170 * 260)
    assert checkup.tissue_mm2 == pytest.approx(pieces_px * 0.25 / 1e6, rel=0.05)
    assert (checkup.tiles.unreadable, checkup.tiles.mpx_per_s > 1) == (0, True)


def test_a_slide_outlined_in_part_is_noted(ill):
    [found] = alone(replace(ill, exhaustive=False))
    assert found[:2] == ("note", "annotation")
    assert "exhaustive" in found[2]


def test_what_is_drawn_is_measured(ill):
    [checkup] = checked(Cohort(slides=(ill,))).slides
    facts = checkup.annotation
    drawn_px = sum(
        shapely.Polygon(shell, [hole] if hole else None).area for shell, hole in TUMOR_RINGS
    )
    assert facts.tumor_mm2 == pytest.approx(drawn_px * 0.25 / 1e6)
    assert facts.vertices == sum(len(ring) + 1 for pair in TUMOR_RINGS for ring in pair if ring)
    assert [(group.name, group.meaning, group.outlines) for group in facts.groups] == [
        ("Tumor", "tumor", 2)
    ]
    assert (facts.on_tissue_share > 0.95, facts.outside_share) == (True, 0)
    # The smaller outline is 40 µm long: isolated tumour cells.
    assert (facts.lesions, facts.isolated_cells) == (1, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a slide: the file is empty"), (None, "no such file"), (b"GIF89a" * 99, "not a")],
)
def test_fault_01_what_cannot_be_opened_is_told_with_its_reason(content, says, tmp_path):
    path = tmp_path / "s.tif"
    if content is not None:
        path.write_bytes(content)
    [checkup] = checked(
        Cohort(slides=(CohortSlide(id="s", path=path, label="normal", split="train"),))
    ).slides
    [found] = checkup.findings
    assert (found.severity, found.check) == ("error", "open")
    assert found.message.startswith(says)
    assert found.advice
    assert checkup.pixels is None


def test_fault_02_a_truncated_slide_is_told(tmp_path):
    row = slide(tmp_path / "s.tif", 2, level_sizes=())
    content = row.path.read_bytes()
    with tifffile.TiffFile(row.path) as tiff:
        offsets = tiff.pages[0].dataoffsets
    row.path.write_bytes(content[: len(content) * 7 // 10])
    found = {check: (severity, says) for severity, check, says in alone(row)}
    lost = [start for start in offsets if start >= len(content) * 7 // 10]
    assert len(lost) > 3
    assert found["tiles"][0] == "error"
    assert "tiles (" in found["tiles"][1]
    assert "level 0" in found["tiles"][1]


def test_fault_02_a_slide_cut_between_two_levels_is_suspected(tmp_path):
    row = slide(tmp_path / "s.tif", 2)
    with tifffile.TiffFile(row.path) as tiff:
        end = tiff.pages[2].offset
    row.path.write_bytes(row.path.read_bytes()[:end])
    [found] = alone(row)
    assert found[:2] == ("warning", "reader")
    assert "OpenSlide refuses the file" in found[2]


def test_fault_03_a_damaged_tile_is_told_with_its_place(tmp_path):
    row = slide(tmp_path / "s.tif", 4)
    start, length = tile_place(row.path, 7)  # six in a row
    content = bytearray(row.path.read_bytes())
    content[start : start + length] = b"\x55" * length
    row.path.write_bytes(content)
    [(severity, check, says)] = alone(row)
    assert (severity, check) == ("error", "tiles")
    assert says.startswith("1 of ")
    assert "level 0, row 1, column 1" in says


@pytest.mark.parametrize(
    ("damaged", "mpp", "severity"),
    [(2, 0.5, "warning"), (0, 0.5, "error"), (2, 2.0, "error"), (0, 2.0, "warning")],
)
def test_fault_03_a_damaged_tile_is_an_error_on_a_level_that_the_run_reads(
    tmp_path, damaged, mpp, severity
):
    # Levels of 0.5, 1, 2 and 8 µm/px; tissue is looked for in the last.
    levels = (*LEVELS, (96, 71))
    row = slide(tmp_path / "s.tif", 4, level_sizes=levels, tile_px=64)
    tile_row, tile_column, columns = {0: (7, 9, 24), 2: (2, 3, 6)}[damaged]
    place = tile_row * columns + tile_column
    start, length = tile_place(row.path, place, page=damaged)
    content = bytearray(row.path.read_bytes())
    content[start : start + length] = b"\x55" * length
    row.path.write_bytes(content)
    sample = SampleSettings(tiles=10_000, tiles_per_level=10_000)
    [(found, check, says)] = alone(row, sample=sample, mpp=mpp, patch_px=75)
    assert (found, check) == (severity, "tiles")
    assert f"level {damaged}, row {tile_row}, column {tile_column}" in says


@pytest.mark.parametrize(
    ("mpp", "words"),
    [(None, "no µm/px"), ((0.5, 0.6), "0.5 µm/px in x and 0.6 in y"), (80.0, "0.02 and 40")],
)
def test_faults_08_09_missing_unequal_and_absurd_spacing_are_errors(mpp, words, tmp_path):
    [(severity, check, says)] = alone(slide(tmp_path / "s.tif", mpp=mpp))
    assert (severity, check) == ("error", "µm/px")
    assert words in says


@pytest.mark.parametrize(("mpp", "words"), [(0.05, "0.05 µm/px"), (2.5, "0.1 to 2")])
def test_spacing_of_no_scanner_is_a_warning(mpp, words, ill):
    found = alone(replace(ill, mpp=mpp), allow_upsampling=True)
    assert any(one[:2] == ("warning", "µm/px") and words in one[2] for one in found)


def test_a_slide_longer_than_glass_is_a_warning(ill, monkeypatch):
    monkeypatch.setattr("gigaslide.doctor.pixel_checks.LARGEST_MM", 0.7)
    [found] = alone(ill)
    assert found[:2] == ("warning", "µm/px")
    assert "1 × 1 mm" in found[2]


def test_given_spacing_is_a_note_and_one_against_the_file_a_warning(ill, tmp_path):
    silent = slide(tmp_path / "a.tif", mpp=None)
    [by_cohort] = alone(replace(silent, mpp=0.5))
    assert by_cohort[:2] == ("note", "µm/px")
    assert "0.5 µm/px, from the cohort" in by_cohort[2]
    [by_option] = alone(silent, slide_mpp=0.5)
    assert by_option[:2] == ("note", "µm/px")
    assert "--slide-mpp" in by_option[2]
    [against, *_] = alone(replace(ill, mpp=0.25))
    assert against[:2] == ("warning", "µm/px")
    assert "0.25 µm/px in the cohort, 0.5 in the file" in against[2]


def test_a_slide_coarser_than_asked_for_is_an_error_unless_it_may_be_enlarged(ill):
    assert [found[:2] for found in alone(ill, mpp=0.25)] == [("error", "scale")]
    assert [found[:2] for found in alone(ill, mpp=0.25, allow_upsampling=True)] == [
        ("warning", "scale")
    ]
    assert alone(ill, mpp=0.49) == []


def test_no_small_level_is_a_warning_and_beyond_the_limit_tissue_is_not_looked_for(
    ill, monkeypatch
):
    monkeypatch.setattr("gigaslide.doctor.pixel_checks.LARGE_MPX", 0.01)
    [(severity, check, says)] = alone(ill)
    assert (severity, check) == ("warning", "levels")
    assert "8 µm/px" in says
    [checkup] = checked(Cohort(slides=(ill,)), sample=SampleSettings(overview_mpx=0.02)).slides
    assert (checkup.tissue_mm2, checkup.tile) == (None, None)
    assert "tissue was not detected" in checkup.findings[0].message
    # Without tissue to go by, all tiles of the finest level are in the sample of 64.
    assert checkup.tiles.sampled == sum(
        min(8 if n else 64, len(corners_of_tiles(n, stained=False))) for n in range(3)
    )


def test_fault_10_odd_levels_are_a_note(tmp_path):
    [found] = alone(slide(tmp_path / "s.tif", level_sizes=((511, 376),)))
    assert found[:2] == ("note", "levels")
    assert "2.99" in found[2]


def test_what_is_not_compared_with_openslide_is_a_note(ill, tmp_path):
    options = {"photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "s.tif", stained_slide(3), **options)
    [found] = alone(replace(ill, path=tmp_path / "s.tif", annotation=None, label="normal"))
    assert found[:2] == ("note", "reader")
    assert "not compared with OpenSlide: a TIFF without tiles" in found[2]


def test_a_probe_that_finds_a_difference_is_a_note_with_its_verdict(ill, monkeypatch):
    decode = tifffile.TiffPage.decode.func  # pyright: ignore[reportFunctionMemberAccess]

    def one_off(page):
        return lambda content, index: (
            decode(page)(content, index)[0] ^ 1,
            *decode(page)(content, index)[1:],
        )

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(one_off))
    [found] = alone(ill)
    assert found[:2] == ("note", "reader")
    assert "read by OpenSlide" in found[2]
    assert "differs from OpenSlide's by 1 grey levels" in found[2]


def test_fault_12_glass_alone_is_a_warning(tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(5, tissue=False), level_sizes=LEVELS)
    row = CohortSlide(id="glass", path=path, label="normal", split="train")
    assert alone(row) == [("warning", "tissue", "no tissue found")]


def test_tumour_without_annotation_stops_tiling_and_only_warns_in_test(ill):
    bare = replace(ill, annotation=None)
    assert [found[:2] for found in alone(bare)] == [("error", "annotation")]
    assert [found[:2] for found in alone(replace(bare, split="test"))] == [
        ("warning", "annotation")
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xml", "<ASAP_Annotations>", "no element found"),
        ("b.geojson", "", "empty"),
        ("c.xml", "<Other/>", "root element"),
        ("gone.xml", None, "cannot be read"),
    ],
)
def test_fault_21_an_annotation_that_cannot_be_read_is_told(name, content, words, ill, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    [(severity, check, says)] = alone(replace(ill, annotation=tmp_path / name))
    assert (severity, check) == ("error", "annotation")
    assert words in says


def test_fault_21_groups_that_nobody_knows_are_an_error_until_they_are_explained(ill, tmp_path):
    strange = replace(ill, annotation=drawn(tmp_path / "s.tif", group="Krebs"))
    [(severity, check, says)] = alone(strange)
    assert (severity, check) == ("error", "annotation")
    assert "'Krebs'" in says
    assert alone(strange, groups={"Krebs": "tumor"}) == []


def test_fault_19_mended_outlines_are_a_warning(ill, tmp_path):
    bow_tie = [(300, 300), (700, 600), (700, 300), (300, 600)]
    [found] = alone(replace(ill, annotation=drawn(tmp_path / "s.tif", [(bow_tie, [])])))
    assert found[:2] == ("warning", "annotation")
    assert "crossed itself" in found[2]
    assert "area 0 → 60000 px²" in found[2]


def test_label_and_annotation_must_agree(ill, tmp_path):
    [found] = alone(replace(ill, label="normal"))
    assert found[:2] == ("error", "label")
    assert "labelled normal" in found[2]
    other = replace(ill, annotation=drawn(tmp_path / "s.tif", group="Stroma"))
    assert [found[:2] for found in alone(other, groups={"Stroma": "other"})] == [("error", "label")]
    assert [found[:2] for found in alone(replace(ill, label=""))] == [("warning", "label")]


def moved(rings, dx, dy):
    return [tuple([(x + dx, y + dy) for x, y in ring] for ring in pair) for pair in rings]


def test_fault_20_outlines_beyond_the_slide_warn_and_most_of_them_are_an_error(ill, tmp_path):
    # 260 px to the right the small outline leaves the slide, the large one does not; swapped axes
    # would not see it.
    some = replace(ill, annotation=drawn(tmp_path / "a.tif", moved(TUMOR_RINGS, 260, 0)))
    found = {check: (severity, says) for severity, check, says in alone(some)}
    assert found["outside"][0] == "warning"
    assert found["outside"][1].startswith("1 of 2 outlines")
    far = replace(ill, annotation=drawn(tmp_path / "b.tif", moved(TUMOR_RINGS, 0, 1000)))
    found = {check: (severity, says) for severity, check, says in alone(far)}
    assert found["outside"][0] == "error"
    assert found["outside"][1].startswith("2 of 2 outlines")


def test_tumour_beside_the_tissue_is_a_warning(ill, tmp_path):
    beside = [([(5, 1000), (300, 1000), (300, 1100), (5, 1100)], [])]
    found = {
        check: (severity, says)
        for severity, check, says in alone(
            replace(ill, annotation=drawn(tmp_path / "a.tif", beside))
        )
    }
    assert found["on tissue"][0] == "warning"
    assert "only 0% of the tumour area" in found["on tissue"][1]
    assert found["lesions"][0] == "warning"
    assert found["patches"][0] == "error"  # tiling makes the slide partial
    assert "50 normal patches left out" in found["patches"][1]
    [checkup] = checked(Cohort(slides=(replace(ill, annotation=tmp_path / "a.geojson"),))).slides
    assert checkup.tile.patches == 0


def test_samples_lie_on_tissue_and_on_every_level(ill, monkeypatch):
    seen = []
    original = Slide.read_level

    def watched(self, level, *, x, y, width, height, cached):
        assert not cached, "the speed would be that of memory"
        seen.append((level, x, y, width, height))
        return original(self, level, x=x, y=y, width=width, height=height)

    monkeypatch.setattr(Slide, "read_level", watched)
    checked(Cohort(slides=(ill,)), sample=SampleSettings(tiles=9, tiles_per_level=2))
    assert [sum(one[0] == level for one in seen) for level in range(3)] == [9, 2, 2]
    assert len(set(seen)) == len(seen)
    sizes = ((WIDTH, HEIGHT), *LEVELS)
    for level, x, y, width, height in seen:
        assert (x, y) in corners_of_tiles(level, stained=True)
        assert (x + width, y + height) == (
            min(x + TILE_PX, sizes[level][0]),
            min(y + TILE_PX, sizes[level][1]),
        )
    # Spread over the slide, not the first nine of them.
    assert {y for level, _, y, _, _ in seen if level == 0} >= {0, 512, 1024} - {1024}
    assert max(x for level, x, *_ in seen if level == 0) >= 1024
