"""Words that the answers of all studies share: figures, differences and intervals."""

from collections.abc import Iterable, Iterator, Sequence

from ..eval import Estimate
from .cell import ALL
from .findings import Comparison
from .pool import OF_FINDING

__all__ = [
    "AUGMENTATION_WORDS",
    "FIGURE_WORDS",
    "describe_differences",
    "describe_range",
    "describe_test",
    "format_signed",
    "name_figure",
    "name_point",
    "show",
]

FIGURE_WORDS = {
    "slide_auc": "slide AUC",
    "window_auc": "window AUC",
    "froc": "FROC score",
    "cam_froc": "FROC score of the maps",
    "window_auc_attention": "window AUC of the attention",
    "window_auc_attention_score": "window AUC of attention × score",
}

FROZEN = {"none": "nothing"}
AUGMENTATION_WORDS = {"none": "pictures as they are", "blur": "blurred and sharpened pictures"}


def name_figure(figure: str) -> str:
    """Name a figure in words; the slide AUC of a further finding by its column."""
    return FIGURE_WORDS.get(figure) or f"slide AUC of {figure.removeprefix(OF_FINDING)}"


def describe_differences(
    comparisons: Sequence[Comparison], first: str, second: str, *, at: str = ""
) -> Iterator[str]:
    """Tell how much higher the first is than the second, and which of them did better, if the
    interval tells; at: words for where they are compared."""
    for one in comparisons:
        difference = one.difference.difference
        if difference.value is None:
            continue
        words = name_figure(one.figure)
        place = f", {at}" if at else ""
        test = describe_test(one)
        size = f"{format_signed(difference.value)}{describe_range(difference, '+.3f')}"
        yield (
            f"Difference in {words}, {first} minus {second}{place}: {size}"
            f"{f'; {test}' if test else ''}{_tell_better(difference, first, second)}."
        )


def _tell_better(difference: Estimate, first: str, second: str) -> str:
    if difference.low is None or difference.high is None:
        return ""
    if difference.low > 0:
        return f". Here {first} did better"
    if difference.high < 0:
        return f". Here {second} did better"
    return ". The interval contains 0: no difference was shown"


def describe_test(comparison: Comparison) -> str:
    """The adjusted p-value in words; empty where there is none."""
    p = comparison.difference.p_holm
    if p is None:
        return ""
    return f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} (Holm)"


def show(estimate: Estimate, form: str = ".3f") -> str:
    """A value with its interval in brackets."""
    if estimate.value is None:
        return f"not defined ({estimate.undefined})"
    return f"{estimate.value:{form}}{describe_range(estimate, form)}"


def describe_range(estimate: Estimate, form: str) -> str:
    if estimate.low is None and estimate.high is None:
        return ""
    low, high = (
        "?" if one is None else _use_minus(f"{one:{form}}") for one in (estimate.low, estimate.high)
    )
    high = "not reached" if estimate.high is None else high
    return f" ({low} to {high})"


def format_signed(value: float) -> str:
    """Write a difference with its sign."""
    return _use_minus(f"{value:+.3f}")


def name_point(point: Iterable[tuple[str, object]]) -> str:
    """Name a point as a reader says it: "weak, 24 labels", "strong, 20% wrong labels"."""
    return ", ".join(filter(None, (_name_value(name, value) for name, value in point)))


def _name_value(name: str, value: object) -> str:
    if name == "learner":
        return str(value)
    if name == "flipped" and isinstance(value, float):
        return f"{value:.0%} wrong labels"
    if name in ("labels", "slides"):
        return f"{value} {name}"
    if name == "augmentation":
        return AUGMENTATION_WORDS[str(value)]
    if name == "freeze":
        return "all scenarios" if value == ALL else f"{FROZEN.get(str(value), value)} frozen"
    if name == "rate":
        return "" if value == ALL else f"learning rate {value:g}"
    return f"{name} {value}"


def _use_minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
