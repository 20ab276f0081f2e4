"""What to look at next: places, reasons, spread, the random share, and what never counts."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from annotating import outline
from exporting import Geometry, heatmap_of
from gigaslide.annotate import (
    AnnotationFolder,
    LookedAt,
    NextRegion,
    OrderSettings,
    SaveFacts,
    SlideIdentity,
    describe_outlines,
    order_regions,
)
from gigaslide.cli import main
from gigaslide.storage import ScoreError
from gigaslide.wsi import CellStatus, Heatmap
from shapely.geometry import MultiPolygon, box

GEOMETRY = Geometry((9000, 6200), 100.0, mpp=0.5)  # squares of 2000 px, 20 × 20 cells
NOBODY = LookedAt(seen=MultiPolygon())


def heatmap(slide: str = "a", *, tissue: float = 0.05, **squares: float) -> Heatmap:
    """Probability by square, such as r1c2=0.5; all other cells have that of tissue."""
    cells = {(r, c): tissue for r in range(GEOMETRY.shape[0]) for c in range(GEOMETRY.shape[1])}
    for name, value in squares.items():
        row, column = int(name[1]), int(name[3])
        cells |= {
            (r, c): value
            for r in range(20 * row, min(20 * row + 20, GEOMETRY.shape[0]))
            for c in range(20 * column, min(20 * column + 20, GEOMETRY.shape[1]))
        }
    return heatmap_of(GEOMETRY, cells, slide=slide)


def order(*heatmaps: Heatmap, said: LookedAt = NOBODY, **settings) -> list[NextRegion]:
    chosen = OrderSettings(**{"random_share": 0.0, **settings})
    return order_regions(heatmaps, lambda _: said, chosen)


def test_the_most_doubtful_square_comes_first_at_its_place():
    first, second, *_ = order(heatmap(r0c3=0.5, r2c1=0.3, r1c1=0.95))
    assert (first.x, first.y, first.width, first.height) == (6000, 0, 2000, 2000)
    assert (second.x, second.y) == (2000, 4000)
    assert first.value == pytest.approx(1.0)
    assert "unsure of 1 of 1 mm²" in first.reason
    assert "0.50" in first.reason
    edge = next(one for one in order(heatmap(), count=99) if one.x == 8000)
    assert edge.width == 1000


def test_unreadable_and_excluded_cells_never_count():
    base = heatmap(r0c3=0.5, r2c1=0.5)
    probability, status = base.probability.copy(), base.status.copy()
    probability[0:20, 60:80], status[0:20, 60:80] = np.nan, CellStatus.UNREADABLE
    damaged = replace(base, probability=probability, status=status)
    ink = outline(box(1900, 3900, 4100, 6100), group="Ignore*")
    assert [(one.x, one.y) for one in order(damaged, count=1)] == [(2000, 4000)]
    said = describe_outlines([ink], is_accepted=False)
    places = {(one.x, one.y) for one in order(damaged, said=said, count=99)}
    assert not places & {(2000, 4000), (6000, 0)}
    assert len(places) > 8


def test_regions_are_spread_over_slides():
    rich = heatmap("rich", r0c0=0.5, r0c1=0.5, r0c2=0.5, r0c3=0.5)
    poor = heatmap("poor", r1c2=0.42)
    assert [one.slide for one in order(rich, poor, count=3)] == ["rich", "poor", "rich"]


def test_contradictions_lie_where_a_person_looked_and_say_which_way():
    model = heatmap(r0c3=0.9, r2c1=0.02)
    drawn = outline(box(2000, 4000, 4000, 6000))
    whole = describe_outlines([drawn], is_accepted=True)
    first, second, *rest = order(model, said=whole, order="contradiction")
    assert not rest
    assert {(first.x, first.y), (second.x, second.y)} == {(6000, 0), (2000, 4000)}
    reasons = {(one.x, one.y): one.reason for one in (first, second)}
    assert reasons[6000, 0] == "the model sees tumour in 1 mm² outside the outlines"
    assert reasons[2000, 4000] == "the model sees no tumour in 1 mm² inside the outlines"
    rectangle = outline(box(0, 2000, 9000, 6200), group="Region*")
    part = describe_outlines([drawn, rectangle], is_accepted=True)
    (only,) = order(model, said=part, order="contradiction")
    assert (only.x, only.y) == (2000, 4000)
    doubtful = order(model, said=part, count=99)
    assert {one.y for one in doubtful} == {0}
    with pytest.raises(ScoreError, match="looked at"):
        order(model, said=whole)
    with pytest.raises(ScoreError, match="contradict"):
        order(order="contradiction", said=whole)


def test_a_fixed_share_is_drawn_at_random_by_the_seed():
    maps = [heatmap(name, r0c0=0.5, r0c1=0.45, r1c1=0.4) for name in "abcdef"]
    found = order(*maps, count=10, random_share=0.3)
    drawn = [one for one in found if one.order == "random"]
    assert (len(found), len(drawn)) == (10, 3)
    assert all("at random" in one.reason for one in drawn)
    assert len({(one.slide, one.x, one.y) for one in found}) == 10
    assert found == order(*maps, count=10, random_share=0.3)
    assert found != order(*maps, count=10, random_share=0.3, seed=1)
    every = order(*maps, count=12, order="random")
    assert {one.order for one in every} == {"random"}
    assert len(every) == 12


def test_few_squares_at_random_leave_their_places_to_the_others():
    squares = len(order(heatmap(), count=99))
    assert len(order(heatmap(), count=squares, random_share=0.9)) == squares
    seen = LookedAt(seen=MultiPolygon([box(0, 0, 9000, 6000)]))
    model = heatmap(r0c0=0.9, r0c1=0.9, r0c2=0.9, r0c3=0.9, r1c0=0.9, r1c1=0.9, r1c2=0.9)
    found = order(model, said=seen, order="contradiction", count=10, random_share=0.6)
    assert len(found) == 10
    assert 0 < sum(one.order == "random" for one in found) < 6


def test_next_writes_csv_of_what_is_left(tmp_path, capsys):
    for name, value in (("a", 0.5), ("b", 0.45)):
        heatmap(name, r1c2=value).save(tmp_path / "p" / name / "heatmap.zarr")
    (tmp_path / "c.csv").write_text("slide\na.tif\nb.tif\n")
    folder = AnnotationFolder.create(tmp_path / "ann")
    identity = SlideIdentity(width=9000, height=6200, mpp=0.5)
    words = ["next", str(tmp_path / "c.csv"), str(tmp_path / "ann"), "--random-share", "0"]
    words += ["--predictions", str(tmp_path / "p"), "--count", "2"]
    assert main(words) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["rank"], row["slide"], row["x"], row["y"]) for row in rows] == [
        ("1", "a", "4000", "2000"),
        ("2", "b", "4000", "2000"),
    ]
    facts = SaveFacts(annotator="Ada", accepted=True)
    folder.versions("a").save([outline()], facts, parent=0, identity=identity)
    assert main([*words, "--out", str(tmp_path / "next.csv")]) == 0
    text = (tmp_path / "next.csv").read_text()
    assert {row["slide"] for row in csv.DictReader(io.StringIO(text))} == {"b"}
