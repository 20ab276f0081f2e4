"""Counts in sentences."""

import pytest
from gigaslide.storage import format_count, pluralise


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 slides"), (1, "1 slide"), (2, "2 slides"), (21, "21 slides")]
)
def test_a_count_and_its_noun_agree(count, words):
    assert format_count(count, "slide") == words
    assert format_count(count, "patch", "patches") == words.replace("slides", "patches").replace(
        "slide", "patch"
    )
    assert pluralise(float(count), "slide") == words.split()[1]
