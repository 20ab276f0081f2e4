"""The tutorial notebook runs from top to bottom, as a kernel would, and says what it shows."""

import ast
import json
from pathlib import Path

import matplotlib.figure
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def shown() -> list:
    """What each code cell displays: the value of its last line, if that is an expression."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names, values = {}, []
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # kept without, so that changes can be read
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, NOTEBOOK.name, "exec"), names)
            values.append(
                None
                if last is None
                else eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
            )
    return values


def test_the_notebook_runs_and_its_figures_are_those_counted_by_hand(shown):
    report = next(value for value in shown if hasattr(value, "froc"))
    assert (
        report.figures.countable_lesions == 4
    )  # s1 two, s3 one and isolated cells, s5 one of two boxes
    # Of four lesions three are found, at .97, .88 and .64; false: .71, .42, .35 on six slides.
    assert report.froc.curve.sensitivity.tolist() == [0.75, 0.75, 0.75, 0.5, 0.5, 0.25, 0]
    assert report.froc.score.value == pytest.approx(0.75)
    assert report.auc.value == pytest.approx(8 / 9)  # only .64 on s5 ranks below .71 on s6
    assert "FROC, liu2017" in report._repr_html_()


def test_the_notebook_shows_a_plot_tables_and_a_score_by_mask(shown):
    assert sum(isinstance(value, matplotlib.figure.Figure) for value in shown) == 1
    assert sum(hasattr(value, "to_html") for value in shown) == 4
    assert shown[-1] == 1
