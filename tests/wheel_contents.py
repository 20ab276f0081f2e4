"""A wheel holds every file of the packages that git tracks, its metadata, and nothing else.

    python tests/wheel_contents.py dist/gigaslide-0.1.0-py3-none-any.whl

Prints what is missing or too much and exits with 1.
"""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(wheel: str) -> int:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    held, expected = names - metadata, expected_files()
    for name in sorted(expected - held):
        sys.stdout.write(f"missing: {name}\n")
    for name in sorted(held - expected):
        sys.stdout.write(f"not of a package: {name}\n")
    sys.stdout.write(f"{wheel}: {len(held)} files, {len(expected)} expected\n")
    return int(held != expected or not metadata)


def expected_files() -> set[str]:
    """Return the tracked files of all packages in setup.cfg, as they are named in a wheel."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    rooms = {name.split(".")[1] for name in setup["options"]["packages"].split()}
    tracked = subprocess.run(
        ["git", "ls-files", *sorted(rooms)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {f"gigaslide/{name}" for name in tracked.stdout.split()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
