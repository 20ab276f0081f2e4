"""Slides as people and programs name them: by id, by file name, in other case, with a suffix."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from ...storage import ScoreError, fold_name

__all__ = ["SlideNames"]

SUFFIXES = re.compile(
    r"(\.(ome|tiff?|svs|ndpi|mrxs|scn|bif|vms|vmu|svslide|czi|dcm|dicom|zarr|zip|isyntax|i2syntax"
    r"|qptiff|vsi|lif|jp2|jpe?g|png|bmp|csv|tsv|txt|json|geojson|xml))+$",
    re.IGNORECASE,
)


class SlideNames:
    """Ids of slides, found by a name that somebody else gives the slide.

    A name as it is written comes before one in other case, with blanks for underscores or with
    another suffix.
    """

    def __init__(self, ids: Sequence[str], file_names: Mapping[str, str] | None = None) -> None:
        exact: dict[str, set[str]] = {}
        folded: dict[str, set[str]] = {}
        bare: dict[str, set[str]] = {}
        for slide in ids:
            file = (file_names or {}).get(slide, slide)
            for name in (slide, file, PurePosixPath(file).stem):
                exact.setdefault(name, set()).add(slide)
                folded.setdefault(fold_name(name), set()).add(slide)
                bare.setdefault(_without_suffix(name), set()).add(slide)

        own = {slide: {slide} for slide in ids}
        # The nearer form of a name comes first.
        self._by_form: tuple[tuple[Callable[[str], str], dict[str, set[str]]], ...] = (
            (str, own),
            (str, exact),
            (fold_name, folded),
            (_without_suffix, bare),
        )

    def match(self, name: str, where: str) -> str:
        """Return the id of a named slide; where is the place of the name, for messages.

        Raises:
            ScoreError: no slide or several have that name.
        """
        for form, slides in self._by_form:
            found = sorted(slides.get(form(name), ()))
            if len(found) > 1:
                raise ScoreError(
                    f"{where}: {name!r} may be each of {len(found)} slides; write its id, "
                    f"{' or '.join(found)}"
                )
            if found:
                return found[0]
        raise ScoreError(
            f"{where}: predictions for {name!r}, which the cohort does not list; remove them, or "
            "add the slide"
        )


def _without_suffix(name: str) -> str:
    return fold_name(SUFFIXES.sub("", name))
