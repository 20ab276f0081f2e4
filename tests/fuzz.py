"""Bytes of slides and annotations changed at random for as long as one likes: `make fuzz`, or

    python tests/fuzz.py [--minutes 10] [--seed 0] [--case N]

Every case is drawn from (seed, its number), so that one that fails is made again by --case. A case
opens a damaged slide and reads all its tiles, tiles it into a patch store, or loads a damaged
annotation. It may be read or be refused by an error of ours that names the file; anything else, and
anything that takes more than ten seconds of CPU time or two minutes, ends the run with its number.
"""

import argparse
import faulthandler
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from conftest import stained_slide, write_tiff
from gigaslide.cohort import CohortSlide
from gigaslide.patching import TileSettings, tile_slide
from gigaslide.storage import GigaslideError
from gigaslide.wsi import Annotation
from test_annotations_faults import CORPUS, ON_GLASS
from test_readers_fuzz import KINDS, changed, read_all

LIMIT_S, HANGS_S = 10.0, 120.0
SETTINGS = TileSettings(mpp=1.0, patch_px=75, centre_px=32, normal_per_slide=20)


def originals(folder: Path) -> dict[str, bytes]:
    """Whole files, by name."""
    for name, write in KINDS.items():
        write(folder / name)
    write_tiff(folder / "tiled.tif", stained_slide(1), level_sizes=((766, 564),), jpeg=True)
    slides = {name: (folder / name).read_bytes() for name in [*KINDS, "tiled.tif"]}
    return slides | CORPUS


def attempt(name: str, path: Path) -> None:
    if name in CORPUS:
        assert Annotation.load(path, slide=ON_GLASS).tumor.is_valid
    elif name == "tiled.tif":
        slide = CohortSlide(id="a", path=path, label="normal", mpp=0.5)
        outcome = tile_slide(slide, store=path.parent / f"{path.stem} store", settings=SETTINGS)
        assert outcome.status in ("done", "partial")
    else:
        read_all(path)


def case(number: int, *, seed: int, whole: dict[str, bytes], folder: Path) -> tuple[str, str]:
    rng = np.random.default_rng([seed, number])
    name = list(whole)[int(rng.integers(len(whole)))]
    path = folder / f"{number} {name}"
    path.write_bytes(changed(whole[name], rng))
    start = time.process_time()
    try:
        attempt(name, path)
        came = "read"
    except GigaslideError as error:
        came = "refused" if str(path) in str(error) else f"refused without its name: {error}"
    assert time.process_time() - start < LIMIT_S, "took too long"
    assert came in ("read", "refused"), came
    path.unlink()
    return name, came


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone")
    arguments = parser.parse_args()
    came: Counter = Counter()
    end = time.monotonic() + 60 * arguments.minutes
    number = arguments.case or 0
    with tempfile.TemporaryDirectory() as folder:
        whole = originals(Path(folder))
        while True:
            faulthandler.dump_traceback_later(HANGS_S, exit=True)
            (Path(folder) / "case").write_text(
                str(number)
            )  # stays where a case hangs and the process is ended
            try:
                came[case(number, seed=arguments.seed, whole=whole, folder=Path(folder))] += 1
            except BaseException:
                print(f"case {number} of seed {arguments.seed}:", flush=True)
                raise
            number += 1
            if arguments.case is not None or time.monotonic() > end:
                break
    for (name, what), times in sorted(came.items()):
        print(f"{name:<16} {what:<8} {times:>7}")


if __name__ == "__main__":
    main()
