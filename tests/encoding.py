"""Features of slides by an encoder without a network, in any process.

As a file:  python encoding.py COHORT.csv FOLDER EVERY  encodes in children that are killed at
changes to the disk, each continued here; prints a line of JSON for each kill. It forks, which wants
a process without threads.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gigaslide.batch import SILENT, BatchSettings, BatchSummary, Listener
from gigaslide.cohort import Cohort
from gigaslide.inference import FeatureSettings, extract_features
from gigaslide.inference.features import extract as extract_module
from gigaslide.inference.features.blocks import FeatureBlocks
from gigaslide.models import Encoder, EncoderCard, EncoderDescription
from predicting import digest
from sums import killed_at

PX = 64
CARD = EncoderCard(name="colours", patch_px=PX, mpp=0.5)
A_BLOCK = 24  # windows
SETTINGS = FeatureSettings(encoder="colours", batch_size=8)
NEVER = 10**9


def colours(patches: np.ndarray) -> np.ndarray:
    """Red in the upper half, green in the left half, blue in all: swapped axes are seen."""
    half = PX // 2
    parts = patches[:, :half, :, 0], patches[:, :, :half, 1], patches[..., 2]
    return np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1)


@dataclass(frozen=True, kw_only=True)
class StandInBlocks(FeatureBlocks):
    """`FeatureBlocks` whose encoder is a function of this module, so that it travels."""

    block_px: int = A_BLOCK * PX**2
    encode: Callable[[np.ndarray], np.ndarray] = colours

    def load_encoder(self) -> Encoder:
        return Encoder(card=self.encoder.card, encode=self.encode, hash=self.encoder.hash)


def encode_slides(
    cohort: Cohort,
    out: Path,
    settings: FeatureSettings = SETTINGS,
    *,
    hash_: str = "h",
    card: EncoderCard = CARD,
    blocks: dict | None = None,
    on_block=SILENT.on_block,
    **batch,
) -> BatchSummary:
    """blocks: fields of `StandInBlocks`; batch: as for `BatchSettings`."""
    found = EncoderDescription(card=card, hash=hash_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_module, "describe_encoder", lambda _: found)
        patch.setattr(
            extract_module,
            "FeatureBlocks",
            lambda **made: StandInBlocks(**made, **(blocks or {})),
        )
        return extract_features(
            cohort,
            out,
            settings,
            BatchSettings(**{"workers": 0, **batch}),
            listener=Listener(on_block=on_block),
        )


def resume(cohort: Cohort, out: Path) -> None:
    again = []
    summary = encode_slides(cohort, out, on_block=again.append)
    found = {"status": summary.exit_status, "digest": digest(out), "blocks": len(again)}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cohort, folder, every = Cohort.load(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    change, killed = 0, True
    while killed:
        out = folder / str(change)
        killed = killed_at(change, partial(encode_slides, cohort, out))
        killed_at(NEVER, partial(resume, cohort, out))
        change += every
