"""What is left out of which figures: outlines, lesions and slides, each listed with its reason."""

from dataclasses import replace

import numpy as np
import pytest
from gigaslide.cohort import Cohort
from gigaslide.eval import (
    SlideStatus,
    evaluate_cohort,
    find_evaluation,
    find_operating_point,
)
from gigaslide.wsi import Annotation
from predictions import IN_LESION, ITC, LESION, OFFICIAL, QUICK, Bench
from shapely.geometry import box

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
<Annotation Name="real" Type="Polygon" PartOfGroup="Tumor"><Coordinates>
<Coordinate Order="0" X="512" Y="128"/><Coordinate Order="1" X="768" Y="128"/>
<Coordinate Order="2" X="768" Y="320"/><Coordinate Order="3" X="512" Y="320"/></Coordinates></Annotation>
<Annotation Name="a line" Type="Polygon" PartOfGroup="Tumor"><Coordinates>
<Coordinate Order="0" X="10" Y="10"/><Coordinate Order="1" X="90" Y="50"/>
<Coordinate Order="2" X="170" Y="90"/></Coordinates></Annotation>
<Annotation Name="two points" Type="Polygon" PartOfGroup="Tumor"><Coordinates>
<Coordinate Order="0" X="10" Y="10"/><Coordinate Order="1" X="90" Y="50"/></Coordinates></Annotation>
<Annotation Name="no tumour" Type="Polygon" PartOfGroup="None"><Coordinates>
<Coordinate Order="0" X="10" Y="10"/><Coordinate Order="1" X="90" Y="50"/></Coordinates></Annotation>
</Annotations><AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/></AnnotationGroups></ASAP_Annotations>
"""  # noqa: E501
GEOJSON = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "properties": {"classification": {"name": "Tumor"}, "name": "real"}, "geometry":
 {"type": "Polygon", "coordinates": [[[512, 128], [768, 128], [768, 320], [512, 320], [512, 128]]]}},
{"type": "Feature", "properties": {"classification": {"name": "Tumor"}, "name": "a line"}, "geometry":
 {"type": "Polygon", "coordinates": [[[10, 10], [90, 50], [170, 90], [10, 10]]]}}]}
"""  # noqa: E501
IMAGESCOPE = """<?xml version="1.0"?><Annotations MicronsPerPixel="2.0"><Annotation Id="1" Name="Tumor" LineColor="255">
<Regions><Region Id="1" Type="0" NegativeROA="0" Text="real"><Vertices><Vertex X="512" Y="128"/>
<Vertex X="768" Y="128"/><Vertex X="768" Y="320"/><Vertex X="512" Y="320"/></Vertices></Region>
<Region Id="2" Type="0" NegativeROA="0" Text="a line"><Vertices><Vertex X="10" Y="10"/><Vertex X="90" Y="50"/>
<Vertex X="170" Y="90"/></Vertices></Region>
<Region Id="3" Type="0" NegativeROA="1" Text="a hole of no area"><Vertices><Vertex X="600" Y="200"/>
<Vertex X="610" Y="200"/></Vertices></Region></Regions></Annotation></Annotations>
"""  # noqa: E501


@pytest.mark.parametrize(
    ("name", "text", "left_out"),
    [
        ("a.xml", ASAP, ["a line", "two points"]),
        ("b.geojson", GEOJSON, ["a line"]),
        ("c.xml", IMAGESCOPE, ["a line"]),
    ],
)
def test_outlines_without_area_are_listed_by_name_in_metrics_and_table(
    bench: Bench, name, text, left_out
):
    row = bench.slide("t", "tumor", tumor=(LESION,))
    path = bench.folder / name
    path.write_text(text, encoding="utf-8")
    bench.rows[0] = replace(row, annotation=path)
    bench.predict("t", hot=IN_LESION, points=[(600, 200, 0.9)])
    got = bench.evaluate()
    assert got.figures.countable_lesions == 1
    rows = bench.table("exclusions")
    assert rows["name"].tolist() == left_out
    assert set(rows["kind"]) == {"outline"}
    assert rows["reason"].str.contains("encloses no area").all()
    assert [one["name"] for one in bench.metrics()["exclusions"]] == left_out
    assert f"{len(left_out)} outline" in got.results[0].notes[0]


def test_an_annotation_keeps_what_encloses_nothing_apart(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(ASAP, encoding="utf-8")
    annotation = Annotation.load(path)
    assert [o.name for o in annotation.outlines] == ["real"]
    assert [(o.name, annotation.is_tumor(o)) for o in annotation.without_area] == [
        ("a line", True),
        ("two points", True),
        ("no tumour", False),
    ]


def test_slides_lesions_and_outlines_stand_in_one_list(plain: Bench):
    plain.slide("lost", "tumor", tumor=(LESION,), scan=False)
    plain.slide("far", "tumor", tumor=(LESION, box(9000, 10, 9100, 200)))
    plain.predict("far")
    plain.evaluate()
    rows = plain.metrics()["exclusions"]
    assert [(one["slide"], one["kind"], one["name"], one["excluded_from"]) for one in rows] == [
        ("t", "lesion", "2", "hits and misses"),
        ("lost", "slide", "", "every figure"),
        ("far", "outline", "1", "lesions"),
    ]
    assert "longest axis below 275 µm" in rows[0]["reason"]
    assert "no prediction at lost/heatmap.zarr" in rows[1]["reason"]
    assert rows[2]["reason"] == "lies outside the slide"
    assert plain.table("exclusions")["reason"].tolist() == [one["reason"] for one in rows]


def part_of(bench: Bench, **fields) -> None:
    bench.rows[0] = replace(bench.rows[0], exhaustive=False, **fields)


def test_a_slide_outlined_in_part_is_in_the_slide_figures_only(plain: Bench):
    plain.slide("u", "tumor", tumor=(LESION,), patient="r")
    plain.predict("u", hot=IN_LESION, points=[(600, 200, 0.7)])
    whole = plain.evaluate().figures
    part_of(plain)
    got = plain.evaluate(OFFICIAL)
    figures = got.figures
    assert (whole.tumor_slides, figures.tumor_slides) == (2, 2)
    assert figures.slide_auc == whole.slide_auc
    assert (whole.countable_lesions, figures.countable_lesions, figures.lesion_slides) == (2, 1, 2)
    first, *plain.rows = plain.rows
    twin = evaluate_cohort(
        Cohort(slides=tuple(plain.rows)), plain.predictions, plain.folder / "twin", OFFICIAL
    )
    assert first.id == "t"
    for name in ("gigaslide", "liu2017"):
        assert figures.froc[name].curve.at_rates == twin.figures.froc[name].curve.at_rates, name
    for name, one in got.official.programs.items():
        assert one.curve.at_rates == twin.official.programs[name].curve.at_rates, name
    twin = twin.figures
    assert figures.patch_auc.value == twin.patch_auc.value
    assert (figures.tumor_patches, figures.normal_patches) == (
        twin.tumor_patches,
        twin.normal_patches,
    )
    detections = plain.table("detections")
    assert set(detections[detections["slide"] == "t"]["match"]) == {"not judged"}
    row = plain.table("exclusions").iloc[0]
    assert row[["slide", "kind", "excluded_from"]].tolist() == [
        "t",
        "slide",
        "FROC, lesions, patches and sizes",
    ]
    assert "outlined in part" in row["reason"]
    assert got.exit_status == 0
    assert not {one.slide for one in got.point.missed + got.point.false_positives} & {"t"}


def test_a_slide_outlined_in_part_has_no_size_unless_it_is_told_or_macro(bench: Bench):
    bench.slide("t", "tumor", tumor=(LESION,), patient="p", exhaustive=False)
    bench.predict("t")
    assert bench.evaluate().results[0].true_class == ""
    bench.rows[0] = replace(bench.rows[0], further=(("stage", "itc"),))
    assert bench.evaluate().results[0].true_class == "itc"
    bench.slide("m", "tumor", tumor=(box(10, 10, 890, 690),), exhaustive=False)
    bench.predict("m")
    assert (
        bench.evaluate(QUICK.model_copy(update={"growth_um": 0.0})).results[1].true_class == "macro"
    )


def test_a_normal_slide_is_normal_all_over_whatever_the_column_says(plain: Bench):
    before = plain.evaluate().figures.froc["gigaslide"].score.value
    plain.rows[1] = replace(plain.rows[1], exhaustive=False)
    assert plain.evaluate().figures.froc["gigaslide"].score.value == before


def test_a_changed_column_makes_the_evaluation_again(plain: Bench):
    plain.evaluate()

    def found():
        return find_evaluation(
            Cohort(slides=tuple(plain.rows)), plain.predictions, plain.folder / "out", QUICK
        )

    assert found() is not None
    part_of(plain)
    assert found() is None


def test_the_operating_point_lists_every_miss_and_false_positive_with_place_and_size(bench: Bench):
    second = box(100, 400, 300, 460)
    bench.slide("t", "tumor", tumor=(LESION, ITC, second))
    bench.predict("t", points=[(600, 200, 0.45), (10, 20, 0.8), (30, 40, 0.2), (115, 535, 0.9)])
    bench.slide("n", "normal")
    bench.predict("n", points=[(700, 600, 0.5), (701, 600, 0.49)])
    got = bench.evaluate()
    point = got.point
    assert [(f.slide, f.x, f.y, f.probability) for f in point.false_positives] == [
        ("t", 10, 20, 0.8),
        ("n", 700, 600, 0.5),
    ]
    assert [m.best_probability for m in point.missed] == [0.45, None]
    assert (point.sensitivity, point.false_positives_per_slide, point.slides, point.lesions) == (
        0,
        1,
        2,
        2,
    )
    table = bench.table("missed")
    assert table["x"].tolist() == pytest.approx([640, 200], abs=1)
    assert table["y"].tolist() == pytest.approx([224, 430], abs=1)
    assert table["area_mm2"].tolist() == pytest.approx([256 * 192 * 4e-6, 200 * 60 * 4e-6])
    # A rectangle grown by 37.5 µm with round corners is a little shorter than 4 √(w² / 12) of one
    # with square ones.
    for found, width in zip(table["longest_axis_um"], (256, 200), strict=True):
        square = 4 * (width * 2 + 75) / 12**0.5
        assert 0.9 * square < found < square
    assert bench.metrics()["operating_point"]["missed"][0]["slide"] == "t"
    assert bench.table("false_positives")["probability"].tolist() == [0.8, 0.5]
    lower = find_operating_point(got.results, threshold=0.45)
    assert (len(lower.missed), len(lower.false_positives), lower.sensitivity) == (1, 3, 0.5)
    froc = got.figures.froc["gigaslide"].curve
    at = np.flatnonzero(froc.threshold == 0.45)[0]
    assert (froc.sensitivity[at], froc.false_positives[at]) == (0.5, 1.5)


def test_an_operating_point_without_lesions_or_slides_has_no_sensitivity():
    none = find_operating_point([], threshold=0.5)
    assert (none.sensitivity, none.false_positives_per_slide) == (None, None)
    assert none.missed_table().columns.tolist()[:2] == ["slide", "lesion"]


def test_missing_and_failed_slides_are_errors_to_the_official_programs(plain: Bench):
    plain.slide("lost", "normal", scan=False)
    plain.slide("ill", "tumor", tumor=(LESION,))
    plain.predict("ill")
    plain.rows[3].annotation.write_text("{")
    got = plain.evaluate(OFFICIAL)
    assert [j.status for j in got.results[2:]] == [
        SlideStatus.NOT_EVALUABLE,
        SlideStatus.FAILED,
    ]
    undefined = {name: one.score.undefined for name, one in got.official.programs.items()}
    assert all("no use of ill" in reason for reason in undefined.values())
    lost = {name: "no predictions for lost" in reason for name, reason in undefined.items()}
    assert lost == {"camelyon16-e1": False, "camelyon16-e2": True}  # E1 reads the files there are
    assert got.figures.froc["gigaslide"].score.value is not None
