"""Make a cohort with a further finding of each slide: benign glands, yes or no.

The glands are outlines in a GeoJSON file of each slide, with the grade in their metadata.

    python benchmarks/studies/gland_findings.py cohort.csv glands cohort_glands.csv
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from gigaslide.cohort import Cohort


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("glands", type=Path, help="folder with the outlines of all glands")
    parser.add_argument("out", type=Path, help="a cohort CSV with the column benign_glands")
    arguments = parser.parse_args()
    slides = []
    for slide in Cohort.load(arguments.cohort):
        path, answer = arguments.glands / f"{slide.id}.geojson", ""  # unknown without outlines
        if path.exists():
            outlines = json.loads(path.read_text())["features"]
            grades = {one["properties"].get("metadata", {}).get("grade") for one in outlines}
            answer = "yes" if "benign" in grades else "no"
        slides.append(replace(slide, further=(*slide.further, ("benign_glands", answer))))
    Cohort.of_rows(slides).save(arguments.out)
    answers = [slide.column("benign_glands") for slide in slides]
    print(f"{arguments.out}: {answers.count('yes')} of {len(slides)} slides have benign glands")


if __name__ == "__main__":
    main()
