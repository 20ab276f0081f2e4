"""Published figures: only those that were read in their source."""

from dataclasses import asdict

from gigaslide.eval.report.references import REFERENCES


def test_only_figures_that_were_read_in_the_source_are_shown():
    rows = [asdict(one) for one in REFERENCES]
    shown = {(row["sensitivity"], row["false_positives_per_slide"]) for row in rows}
    assert shown == {(0.924, 8), (0.827, 8)}
    assert all("1703.02442" in row["source"] for row in rows)
    for row in rows:  # a count of the test set's 225 lesions
        assert abs(round(row["sensitivity"] * 225) / 225 - row["sensitivity"]) < 5e-4
