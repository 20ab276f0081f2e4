"""How fast FROC is resampled: 2 000 draws over 129 slides and 100 000 detections, and a plain loop beside it.

The peer is the loop over thresholds of the 2016 program, from which NCRF and MONAI derive, written anew from a
description of it: no code of theirs runs here. It asks every threshold of every detection, so its time grows with the
square of their number; both are timed on the same 4 000 detections, and ours on 100 000 too.

    python benchmarks/scoring.py
"""

import time
from collections.abc import Callable

import numpy as np
from gigaslide.eval import DEFINITIONS, Resampling, Verdicts, froc_curve
from gigaslide.eval.froc_draws import resampled_sensitivity

SLIDES, TUMOR_SLIDES, LESIONS = 129, 49, 225
RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RESAMPLES = 2000


def challenge(detections: int) -> Verdicts:
    """CAMELYON16's test set in numbers: a tenth of the lesions missed, the other detections false."""
    rng = np.random.default_rng(0)
    best = rng.beta(5, 1, LESIONS)
    best[rng.uniform(size=LESIONS) < 0.1] = np.nan
    false = detections - LESIONS
    return Verdicts(
        is_normal=np.arange(SLIDES) >= TUMOR_SLIDES,
        false_positive=rng.beta(1, 4, false),
        false_positive_slide=rng.integers(0, SLIDES, false),
        best=best,
        is_itc=np.zeros(LESIONS, bool),
        lesion_slide=rng.integers(0, TUMOR_SLIDES, LESIONS),
    )


def draw(verdicts: Verdicts) -> np.ndarray:
    ids = [str(index) for index in range(SLIDES)]
    return Resampling.draw(ids, [""] * SLIDES, ~verdicts.is_normal, resamples=RESAMPLES, seed=0).weights


def plain_loop(verdicts: Verdicts) -> float:
    """One evaluation: every threshold asked of every detection, then interpolated."""
    false = verdicts.false_positive.tolist()
    hits = np.nan_to_num(verdicts.best).tolist()
    per_slide, sensitivity = [], []
    for threshold in sorted(set(false + hits))[1:]:
        per_slide.append((np.asarray(false) >= threshold).sum() / SLIDES)
        sensitivity.append((np.asarray(hits) >= threshold).sum() / LESIONS)
    return float(np.mean(np.interp(RATES, [*per_slide, 0.0][::-1], [*sensitivity, 0.0][::-1])))


def seconds(work: Callable[[], object], *, times: int = 3) -> float:
    """The fastest of several runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    definition, rates = DEFINITIONS["gigaslide"], np.array(RATES)
    small, large = challenge(4000), challenge(100_000)
    loop = seconds(lambda: plain_loop(small), times=1)
    one = seconds(lambda: froc_curve(small, DEFINITIONS["camelyon16-e1"], rates=RATES))
    same = froc_curve(small, DEFINITIONS["camelyon16-e1"], rates=RATES).score
    print(f"one evaluation of 4 000 detections: plain loop {loop:.2f} s, ours {one * 1e3:.2f} ms, {loop / one:.0f} ×")
    print(f"both score {plain_loop(small):.6f} and {same:.6f}")
    for name, verdicts in (("4 000", small), ("100 000", large)):
        weights = draw(verdicts)
        taken = seconds(lambda v=verdicts, w=weights: resampled_sensitivity(v, definition, w, rates=rates))
        each = taken / RESAMPLES
        print(f"{RESAMPLES} resamples of {name} detections: {taken:.2f} s, {each * 1e3:.3f} ms each", end="")
        print(f", {loop / each:.0f} × the plain loop" if name == "4 000" else "")


if __name__ == "__main__":
    main()
