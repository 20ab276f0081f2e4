"""Phantom slides on disk: TIFF, annotation, recipe, and the cohort's table."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from shapely.geometry import Polygon

from ..cohort import Cohort, CohortSlide
from ..storage import Output, Recipe, StoreError
from ..wsi import Annotation, Outline
from .lesions import Lesion
from .painter import BLOCK_PX, Painter
from .plan import PhantomSlide, plan_cohort
from .pyramid import PyramidSpec, write_pyramid
from .settings import PhantomSettings

logger = logging.getLogger(__name__)

DRAWING = 1
"""Version of the drawing. Raise it when equal parameters give other pixels, so that old slides are
made again."""


def make_cohort(
    out: Path, settings: PhantomSettings, *, on_slide: Callable[[str], None] | None = None
) -> Path:
    """Make every slide of a cohort, one after the other, and its table.

    To make slides in parallel, map `make_slide` over `plan_cohort(settings)` and call
    `write_cohort`.

    Args:
        out: Folder for `slides/`, `annotations/` and `cohort.csv`.
        settings: Settings of the cohort.
        on_slide: Called with the id of every finished slide.

    Returns:
        The path of `cohort.csv`.
    """
    plans = plan_cohort(settings)
    for plan in plans:
        make_slide(plan, out)
        if on_slide:
            on_slide(plan.slide_id)
    return write_cohort(plans, out)


def make_slide(plan: PhantomSlide, out: Path, *, block_px: int = BLOCK_PX) -> bool:
    """Write one slide and, if it has tumour, its annotation; return False if it exists with the
    same recipe.

    Args:
        plan: From `plan_cohort`.
        out: The cohort's folder.
        block_px: Side of the squares painted at a time, a multiple of a tile's side; it changes
            memory, not a byte.
    """
    slide_path, annotation_path, recipe_path = _paths(plan, out)
    recipe = Recipe(stage="phantom", settings=plan.as_settings(), inputs={"drawing": DRAWING})
    if _is_made(plan, recipe, out):
        logger.info("%s: kept, its recipe is the same", plan.slide_id)
        return False
    # The recipe is removed first and written last, so it never lies beside another slide.
    recipe_path.unlink(missing_ok=True)
    painter = Painter(plan)
    spec = PyramidSpec(
        width_px=plan.width_px,
        height_px=plan.height_px,
        mpp=plan.mpp,
        tile_px=plan.tile_px,
        jpeg_quality=plan.jpeg_quality,
        block_px=block_px,
        description=f"gigaslide phantom {plan.slide_id}",
    )
    write_pyramid(slide_path, spec, painter.region)
    if plan.label == "tumor":
        annotation_path.parent.mkdir(parents=True, exist_ok=True)
        annotate(painter.anatomy.lesions).save(annotation_path)
    else:
        annotation_path.unlink(missing_ok=True)
    recipe.save(recipe_path)
    logger.info("%s: %d × %d px, %s", plan.slide_id, plan.width_px, plan.height_px, plan.label)
    return True


def write_cohort(plans: list[PhantomSlide], out: Path) -> Path:
    """Write `cohort.csv` for slides that have been made, and return its path."""
    rows, graded = [], any(plan.grade != "plain" for plan in plans)
    for plan in plans:
        slide_path, annotation_path, _ = _paths(plan, out)
        rows.append(
            CohortSlide(
                id=plan.slide_id,
                path=slide_path,
                annotation=annotation_path if plan.label == "tumor" else None,
                label=plan.label,
                patient=plan.patient,
                split=plan.split,
                further=(("difficulty", plan.grade),) if graded else (),
            )
        )
    path = out / "cohort.csv"
    Cohort.of_rows(rows).save(path)
    return path


def annotate(lesions: tuple[Lesion, ...]) -> Annotation:
    """The truth as an expert would outline it: tumour in groups _0 and _1, cut-outs in _2.

    Coordinates are rounded to a hundredth of a px.
    """
    outlines = []
    for number, lesion in enumerate(lesions):
        shell = _round(lesion.polygon.exterior)
        outlines.append(Outline(name=f"Lesion {number}", group=f"_{number % 2}", polygon=shell))
        outlines += [
            Outline(name=f"Island {number}.{hole} ({content})", group="_2", polygon=_round(ring))
            for hole, (content, ring) in enumerate(
                zip(lesion.islands, lesion.polygon.interiors, strict=True)
            )
        ]
    return Annotation(outlines=tuple(outlines))


def _is_made(plan: PhantomSlide, recipe: Recipe, out: Path) -> bool:
    slide, annotation, made_by = (path.relative_to(out).as_posix() for path in _paths(plan, out))
    files = (slide, annotation) if plan.label == "tumor" else (slide,)
    try:
        state = Output(location=out, recipe=recipe, recipe_file=made_by, files=files).state()
    except StoreError as error:
        logger.warning("%s: made again: %s", plan.slide_id, error)
        return False
    if state.status == "changed":
        logger.warning("%s: made again: %s", plan.slide_id, "; ".join(state.differences))
    return state.is_unchanged


def _paths(plan: PhantomSlide, out: Path) -> tuple[Path, Path, Path]:
    name = plan.slide_id
    return (
        out / "slides" / f"{name}.tif",
        out / "annotations" / f"{name}.xml",
        out / "recipes" / f"{name}.json",
    )


def _round(ring) -> Polygon:
    return Polygon(np.round(np.asarray(ring.coords), 2))
