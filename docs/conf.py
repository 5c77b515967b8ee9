"""How `docs/` becomes pages: `make docs`. Pages are Markdown (MyST); two of them are made from the code when they are
built: the command line's reference from click (`command_reference`), the Python reference from docstrings (autodoc)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import flor_ray  # noqa: E402 - after the path, as Sphinx wants it

project = "flor_ray"
author = "the authors of flor_ray"
version = release = flor_ray.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_reference"]

# README.md is shown in parts on pages here; its links are those of the repository's root.
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Docstrings name code in single backticks, and types of other libraries, to which nothing here could link.
default_role = "code"
smartquotes = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
nitpick_ignore_regex = [(r"py:.*", r"(?!flor_ray\.).*|flor_ray\.calls\.T|flor_ray\.scheduler\.tradeoff\.TradeOff")]

html_theme = "furo"
html_title = f"flor_ray {version}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
templates_path: list[str] = []
exclude_patterns: list[str] = []
