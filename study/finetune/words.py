"""Answer and methods of a study of starts, in plain sentences."""

from collections.abc import Iterator

from ...storage import format_count
from ..findings import Findings
from ..words import FIGURE_WORDS, describe_differences, show
from .settings import FinetuneSettings

__all__ = ["answer_finetune", "describe_fine_tuning"]


def answer_finetune(findings: Findings, settings: FinetuneSettings) -> Iterator[str]:
    """Yield the sentences of the answer: each start over all scenarios, then the differences."""
    scenarios = len(settings.freeze) * len(settings.learning_rates)
    for one in (point for point in findings.points if point.is_full):
        estimate = one.estimates.get(settings.primary)
        noise = one.noise.get(settings.primary)
        text = "not known: no training finished" if estimate is None else show(estimate)
        spread = "" if noise is None else f" ± {noise:.3f} over trainings"
        yield (
            f"{str(one.point[0][1]).capitalize()} start, mean over "
            f"{format_count(scenarios, 'scenario')}: {FIGURE_WORDS[settings.primary]} {text}"
            f"{spread}."
        )
    for one in findings.comparisons:
        if one.is_primary:
            first, second = str(one.first[0][1]), str(one.second[0][1])
            yield from describe_differences([one], first, second)


def describe_fine_tuning(settings: FinetuneSettings) -> str:
    """Tell how the trainings were made; text to quote."""
    return (
        f"The network {settings.architecture} was trained for {settings.steps} steps of AdamW on "
        f"batches of {settings.batch_size} patches, half of them with tumour, turned and mirrored "
        f"at random, from each start, with each part frozen ({', '.join(settings.freeze)}) and "
        f"each learning rate ({', '.join(f'{rate:g}' for rate in settings.learning_rates)}): the "
        "scenarios. The score of a slide is the highest of its patches. The figure of a start is "
        "the mean over scenarios and seeds; its standard deviation over them is what such tables "
        "print, and is no uncertainty about patients: scenarios on the same patients are no "
        "sample. Starts are compared over patients, with scenarios and seeds averaged inside each "
        "resample."
    )
