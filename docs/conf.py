"""Settings of sphinx: sphinx-build -W docs docs/_build."""

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
html_sidebars = {"**": []}  # no sidebar, since the bar at the top lists all pages
html_show_sourcelink = False
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings name the types in words
napoleon_use_rtype = False
napoleon_use_ivar = True
