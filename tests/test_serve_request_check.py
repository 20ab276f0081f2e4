"""Messages of the command line in the words of a request."""

from pathlib import Path

import pytest
from gigaslide.inference import PredictSettings
from gigaslide.serve import ServedModel
from gigaslide.serve.jobs.request_check import in_words_of_requests


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("give --slide-mpp, or --allow-upsampling", "settings.slide_mpp, or settings.allow_"),
        ("(--mode)", "(settings.mode)"),
        ("--model --mode-x --modes", "--model --mode-x --modes"),  # no settings of a request
    ],
)
def test_options_become_settings_and_longer_names_stay(words, expected):
    model = ServedModel(id="m", hash="h", folder=Path("m"), card={}, settings=PredictSettings)
    assert expected in in_words_of_requests(words, model)
