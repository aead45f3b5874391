"""What the site (docs/conf.py) adds to Sphinx, which calls the functions below while it reads the pages.

The pages are written to be read in the repository, and the docstrings in a terminal. So the start page gets the
navigation, links to files that have no page become plain text, formulas side by side may stand one below the other,
pictures open in full size, and docstrings become reStructuredText."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

from tinyfer import reference

EMPHASIS = r"(?<![\w*])\*\w[\w -]*\*(?![\w*])"
GAP = re.compile(r"(\\q?quad)(?![a-zA-Z])")
SPANS = re.compile(rf"(`+[^`]+`+|{EMPHASIS})")


def add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Put a table of contents, which only the navigation shows, behind the start page."""
    if page == app.config.root_doc:
        for caption, pages in app.config.site_contents.items():
            lines = ["", "```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *pages, "```", ""]
            source[0] += "\n".join(lines)


def unlink_files(app: Any, doctree: nodes.document) -> None:
    """Links to files and folders that have no page become plain text: they are for readers of the repository."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in [*doctree.findall(addnodes.download_reference), *doctree.findall(addnodes.pending_xref)]:
        to_page = link.get("refdomain") is not None
        if not to_page and (here / link["reftarget"]).exists():
            link.replace_self(link.children)


def split_formulas(app: Any, doctree: nodes.document) -> None:
    """Formulas with a wide space between them become several, so that narrow screens set them one below the other."""
    for block in list(doctree.findall(nodes.math_block)):
        pieces = GAP.split(block.astext())
        parts, gaps = [piece.strip() for piece in pieces[::2]], ["", *pieces[1::2]]
        if len(parts) > 1 and all(_whole(part) for part in parts):
            row = nodes.container(classes=["formulas"])
            for gap, part in zip(gaps, parts, strict=True):
                about = ["words"] if gap == "\\quad" and part.startswith("\\text") else []  # of the formula before it
                row += nodes.math_block(part, part, **{**block.attributes, "classes": about})
            block.replace_self(row)


def _whole(tex: str) -> bool:
    """Whether a part of a formula is a formula: what it opens, it closes."""
    pairs = [(r"(?<!\\)\{", r"(?<!\\)\}"), (r"\\begin\b", r"\\end\b"), (r"\\left\b", r"\\right\b")]
    return bool(tex) and all(len(re.findall(a, tex)) == len(re.findall(b, tex)) for a, b in pairs)


def link_pictures(app: Any, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Each picture leads to its file: on a telephone its small print is too small."""
    if doctree is not None:
        context["body"] = re.sub(r'<img [^>]*src="([^"]+)"[^>]*>', r'<a href="\1">\g<0></a>', context["body"])


def _paragraph(lines: list[str]) -> list[str]:
    """Prose, where only `code` and *emphasis* are marks, as reStructuredText."""
    parts = SPANS.split("\n".join(lines))
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"([\\*_|])", r"\\\1", part.replace("->", "→"))
        elif part.startswith("`"):
            parts[i] = f"``{part.strip('`')}``"
    return [*"".join(parts).splitlines(), ""]


def _preformatted(lines: list[str]) -> list[str]:
    """An example or a table that is set in columns, as a block of code: of Python where it is Python."""
    text = inspect.cleandoc("\n".join(lines))
    try:
        ast.parse(text)
        language = "python"
    except SyntaxError:
        language = "text"
    return ["", f".. code-block:: {language}", "", *(f"    {line}" for line in text.splitlines()), ""]


def restructured(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText: what is indented, or set in columns, stays as it is typed."""
    out: list[str] = []
    blocks: list[tuple[bool, list[str]]] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        columns = all(re.search(r"\S {2,}\S", line) for line in paragraph.splitlines())
        for line in paragraph.splitlines():
            typed = columns or line.startswith("    ")
            if not blocks or blocks[-1][0] != typed or line == paragraph.splitlines()[0]:
                blocks.append((typed, []))
            blocks[-1][1].append(line)
    for typed, block in blocks:
        out += _preformatted(block) if typed else _paragraph(block)
    return out


def write_docstring(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Replace a docstring's lines; an op of the switchboard is described by its reference."""
    if kind == "function" and name.startswith("tinyfer.ops.") and not any(lines):
        lines[:] = (inspect.getdoc(getattr(reference, thing.__name__, None)) or "").splitlines()
    lines[:] = restructured(lines)


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("site_contents", {}, "env", types=[dict])
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", unlink_files, priority=100)  # before Sphinx notes what to copy into the site
    app.connect("doctree-read", split_formulas)
    app.connect("html-page-context", link_pictures)
    app.connect("autodoc-process-docstring", write_docstring)
    return {"parallel_read_safe": True}
