"""Sphinx configuration: ``make docs`` builds a folder of static pages that opens from disk and fetches nothing."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))
os.environ["PYTHONPATH"] = str(HERE.parent)  # of the kernels that execute the tutorials
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # their figures are shown

project = "gpo-analysis"
author = "The gpo-analysis authors"
copyright = "The gpo-analysis authors, MIT licence"
release = metadata.version("gpo-analysis")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton", "mathml", "docstrings", "generated"]
exclude_patterns = ["_build", "predictions/README.md"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
nitpicky = False  # names of types in docstrings are prose; links in the pages are checked by MyST
suppress_warnings: list[str] = []

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(os.environ.get("GPO_DOCS_CACHE", HERE / "_build" / "executed")))
nb_merge_streams = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True

autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # the docstrings say the types, with shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = "gpo-analysis"
html_math_renderer = "mathml"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost)"]  # gpo explore on one's own machine
