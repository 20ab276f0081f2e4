"""Lesions, from clusters of a few tumour cells to macrometastases, some with islands of other
tissue; and benign nests of such shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from .plan import PhantomSlide

ANNOTATION_SLACK_UM = 3.0
"""Distance of tumour nuclei's centres inside the outline, as an expert draws it around whole
cells."""
CLUSTER_BELOW_UM = 200.0
_GAP_UM = 120.0
SIZES_UM = {"micro": (CLUSTER_BELOW_UM, 600.0), "isolated": (60.0, 0.95 * CLUSTER_BELOW_UM)}
"""Shortest and longest lesion of the grades whose lesions are small."""
DECOYS_UM = (120.0, 500.0)
"""Shortest and longest benign nest."""

IslandContent = Literal["tissue", "fat", "necrosis"]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One tumour: its outline with holes, level-0 px, and the content of the holes."""

    polygon: Polygon
    islands: tuple[IslandContent, ...]
    """Content of each interior ring of the polygon."""
    mpp: float

    @cached_property
    def drawn(self) -> BaseGeometry:
        """Area of the centres of tumour nuclei: the polygon minus the slack of the annotation."""
        return self.polygon.buffer(-ANNOTATION_SLACK_UM / self.mpp)

    @cached_property
    def length_um(self) -> float:
        """Longer side of the minimum rotated rectangle, µm."""
        corners = np.array(self.polygon.minimum_rotated_rectangle.exterior.coords)  # pyright: ignore[reportAttributeAccessIssue]
        return float(np.hypot(*np.diff(corners[:3], axis=0).T).max() * self.mpp)


def grow_lesions(
    plan: PhantomSlide, *, room_um: NDArray[np.float32], step_px: int
) -> tuple[Lesion, ...]:
    """Place the lesions of a slide; a normal slide has none.

    Args:
        plan: The slide.
        room_um: Distance to the tissue's edge (rows, columns), µm, negative outside, sampled every
            `step_px`.
        step_px: Level-0 px.
    """
    if plan.label == "normal":
        return ()
    rng = plan.rng("lesions")
    largest_um = min(1.3 * _deepest_um(room_um), 6000.0)
    if plan.difficulty.lesions == "any":
        lengths_um = _lengths_um(rng, largest_um=largest_um)
    else:
        shortest_um, longest_um = SIZES_UM[plan.difficulty.lesions]
        count = 1 + rng.poisson(1.5)
        lengths_um = rng.uniform(shortest_um, longest_um, count).clip(max=largest_um).tolist()
    return _place(rng, lengths_um, room_um=room_um, step_px=step_px, mpp=plan.mpp)


def grow_decoys(
    plan: PhantomSlide, *, room_um: NDArray[np.float32], step_px: int, apart_from: Sequence[Lesion]
) -> tuple[Lesion, ...]:
    """Place the benign nests of a slide, apart from its lesions; most slides have none.

    See `grow_lesions`.
    """
    if not plan.difficulty.has_decoys:
        return ()
    rng = plan.rng("decoys")
    lengths_um = rng.uniform(*DECOYS_UM, 3 + rng.poisson(2.0)).tolist()
    placed = _place(
        rng, lengths_um, room_um=room_um, step_px=step_px, mpp=plan.mpp, apart_from=apart_from
    )
    return placed


def _deepest_um(room_um: NDArray[np.float32]) -> float:
    return max(float(room_um.max()), 30.0)


def _place(
    rng: np.random.Generator,
    lengths_um: Sequence[float],
    *,
    room_um: NDArray[np.float32],
    step_px: int,
    mpp: float,
    apart_from: Sequence[Lesion] = (),
) -> tuple[Lesion, ...]:
    """Place lesions of these lengths where there is room, apart from each other and from others."""
    deepest_um = _deepest_um(room_um)
    lesions: list[Lesion] = []
    for length_um in lengths_um:
        for _ in range(30):
            # Room for the whole lesion or, with little tissue, for as much of it as fits.
            wanted_um = min(0.55 * length_um, 0.9 * deepest_um)
            rows, columns = np.nonzero(room_um >= wanted_um)
            chosen = rng.integers(rows.size)
            centre_px = (np.array([columns[chosen], rows[chosen]]) + rng.uniform(0, 1, 2)) * step_px
            lesion = _lesion(rng, centre_px=centre_px, length_um=length_um, mpp=mpp)
            others = (*lesions, *apart_from)
            if all(lesion.polygon.distance(other.polygon) > _GAP_UM / mpp for other in others):
                lesions.append(lesion)
                break
    return tuple(lesions)


def _lengths_um(rng: np.random.Generator, *, largest_um: float) -> list[float]:
    """Lengths of one slide's lesions: one that counts, some more of any size, some isolated
    clusters."""
    smallest_um = min(320.0, 0.7 * largest_um)
    main_um = float(np.exp(rng.uniform(np.log(smallest_um), np.log(largest_um))))
    more_um = np.exp(
        rng.uniform(
            np.log(CLUSTER_BELOW_UM), np.log(max(main_um, CLUSTER_BELOW_UM + 1)), rng.poisson(1.2)
        )
    )
    clusters_um = rng.uniform(45, 0.9 * CLUSTER_BELOW_UM, rng.poisson(1.0))
    return [main_um, *(float(length) for length in (*more_um, *clusters_um) if length < largest_um)]


def _lesion(
    rng: np.random.Generator, *, centre_px: NDArray[np.float64], length_um: float, mpp: float
) -> Lesion:
    shell = _blob(rng, centre_px=centre_px, length_px=length_um / mpp)
    holes: list[Polygon] = []
    islands: list[IslandContent] = []
    wanted = rng.integers(1, 4) if length_um > 380 and rng.random() < 0.6 else 0
    for _ in range(wanted):
        hole_px = rng.uniform(0.14, 0.26) * length_um / mpp
        angle, far_px = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2) * length_um / mpp
        hole = _blob(
            rng,
            centre_px=centre_px + far_px * np.array([np.cos(angle), np.sin(angle)]),
            length_px=hole_px,
        )
        rim = hole.buffer(25 / mpp)
        if shell.contains(rim) and not any(rim.intersects(other) for other in holes):
            holes.append(hole)
            islands.append(("tissue", "fat", "necrosis")[rng.integers(3)])
    return Lesion(
        polygon=Polygon(shell.exterior, [hole.exterior for hole in holes]),
        islands=tuple(islands),
        mpp=mpp,
    )


def _blob(rng: np.random.Generator, *, centre_px: NDArray[np.float64], length_px: float) -> Polygon:
    """A closed wavy outline with a longest side of about length_px and a vertex every few px."""
    vertices = int(np.clip(length_px * 3 / 12, 24, 1500))
    theta = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = np.ones(vertices)
    for harmonic in range(2, int(np.clip(length_px / 40, 9, 60))):
        amplitude = 0.26 / harmonic * rng.standard_normal()
        radius += amplitude * np.cos(harmonic * theta + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.35)
    flat = rng.uniform(0.55, 0.95)
    blob = Polygon(np.stack([radius * np.cos(theta), flat * radius * np.sin(theta)], axis=1))
    low_x, low_y, high_x, high_y = blob.bounds
    scale = length_px / max(high_x - low_x, high_y - low_y)
    turned = affinity.rotate(
        affinity.scale(blob, scale, scale, origin=(0, 0)), rng.uniform(0, 180), origin=(0, 0)
    )
    return affinity.translate(turned, *centre_px)
