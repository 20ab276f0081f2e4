"""Cross-validate probes by patient: stain normalisation, and penalty of the coefficients.

Patients of the splits train and validation are left out one after another; a probe that saw the
others scores their patches. Patients of other splits are never looked at. Printed for each: the
AUC over all patches, the AUC with every slide and class of equal weight, and the slide AUC by the
highest score of a slide.

    python benchmarks/studies/probe.py STORE study-weights/efficientnet_lite0.weights.h5
"""

import argparse
from pathlib import Path

import numpy as np
from gigaslide.models import build_network, fill_network, prepare_keras
from gigaslide.patching import PatchStore
from gigaslide.training import Sampler, TrainSettings
from gigaslide.wsi import CLASSES
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

STAINS = (None, "reinhard", "hsd", "macenko")
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
SPLITS = ("train", "validation")
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("weights", help="initial weights")
    parser.add_argument("--architecture", default="efficientnet_lite0")
    parser.add_argument("--most", type=int, default=120, help="patches of a slide and class")
    arguments = parser.parse_args()
    store = PatchStore(arguments.store)
    prepare_keras()
    extract = make_extractor(store, arguments.architecture, arguments.weights)
    print("stain     penalty  patches  balanced  slides")
    for stain in STAINS:
        features, labels, slides = read_features(store, extract, stain, arguments.most)
        patients = {slide.id: slide.patient or slide.id for slide in store.slides}
        groups = np.array([patients[slide] for slide in slides])
        for penalty in PENALTIES:
            scores = score_left_out(features, labels, slides, groups, penalty)
            figures = measure(scores, labels, slides)
            print(f"{stain or 'none':9} {penalty:7g}  " + "   ".join(f"{f:.3f}" for f in figures))


def make_extractor(store: PatchStore, architecture: str, weights: str):
    """Return a function from patches to features (N, F)."""
    import keras

    settings = TrainSettings(initial_weights=weights, architecture=architecture)
    options = settings.network_options(store.input_spec).model_dump()
    spec = store.input_spec.finest
    network = build_network(architecture, spec, options)
    fill_network(network, architecture, weights)
    to_features = keras.Model(network.input, network.layers[-1].input)

    def extract(patches: np.ndarray) -> np.ndarray:
        spare = np.zeros((BATCH - len(patches), *patches.shape[1:]), np.uint8)
        found = to_features.predict_on_batch(np.concatenate([patches, spare]))
        return np.asarray(found)[: len(patches)]

    return extract


def read_features(store: PatchStore, extract, stain, most: int):
    """Return features (N, F), labels (N,) and slide ids (N,) of up to so many patches of each slide
    and class, chosen at random."""
    features, labels, slides = [], [], []
    for slide in store.slides:
        if slide.split not in SPLITS:
            continue
        sampler = Sampler(
            store=store,
            split=slide.split,
            spec=store.input_spec.finest,
            batch_size=BATCH,
            seed=0,
            augment=None,
            stain=stain,
        )
        for label, name in enumerate(CLASSES):
            rows = np.random.default_rng(0).permutation(slide.counts.get(name, 0))[:most]
            places = [(slide.id, name, int(row)) for row in rows]
            for first in range(0, len(places), BATCH):
                features.append(extract(sampler.read(places[first : first + BATCH])))
            labels += [label] * len(places)
            slides += [slide.id] * len(places)
    return np.concatenate(features), np.array(labels), np.array(slides)


def weigh(labels: np.ndarray, slides: np.ndarray) -> np.ndarray:
    """Weigh patches as the sampler draws them: classes alike, then slides."""
    weights = np.zeros(len(labels))
    for label in np.unique(labels):
        of_class = np.unique(slides[labels == label])
        for slide in of_class:
            chosen = (labels == label) & (slides == slide)
            weights[chosen] = 1 / (len(of_class) * chosen.sum())
    return weights / weights.sum()


def score_left_out(features, labels, slides, groups, penalty: float) -> np.ndarray:
    """Score each patch by a probe that saw no patch of its group."""
    scores = np.zeros(len(labels))
    for group in np.unique(groups):
        out = groups == group
        seen = ~out
        scaler = StandardScaler().fit(features[seen])
        fit = LogisticRegression(C=1 / penalty, max_iter=500).fit(
            scaler.transform(features[seen]),
            labels[seen],
            sample_weight=weigh(labels[seen], slides[seen]),
        )
        scores[out] = fit.decision_function(scaler.transform(features[out]))
    return scores


def measure(scores, labels, slides) -> tuple[float, float, float]:
    ids = np.unique(slides)
    highest = [scores[slides == one].max() for one in ids]
    has_tumor = [labels[slides == one].any() for one in ids]
    return (
        roc_auc_score(labels, scores),
        roc_auc_score(labels, scores, sample_weight=weigh(labels, slides)),
        roc_auc_score(has_tumor, highest),
    )


if __name__ == "__main__":
    main()
