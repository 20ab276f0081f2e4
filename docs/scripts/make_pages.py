"""Write the sources of the site: docs/ as it is, and the pages that are made from something else.

    python docs/scripts/make_pages.py build/docs

The start page is README.md, the command reference comes from the command line's own settings, the
API reference from the docstrings of every room, and the tutorial is run. MkDocs reads the result.
"""

import argparse
import configparser
import re
import shutil
from pathlib import Path

from command_pages import command_page, commands_index
from gigaslide.cli.main import COMMANDS
from notebook_page import notebook_page

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
PAGES_AT_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(
        ROOT / "docs", out, ignore=shutil.ignore_patterns("scripts", "*.ipynb", "__pycache__")
    )
    for name, content in generated_pages().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for page in out.glob("*.md"):
        page.write_text(links_of_the_site(page.read_text(encoding="utf-8")), encoding="utf-8")
    link_rooms(out.parent / "rooms" / "gigaslide")


def generated_pages() -> dict[str, bytes]:
    """Return the content of every generated page and picture by its path in the site."""
    text, pictures = notebook_page(NOTEBOOK)
    pages = {"tutorial.md": text, "commands/index.md": commands_index(), "api/index.md": rooms()}
    pages |= {
        page: (ROOT / source).read_text(encoding="utf-8") for source, page in PAGES_AT_ROOT.items()
    }
    pages |= {f"commands/{name}.md": command_page(name) for name in COMMANDS}
    pages |= {
        f"api/{room}.md": f"# gigaslide.{room}\n\n::: gigaslide.{room}\n"
        for room in rooms_in_setup()
    }
    return {name: text.encode() for name, text in pages.items()} | pictures


def links_of_the_site(text: str) -> str:
    """Return Markdown with the links between files of the repository led to pages of the site."""
    text = re.sub(r"\]\((\.\./|docs/)", "](", text)
    for source, page in {**PAGES_AT_ROOT, NOTEBOOK.name: "tutorial.md"}.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text


def rooms_in_setup() -> list[str]:
    """Return the rooms with a public interface in the order of setup.cfg, lower rooms first."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    names = [name.split(".") for name in setup["options"]["packages"].split()]
    return [name[1] for name in names if len(name) == 2 and name[1] != "cli"]


def rooms() -> str:
    """Return the list of rooms, each with the first paragraph of its docstring."""
    lines = [
        "# API\n",
        "Each folder of the repository is a package with one interface, its `__init__.py`: import"
        " from there, as in `from gigaslide.wsi import open_slide`. Modules inside a package may"
        " change without notice.\n",
        "| package | contents |",
        "|---|---|",
    ]
    for room in rooms_in_setup():
        source = (ROOT / room / "__init__.py").read_text(encoding="utf-8")
        summary = " ".join(source.split('"""')[1].split("\n\n")[0].split())
        lines.append(f"| [`gigaslide.{room}`]({room}.md) | {summary} |")
    return "\n".join(lines) + "\n"


def link_rooms(package: Path) -> None:
    """Make a package of links to the rooms, from which mkdocstrings reads their sources.

    The repository's root is the package; read as one it would also hold tests and `.venv`.
    """
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for room in rooms_in_setup():
        (package / room).symlink_to(ROOT / room, target_is_directory=True)


if __name__ == "__main__":
    main()
