"""Plans of phantom slides for tests."""

from dataclasses import replace

from gigaslide.phantom import PhantomSlide


def planned(**changes) -> PhantomSlide:
    """Plan of a slide with tumour, neither square nor a multiple of a tile."""
    plan = PhantomSlide(
        slide_id="odd",
        label="tumor",
        patient="p",
        split="train",
        seed=5,
        index=3,
        width_px=1100,
        height_px=700,
        mpp=0.5,
    )
    return replace(plan, **changes)
