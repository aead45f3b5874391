"""report.html: one file about one run that opens anywhere, its pictures inside it."""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Sequence

import numpy as np

from tinyfer import models, plots
from tinyfer.layers import Conv2d
from tinyfer.metrics import Scores

_CSS = """
:root { color-scheme: light }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #222; background: #f6f7f8;
       max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.7rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 0 0 .9rem }
section { background: #fff; border: 1px solid #e3e5e8; border-radius: 10px; padding: 1.3rem 1.5rem; margin: 1.2rem 0 }
.quiet { color: #666 } .note { background: #fff4e5; border-color: #f0c27b }
.figures { display: flex; flex-wrap: wrap; gap: 2rem; margin: 0 } .figures div { min-width: 7rem }
.figures dt { color: #666; font-size: .85rem } .figures dd { margin: 0; font-size: 1.6rem; font-weight: 600 }
.figures small { display: block; font-size: .8rem; font-weight: 400; color: #666 }
img { max-width: 100%; height: auto; display: block; margin: 0 auto } .narrow img { max-width: min(100%, 36rem) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #eceef0 }
th:first-child, td:first-child { text-align: left } th { color: #666; font-weight: 500; font-size: .85rem }
.words th:nth-child(2), .words td:nth-child(2) { text-align: left }
tr:last-child td { border-bottom: 0 } .scroll { overflow-x: auto }
.settings { columns: 2; column-gap: 2.5rem } .settings div { display: flex; justify-content: space-between; gap: 1rem;
            break-inside: avoid; border-bottom: 1px solid #eceef0; padding: .2rem 0 }
.settings span:first-child { color: #666 } .settings span:last-child { overflow-wrap: anywhere; text-align: right }
pre { overflow-x: auto; font-size: .8rem; line-height: 1.4; margin: 0 }
@media (max-width: 40rem) { .settings { columns: 1 } body { padding: 1.2rem .8rem } }
"""


def write_all(folder, run, dataset, options) -> None:
    """The last curves, the confusion matrix and the report of a finished run, into its folder."""
    best = models.load(folder.best)
    scores = Scores(np.array(run.best["confusion"]), tuple(best.labels))
    pictures = {"curves": plots.png(plots.curves(run.rows)),
                "confusion": plots.png(plots.confusion(scores, _confusion_title(scores, run.val))),
                "filters": plots.png(plots.filters(first_kernels(best)))}
    for path, name in ((folder.curves, "curves"), (folder.confusion, "confusion")):
        folder.write_bytes(path, pictures[name])
    settings = {**dataclasses.asdict(options), "epochs": run.epochs, "lr": run.config.peak_lr, "resume": None,
                "out": None}  # what came of the defaults, and nothing of how the run was called
    text = page(folder.path.name, best, scores, run.rows, dataset, settings, pictures)
    folder.write_text(folder.report, text)


def _confusion_title(scores: Scores, split) -> str:
    return f"{split.name}: {100 * scores.accuracy:.1f} % of {scores.total:,} pictures right"


def first_kernels(model) -> np.ndarray:
    """Weights (kh,kw,C,K) of the first convolution."""
    return next(layer.weight.value for _, layer in model.leaves() if isinstance(layer, Conv2d))


def page(name: str, model, scores: Scores, rows: Sequence[dict], dataset, settings: dict,
         pictures: dict[str, bytes]) -> str:
    """The report as HTML; every text in it is escaped, every picture lies inside."""
    last, low_high = rows[-1], scores.interval
    seconds, grown = last["seconds"], " at the full size" if rows[0]["size"] != last["size"] else ""
    sections = [
        _section("", _figures([
            ("validation accuracy", f"{100 * scores.accuracy:.2f} %",
             f"95 % interval {100 * low_high[0]:.1f} to {100 * low_high[1]:.1f}"),
            ("balanced accuracy", f"{100 * scores.balanced_accuracy:.1f} %", "mean recall of the classes"),
            ("macro-F1", f"{scores.macro_f1:.3f}", "mean F1 of the classes"),
            ("training", f"{seconds / 60:.1f} min", f"{len(rows)} epochs, {last['images_per_s']:.0f} images/s")])),
        _section("Which pictures served what", _splits(dataset)),
        _section("Curves", _image(pictures["curves"], "loss and accuracy by epoch")
                 + f"<p class=quiet>Kept is the model of epoch {model.meta.get('epoch', '?')}, the one with the best "
                   f"validation accuracy{grown}; being the best of several, that figure is a little flattering. "
                   "Training is measured while the network learns, on disturbed pictures and with dropout: it may lie "
                   "below validation.</p>"),
        _section("Confusion matrix", f"<div class=narrow>{_image(pictures['confusion'], 'confusion matrix')}</div>"
                 + "<p class=quiet>Large: per cent of the pictures of a true class. Small: how many.</p>"),
        _section("Class by class", _classes(scores)),
        _section("First-layer filters", _image(pictures["filters"], "kernels of the first layer")
                 + "<p class=quiet>What the first layer looks for: light minus dark, strongest first.</p>"),
        _section("Network", f"<pre>{html.escape(str(model))}</pre>"),
        _section("Settings", _settings(settings)),
        _section("Epoch by epoch", _log(rows)),
    ]
    note = model.meta.get("note")
    if note:
        text = f"This model is <b>{html.escape(str(note))}</b>: it has never seen a photograph."
        sections.insert(0, f"<section class=note>{text}</section>")
    title = html.escape(name)
    return (f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title>"
            "<meta name=viewport content='width=device-width, initial-scale=1'>"
            f"<style>{_CSS}</style></head>\n<body><h1>{title}</h1>"
            f"<p class=quiet>{html.escape(model.name)}, {model.params.value.size:,} parameters. An expression is what "
            "a face shows, not what a person feels.</p>\n" + "\n".join(sections) + "\n</body></html>\n")


def _section(heading: str, body: str) -> str:
    return f"<section>{f'<h2>{html.escape(heading)}</h2>' if heading else ''}{body}</section>"


def _image(png: bytes, alt: str) -> str:
    return f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _figures(figures) -> str:
    parts = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}<small>{html.escape(small)}</small></dd></div>"
             for name, value, small in figures)
    return f"<dl class=figures>{''.join(parts)}</dl>"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def cells(tag, line):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in line) + "</tr>"

    body = "".join(cells("td", line) for line in lines)
    return f"<div class=scroll><table>{cells('th', head)}{body}</table></div>"


def _splits(dataset) -> str:
    uses = ("training", "validation: choosing the epoch", "not looked at")
    lines = [(split.name, use, f"{len(split):,}") for split, use in zip(dataset, uses, strict=True) if len(split)]
    source = html.escape(f"{dataset.info.source}: {dataset.info.layout}")
    table = _table(("split", "served", "pictures"), lines)
    return f"<div class=words>{table}</div><p class=quiet>{source}</p>"


def _classes(scores: Scores) -> str:
    columns = zip(scores.labels, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    return _table(("class", "precision", "recall", "F1", "pictures"),
                  [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", f"{n:,}") for name, p, r, f, n in columns])


def _settings(settings: dict) -> str:
    lines = (f"<div><span>{html.escape(name.replace('_', '-'))}</span><span>{html.escape(str(value))}</span></div>"
             for name, value in sorted(settings.items()) if value not in (None, ()))
    return f"<div class=settings>{''.join(lines)}</div>"


def _log(rows: Sequence[dict]) -> str:
    head = ("epoch", "pictures", "minutes", "rate", "training loss", "accuracy", "validation loss", "accuracy",
            "macro-F1", "images/s")
    return _table(head, [(row["epoch"], f"{row['size']}x{row['size']}", f"{row['seconds'] / 60:.1f}",
                          f"{row['lr']:.4g}", f"{row['train_loss']:.3f}", f"{100 * row['train_accuracy']:.1f} %",
                          f"{row['val_loss']:.3f}", f"{100 * row['val_accuracy']:.1f} %",
                          f"{row['val_macro_f1']:.3f}", f"{row['images_per_s']:.0f}") for row in rows])
