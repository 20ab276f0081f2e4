"""File of a version: a FeatureCollection that QuPath reads by drag and drop.

Its first line ends with the member `gigaslide`, which QuPath ignores: the version's provenance.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from .outlines import DrawnOutline, feature_lines
from .version_info import VersionInfo

__all__ = ["read_info", "write_version"]

_OPEN = '"features": ['
"""End of the first line."""
_LONGEST = 2**22  # characters of the first line


def read_info(path: Path) -> VersionInfo:
    """Read the provenance of a version, from the first line of its file.

    Raises:
        OSError, ValueError, KeyError, TypeError: no such file, or not one of ours.
    """
    with path.open(encoding="utf-8") as file:
        line = file.readline(_LONGEST).rstrip()
    plain = json.loads(line.removesuffix(_OPEN).rstrip().rstrip(",") + "}")["gigaslide"]
    return VersionInfo.from_json(plain)


def write_version(path: Path, info: VersionInfo, outlines: Sequence[DrawnOutline]) -> None:
    """Write the file of a version, a line for each outline."""
    about = json.dumps(info.to_json())
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "gigaslide": {about}, {_OPEN}\n')
        for number, line in enumerate(feature_lines(outlines)):
            file.write(",\n" if number else "")
            file.write(line)
        file.write("\n]}\n")
