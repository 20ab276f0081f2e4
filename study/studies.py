"""Registry of studies: a new one is a `Study` in a module of its own, and is added here."""

from collections.abc import Mapping
from typing import Any

from .curriculum.study import CURRICULUM_STUDY
from .features.labels import LABELS
from .features.noise import NOISE
from .features.size import SIZE
from .features.transfer import TRANSFER
from .finetune.study import FINETUNE
from .kind import Study
from .settings import StudySettings
from .weak.study import WEAK_STUDY

__all__ = ["STUDIES", "find_study"]

STUDIES: Mapping[str, Study[Any]] = {
    study.name: study
    for study in (LABELS, SIZE, NOISE, TRANSFER, FINETUNE, CURRICULUM_STUDY, WEAK_STUDY)
}


def find_study(settings: StudySettings) -> Study[Any]:
    """Return the study that has settings of this class."""
    return next(study for study in STUDIES.values() if study.settings is type(settings))
