"""Words that the answers of all studies share: figures, differences and intervals."""

from collections.abc import Iterable, Iterator, Sequence

from ..eval import Estimate
from .findings import Comparison

__all__ = [
    "FIGURE_WORDS",
    "describe_differences",
    "describe_range",
    "describe_test",
    "format_signed",
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


def describe_differences(comparisons: Sequence[Comparison], words: str) -> Iterator[str]:
    for one in comparisons:
        difference = one.difference.difference
        if difference.value is None:
            continue
        test = describe_test(one)
        size = f"{format_signed(difference.value)}{describe_range(difference, '+.3f')}"
        yield f"Difference, {words}: {size}{f'; {test}' if test else ''}."


def describe_test(comparison: Comparison) -> str:
    """The adjusted p-value in words; empty where there is none."""
    p = comparison.difference.p_holm
    if p is None:
        return ""
    return f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}, Holm"


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
    return ", ".join(_name_value(name, value) for name, value in point)


def _name_value(name: str, value: object) -> str:
    if name == "learner":
        return str(value)
    if name == "flipped" and isinstance(value, float):
        return f"{value:.0%} wrong labels"
    if name in ("labels", "slides"):
        return f"{value} {name}"
    return f"{name} {value}"


def _use_minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
