"""What Sphinx is told: https://www.sphinx-doc.org/en/master/usage/configuration.html"""

import builtins
import inspect
import re

import xpnn
from tests.documentation.docstrings import rest

project, author, release = "xpnn", "The xpnn developers", xpnn.__version__
project_copyright = author
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_parser"]
html_theme, html_title = "furo", f"xpnn {release}"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_copy_source = False
autodoc_inherit_docstrings = False
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
add_module_names = False
myst_heading_anchors = 3
smartquotes = False


def setup(app):
    app.connect("autodoc-process-docstring", as_rest)
    app.connect("autodoc-skip-member", unsaid)
    app.connect("autodoc-process-signature", briefly)
    app.connect("doctree-read", unlinked)


def as_rest(app, what, name, value, options, lines):
    try:
        arguments = set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        arguments = set()
    lines[:] = [*rest("\n".join(lines), arguments).splitlines(), ""]


def unsaid(app, what, name, value, skip, options):
    """What says nothing about xpnn: the fields of a NamedTuple, and what scikit-learn adds to estimators."""
    foreign = not (getattr(value, "__module__", None) or "xpnn").startswith("xpnn")
    return skip or foreign or (inspect.getdoc(value) or "").startswith("Alias for field number")


def briefly(app, what, name, value, options, signature, returned):
    """Without annotations that say "anything"."""
    pattern = r"(\w+): (?:~?typing\.)?Any( = |(?=[,)]))"
    return signature and re.sub(pattern, lambda found: found[1] + found[2].strip(), signature), returned


def unlinked(app, doctree):
    """Python's own names, which would lead to whatever here is called the same, such as `Backend.float`."""
    from sphinx.addnodes import pending_xref

    for node in list(doctree.findall(pending_xref)):
        if hasattr(builtins, node["reftarget"]):
            node.replace_self(node.children)
