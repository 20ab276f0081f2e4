"""Slides as people and programs name them: by id, by path, by file name, in other case, with a
suffix."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ...storage import Location, ScoreError, fold_name, name_of

__all__ = ["SlideNames", "path_of"]

SUFFIXES = re.compile(
    r"(\.(ome|tiff?|svs|ndpi|mrxs|scn|bif|vms|vmu|svslide|czi|dcm|dicom|zarr|zip|isyntax|i2syntax"
    r"|qptiff|vsi|lif|jp2|jpe?g|png|bmp|csv|tsv|txt|json|geojson|xml))+$",
    re.IGNORECASE,
)


def path_of(slide: Location) -> str:
    """Return the whole path of a slide, or the file name of a URL, as `SlideNames` takes it."""
    return slide.absolute().as_posix() if isinstance(slide, Path) else name_of(slide)


class SlideNames:
    """Ids of slides, found by a name that somebody else gives the slide.

    A name as it is written comes before one in other case, with blanks for underscores or with
    another suffix. A name with folders is the end of a slide's path.
    """

    def __init__(self, ids: Sequence[str], paths: Mapping[str, str] | None = None) -> None:
        """Know slides by their ids and, where given, by their paths or file names."""
        self._paths = {slide: (paths or {}).get(slide, slide) for slide in ids}
        exact: dict[str, set[str]] = {}
        folded: dict[str, set[str]] = {}
        bare: dict[str, set[str]] = {}
        for slide, path in self._paths.items():
            file = PurePosixPath(path)
            for name in (slide, file.name, file.stem):
                exact.setdefault(name, set()).add(slide)
                folded.setdefault(_fold_path(name), set()).add(slide)
                bare.setdefault(_fold_bare_path(name), set()).add(slide)
            for form, ends in ((_fold_path, folded), (_fold_bare_path, bare)):
                for end in _ends(path):
                    ends.setdefault(form(end), set()).add(slide)

        own = {slide: {slide} for slide in ids}
        # The nearer form of a name comes first.
        self._by_form: tuple[tuple[Callable[[str], str], dict[str, set[str]]], ...] = (
            (str, own),
            (str, exact),
            (_fold_path, folded),
            (_fold_bare_path, bare),
        )

    def match(self, name: str, where: str) -> str:
        """Return the id of a named slide; where is the place of the name, for messages.

        Raises:
            ScoreError: no slide or several have that name.
        """
        for form, slides in self._by_form:
            found = sorted(slides.get(form(name), ()))
            if len(found) > 1:
                known = " or ".join(map(self._describe, found))
                raise ScoreError(
                    f"{where}: {name!r} may be each of {len(found)} slides; write its id, {known}"
                )
            if found:
                return found[0]
        raise ScoreError(
            f"{where}: predictions for {name!r}, which the cohort does not list; "
            f"{self._hint(name)}remove them, or add the slide"
        )

    def _hint(self, name: str) -> str:
        """Say which slide may be meant by a name that no slide has."""
        number, file = _number(name), _fold_bare_path(_posix(name).name)
        for slide, path in self._paths.items():
            own = PurePosixPath(path).stem
            if number is not None and number in (_number(slide), _number(own)):
                return f"if {slide} is meant, write it as text, not as a number; "
            if file and file == _fold_bare_path(own):
                return f"if {self._describe(slide)} is meant, write its id; "
        return ""

    def _describe(self, slide: str) -> str:
        path = self._paths[slide]
        return slide if "/" not in path else f"{slide} ({path})"


def _ends(path: str) -> Iterator[str]:
    """Ends of a path that hold a folder, the shortest first, and the whole path."""
    parts = PurePosixPath(path).parts
    for count in range(2, len(parts) + 1):
        yield str(PurePosixPath(*parts[-count:]))


def _fold_path(path: str) -> str:
    return "/".join(map(fold_name, _posix(path).parts))


def _fold_bare_path(path: str) -> str:
    return _fold_path(SUFFIXES.sub("", path))


def _posix(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None
