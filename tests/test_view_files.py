"""Files of the page: the bundled OpenLayers, its licences, and what the page may not contain."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "serve" / "static"
VENDOR = ROOT / "vendor"
OWN = sorted(STATIC.glob("*.js"))


def test_the_bundle_is_what_the_lock_file_builds(tmp_path):
    node = shutil.which("node")
    if node is None or not (VENDOR / "node_modules").is_dir():
        pytest.skip("needs node, and the packages that make vendor downloads")
    subprocess.run([node, VENDOR / "build.js", tmp_path], check=True, timeout=60)
    built = sorted(path.name for path in tmp_path.iterdir())
    assert built == sorted(path.name for path in (STATIC / "vendor").iterdir())
    for name in built:
        assert (tmp_path / name).read_bytes() == (STATIC / "vendor" / name).read_bytes(), name


def test_the_lock_file_names_no_host_and_pins_every_package():
    packages = json.loads((VENDOR / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    for name, facts in packages.items():
        assert "resolved" not in facts, name
        assert facts["integrity"].startswith("sha512-"), name


def test_the_licences_of_all_bundled_packages_are_shipped():
    text = (STATIC / "vendor" / "LICENSES.txt").read_text()
    heads = dict(re.findall(r"^(\S+) (\d+\.\d+\.\d+) \(.+\)$", text, re.MULTILINE))
    assert heads.keys() == {"ol", "rbush", "quickselect"}
    assert text.count("Copyright") >= len(heads)
    pinned = json.loads((VENDOR / "package.json").read_text())["dependencies"]
    assert heads["ol"] == pinned["ol"]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_a_module_is_short_and_asks_only_its_own_server(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 300
    addresses = set(re.findall(r"https?://[^'\"` )]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in text
    for imported in re.findall(r"from '([^']+)'", text):
        assert imported.startswith("./")
        assert (STATIC / imported).is_file(), imported


def test_every_module_is_used():
    imported = {
        name for path in OWN for name in re.findall(r"from '\./([^']+)'", path.read_text("utf-8"))
    }
    assert {path.name for path in OWN} == (imported | {"main.js"}) - {"vendor/ol.js"}


class Page(HTMLParser):
    """Addresses and inline code of a page, and the ids of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses, self.inline, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[name] for name in ("src", "href") if found.get(name)]
        self.inline += [name for name in found if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in found) else []
        self.ids += [found["id"]] if "id" in found else []


def test_the_page_has_relative_links_and_nothing_inline():
    page = Page()
    page.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    assert not page.inline
    for address in page.addresses:
        assert re.match(r"static/|#", address), address
        if address.startswith("static/"):
            assert (STATIC / address.removeprefix("static/")).is_file()
    assert len(page.ids) == len(set(page.ids))
    for path in OWN:
        named = re.findall(r"byId\('([a-z-]+)'\)", path.read_text(encoding="utf-8"))
        assert set(named) <= set(page.ids), path.name
