"""Find the card of an encoder that has none inside: given, beside its file, or by options."""

from pathlib import Path

from ...storage import ModelError
from .card import EncoderCard
from .source import EncoderSource

__all__ = ["load_card"]


def load_card(source: EncoderSource, path: Path | None = None) -> EncoderCard:
    """Load the card that was given, else NAME.json beside the encoder's file, if it has one; else
    a card of the options alone, for an encoder without a file.

    Raises:
        ModelError: no card, a damaged one, or one that an option contradicts.
    """
    given = {"patch_px": source.patch_px, "mpp": source.mpp}
    beside = path.with_suffix(".json") if path is not None else None
    if source.card is not None:
        card = EncoderCard.load(source.card, **given)
    elif beside is not None:
        if not beside.is_file():
            raise ModelError(
                f"{path}: has no card {beside.name} beside it; write one, as docs/features.md "
                "shows, or give it with --encoder-card"
            )
        card = EncoderCard.load(beside, **given)
    else:
        missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is None]
        if missing:
            raise ModelError(
                f"{source.encoder}: the size of its windows is unknown; give "
                f"{' and '.join(missing)}, or a card with --encoder-card"
            )
        card = EncoderCard.of_fields({}, source.encoder, **given)
    name = path.stem if path is not None else source.encoder
    return card if card.name else card.model_copy(update={"name": name})
