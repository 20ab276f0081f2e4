"""Patients that an encoder learnt from must not be test patients of a model on its features."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...cohort import Cohort, CohortSlide
from ...storage import SettingsError, fold_name

__all__ = ["refuse_encoder_patients"]


def refuse_encoder_patients(
    cohort: Cohort,
    encoder_card: Mapping[str, Any],
    *,
    tested: Iterable[CohortSlide],
    kind: str = "encoder",
) -> None:
    """Pass if the encoder of these features learnt from none of the patients to be tested, as far
    as its card tells. kind: word for what has the card.

    Raises:
        SettingsError: it did.
    """
    slides = set(encoder_card.get("training_slides", ()))
    names = [*encoder_card.get("training_patients", ())]
    names += [one.patient for one in cohort if one.id in slides]
    patients = set(map(fold_name, names)) - {""}
    found = [one for one in tested if one.id in slides or fold_name(one.patient) in patients]
    if found:
        seen = sorted({one.patient or one.id for one in found})
        name = encoder_card.get("name", "")
        raise SettingsError(
            f"the {kind}{f' {name}' if name else ''} learnt from {len(seen)} of the test patients, "
            f"such as {seen[0]}: figures on them would say nothing about new patients; use another "
            f"{kind}, or do not test these patients"
        )
