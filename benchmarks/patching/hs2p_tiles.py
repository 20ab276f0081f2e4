"""Tiles of a list, read and packed by hs2p in an environment of its own; `tiling.py` calls it.

    python benchmarks/patching/hs2p_tiles.py TILES.json OUT

TILES.json is a list of {slide, side_px, mpp, xy}. hs2p writes JPEGs into tar files (quality 90, by
Pillow); it has no lossless form. Prints one line of JSON: tiles, CPU seconds and seconds of
reading, encoding and writing them.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from hs2p import SegmentationConfig, SlideSpec, TilingConfig, tile_slide
from hs2p.tiling.tar import extract_tiles_to_tar


def result_of(row, name: str):
    """Return hs2p's result for the slide, with our tiles in place of its own."""
    tiling = TilingConfig(
        backend="openslide",
        requested_spacing_um=row["mpp"],
        requested_tile_size_px=row["side_px"],
        tolerance=0.05,
        overlap=0.0,
    )
    spec = SlideSpec(sample_id=name, image_path=Path(row["slide"]))
    found = tile_slide(spec, tiling=tiling, segmentation=SegmentationConfig(method="hsv"))
    xy = np.array(row["xy"], np.int64)
    tiles = replace(
        found.tiles,
        x=xy[:, 0],
        y=xy[:, 1],
        tissue_fractions=np.ones(len(xy), np.float32),
        tile_index=None,
    )
    return replace(found, tiles=tiles)


def main() -> None:
    rows, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    results = [result_of(row, f"{number}") for number, row in enumerate(rows)]
    start, cpu = time.perf_counter(), time.process_time()
    for result in results:
        extract_tiles_to_tar(result, out, num_workers=1)
    figures = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - start}
    sys.stdout.write(json.dumps({"patches": sum(len(row["xy"]) for row in rows), **figures}) + "\n")


if __name__ == "__main__":
    main()
