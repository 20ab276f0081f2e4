"""Answer and methods of a study of a curriculum, in plain sentences."""

from collections.abc import Iterator

from ...storage import format_count
from ..data import StudyData
from ..findings import Findings
from ..pool import OF_FINDING
from ..reaches import Reach
from ..words import (
    FIGURE_WORDS,
    describe_differences,
    describe_range,
    name_figure,
    show,
)
from .course import CURRICULUM
from .settings import CurriculumSettings

__all__ = ["answer_curriculum", "describe_pictures", "describe_trainings"]

NAMES = {"curriculum": "Patches first, then whole slides", "whole": "Whole slides from the start"}
BLUR = ", with blurred and sharpened pictures"
BLURRED = (", augmentation blur", f"{BLUR},")


def answer_curriculum(findings: Findings, settings: CurriculumSettings) -> Iterator[str]:
    """Yield the sentences of the answer, the primary figure first."""
    figure = FIGURE_WORDS[settings.primary]
    further = ("cam_froc", *(f"{OF_FINDING}{name}" for name in settings.findings))
    for one in findings.points:
        axes = dict(one.point)
        name = NAMES[str(axes["learner"])] + (BLUR if axes["augmentation"] == "blur" else "")
        estimate = one.estimates.get(settings.primary)
        text = "not known: no training finished" if estimate is None else show(estimate)
        others = [
            f", {name_figure(other)} {show(one.estimates[other])}"
            for other in further
            if other in one.estimates
        ]
        yield f"{name}: {figure} {text}{''.join(others)}."
    for compared in (settings.primary, *further):
        first = [one for one in findings.comparisons if one.figure == compared][:1]
        yield from describe_differences(first, "patches first", "whole slides alone")
    yield from (
        _describe_steps(one, settings)
        for one in findings.reaches
        if one.learner.startswith(CURRICULUM)
    )


def _describe_steps(reach: Reach, settings: CurriculumSettings) -> str:
    number = reach.number
    goal = f"the best slide AUC of whole slides alone, {reach.target:.3f}"
    subject = f"The {reach.learner.replace(', augmentation none', '').replace(*BLURRED)}"
    if number.value is None:
        return f"{subject} does not reach {goal}, within {settings.steps} steps."
    note = f", {number.note}" if number.note else ""
    steps = format_count(round(number.value), "step")
    return f"{subject} reaches {goal}, after {steps}{describe_range(number, '.0f')}{note}."


def describe_pictures(settings: CurriculumSettings, data: StudyData) -> str:
    """Say in words what the networks see of a slide."""
    stain = f", stain normalised by {settings.stain}" if settings.stain != "none" else ""
    return f"as pictures of the whole slide at {data.encoder}{stain}"


def describe_trainings(settings: CurriculumSettings) -> str:
    """Tell how the trainings were made; text to quote."""
    patches = round(settings.patch_steps * settings.steps)
    findings = f"tumour and of {', '.join(settings.findings)}" if settings.findings else "tumour"
    blur = (
        " In the augmentation blur a third of the pictures was blurred and a third sharpened."
        if "blur" in settings.augmentation
        else ""
    )
    source, training = settings.initial_weights, settings.training
    start = (
        f"the weights of {source.name}, whose batch normalisation was kept"
        if source
        else "random weights"
    )
    return (
        f"A fully convolutional network, {settings.architecture} as far as its cells have 16 px, "
        f"filters times {training.width:g}, began with {start}. It gives each square of 16 px a "
        f"sigmoid of {findings}; log-sum-exp over the squares with tissue gives that of the "
        "slide. Every "
        f"training took {settings.steps} steps of AdamW, at a learning rate that fell from "
        f"{training.learning_rate:g}. The curriculum took the first {patches} "
        f"on batches of {settings.patches_per_step} patches of {settings.patch_px} px around "
        "outlined tumour and on normal tissue, and the others, as the baseline all of them, on "
        f"batches of {settings.slides_per_step} whole slides. A step on patches costs less than "
        "one on slides. Pictures were turned and mirrored at random."
        f"{blur} The slide AUC was computed at {settings.checkpoints} checkpoints; the last one "
        "gives the figures. The steps to reach the baseline's best are interpolated between "
        "checkpoints, and the best is found anew in each resample; with checkpoints on the test "
        "slides, this best is optimistic for the baseline. The map of tumour (class activation "
        f"map) gives detections at least {settings.radius_um:g} µm apart, and its FROC score is "
        "the mean sensitivity for lesions at 0.25 to 8 false positives per slide."
    )
