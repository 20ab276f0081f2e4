"""Words of a study's page, explained to a reader who trains no networks."""

from collections.abc import Iterable, Iterator

from .curriculum.course import CURRICULUM, WHOLE
from .findings import Findings
from .finetune.settings import FinetuneSettings
from .settings import FINE_TUNED, STRONG_ONLY, WEAK_ONLY, StudySettings
from .words import FIGURE_WORDS

__all__ = ["explain_figures", "explain_learners"]

LEARNERS = {
    "weak": "learns from a yes or no for each slide, and is never told where the tumour is",
    "strong": "learns from small squares of tissue (windows), each labelled by an expert's "
    "outlines; a slide's score is that of its highest window",
    WEAK_ONLY: "learns from a machine's labels of windows, and from no expert's outline",
    STRONG_ONLY: "learns from the outlines of the given number of slides alone",
    FINE_TUNED: "learns from the machine's labels first, then from the outlines",
    CURRICULUM: "learns small patches with tumour and without first, then whole slides",
    WHOLE: "learns whole slides from the start, in as many steps",
}
FIGURES = {
    "slide_auc": "chance that a slide with tumour gets a higher score than one without: 1 is "
    "perfect, 0.5 is guessing. Far below 0.5, a training took something else for tumour, such as "
    "the stain of its patients, which misleads on others",
    "window_auc": "the same of windows: does the training tell where the tumour is?",
    "froc": "share of the lesions that are found, mean over 0.25 to 8 false alarms per slide: 1 "
    "is all of them",
    "cam_froc": "share of the lesions that the network's map finds, mean over 0.25 to 8 false "
    "alarms per slide: 1 is all of them",
}


def explain_learners(findings: Findings, settings: StudySettings) -> dict[str, str]:
    """Explain each learner of a study by its name; a start of a study of starts is none."""
    if isinstance(settings, FinetuneSettings):
        return {}
    names = dict.fromkeys(str(one.point[0][1]) for one in findings.points)
    return {name: LEARNERS[name] for name in names if name in LEARNERS}


def explain_figures(shown: Iterable[str], findings: Findings, tests: int) -> Iterator[str]:
    """Yield a sentence for each figure that is shown, then for intervals, noise and p-values."""
    for name in shown:
        if name in FIGURES:
            yield f"{FIGURE_WORDS[name]}: {FIGURES[name]}."
    level = f"{findings.resampling.confidence:.0%}"
    yield (
        f"{level} interval, in brackets or as a band: where the figure would lie for most other "
        f"groups of as many {findings.resampling.unit}. To compare two learners read the interval "
        "of their difference: if it contains 0, no difference was shown."
    )
    yield (
        "±: spread when the same training is made again with another seed; of few labels or slides "
        "also with others of them. It says nothing about other patients."
    )
    if tests:
        yield (
            "p (Holm): chance of such a difference if there were none, adjusted for the number of "
            "comparisons."
        )
