"""Table of ablations: trainings that differ from the default in one setting, over seeds and folds
of patients.

The patients of splits train and validation are divided into folds; each fold is predicted, in one
orientation, by networks that saw none of its patients. Training needs a validation, for which a few
patients of the next fold serve; it comes once, after the last example, so that it chooses nothing.
Patients of split test are never looked at. Everything is done by the commands of gigaslide, so a
run that was stopped continues, and every model, prediction and report stays in OUT.

    python benchmarks/studies/ablations.py ../shared/data/colon/cohort.csv OUT --mpp 0.6206
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from gigaslide.patching import AugmentSettings

GIGASLIDE = Path(sys.executable).with_name("gigaslide")
FIGURES = ("patch_auc", "slide_auc", "froc")
COLOURS = {"brightness", "saturation", "hue", "contrast", "stain", "stain_shift"}

TRAININGS: dict[str, list[str]] = {
    "default": [],
    "pixels as scanned": ["--stain", "none"],
    "Macenko instead of Reinhard": ["--stain", "macenko"],
    "colours of the paper": [
        f"--augment.{name}={value:g}"
        for name, value in AugmentSettings().model_dump(include=COLOURS).items()
    ],
    "two scales": ["--scales", "{mpp}", "--scales", "{coarser}"],
    "half the filters": ["--widths", "0.5"],
    "inception_v3_small": ["--architecture", "inception_v3_small"],
    "recipe paper, shrunk by 2": ["--recipe", "paper", "--shrink", "2"],
    "mean of the weights": ["--average", "0.99"],
    "learning rate 0.0005": ["--learning-rate", "0.0005"],
}
"""Options of `gigaslide train` by the name in the table."""
ALSO_IN_EIGHT = ("default", "probe")
"""Predicted in eight orientations too, and by the networks of all seeds together."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mpp", type=float, required=True, help="µm/px of the patches")
    parser.add_argument("--examples", type=int, default=12_000, help="of every training (patches)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=3, help="groups of patients")
    parser.add_argument("--first-folds", type=int, help="folds to predict; default: all")
    parser.add_argument("--weights", type=Path, help="pretrained weights; adds a probe")
    parser.add_argument("--only", nargs="*", help="names of the table's rows")
    arguments = parser.parse_args()
    study = Study(arguments)
    for fold in range(arguments.first_folds or arguments.folds):
        for seed in range(arguments.seeds):
            for name in study.trainings:
                study.measure(name, seed, fold)
            study.print_table()
        for name in ALSO_IN_EIGHT:
            if name in study.trainings and arguments.seeds > 1:
                study.add_ensemble(name, fold)
                study.print_table()


class Study:
    """Stores, models, predictions and figures of the trainings below one folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.cohort, self.out = arguments.cohort.resolve(), arguments.out
        self.mpp, self.examples = arguments.mpp, arguments.examples
        self.folds, self.seeds = arguments.folds, arguments.seeds
        self.trainings = dict(TRAININGS)
        if arguments.weights:
            # Its examples are those of the recipe: each is seen once.
            probe = ["--recipe", "probe", "--initial-weights", str(arguments.weights)]
            self.trainings["probe"] = [*probe, "--examples", "8000"]
        if arguments.only:
            self.trainings = {name: self.trainings[name] for name in arguments.only}
        self.figures: dict[str, dict[int, list[dict[str, float]]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def measure(self, name: str, seed: int, fold: int) -> None:
        """Train, predict and score one training; keep its figures."""
        store, cohort = self.tile(fold)
        model = self.folder(name, fold) / f"seed_{seed}"
        options = [o.format(mpp=self.mpp, coarser=2 * self.mpp) for o in self.trainings[name]]
        if "--examples" not in options:
            options += ["--examples", str(self.examples)]
        options += ["--validate-every", str(self.examples)]
        run("train", store, model, "--seed", seed, *options)
        self.score(
            name,
            seed,
            cohort,
            model,
            self.out / "predictions" / slug(name, fold, seed, 1),
            "--orientations",
            "1",
        )
        if name in ALSO_IN_EIGHT:
            self.score(
                f"{name}, eight orientations",
                seed,
                cohort,
                model,
                self.out / "predictions" / slug(name, fold, seed),
            )

    def add_ensemble(self, name: str, fold: int) -> None:
        """Predict with the networks of all seeds together, in eight orientations."""
        _, cohort = self.tile(fold)
        predictions = self.out / "predictions" / slug("ensemble", name, fold, self.seeds)
        models = self.folder(name, fold)
        self.score(f"{name}, ensemble of {self.seeds}", 0, cohort, models, predictions)

    def score(
        self, name: str, seed: int, cohort: Path, model: Path, predictions: Path, *options: str
    ) -> None:
        run("predict", cohort, model, predictions, *options)
        report = self.out / "reports" / predictions.name
        run("evaluate", cohort, predictions, report)
        metrics = json.loads((report / "metrics.json").read_text())
        metrics["froc"] = metrics["froc"]["gigaslide"]["score"]
        self.figures[name][seed].append({key: metrics[key]["value"] for key in FIGURES})

    def folder(self, name: str, fold: int) -> Path:
        return self.out / "models" / slug(name, fold)

    def tile(self, fold: int) -> tuple[Path, Path]:
        """Return the store of a fold and its cohort, in which the fold's patients are the test."""
        cohort, store = self.out / f"fold_{fold}.csv", self.out / f"store_{fold}"
        if not cohort.exists():
            self.write_cohort(fold, cohort)
        further = ["--further-mpp", str(2 * self.mpp)]
        run("tile", cohort, store, "--mpp", self.mpp, *further)
        return store, cohort

    def write_cohort(self, fold: int, path: Path) -> None:
        with self.cohort.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
        groups = divide_patients(rows, self.folds)
        following = groups[(fold + 1) % self.folds]
        splits = dict.fromkeys(groups[fold], "test") | dict.fromkeys(
            choose_validation(rows, following), "validation"
        )
        for row in rows:
            row["split"] = splits.get(row["patient"], "train")
            for column in ("slide", "annotation"):
                if row[column]:
                    row[column] = str(self.cohort.parent / row[column])
        self.out.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def print_table(self) -> None:
        """Print mean ± standard deviation over seeds; of each seed, the mean over the folds."""
        print("\n| training | patch AUC | slide AUC | FROC |\n|---|---|---|---|")
        for name, of_seeds in self.figures.items():
            cells = [
                spread([statistics.fmean(f[key] for f in folds) for folds in of_seeds.values()])
                for key in FIGURES
            ]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def divide_patients(rows: list[dict[str, str]], folds: int) -> list[list[str]]:
    """Divide patients into folds with equal numbers of tumour and of normal slides, as far as that
    goes: largest patients first, each to the fold with the fewest slides of its labels."""
    labels: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        labels[row["patient"]].append(row["label"])
    groups: list[list[str]] = [[] for _ in range(folds)]
    counts = [defaultdict(int) for _ in range(folds)]
    for patient in sorted(labels, key=lambda p: (-len(labels[p]), p)):
        fold = min(range(folds), key=lambda n: (sum(counts[n][x] for x in labels[patient]), n))
        groups[fold].append(patient)
        for label in labels[patient]:
            counts[fold][label] += 1
    return groups


def choose_validation(rows: list[dict[str, str]], patients: list[str]) -> list[str]:
    """Return the fewest patients, smallest first, whose slides are of both labels."""
    chosen: list[str] = []
    sizes = {p: sum(row["patient"] == p for row in rows) for p in patients}
    for patient in sorted(patients, key=lambda p: (sizes[p], p)):
        chosen.append(patient)
        if len({row["label"] for row in rows if row["patient"] in chosen}) == 2:
            break
    return chosen


def spread(values: list[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def slug(*parts: object) -> str:
    return "-".join(str(part).replace(" ", "_").replace(",", "") for part in parts)


def run(*command: object) -> None:
    done = subprocess.run(
        [GIGASLIDE, *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"gigaslide {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
