"""Files below a folder: slides, annotations, and those that may be either but are left out."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..storage import SettingsError, format_count
from ..wsi import ANNOTATION_SUFFIXES, annotation_suffix

__all__ = ["SLIDE_SUFFIXES", "FoundFiles", "warn_of_files"]

logger = logging.getLogger(__name__)

OPENSLIDE_SUFFIXES = "tif tiff svs ndpi mrxs scn bif vms vmu svslide czi dcm"
SLIDE_SUFFIXES = frozenset(f".{suffix}" for suffix in OPENSLIDE_SUFFIXES.split())
OTHER_SUFFIXES = "zarr png jpg jpeg jp2 bmp btf tf8 isyntax i2syntax qptiff vsi lif zvi"
PICTURE_SUFFIXES = frozenset(f".{suffix}" for suffix in OTHER_SUFFIXES.split())
PACKED_SUFFIXES = frozenset([".gz", ".zip", ".xz", ".bz2", ".7z"])
GEOJSON_WORDS = (b'"Feature', b'"features"', b'"geometry"', b'"coordinates"')
JSON_START_BYTES = 2**16
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """Files below a folder by what they may be, in the order of the folder."""

    folder: Path
    slides: list[Path] = field(default_factory=list)
    annotations: list[Path] = field(default_factory=list)
    references: list[Path] = field(default_factory=list)
    """CAMELYON16's tables of labels."""
    pictures: list[Path] = field(default_factory=list)
    """Images of kinds that are seldom slides, OME-Zarr among them."""
    masks: list[Path] = field(default_factory=list)
    other_json: list[Path] = field(default_factory=list)
    """JSON files that are not GeoJSON, such as records of a scanner."""
    packed: list[Path] = field(default_factory=list)
    """Compressed slides, and annotations compressed with another program than gzip."""
    broken: list[Path] = field(default_factory=list)
    """Links to nothing, and folders that cannot be read."""
    linked: list[Path] = field(default_factory=list)
    """Further names of the same slides, by links."""

    @classmethod
    def below(cls, folder: Path) -> "FoundFiles":
        """Sort the files below a folder.

        Raises:
            SettingsError: no such folder.
        """
        if not folder.is_dir():
            fact = "is a file" if folder.is_file() else "no such folder"
            raise SettingsError(f"{folder}: {fact}; give the folder of the slides")
        found = cls(folder=folder)
        for path in _walk(folder, found):
            found._add(path)
        return found

    def _add(self, path: Path) -> None:
        suffix, stem = path.suffix.casefold(), path.stem.casefold()
        if suffix in SLIDE_SUFFIXES:
            (self.masks if stem.endswith("_mask") else self.slides).append(path)
        elif annotation_suffix(path) in ANNOTATION_SUFFIXES:
            (self.annotations if _may_hold_outlines(path) else self.other_json).append(path)
        elif suffix in PICTURE_SUFFIXES:
            self.pictures.append(path)
        elif suffix in PACKED_SUFFIXES:
            inner = Path(stem).suffix
            if inner in SLIDE_SUFFIXES or inner in ANNOTATION_SUFFIXES:
                self.packed.append(path)
        elif path.name.casefold() == "reference.csv" and path.parent.name.casefold() in (
            "testing",
            "evaluation",
        ):
            self.references.append(path)

    def describe_pictures(self) -> str:
        """Return counts of the pictures by suffix."""
        counts = Counter(path.suffix.casefold() for path in self.pictures)
        return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())

    def warn_of_skipped(self) -> None:
        """Tell counts and first names of the files that may be wanted but are left out."""
        # The pictures beside a .vms or .vmu are its tiles.
        tiled = {path.parent for path in self.slides if path.suffix.casefold() in (".vms", ".vmu")}
        pictures = [path for path in self.pictures if path.parent not in tiled]
        for noun, plural, paths, advice in (
            (
                "image",
                "",
                pictures,
                "left out, for such images are seldom slides; add those that are",
            ),
            ("mask", "", self.masks, "left out; give masks in the annotation column"),
            (
                "JSON file",
                "",
                self.other_json,
                "left out, without GeoJSON outlines; export outlines as GeoJSON",
            ),
            ("compressed file", "", self.packed, "left out; unpack them"),
            (
                "link or folder",
                "links or folders",
                self.broken,
                "cannot be read; check the target and the rights",
            ),
            (
                "name",
                "",
                self.linked,
                "left out; by a link, the same file is in the cohort under another name",
            ),
        ):
            warn_of_files(format_count(len(paths), noun, plural), paths, advice)


def _may_hold_outlines(path: Path) -> bool:
    """Return False for JSON whose beginning has no word of GeoJSON."""
    if path.suffix.casefold() != ".json":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(JSON_START_BYTES)
    except OSError:
        return True  # the stage that reads it says why it cannot
    is_json = start.lstrip()[:1] in (b"{", b"[")
    return not is_json or any(word in start for word in GEOJSON_WORDS)


def warn_of_files(what: str, paths: Sequence[Path], advice: str) -> None:
    """Log a warning of a count of files, with the first names; nothing where there are none."""
    if paths:
        names = ", ".join(path.name for path in paths[:SHOWN])
        logger.warning("%s %s: %s%s", what, advice, names, ", …" * (len(paths) > SHOWN))


def _walk(folder: Path, found: FoundFiles) -> Iterator[Path]:
    seen_folders, seen_files = set(), set()

    def note_error(error: OSError) -> None:
        found.broken.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=note_error):
        # A link may lead back to a parent, so every real folder and file counts once.
        if os.path.realpath(parent) in seen_folders:
            logger.warning("%s links to a folder that was visited before; it is skipped", parent)
            folders.clear()
            continue
        seen_folders.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders]:
            if name.casefold() == "masks":
                found.masks.append(Path(parent, name))
            elif name.casefold().endswith(".zarr"):  # an image, or a heatmap of gigaslide
                found.pictures.extend([Path(parent, name)] * (name != "heatmap.zarr"))
            else:
                continue
            folders.remove(name)
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_symlink() and not path.exists():
                found.broken.append(path)
            if not path.is_file():
                continue
            if os.path.realpath(path) not in seen_files:
                seen_files.add(os.path.realpath(path))
                yield path
            elif path.suffix.casefold() in SLIDE_SUFFIXES:
                found.linked.append(path)
