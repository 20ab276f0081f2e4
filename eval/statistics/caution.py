"""What must be said before any interval is read: how few patients or slides it was drawn from."""

from .bootstrap import Resampling

__all__ = ["caution"]

VERY_FEW_UNITS = 5
FEW_UNITS = 10  # fewer patients or slides of a kind, and an interval is a guess


def caution(resampling: Resampling) -> str:
    """A sentence or two; empty where there are enough of both kinds, and where nothing was
    drawn."""
    few = [
        f"{count} {resampling.unit} {kind}"
        for count, kind in (
            (resampling.tumor_units, "with tumour"),
            (resampling.normal_units, "without"),
        )
        if count < FEW_UNITS
    ]
    if not few or not len(resampling.weights):
        return ""
    # Else nobody sees why a draw may hold no normal slide at all.
    shared = resampling.units_with_normal
    apart = resampling.normal_units or resampling.unit != "patients" or not shared
    noun = "patient" if shared == 1 else "patients"
    whose = (
        "" if apart else f"; the {resampling.normal_slides} normal slides come from {shared} {noun}"
    )
    very_few = (
        min(resampling.tumor_units, resampling.normal_units if apart else shared) < VERY_FEW_UNITS
    )
    meaning = (
        "Intervals from so few come out too narrow: do not quote them."
        if very_few
        else "Take intervals as rough."
    )
    return f"Only {' and '.join(few)}{whose}. {meaning}"
