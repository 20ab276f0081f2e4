"""A notebook as a page of the site, with the outputs that its cells give now."""

import ast
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Run a notebook in this process; return its Markdown and its pictures by file name.

    A cell's output is the value of its last line, as in Jupyter; what cells print is not shown.
    """
    parts, pictures, names = [], {}, {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        value = run_cell(source, names)
        if isinstance(value, Figure):
            name = f"{path.stem}-{len(pictures) + 1}.png"
            pictures[name] = png_of(value)
            parts.append(f"![The figure that the cell above draws]({name})")
        elif value is not None:
            parts.append(shown(value))
    return "\n\n".join(parts) + "\n", pictures


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell with the names of those before it; return the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def png_of(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
    return content.getvalue()


def shown(value: Any) -> str:
    """Return a value as HTML where it has such a form, else as a block of text."""
    if hasattr(value, "_repr_html_"):
        html = "\n".join(line.strip() for line in value._repr_html_().splitlines() if line.strip())
        return f'<div class="notebook-output">{html}</div>'
    return f"```text\n{value!r}\n```"
