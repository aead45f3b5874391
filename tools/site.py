"""Build the lessons, the guides and the API into static pages, and check them: `make site`.

The pages lie in site/ and need no network. A warning of Sphinx is a fault, and so is a link or picture that leads
nowhere, whatever a browser would fetch from elsewhere, and a source file that was copied.
Exit status 0 built, 1 faults, 2 packages are missing."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
WORK = ROOT / "build" / "site"  # Sphinx's memory of what it has read
PACKAGES = ("sphinx", "furo", "myst_parser", "sphinx-mathjax-offline")
# What a browser fetches without being asked; a link is followed by the reader.
ASSETS = {("script", "src"), ("img", "src"), ("source", "src"), ("source", "srcset"), ("iframe", "src"),
          ("video", "src"), ("object", "data"), ("link", "href")}
STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """What a page names: its anchors, what it links to, and what it fetches."""

    def __init__(self, file: Path):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)
            elif (tag, name) in ASSETS and value:
                self.assets.append(value)


def from_elsewhere(address: str) -> bool:
    """Whether a browser would ask the network for this address."""
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ws", "wss", "ftp")


def page_faults(file: Path, pages: dict[Path, Page]) -> list[str]:
    """What is wrong with one page: links and pictures that lead nowhere, assets from elsewhere."""
    page, faults = pages[file], []
    for address in page.assets:
        if from_elsewhere(address):
            faults.append(f"fetches {address} from the network")
    for address in page.links + page.assets:
        parts = urlsplit(address)
        if parts.scheme or from_elsewhere(address):
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        if not target.is_file():
            faults.append(f"names {address}, which is not there")
        elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
            faults.append(f"links to {address}, a page without that heading")
    return faults


def faults_of(site: Path) -> list[str]:
    """What is wrong with the site, a sentence each."""
    pages = {file: Page(file) for file in sorted(site.resolve().rglob("*.html"))}
    faults = [f"{file.relative_to(site.resolve())} {fault}" for file in pages for fault in page_faults(file, pages)]
    for file in sorted(site.rglob("*.css")):
        for address in map("".join, STYLE_URL.findall(file.read_text(encoding="utf-8"))):
            if from_elsewhere(address):
                faults.append(f"{file.relative_to(site)} fetches {address} from the network")
    faults += [f"{file.relative_to(site)} is a file of the repository" for file in site.glob("_downloads/*/*")]
    return list(dict.fromkeys(faults))


def build() -> bool:
    """Run Sphinx; True where it had nothing to warn of."""
    from sphinx.cmd.build import main as sphinx

    shutil.rmtree(SITE, ignore_errors=True)  # what was renamed must not stay
    strict = ["-W", "--keep-going", "-q", "-E"]
    return sphinx([*strict, "-c", str(ROOT / "docs"), "-d", str(WORK), str(ROOT), str(SITE)]) == 0


def main() -> int:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"error: {', '.join(missing)} not installed: run `python tools/setup.py site` first", file=sys.stderr)
        return 2
    print("building site/, about 20 seconds ...", flush=True)
    good = build()
    if not (SITE / "README.html").exists():
        print("error: there is no site, for the reason above", file=sys.stderr)
        return 1
    shutil.copy(SITE / "README.html", SITE / "index.html")
    faults = faults_of(SITE)
    for fault in faults:
        print(f"fault: {fault}", file=sys.stderr)
    if not good or faults:
        print("the site is built, but has the faults above", file=sys.stderr)
        return 1
    print(f"{len(list(SITE.rglob('*.html')))} pages; every link leads somewhere, and nothing comes from the network")
    print(f"open {SITE / 'index.html'} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
