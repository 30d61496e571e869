"""The README's reference says what is there: it is what the script makes, has every public name, and its code runs."""

import contextlib
import io
import re
from dataclasses import is_dataclass

import pytest

from tests import reference

README = reference.README.read_text(encoding="utf-8")
SECTION = README.partition(reference.BEGIN)[2].partition(reference.END)[0]
# What has no line of its own: the contracts, and what a container of one's own builds on.
BASES = {"Layer", "Container", "Activation", "Loss", "Optimizer", "Schedule", "Initializer", "Metric"}


def test_it_is_what_the_script_makes():
    assert reference.rewritten(README) == README, "run `python -m tests.reference`"


def chapter(name):
    """The part of the reference that is about one family."""
    return re.split(r"^### ", SECTION.partition(f"### {name.capitalize()}\n")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", reference.FAMILIES)
def test_every_public_name_is_in_it(name):
    module, text = reference.FAMILIES[name].module, chapter(name)
    public = {one: getattr(module, one) for listed in getattr(module, "_HOME", {}).values() for one in listed.split()}
    classes = {one for one, found in public.items() if isinstance(found, type) and is_dataclass(found)} - BASES
    classes |= {found.__name__ for found in getattr(module, "_NAMES", {}).values() if isinstance(found, type)}
    assert len(classes) > 7
    assert {one for one in classes if f"`{one}(" not in text} == set()
    assert {one for one in getattr(module, "_NAMES", {}) if f"`{one}`" not in text} == set()
    assert not {one for one in BASES if f"`{one}(" in text}


def test_the_overview_leads_to_every_family():
    assert all(
        f"[{name}](#{name})" in README and f"### {name.capitalize()}\n" in SECTION for name in reference.FAMILIES
    )


def test_every_table_is_whole():
    """No bar within a cell begins a column, and no cell of formulas is empty."""
    rows = [line for line in SECTION.splitlines() if line.startswith("|")]
    assert len(rows) > 100
    heads = [rows[i - 1] for i, row in enumerate(rows) if set(row) <= set("|- ")]
    assert len(heads) == len(reference.FAMILIES) + 1
    width = 0
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        width = len(cells) if row in heads else width
        assert len(cells) == width, row
        assert row in heads or cells[1].strip(), row


def test_its_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert len(blocks) == len(reference.FAMILIES) + 1
    with contextlib.redirect_stdout(io.StringIO()):
        exec("\n".join(blocks), {})


def test_it_refers_to_the_pictures_that_are_there():
    shown = set(re.findall(r'src="examples/activations/([^"]+)"', SECTION))
    assert shown == {path.name for path in reference.PICTURES.iterdir()}
    assert all(path.stat().st_size < 10_000 for path in reference.PICTURES.iterdir())


def test_the_script_draws_these_pictures_and_no_other(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "gone.svg").touch()
    reference.draw(tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(drawn) == {path.name for path in reference.PICTURES.iterdir()}
    reference.draw(tmp_path)
    assert drawn == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_readme_without_a_place_for_it_is_refused():
    with pytest.raises(ValueError, match="no place for the reference"):
        reference.rewritten("# xpnn")


def test_text_is_shown_as_it_is():
    assert reference.escaped("|x_1| * y < [a] & `b_c | d`") == r"\|x\_1\| \* y &lt; \[a\] &amp; `b_c \| d`"
