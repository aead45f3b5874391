"""docs/how-it-is-fast.md: its figures are those of docs/fast.json, its pictures are there, neither out of date."""

import json
import pathlib
import re

import pytest

from tinyfer.bench import arithmetic
from tinyfer.bench.table import Report
from tinyfer.errors import UserError
from tools import fast

TEXT = fast.TEXT.read_text(encoding="utf-8")
TOLD = json.loads(fast.FIGURES.read_text(encoding="utf-8"))


def test_the_figures_in_the_text_are_those_that_were_measured():
    assert fast.filled(TEXT, fast.figures(TOLD)) == TEXT, "run `python -m tools.fast --draw`"
    assert TOLD["machine"]["processor"] in TEXT
    assert set(TOLD["steps"]) == set(arithmetic.LADDER)


def test_a_figure_that_was_edited_by_hand_is_noticed():
    rate = fast.number(TOLD["steps"]["winograd"]["gflops"])
    assert f"**{rate} GFLOP/s**" in fast.figures(TOLD)["8"]
    edited = TEXT.replace(f"**{rate} GFLOP/s**", "**1,234 GFLOP/s**")
    assert edited != TEXT and fast.filled(edited, fast.figures(TOLD)) == TEXT


def test_there_are_ten_steps_each_with_its_figure_and_its_picture():
    parts = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    numbered = [part for part in parts if part[0].isdigit()]
    assert [int(part.split()[0]) for part in numbered] == list(range(1, 11)) and len(fast.WAYS) == 10
    for place, part in enumerate(numbered, 1):
        assert f"<!-- figures: {place} -->" in part and f"](images/fast/{place}-" in part


def test_every_picture_is_there_and_every_one_is_shown():
    shown = re.findall(r"!\[.+?\]\((images/fast/.+?\.svg)\)", TEXT)
    files = {path.relative_to(fast.DOCS).as_posix() for path in fast.IMAGES.iterdir()}
    assert set(shown) == files == {f"images/fast/{name}.svg" for name in ("ladder", *fast.fast_pictures.DRAWINGS)}
    assert len(shown) == len(files)
    assert sum(path.stat().st_size for path in fast.IMAGES.iterdir()) < 600_000


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (fast.DOCS / target).exists(), target


def test_letters_stay_readable_on_a_phone():
    """A phone shows 5 inches at about 70 dots an inch: 8.5 points are 8 dots high."""
    from matplotlib.text import Text

    for name, figure in fast.drawings(TOLD).items():
        assert figure.get_size_inches()[0] == 5, name
        sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
        assert min(sizes) >= 8.5, name


def test_words_stay_inside_their_picture():
    for name, figure in fast.drawings(TOLD).items():
        figure.draw_without_rendering()
        width, height = figure.canvas.get_width_height()
        for text in [text for axes in figure.axes for text in axes.texts]:
            box = text.get_window_extent()
            assert box.x0 > 0 and box.x1 < width and box.y0 > 0 and box.y1 < height, (name, text.get_text())


def bench_json(tmp_path, **changes):
    rows = [{"section": "limits", "what": "multiply-adds", "peer": "2 threads", "gflops": 200.0},
            {"section": "limits", "what": "triad", "peer": "2 threads", "gb_per_s": 20.0}]
    rows += [{"section": "ladder", "what": "a layer", "peer": name, "s": 1.0, "extrapolated": way == "loops",
              "gflops": {"median": 10.0 + place, "q1": 9.0, "q3": 31.0}, "rms_error": 1e-7}
             for place, (way, name) in enumerate(arithmetic.LADDER.items())]
    path = tmp_path / "bench.json"
    told = Report(TOLD["machine"] | {"threads": 2}).as_dict() | {"rows": rows}
    path.write_text(json.dumps(told | changes))
    return str(path)


def test_figures_come_from_a_bench_that_was_run(tmp_path, monkeypatch):
    for name in ("TEXT", "FIGURES", "IMAGES", "README", "BENCH"):
        monkeypatch.setattr(fast, name, tmp_path / pathlib.Path(getattr(fast, name)).name)
    fast.TEXT.write_text(TEXT, encoding="utf-8")
    fast.README.write_text("Before\n<!-- figures: bench -->\nold\n<!-- end -->\nAfter\n", encoding="utf-8")
    monkeypatch.setattr(fast, "rounding", lambda: TOLD["rounding"])  # takes a second
    assert fast.run(fast.Options(bench=bench_json(tmp_path))) == 0
    text = fast.TEXT.read_text(encoding="utf-8")
    assert "**17 GFLOP/s** · 1.0 s for the layer · 1.1 times step 7 · 1.7 times step 1" in text
    assert "**19 GFLOP/s** · 1.0 s for the layer · one after the other: 18 GFLOP/s · 1.1 times that" in text
    assert "doubtful" not in text and (fast.IMAGES / "ladder.svg").exists()
    readme = fast.README.read_text(encoding="utf-8")
    assert readme.startswith("Before\n") and "| key |" in readme and "\nold\n" not in readme
    assert (tmp_path / "images" / "bench-ladder.svg").exists() and json.loads(fast.BENCH.read_text())["rows"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"rows": []}, "the figures lack 1 seven loops, plain Python, "), ({"machine": None}, None)])
def test_a_bench_without_the_ten_steps_is_refused(tmp_path, changes, words):
    path = bench_json(tmp_path, **changes)
    if words is None:
        pathlib.Path(path).write_text("[1]")
        words = "expected a file that `python -m tinyfer.bench` has written"
    with pytest.raises(UserError, match=re.escape(words)):
        fast.chosen(fast.bench.read(path))


def test_markers_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="look for 3"):
        fast.filled(TEXT.replace("figures: 3 ", "figures: 33 "), fast.figures(TOLD))


def test_contradicting_flags_are_refused():
    with pytest.raises(UserError, match="give one of the two"):
        fast.run(fast.Options(bench="bench.json", draw=True))


def test_the_readme_shows_the_bench_that_is_kept():
    if fast.BENCH.exists():
        text, whole = fast.README.read_text(encoding="utf-8"), json.loads(fast.BENCH.read_text(encoding="utf-8"))
        again = fast.filled(text, {"bench": fast.markdown(whole)}, ("results",))
        assert again == text, "run `python -m tools.fast --bench`"
