"""Advice on µm/px where the user gave none."""

import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.doctor import DoctorSettings, examine_cohort
from gigaslide.patching import (
    TileSettings,
    advise_for_slides,
    advise_patches,
    measure_widths_um,
    refuse_if_all_coarser,
)
from gigaslide.storage import SpacingError
from shapely import affinity
from shapely.geometry import MultiPolygon, box
from training_store import tumor_slide

TILES = TileSettings()


@pytest.mark.parametrize(
    ("mpps", "widths_um", "expected"),
    [
        ([0.62, 0.61], [], 0.62),  # 185 µm, the coarsest slide's
        ([0.25], [], 0.5),  # 75 µm are too few
        ([0.23], [], 0.92),
        ([0.25], [300.0] * 20, 0.5),
        ([0.25], [60.0] * 20, 0.25),  # narrower than a centre of 64 µm
        ([0.25], [20.0] * 20, 0.25),  # narrower than every centre
        ([0.25], [20.0] + [300.0] * 20, 0.5),  # one narrow lesion does not count
    ],
)
def test_patches_span_145_um_unless_lesions_are_narrower_than_their_centre(
    mpps, widths_um, expected
):
    advice = advise_patches(TILES, mpps, widths_um)
    assert advice is not None
    assert advice.mpp == expected
    assert f"{expected * 299:.0f} µm" in str(advice)


def test_without_slides_there_is_no_advice():
    assert advise_patches(TILES, [], []) is None


def test_the_width_of_a_lesion_is_its_shorter_side_however_it_lies():
    tumor = MultiPolygon([affinity.rotate(box(0, 0, 300, 40), 30), box(500, 0, 520, 90)])
    assert measure_widths_um(tumor, mpp=0.5) == pytest.approx([20.0, 10.0])


def test_tile_and_doctor_advise_where_no_mpp_is_given(tmp_path, capsys):
    normal = CohortSlide(
        id="n", path=write_tiff(tmp_path / "n.tif", stained_slide(3)), label="normal", split="train"
    )
    cohort = Cohort.of_rows([tumor_slide(tmp_path, "a", 1, "train"), normal])
    advice = advise_for_slides(cohort.slides, TILES)
    assert advice is not None
    assert advice.narrow_um is not None
    (tmp_path / "cohort.csv").write_text(
        "slide,annotation,label,split\na.tif,a.geojson,tumor,train\nn.tif,,normal,train\n"
    )
    main(["tile", str(tmp_path / "cohort.csv"), str(tmp_path / "store"), "--workers", "0"])
    assert str(advice) in capsys.readouterr().out
    found = [
        {
            finding.check: finding.advice
            for finding in examine_cohort(
                cohort, DoctorSettings(tile=tiles), BatchSettings(workers=0), name="c", known=()
            ).findings
        }
        for tiles in (TILES, TileSettings(mpp=0.5))
    ]
    assert found[0]["patches"] == str(advice)
    assert "patches" not in found[1]


def test_a_scale_that_every_slide_is_too_coarse_for_is_refused_once_before_the_work(tmp_path):
    rows = [
        CohortSlide(
            id=name,
            path=write_tiff(tmp_path / f"{name}.tif", stained_slide(3)),
            mpp=mpp,
        )
        for name, mpp in (("a", 0.5), ("b", 0.62))
    ]
    gone = CohortSlide(id="gone", path=tmp_path / "gone.tif")
    with pytest.raises(SpacingError) as info:
        refuse_if_all_coarser([gone, *rows], TileSettings(mpp=0.25))
    for fact in ("--mpp 0.25", "0.5 to 0.62", "--mpp 0.62 or more", "--allow-upsampling"):
        assert fact in str(info.value)
    refuse_if_all_coarser([gone, *rows], TileSettings(mpp=0.5))  # one fits: tiling tells the rest
    refuse_if_all_coarser(rows, TileSettings(mpp=0.25, allow_upsampling=True))
    refuse_if_all_coarser([gone], TileSettings(mpp=0.25))
