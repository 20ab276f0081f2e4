"""Folders of files with the names of slides, and the table proposed for them."""

from pathlib import Path

from gigaslide.cohort import CohortSlide, propose_cohort


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def proposed(folder: Path) -> dict[str, CohortSlide]:
    return {slide.path.relative_to(folder).as_posix(): slide for slide in propose_cohort(folder)}
