"""Lesions of phantom slides: where they lie, and where they are drawn and outlined."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely
from gigaslide.phantom import (
    Anatomy,
    annotate,
)
from gigaslide.phantom.anatomy import rasterise
from gigaslide.phantom.lattice import Grid
from gigaslide.phantom.lesions import grow_lesions
from gigaslide.phantom.painter import Painter
from gigaslide.wsi import Annotation
from phantom_plans import planned
from shapely.geometry import Polygon
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score


def test_tumour_is_drawn_inside_its_outline_and_nowhere_else():
    """Tumour changes the pixels inside its outline, and no others."""
    plan = planned(width_px=2048, height_px=1100, seed=8)
    painter = Painter(plan)
    lesions = painter.anatomy.lesions
    tumour = painter.region(x=0, y=0, width=2048, height=1100).astype(int)
    normal = Painter(replace(plan, label="normal")).region(x=0, y=0, width=2048, height=1100)
    changed = cv2.blur((np.abs(tumour - normal).max(axis=2) > 25).astype(np.float32), (9, 9)) > 0.2
    outline = shapely.union_all([lesion.polygon for lesion in lesions])
    grid = Grid.over(x=0, y=0, width=2048, height=1100, step=1)
    inside, near = rasterise(outline, grid), rasterise(outline.buffer(60), grid)
    assert 0.01 < inside.mean() < 0.5
    assert changed[inside].mean() > 0.75
    assert changed[~near].mean() < 0.002
    swapped = rasterise(shapely.transform(outline, lambda points: points[:, ::-1]), grid)
    assert changed[swapped].mean() < 0.75


def test_annotation_round_trips_with_its_holes(tmp_path):
    lesions = with_islands()
    annotate(lesions).save(tmp_path / "a.xml")
    loaded = Annotation.load(tmp_path / "a.xml")
    truth = shapely.union_all([lesion.polygon for lesion in lesions])
    assert loaded.tumor.symmetric_difference(truth).area < 1e-3 * truth.area
    assert (
        sum(len(part.interiors) for part in loaded.tumor.geoms)
        == sum(len(lesion.islands) for lesion in lesions)
        > 0
    )
    assert {outline.group for outline in loaded.outlines} <= {"_0", "_1", "_2"}


def with_islands():
    """The lesions of the first slide that has some with holes; enough room everywhere."""
    room_um = np.full((300, 500), 900, np.float32)
    for index in range(20):
        lesions = grow_lesions(planned(index=index), room_um=room_um, step_px=16)
        if any(lesion.islands for lesion in lesions):
            return lesions
    raise AssertionError("no lesion with an island in 20 slides")


def test_holes_hold_no_tumour():
    grid = Grid.over(x=0, y=0, width=8000, height=4800, step=8)
    for lesion in with_islands():
        drawn = rasterise(lesion.drawn, grid)
        assert drawn.any() or lesion.length_um < 60
        for ring in lesion.polygon.interiors:
            assert not (drawn & rasterise(Polygon(ring).buffer(-8), grid)).any()


def test_lesions_range_from_clusters_to_macrometastases():
    slides = [
        Anatomy(planned(index=index, width_px=16_000, height_px=14_000)).lesions
        for index in range(8)
    ]
    lengths = np.array([lesion.length_um for lesions in slides for lesion in lesions])
    assert (lengths < 200).sum() >= 4
    assert ((lengths > 250) & (lengths < 2000)).sum() >= 10
    assert (lengths > 2000).sum() >= 2
    assert all(max(lesion.length_um for lesion in lesions) > 250 for lesions in slides)


def test_lesions_lie_in_tissue_and_apart():
    for index in range(6):
        anatomy = Anatomy(planned(index=index, width_px=6000, height_px=5000))
        grid = Grid.over(x=0, y=0, width=6000, height=5000, step=20)
        tissue = anatomy.depth_um(grid) > 0
        assert 0.15 < tissue.mean() < 0.75
        for lesion in anatomy.lesions:
            assert tissue[rasterise(lesion.polygon, grid)].mean() > 0.85
        gaps = [
            a.polygon.distance(b.polygon)
            for a in anatomy.lesions
            for b in anatomy.lesions
            if a is not b
        ]
        assert min(gaps, default=1000) > 200


def test_normal_slides_hold_no_lesion():
    assert Anatomy(planned(label="normal")).lesions == ()


def test_mean_colour_alone_does_not_find_tumour():
    """Whole slides on either side; tumour against whatever tissue lies in the same and in other
    slides."""
    colours, labels, sides = [], [], []
    for index in range(6):
        painter = Painter(planned(index=index, seed=21, width_px=5000, height_px=5000))
        lesion = max(painter.anatomy.lesions, key=lambda found: found.length_um)
        depth = painter.anatomy.depth_um(Grid.over(x=0, y=0, width=5000, height=5000, step=50))
        places = [lesion.polygon.representative_point().coords[0]]
        rows, columns = np.nonzero(depth > 150)
        for chosen in np.random.default_rng(index).integers(rows.size, size=2):
            places.append((columns[chosen] * 50, rows[chosen] * 50))
        for x, y in places:
            # One painted block around each place, cut into windows of 128 px.
            left, top = int(x) // 1024 * 1024, int(y) // 1024 * 1024
            means = (
                painter.region(x=left, y=top, width=1024, height=1024)
                .reshape(8, 128, 8, 128, 3)
                .mean(axis=(1, 3))
            )
            for row in range(8):
                for column in range(8):
                    box = shapely.box(
                        *(left + 128 * column, top + 128 * row),
                        *(left + 128 * column + 128, top + 128 * row + 128),
                    )
                    if means[row, column].mean() < 215:
                        covered = sum(
                            box.intersection(found.polygon).area
                            for found in painter.anatomy.lesions
                        )
                        colours.append(means[row, column])
                        labels.append(covered > 0.5 * box.area)
                        sides.append(index % 2)
    colours, labels, sides = np.array(colours), np.array(labels), np.array(sides)
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(
        colours[sides == 0] / 255, labels[sides == 0]
    )
    found = roc_auc_score(labels[sides == 1], model.predict_proba(colours[sides == 1] / 255)[:, 1])
    assert labels[sides == 1].sum() > 20
    assert found < 0.85


@pytest.mark.parametrize(
    ("grade", "shortest_um", "longest_um"), [("micro", 170, 650), ("isolated", 40, 200)]
)
def test_lesions_of_a_grade_have_its_size(grade, shortest_um, longest_um):
    lengths_um = [
        lesion.length_um
        for index in range(8)
        for lesion in Anatomy(
            planned(grade=grade, index=index, width_px=4000, height_px=3000)
        ).lesions
    ]
    assert len(lengths_um) >= 8
    assert shortest_um < min(lengths_um)
    assert max(lengths_um) < longest_um


def test_decoys_are_drawn_apart_from_the_lesions_and_nowhere_outlined():
    plan = planned(width_px=2600, height_px=2000, seed=1)
    with_decoys = Painter(replace(plan, grade="decoys"))
    lesions, decoys = with_decoys.anatomy.lesions, with_decoys.anatomy.decoys
    assert len(decoys) >= 2
    assert lesions
    assert annotate(lesions).tumor.equals(annotate(Painter(plan).anatomy.lesions).tumor)
    outline = shapely.union_all([decoy.polygon for decoy in decoys])
    assert min(outline.distance(lesion.polygon) for lesion in lesions) > 200
    whole = {"x": 0, "y": 0, "width": 2600, "height": 2000}
    difference = np.abs(with_decoys.region(**whole).astype(int) - Painter(plan).region(**whole))
    changed = cv2.blur((difference.max(axis=2) > 25).astype(np.float32), (9, 9)) > 0.2
    grid = Grid.over(**whole, step=1)
    assert changed[rasterise(outline, grid)].mean() > 0.6
    assert changed[~rasterise(outline.buffer(60), grid)].mean() < 0.002
    assert Anatomy(replace(plan, grade="decoys", label="normal")).lesions == ()
    assert len(Anatomy(replace(plan, grade="decoys", label="normal")).decoys) >= 2
