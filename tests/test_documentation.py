"""The pages of the reference: every public name is on one, docstrings come through as they were meant, links lead on.

The pages themselves, with the examples run, are built by `python -m tests.documentation`, a step of `.ci/run`.
"""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import xpnn
from tests.documentation import gallery, reference
from tests.documentation.__main__ import ROOT, first_page
from tests.documentation.docstrings import rest, summary
from tests.documentation.links import broken

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "reference"
    contents = reference.write(folder)
    return contents, {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_family_is_there():
    shown = {name for name in xpnn.__all__ if isinstance(getattr(xpnn, name), ModuleType)}
    assert {f"xpnn.{name}" for name in shown} <= set(reference.FAMILIES)
    packages = {f"xpnn.{one.name}" for one in pkgutil.iter_modules(xpnn.__path__) if one.ispkg}
    assert packages - {"xpnn.compile"} <= set(reference.FAMILIES)


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_every_public_name_is_on_a_page(family, pages):
    contents, texts = pages
    assert f"* :doc:`reference/{family}`: " in contents
    described = set(
        re.findall(r"^\.\. (?:autoclass|autofunction|autodata|py:data):: (\S+)$", "\n".join(texts.values()), re.M)
    )
    module = importlib.import_module(family)
    names = getattr(module, "__all__", [])
    everywhere = {path.rpartition(".")[2] for path in described}
    assert {name for name in names if not isinstance(getattr(module, name), ModuleType)} - {"__version__"} <= everywhere
    for name in reference.public(family):
        assert f"{family}.{name}" in described
        assert f":py:obj:`{name} <{family}." in texts[family]


def test_names_that_get_takes_are_public():
    for family in ("xpnn.schedules", "xpnn.initializers"):  # these have no __all__
        module = importlib.import_module(family)
        classes = {one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == family}
        shown = set(map(id, reference.public(family).values()))
        assert {one.__name__ for one in classes if id(one) not in shown and not one.__name__.startswith("_")} == set()


def test_links_between_pages(pages):
    texts = pages[1]
    for text in texts.values():
        for path in re.findall(r"^    (xpnn\.\S+)$", text, re.M):
            assert path in texts


def test_a_docstring_is_taken_by_the_letter():
    docutils = pytest.importorskip("docutils.core")
    text = "y = x * w * 2, |x_|, and `a b`s (*n).\n\nRaises\n-------\nValueError: no <name>.\n\n1. one."
    document = docutils.publish_doctree(rest(text), settings_overrides={"report_level": 1, "halt_level": 1})
    shown = document.astext()
    assert "y = x * w * 2, |x_|, and a bs (*n)." in shown
    assert "Raises" in shown and "ValueError: no <name>." in shown and "1. one." in shown


def test_sections_and_examples_of_a_docstring():
    text = rest(inspect.getdoc(xpnn.Dense) or "", {"bias"})
    assert "``in_features``, ``out_features``\n    widths of the input and the output." in text
    assert ".. code-block:: pycon\n\n    >>> import numpy as np" in text
    assert "rubric" not in summary(inspect.getdoc(xpnn.Dense) or "")


def test_references_and_arguments():
    assert rest("`fit` takes `x`", {"x"}) == ":py:obj:`fit` takes ``x``"


def test_the_gallery_shows_every_example(tmp_path):
    gallery.write(tmp_path / "gallery", run=False)
    index = (tmp_path / "gallery" / "index.rst").read_text(encoding="utf-8")
    stems = {path.stem for path in gallery.EXAMPLES.glob("[0-9]*.py")}
    assert set(gallery.ARGUMENTS) <= stems
    for stem in stems:
        assert f":doc:`{stem}`" in index
        assert f"literalinclude:: {stem}.py" in (tmp_path / "gallery" / f"{stem}.rst").read_text(encoding="utf-8")


def test_the_first_page_leads_to_examples_that_exist():
    text = first_page((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "## Set-up" in text and "import xpnn" in text
    for stem in re.findall(r"\(gallery/(\w+)\.rst\)", text):
        assert (gallery.EXAMPLES / f"{stem}.py").exists()
    with pytest.raises(ValueError, match="no section"):
        first_page("# xpnn\n")


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="one"> <a href="b.html#two">', encoding="utf-8")
    (tmp_path / "b.html").write_text('<a href="a.html#one"> <a href="https://x"> <a href="c.html">', encoding="utf-8")
    assert broken(tmp_path) == ["a.html: b.html#two leads nowhere", "b.html: c.html leads nowhere"]
