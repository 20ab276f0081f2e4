"""Order in which to look at a cohort: squares of tissue by the model's doubt, by contradiction
between model and outlines, or at random; each with its reason in words.

Cells without a score (glass, unreadable, failed) never count, nor do cells under outlines that
exclude tissue, such as Ignore* around an artefact. Frame: level-0 px.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import Cohort
from ..storage import ScoreError
from ..wsi import DEFAULT_GROUPS, Heatmap, is_region, polygons_in
from .folder import AnnotationFolder
from .outlines import DrawnOutline
from .propose import HEATMAP, slides_with_heatmap
from .settings import Order, OrderSettings

__all__ = ["LookedAt", "NextRegion", "describe_outlines", "next_regions", "order_regions"]

MM2 = 1e6  # µm²
LEAST_TISSUE = 0.05  # share of a square with scored cells
UNSURE = 0.5  # doubt above which a cell is told as unsure: probability 0.25 to 0.75


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """Areas of a slide that annotators outlined (level-0 px)."""

    tumor: MultiPolygon = field(default_factory=MultiPolygon)
    """Outlined tumour."""
    excluded: MultiPolygon = field(default_factory=MultiPolygon)
    """Tissue to leave out, such as artefacts."""
    seen: MultiPolygon | None = None
    """Area in which all tumour is outlined. None: the whole slide; an empty area: no part of it."""


@dataclass(frozen=True, kw_only=True)
class NextRegion:
    """A square of a slide to look at."""

    slide: str
    x: int
    """Left, level-0 px, as y, width and height."""
    y: int
    width: int
    height: int
    order: Order
    value: float
    """Value (mm²), before the weight 1/n."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Scored cells of a slide that may count: their squares and what the model says."""

    slide: str
    square: np.ndarray
    """(N, 2) int64: row and column of the square that the cell's centre lies in."""
    probability: np.ndarray
    area_mm2: np.ndarray
    outlined: np.ndarray
    """(N,) bool: the cell's centre lies in outlined tumour."""
    side: float
    """Side of a square (level-0 px)."""
    slide_size: tuple[int, int]


def describe_outlines(outlines: Iterable[DrawnOutline], *, is_accepted: bool) -> LookedAt:
    """Return what a version says: of a version that nobody accepted, only what it excludes."""
    by_meaning: dict[str, list[shapely.Geometry]] = {"tumor": [], "exclusion": [], "region": []}
    for one in outlines:
        if is_region(one.group):
            by_meaning["region"].append(one.shape)
        elif (meaning := DEFAULT_GROUPS.get(one.group.casefold(), "other")) in by_meaning:
            by_meaning[meaning].append(one.shape)
    tumor, excluded, regions = (
        polygons_in(shapely.union_all(by_meaning[name])) for name in by_meaning
    )
    if not is_accepted:
        return LookedAt(excluded=excluded, seen=MultiPolygon())
    seen = regions if by_meaning["region"] else None
    return LookedAt(tumor=polygons_in(tumor.difference(excluded)), excluded=excluded, seen=seen)


def order_regions(
    heatmaps: Iterable[Heatmap], looked_at: Callable[[str], LookedAt], settings: OrderSettings
) -> list[NextRegion]:
    """Choose the regions to look at next, the first one first.

    looked_at: what people said of a slide, by its id. Regions of doubt and at random lie where
    nobody looked, those of contradiction where somebody did. A slide's further regions count less:
    the nth for 1/n. A share of the regions is drawn at random, area by area.

    Raises:
        ScoreError: no cell counts for this order.
    """
    wanted = settings.order
    chosen, random = [], []
    for heatmap in heatmaps:
        said = looked_at(heatmap.slide)
        chosen += _squares(_cells(heatmap, said, settings, order=wanted), settings, wanted)
        random += _squares(_cells(heatmap, said, settings, order="random"), settings, "random")
    if not chosen and not random:
        raise ScoreError(
            "no tissue is left to look at for this order: cells without a score do not count, "
            f"{EXPLANATION[wanted]}; give another --order, or predict more slides"
        )
    by_value = chosen if wanted != "random" else []
    at_random = round(settings.random_share * settings.count) if by_value else settings.count
    drawn = _draw(random, at_random, np.random.default_rng(settings.seed))
    taken = {(one.slide, one.x, one.y) for one in drawn}
    rest = [one for one in by_value if (one.slide, one.x, one.y) not in taken]
    return _mix(_spread(rest, settings.count - len(drawn)), drawn)


EXPLANATION: dict[Order, str] = {
    "doubt": "nor do those that a person looked at",
    "random": "nor do those that a person looked at",
    "contradiction": "and only what a person looked at can contradict the model",
}


def _cells(heatmap: Heatmap, said: LookedAt, settings: OrderSettings, *, order: Order) -> _Cells:
    cells = np.argwhere(heatmap.scored)
    centres = heatmap.cell_centres(cells)
    inside = ((centres >= 0) & (centres < heatmap.slide_size)).all(axis=1)
    if not said.excluded.is_empty:
        inside &= ~_contains(said.excluded, centres)
    seen = np.ones(len(cells), bool) if said.seen is None else _contains(said.seen, centres)
    inside &= seen if order == "contradiction" else ~seen
    cells, centres = cells[inside], centres[inside]
    side = settings.side_um / heatmap.slide_mpp
    return _Cells(
        slide=heatmap.slide,
        square=np.floor(centres[:, ::-1] / side).astype(np.int64),
        probability=heatmap.probability[tuple(cells.T)].astype(np.float64),
        area_mm2=heatmap.cell_areas_um2()[tuple(cells.T)] / MM2,
        outlined=_contains(said.tumor, centres),
        side=side,
        slide_size=heatmap.slide_size,
    )


def _contains(areas: MultiPolygon, points: np.ndarray) -> np.ndarray:
    if areas.is_empty or not len(points):
        return np.zeros(len(points), bool)
    shapely.prepare(areas)
    return shapely.contains_xy(areas, *points.T)


def _squares(cells: _Cells, settings: OrderSettings, order: Order) -> list[NextRegion]:
    """Regions of one slide with their value: every square with enough scored tissue."""
    if not len(cells.square):
        return []
    places, which = np.unique(cells.square, axis=0, return_inverse=True)
    which = which.ravel()

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, values * cells.area_mm2, minlength=len(places))

    tissue, p = total(np.ones(len(which))), cells.probability
    enough = tissue >= LEAST_TISSUE * settings.side_um**2 / MM2
    doubt = 1 - np.abs(2 * p - 1)
    says_tumor = p > settings.threshold
    unseen, missed = says_tumor & ~cells.outlined, cells.outlined & ~says_tumor
    values = {
        "doubt": total(doubt),
        "random": tissue,
        "contradiction": total(np.abs(p - cells.outlined) * (unseen | missed)),
    }[order]
    facts = {
        "tissue": tissue,
        "mean": total(p) / tissue,
        "unsure": total(doubt > UNSURE),
        "unseen": total(unseen),
        "missed": total(missed),
    }
    regions = []
    for index in np.flatnonzero(enough & (values > 0)):
        row, column = places[index].tolist()
        own = {name: float(some[index]) for name, some in facts.items()}
        left, top = round(column * cells.side), round(row * cells.side)
        regions.append(
            NextRegion(
                slide=cells.slide,
                x=left,
                y=top,
                width=min(round((column + 1) * cells.side), cells.slide_size[0]) - left,
                height=min(round((row + 1) * cells.side), cells.slide_size[1]) - top,
                order=order,
                value=float(values[index]),
                reason=_reason(order, own),
            )
        )
    return regions


def _reason(order: Order, facts: dict[str, float]) -> str:
    if order == "doubt":
        return (
            f"the model is unsure of {facts['unsure']:.2g} of {facts['tissue']:.2g} mm² of tissue; "
            f"mean probability {facts['mean']:.2f}"
        )
    if order == "random":
        return f"drawn at random; {facts['tissue']:.2g} mm² of tissue that nobody looked at"
    unseen = f"the model sees tumour in {facts['unseen']:.2g} mm² outside the outlines"
    missed = f"the model sees no tumour in {facts['missed']:.2g} mm² inside the outlines"
    return "; ".join([unseen] * (facts["unseen"] > 0) + [missed] * (facts["missed"] > 0))


def _spread(regions: Sequence[NextRegion], count: int) -> list[NextRegion]:
    """Take the regions of highest value, where the nth of a slide counts for 1/n."""
    taken: Counter[str] = Counter()
    weighted = []
    for one in sorted(regions, key=lambda one: (-one.value, one.slide, one.y, one.x)):
        taken[one.slide] += 1
        weighted.append((one.value / taken[one.slide], one))
    weighted.sort(key=lambda pair: -pair[0])
    return [one for _, one in weighted[:count]]


def _draw(regions: Sequence[NextRegion], count: int, rng: np.random.Generator) -> list[NextRegion]:
    """Draw regions without replacement, each with a chance by its area of tissue."""
    if not regions or count <= 0:
        return []
    weights = np.array([one.value for one in regions])
    some = rng.choice(
        len(regions), size=min(count, len(regions)), replace=False, p=weights / weights.sum()
    )
    return [regions[index] for index in some]


def _mix(ranked: Sequence[NextRegion], drawn: Sequence[NextRegion]) -> list[NextRegion]:
    """Spread the random ones evenly among the others, so that whoever stops early saw some."""
    places = [(n + 1) / (len(ranked) + 1) for n in range(len(ranked))]
    others = [(n + 1) / (len(drawn) + 1) for n in range(len(drawn))]
    both = [*zip(places, ranked, strict=True), *zip(others, drawn, strict=True)]
    return [one for _, one in sorted(both, key=lambda pair: pair[0])]


def next_regions(
    cohort: Cohort, path: Path | None, predictions: Path, settings: OrderSettings
) -> list[NextRegion]:
    """Choose the regions of a cohort to look at next, by its heatmaps and its annotations.

    path: folder of annotations; None, or nothing there: nobody has looked yet.

    Raises:
        ScoreError: no heatmap, or no cell counts for this order.
        StoreError: path holds no annotations, or a version or a heatmap is damaged.
    """
    folder = AnnotationFolder.open(path) if path is not None and path.exists() else None
    slides = slides_with_heatmap(cohort, predictions)
    heatmaps = (Heatmap.load(predictions / slide.id / HEATMAP) for slide in slides)

    def looked_at(slide: str) -> LookedAt:
        if folder is None:
            return describe_outlines([], is_accepted=False)
        versions = folder.versions(slide)
        info = versions.newest(accepted=True)
        is_accepted = info is not None
        info = info or versions.newest()
        outlines = versions.load(info.number).outlines if info else ()
        return describe_outlines(outlines, is_accepted=is_accepted)

    return order_regions(heatmaps, looked_at, settings)
