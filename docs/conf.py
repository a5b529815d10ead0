"""How sphinx builds the manual: sphinx-build -W docs docs/_build."""

from importlib.metadata import version as _version

project = "psweep_dask"
author = "the psweep_dask developers"
copyright = f"2026, {author}"
version = release = _version("psweep_dask")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_title = project
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_sidebars = {"**": []}  # few pages, all of them are in the bar above
html_show_sourcelink = False
myst_heading_anchors = 3
autodoc_typehints = "none"  # docstrings tell them in words
napoleon_use_rtype = False
napoleon_use_ivar = True
