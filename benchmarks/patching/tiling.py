"""Tiling against a plain loop, OpenSlide with zarr-python, hs2p and the limit; one worker against
two; Dask's share.

    python benchmarks/patching/tiling.py [--patches 10000] [--rounds 1] [--work FOLDER] [--only png]
    [--hs2p-python PYTHON]

The same balanced patches of the same phantoms, one process a contender, in turn. All figures go to
measured.jsonl in the work folder, and the medians of all that is there are printed: rounds and
contenders (--only) can be run singly. Ratios "per core" are of CPU seconds. The limit decodes every
tile that is needed once and compresses every patch, and does nothing else; files writes as many
bytes as ours in as many files. hs2p is asked for where the Python of an environment that has it is
given (pip install "hs2p[openslide]"); it keeps patches as JPEGs. Two limits at once, and two that
write files, tell what two processes of this machine can give.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import tilers
from figures import Figures

NAMES = (
    "ours-0",
    "png",
    "zarr",
    "hs2p",
    "limit",
    "limits-2",
    "files",
    "files-2",
    "ours-1",
    "ours-2",
    "planned",
)
TWICE = {"limits-2": "limit", "files-2": "files"}
OURS = "ours-0"


def run_one(name: str, options: argparse.Namespace) -> Figures:
    words = [
        name,
        "--work",
        str(options.work),
        "--patches",
        str(options.patches),
        "--planned",
        str(options.planned),
    ]
    if options.hs2p_python:
        words += ["--hs2p-python", str(options.hs2p_python)]
    done = subprocess.run([sys.executable, tilers.__file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_two(name: str, options: argparse.Namespace) -> Figures:
    """Two at once: seconds and CPU of one of them, on the mean."""
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run_one(name, options), range(2)))
    return {key: sum(one[key] for one in both) / 2 for key in both[0]}


def measure(options: argparse.Namespace, names: Iterable[str]) -> None:
    """Add a line to measured.jsonl for each."""
    for name in names:
        if name == "hs2p" and not options.hs2p_python:
            continue
        row = run_two(TWICE[name], options) if name in TWICE else run_one(name, options)
        asked = options.planned if name == "planned" else options.patches
        with (options.work / "measured.jsonl").open("a") as file:
            file.write(json.dumps({"name": name, "asked": asked, **row}) + "\n")
        sys.stderr.write(
            f"{time.strftime('%H:%M:%S')} {name}: {row['seconds']:.1f} s, {row['cpu']:.1f} s of "
            "CPU\n"
        )


def medians(options: argparse.Namespace) -> dict[str, Figures]:
    """Medians of each contender's figures, and the number of rounds."""
    lines = [
        json.loads(line) for line in (options.work / "measured.jsonl").read_text().splitlines()
    ]
    found = {}
    for name in NAMES:
        asked = options.planned if name == "planned" else options.patches
        rows = [line for line in lines if (line["name"], line["asked"]) == (name, asked)]
        if rows:
            numbers = {
                key: median(row[key] for row in rows)
                for key in rows[0]
                if key not in ("name", "asked")
            }
            found[name] = {**numbers, "rounds": len(rows)}
    return found


def table(found: dict[str, Figures]) -> str:
    out = [f"{'':<10}{'patches':>8}{'seconds':>9}{'CPU s':>8}{'ms CPU a patch':>16}{'rounds':>8}"]
    out += [
        f"{name:<10}{row['patches']:>8.0f}{row['seconds']:>9.1f}{row['cpu']:>8.1f}"
        f"{1000 * row['cpu'] / row['patches']:>16.2f}{row['rounds']:>8.0f}"
        for name, row in found.items()
        if name != "planned"
    ]
    return "\n".join(out)


def ratios(found: dict[str, Figures]) -> list[str]:
    """One line each, of what was measured."""
    out = []
    words = {
        "png": "OpenSlide and PNG files",
        "zarr": "OpenSlide and zarr-python",
        "hs2p": "hs2p (JPEGs in tar files)",
    }
    for name, what in words.items():
        if {name, OURS} <= found.keys():
            cpu, clock = (found[name][key] / found[OURS][key] for key in ("cpu", "seconds"))
            out.append(f"over {what}: {cpu:.1f} × per core, {clock:.1f} × by the clock")
    if {"limit", OURS} <= found.keys():
        row = found["limit"]
        out.append(
            f"of the limit: {row['cpu'] / found[OURS]['cpu']:.0%} ({row['tiles']:.0f} tiles "
            f"decoded for {row['patches']:.0f} patches)"
        )
    if {"ours-1", "ours-2"} <= found.keys():
        one, two = found["ours-1"], found["ours-2"]
        out.append(
            f"two workers over one: {one['steady'] / two['steady']:.2f} × from the first plan on"
        )
        # Two workers' seconds had their tasks taken as long as one worker's: what is left to lose
        # is the batch's own.
        alone = two["steady"] - (two["in_tasks"] - one["in_tasks"]) / 2
        out.append(
            f"the same tasks took {two['in_tasks'] / one['in_tasks']:.2f} × as long beside each "
            "other as alone (cores, memory, disk); had they not, it would be "
            f"{one['steady'] / alone:.2f} ×"
        )
        share = 1 - one["in_tasks"] / one["steady"]
        out.append(f"one worker's time outside of tasks, from the first plan on: {share:.1%}")
    for two, one, what in (
        ("limits-2", "limit", "decode and compress"),
        ("files-2", "files", "write the files"),
    ):
        if {one, two} <= found.keys():
            speed = 2 * found[one]["seconds"] / found[two]["seconds"]
            out.append(
                f"two processes that only {what}, over one: {speed:.2f} × (what this machine can "
                "give)"
            )
    if "planned" in found:
        row = found["planned"]
        out.append(
            f"{row['patches']:.0f} planned patches, {row['blocks']:.0f} blocks: start-up "
            f"{row['start_up']:.1f} s, client and scheduler grow by {row['grown_mb']:.0f} MB, "
            f"{row['ms_a_task']:.1f} ms an empty task"
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slides", type=int, default=16)
    parser.add_argument(
        "--size-px", type=int, default=8000, help="side of each phantom (level-0 px)"
    )
    parser.add_argument("--patches", type=int, default=10_000, help="about so many in all")
    parser.add_argument(
        "--planned", type=int, default=1_000_000, help="patches of the run that does nothing"
    )
    parser.add_argument("--rounds", type=int, default=1, help="0 prints what was measured before")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument(
        "--work", type=Path, help="folder for what is made and measured; a temporary one by default"
    )
    parser.add_argument("--hs2p-python", type=Path, help="Python of an environment with hs2p")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gigaslide-bench-") as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        tilers.draw(options.work, slides=options.slides, size_px=options.size_px)
        for _ in range(options.rounds):
            measure(options, options.only)
        found = medians(options)
    sys.stdout.write("\n".join([table(found), *ratios(found)]) + "\n")


if __name__ == "__main__":
    main()
