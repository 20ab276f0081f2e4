"""Every link of a built site leads somewhere, and no page needs the network.

    python docs/scripts/check_site.py site

Follows links to files and to anchors; addresses of other sites are not fetched. Prints what is
broken and exits with 1.
"""

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ELSEWHERE = ("http", "https", "mailto")


class Page(HTMLParser):
    """Anchors and links of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.resources: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a":
            self.links |= {found["href"]} if "href" in found else set()
        else:
            self.resources |= {found[name] for name in ("href", "src") if name in found}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("site", type=Path)
    site: Path = parser.parse_args().site.resolve()
    # 404.html is for servers: its links start at their root.
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    broken = [line for path in sorted(pages) for line in problems(path, pages, site)]
    links = sum(len(page.links) + len(page.resources) for page in pages.values())
    sys.stdout.write("".join(f"{line}\n" for line in broken))
    sys.stdout.write(f"{site}: {len(pages)} pages, {links} links, {len(broken)} broken\n")
    return 1 if broken or not pages else 0


def problems(path: Path, pages: dict[Path, Page], site: Path) -> list[str]:
    """Return a line for each broken link of a page, and for each resource from the network."""
    page, found = pages[path], []
    for link in sorted(page.links | page.resources):
        parts = urlsplit(link)
        if parts.scheme == "data" or (parts.scheme in ELSEWHERE and link in page.links):
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target = target / "index.html"
        if parts.scheme or parts.netloc:
            reason = "needs the network"
        elif not target.is_file():
            reason = "does not exist"
        elif (
            parts.fragment
            and target in pages
            and unquote(parts.fragment) not in pages[target].anchors
        ):
            reason = "has no such anchor"
        else:
            continue
        found.append(f"{path.relative_to(site)}: {link} {reason}")
    return found


if __name__ == "__main__":
    sys.exit(main())
