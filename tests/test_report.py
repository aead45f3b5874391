"""Pictures and the report: they are drawn for short and long runs, and the page stands alone and is safe."""

import base64
import html.parser
import re

import numpy as np
import pytest

from tinyfer import data, models, plots, report, runs
from tinyfer.metrics import Scores
from tinyfer.training import COLUMNS

PNG = b"\x89PNG\r\n"


def rows(n):
    rng = np.random.default_rng(n)
    return [dict(zip(COLUMNS, (i + 1, 7 * i, 3.0 * i, 0.1, *rng.random(7), 32 + 16 * (2 * i > n)), strict=True))
            for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 31, 300])
def test_curves_of_any_length(n):
    assert plots.png(plots.curves(rows(n))).startswith(PNG)


@pytest.mark.parametrize("confusion", [np.zeros((7, 7), int), np.eye(7, dtype=int) * 895, np.full((7, 7), 100_000)])
def test_confusion_matrices(confusion):
    assert plots.png(plots.confusion(Scores(confusion, data.LABELS))).startswith(PNG)


@pytest.mark.parametrize("shape", [(3, 3, 1, 8), (5, 5, 3, 33), (1, 1, 1, 1)])
def test_filters(shape):
    assert plots.png(plots.filters(np.zeros(shape, np.float32))).startswith(PNG)


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text; tags that are left open are counted."""

    VOID = ("meta", "img", "br", "!doctype")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.sources = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_everything():
    evil = "<script>alert(1)</script>&'\""
    model = models.micro()
    model.meta = {"note": evil, "epoch": 1}
    empty = data.Split.empty
    train = data.Split(np.zeros((7, 48, 48), np.uint8), np.arange(7), "t" + evil)
    dataset = data.Dataset(train, empty("v" + evil), empty(), data.Info(evil, evil))
    scores = Scores(np.eye(7, dtype=int), (evil, *data.LABELS[1:]))
    text = report.page(evil, model, scores, rows(3), dataset, {"data": evil, "out": None}, dict.fromkeys(
        ("curves", "confusion", "filters"), PNG))  # fmt: skip
    page = Page(text)
    assert page.open == [] and "script" not in page.tags and "alert" in text
    assert len(page.sources) == 3 and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert base64.b64decode(page.sources[0].split(",")[1]) == PNG
    assert not re.search(r"https?://|@import|url\(", text)


def test_curves_are_not_drawn_again_and_again(tmp_path, monkeypatch):
    folder, drawn = runs.Folder(tmp_path), []
    monkeypatch.setattr(runs.Folder, "write_bytes", lambda self, path, content: drawn.append(path))
    for n in (1, 2, 3):
        folder.refresh_curves(rows(n))
    assert len(drawn) == 1
    folder.refresh_curves(rows(4), now=True)
    assert len(drawn) == 2
