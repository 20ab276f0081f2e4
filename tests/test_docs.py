"""The documentation agrees with the command line, and its checker finds broken links."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gigaslide.cli.main import COMMANDS, build_app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_DASK = {"--nthreads", "--nworkers"}


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of every `gigaslide …` line in the page's blocks of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines():
            if line.startswith("gigaslide "):
                yield shlex.split(line, comments=True)[1:]


LINES = dict.fromkeys((page.name, tuple(words)) for page in PAGES for words in command_lines(page))


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=f"{page}: {' '.join(words)}") for page, words in LINES]
)
def test_every_command_line_in_the_documentation_is_understood(words):
    assert words[0] in COMMANDS
    build_app(words[0]).parse_args(words, exit_on_error=False, print_error=False)


def test_the_table_of_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    named = {word for row in rows for code in re.findall("`(.*?)`", row) for word in code.split()}
    assert set(COMMANDS) - named == set()


def test_the_table_of_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in PAGES if page.parent.name == "docs"}
    assert pages - set(re.findall(r"\(docs/([\w.-]+)", text)) == set()


def options_of(app) -> Iterator[str]:
    for word in app:
        if not word.startswith("-"):
            yield from options_of(app[word])
    if app.default_command:
        for argument in app.assemble_argument_collection():
            yield from argument.names


def test_every_option_in_the_text_exists():
    known = {name for command in COMMANDS for name in options_of(build_app(command)[command])}
    known |= {"--help", "--help-all", "--config", "--dry-run", "--verbose", *OF_DASK}
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        spans = re.findall(r"`(?:gigaslide [^`]*)?(--[a-z][^`]*)`", prose)
        options = {o for s in spans for o in re.findall(r"(?:^|\s)(--[a-z][a-z0-9.-]*)", s)}
        unknown = {o for o in options if o not in known and ".groups." not in f".{o[2:]}"}
        assert not unknown, page.name


def test_every_script_that_a_page_names_exists():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"python ((?:benchmarks|docs|tests)/[\w/]+\.py)", text))
        assert not {path for path in named if not (ROOT / path).exists()}, page.name


PAGE = '<a id="here"></a><a href="{}">x</a><img src="{}">'


@pytest.mark.parametrize(
    ("link", "picture", "reason"),
    [
        ("b.html", "p.png", ""),
        ("b.html#here", "data:image/png;base64,", ""),
        ("https://example.org/", "p.png", ""),
        ("c.html", "p.png", "c.html does not exist"),
        ("b.html#there", "p.png", "b.html#there has no such anchor"),
        ("b.html", "https://example.org/p.png", "needs the network"),
    ],
)
def test_the_link_checker_finds_what_is_broken(tmp_path, link, picture, reason):
    (tmp_path / "a.html").write_text(PAGE.format(link, picture), encoding="utf-8")
    (tmp_path / "b.html").write_text(PAGE.format("#here", "p.png"), encoding="utf-8")
    (tmp_path / "p.png").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, ROOT / "docs/scripts/check_site.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if reason else 0)
    assert reason in done.stdout
    assert done.stdout.count("a.html:") == (1 if reason else 0)


def test_names_that_contributing_gives_with_a_path_are_defined_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z]\w*/[\w/]+\.py)`, `([\w.]+)`", text)
    registries = re.findall(r"`(\w+)` in `([a-z]\w*/[\w/]+\.py)`", text)
    assert len(named) > 15
    assert len(registries) > 5
    for path, name in [*named, *((path, name) for name, path in registries)]:
        source = (ROOT / path).read_text(encoding="utf-8")
        for part in name.split("."):
            defined = rf"^\s*(def|class) {part}\b|^{part}\b.* = "
            assert re.search(defined, source, re.M), f"{path}: {name}"


def test_paths_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w.]+/[\w./*-]*|[\w.-]+\.(?:cfg|md))`", text))
    assert len(paths) > 30
    missing = {path for path in paths if not list(ROOT.glob(path.rstrip("/")))}
    assert not missing - {"../shared/data"}


def test_the_site_has_a_page_for_every_command():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"- commands/{name}.md" not in nav] == []
