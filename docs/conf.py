"""How Sphinx builds these pages: Markdown by MyST, notebooks that are run, and a reference that is made of the code."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "psilon_bench"
author = copyright = "psilon_bench developers"
release = version = metadata.version("psilon-bench")

extensions = [
    "myst_nb",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "reference_pages",
    "links_to_the_repository",
    "layers",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures are of many libraries; tests resolve our own names

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # docstrings have no headings, and a page of the reference starts where it likes

nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "psilon_bench"
html_static_path = ["_static"]
html_css_files = ["psilon.css"]
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c9e", "color-brand-content": "#0b5c9e"},
    "dark_css_variables": {"color-brand-primary": "#7fc1ff", "color-brand-content": "#7fc1ff"},
}
linkcheck_timeout = 20
linkcheck_anchors = False
