"""Settings of the site that `make site` builds (tools/site.py). It has no pages of its own but the
API's: Sphinx reads the repository from its root, and takes the pages that are named here."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "tinyfer"
copyright = "the tinyfer contributors, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax", "tools.site_pages"]

# What is in the site, in the order of its navigation; a lesson is every folder that begins with a number. A tree for
# students, which has less, has less in its site.
root_doc = "README"
everything = {
    "The lessons": ["lessons/README", "lessons/[0-9]*/README"],
    "For instructors": ["docs/instructors", "docs/lessons-*"],
    "The models": ["docs/model-card", "docs/results"],
    "The engine": ["docs/how-it-is-fast", "data/README", "CONTRIBUTING"],
    "The API": [f"docs/api/{name}" for name in ("reference", "ops", "layers", "models", "optim", "gradcheck", "data",
                                                "training", "metrics", "infer", "faces")],
}
there = {caption: [page for page in pages if any(ROOT.glob(f"{page}.*"))] for caption, pages in everything.items()}
site_contents = {caption: pages for caption, pages in there.items() if pages}
include_patterns = ["README.md", *(f"{page}.*" for pages in site_contents.values() for page in pages)]
exclude_patterns = [".*", "build", "dist", "runs", "site", "tests", "tinyfer", "tools", "work"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
smartquotes = False  # H' and W' are lengths
highlight_language = "text"  # pseudo-code, tables and shell lines; what is Python says so

autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

# Formulas are drawn in the browser by the MathJax that lies in this wheel, as outlines: no fonts, and no network.
mathjax_wheel = importlib.util.find_spec("sphinx-mathjax-offline")
mathjax_path = "tex-svg.js"
# Its menu would fetch speech from the network. The scale is that of the text about the formulas.
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"scale": 0.92}}

html_theme = "furo"
html_title = "tinyfer"
html_static_path = ["site.css", f"{mathjax_wheel.submodule_search_locations[0]}/static/mathjax/{mathjax_path}"]
html_css_files = ["site.css"]
html_copy_source = False  # a lesson's page, and not its source beside it
html_show_search_summary = False  # it would fetch the pages found, which browsers refuse where they are files
html_show_sphinx = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#0b6e66", "color-brand-content": "#0b6e66"},
    "dark_css_variables": {"color-brand-primary": "#5fd0c3", "color-brand-content": "#5fd0c3"},
}
