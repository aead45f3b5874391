"""The site: what its check calls a fault, what becomes of docstrings, and the pages in a headless Chromium."""

import pytest

from tests import chromium
from tools import site

PAGE = '<h1 id="top">A</h1><a href="{link}">there</a><img src="{image}"><script src="a.js"></script>'
# A formula that MathJax has not drawn, that it refuses, or in which it does not know a command.
WRONG = ".math:not(:has(mjx-container svg)), [data-mjx-error], mjx-container [fill=red]"


def faults(tmp_path, link="b.html#top", image="a.png", css="", files=None):
    """What the check says of two pages that are right but for these differences."""
    texts = {"a.html": PAGE.format(link=link, image=image), "b.html": '<h1 id="top">B</h1>', "a.js": "",
             "a.png": "", "a.css": css} | (files or {})
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return site.faults_of(tmp_path)


def test_a_site_without_faults(tmp_path):
    assert faults(tmp_path, css="@font-face { src: url('data:font/woff2;base64,AA') }") == []
    assert faults(tmp_path, link="https://example.org/") == []  # a reader may follow it: nothing is fetched


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ({"link": "c.html"}, "a.html names c.html, which is not there"),
        ({"link": "b.html#end"}, "a.html links to b.html#end, a page without that heading"),
        ({"link": "#end"}, "a.html links to #end, a page without that heading"),
        ({"image": "b.png"}, "a.html names b.png, which is not there"),
        ({"image": "//example.org/b.png"}, "a.html fetches //example.org/b.png from the network"),
        ({"css": "@import 'https://example.org/a.css';"}, "a.css fetches https://example.org/a.css from the network"),
        ({"files": {"_downloads/1/solution.py": ""}}, "_downloads/1/solution.py is a file of the repository"),
        ({"css": "b { background: url(http://example.org/a.png) }"}, "a.css fetches http://example.org/a.png"),
    ],
)
def test_a_fault_is_named(tmp_path, difference, words):
    found = faults(tmp_path, **difference)
    assert len(found) == 1 and words in found[0]


@pytest.mark.site
def test_docstrings_keep_their_shapes():
    pages = pytest.importorskip("tools.site_pages")
    text = ["x (N,C) -> y_hat, *not* a|b * c", "", "name  meaning", "", "    y = f(x)", "", "`ops.f(*a)` runs"]
    assert [line for line in pages.restructured(text) if line] == [
        r"x (N,C) → y\_hat, *not* a\|b \* c", ".. code-block:: text", "    name  meaning",
        ".. code-block:: python", "    y = f(x)", "``ops.f(*a)`` runs"]  # fmt: skip


@pytest.mark.site
def test_no_page_is_wider_than_a_telephone_and_every_formula_is_drawn(tmp_path):
    if chromium.found() is None:
        pytest.skip("no Chromium here")
    if not site.SITE.is_dir():
        pytest.skip("there is no site: `make site` builds it")
    formulas = 0
    with chromium.Chromium(tmp_path, width=390, height=844) as page:
        for file in sorted(site.SITE.rglob("*.html")):
            page.open(file.as_uri())
            if page.js("'MathJax' in window"):
                page.wait("MathJax.startup.promise.then(() => true)")
                assert page.js(f"document.querySelectorAll({WRONG!r}).length") == 0, file
                formulas += page.js("document.querySelectorAll('mjx-container svg').length")
            assert page.js("document.documentElement.scrollWidth") <= 390, file
            assert page.js("performance.getEntriesByType('resource').every(r => r.name.startsWith('file:'))"), file
        assert page.complaints == []
        page.open((site.SITE / "search.html").as_uri() + "?q=convolution")
        page.wait("[...document.querySelectorAll('#search-results a')].some(a => a.textContent == '05 Convolution')")
    assert formulas > 0
