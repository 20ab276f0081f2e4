"""Published figures: what they must agree with among themselves."""

import json

import pytest
from gigaslide.eval import REFERENCES
from gigaslide.eval.report.references import reference_rows

LESIONS = 225  # countable ones of CAMELYON16's test set


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: r.name)
def test_a_published_sensitivity_is_a_count_of_225_lesions(reference):
    found = round(reference.sensitivity * LESIONS)
    assert round(found / LESIONS, 3) == pytest.approx(reference.sensitivity, abs=5e-4)
    assert reference.froc_score <= reference.sensitivity <= 1
    if reference.froc_low is not None:
        assert reference.froc_low < reference.froc_score < reference.froc_high


def test_only_what_was_read_in_the_source_is_called_confirmed():
    rows = json.loads(json.dumps(reference_rows()))
    confirmed = {(row["name"], name, row[name]) for row in rows for name in row["confirmed"]}
    assert confirmed == {
        ("ensemble of 3", "sensitivity", 0.924),
        ("challenge winner", "sensitivity", 0.827),
    }
    assert {row["slides"] for row in rows} == {"CAMELYON16 test set, 129 slides"}


def test_the_pathologist_is_marked_at_no_false_positive_and_models_at_eight():
    marks = {reference.name: reference.mark for reference in REFERENCES}
    assert sorted(marks.values())[0] == (0, 0.733)
    assert marks["ensemble of 3"] == (8, 0.924)
    assert marks["challenge winner"] == (8, 0.827)
