"""Speed of resampling FROC, and of one evaluation beside the nested loop of the 2016 program, in
one process.

The peer is the loop over thresholds of Evaluation_FROC.py, which NCRF runs and MONAI derives from,
written anew from a description of it: no code of theirs runs here. For each threshold it turns both
lists into arrays and asks every detection, so its time grows with the square of their number. Both
are timed on the same 4 000 detections; of 100 000 the peer does an even sample of its thresholds,
and its time is told as that sample's share of them all.

    python benchmarks/eval/scoring.py
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gigaslide.eval import PooledMatches, Resampling
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from froc_curves import NAMES, curve, resample

SLIDES, TUMOR_SLIDES, LESIONS = 129, 49, 225
RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RESAMPLES = 2000
SAMPLED = 100  # thresholds of 100 000


def challenge(detections: int) -> PooledMatches:
    """CAMELYON16's test set in numbers: a tenth of the lesions missed, the other detections
    false."""
    rng = np.random.default_rng(0)
    best = rng.beta(5, 1, LESIONS)
    best[rng.uniform(size=LESIONS) < 0.1] = np.nan
    false = detections - LESIONS
    return PooledMatches(
        is_normal=np.arange(SLIDES) >= TUMOR_SLIDES,
        false_positive=rng.beta(1, 4, false),
        false_positive_slide=rng.integers(0, SLIDES, false),
        best=best,
        is_itc=np.zeros(LESIONS, bool),
        lesion_slide=rng.integers(0, TUMOR_SLIDES, LESIONS),
    )


def draw(matches: PooledMatches) -> np.ndarray:
    ids = [str(index) for index in range(SLIDES)]
    return Resampling.draw(
        ids, [""] * SLIDES, ~matches.is_normal, resamples=RESAMPLES, seed=0
    ).weights


def plain_loop(matches: PooledMatches, *, every: int = 1) -> tuple[float, int]:
    """One evaluation: every threshold asked of every detection, then interpolated; and how many
    thresholds there are.

    Of `every` thresholds only one is asked; the score is then no score.
    """
    false = matches.false_positive.tolist()
    hits = [np.float32(p) for p in np.nan_to_num(matches.best)]
    per_slide, sensitivity = [], []
    thresholds = sorted({*false, *hits}, key=float)[1:]
    for threshold in thresholds[::every]:
        per_slide.append((np.asarray(false) >= threshold).sum() / SLIDES)
        sensitivity.append((np.asarray(hits) >= threshold).sum() / LESIONS)
    score = float(np.mean(np.interp(RATES, [*per_slide, 0.0][::-1], [*sensitivity, 0.0][::-1])))
    return score, len(thresholds)


def seconds(work: Callable[[], object], *, times: int = 3) -> float:
    """CPU seconds, the fewest of several runs."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def evaluations() -> None:
    small, large = challenge(4000), challenge(100_000)
    loop = seconds(lambda: plain_loop(small), times=1)
    one = seconds(lambda: curve(small, "camelyon16-e1"), times=9)
    score, ours = plain_loop(small)[0], curve(small, "camelyon16-e1").score
    print(
        "one evaluation, camelyon16-e1 with its interpolated score, beside the 2016 program's "
        "algorithm"
    )
    print(
        f"    4 000 detections: nested loop {loop:.2f} s, ours {one * 1e3:.2f} ms: "
        f"{loop / one:.0f} ×"
    )
    print(f"    both score {score:.9f} and {ours:.9f}")
    thresholds = plain_loop(large, every=10**9)[1]
    every = thresholds // SAMPLED
    idle = seconds(lambda: plain_loop(large, every=10**9), times=1)
    sampled = seconds(lambda: plain_loop(large, every=every), times=1) - idle
    loop = idle + sampled * every
    one = seconds(lambda: curve(large, "camelyon16-e1"), times=9)
    print(
        f"  100 000 detections: nested loop {loop:.0f} s (from {thresholds // every} of "
        f"{thresholds} thresholds), ours {one * 1e3:.1f} ms: {loop / one:.0f} ×"
    )


def resamples() -> None:
    print(f"{RESAMPLES} resamples over {SLIDES} slides, one core")
    for count in (4000, 100_000):
        matches = challenge(count)
        weights = draw(matches)
        for name in NAMES:
            taken = seconds(lambda m=matches, n=name, w=weights: resample(m, n, w), times=1)
            print(
                f"  {count:7} detections, {name:14}: {taken:.2f} s, {taken / RESAMPLES * 1e3:.3f} "
                "ms each"
            )


def main() -> None:
    with threadpool_limits(1):
        evaluations()
        resamples()


if __name__ == "__main__":
    main()
