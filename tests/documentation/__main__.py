"""Build the reference and the gallery as HTML: `python -m tests.documentation`, then open .documentation/index.html."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.documentation import gallery, reference
from tests.documentation.links import broken

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTENTS = """

## Contents

```{{eval-rst}}
{families}
* :doc:`gallery/index`: each example with its source, what it prints and what it draws

.. toctree::
    :hidden:
    :caption: Reference

{pages}

.. toctree::
    :hidden:
    :caption: Examples

    gallery/index
```
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.documentation", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".documentation", help="where the pages are written")
    parser.add_argument("--no-run", action="store_true", help="show the examples without running them")
    asked = parser.parse_args()
    try:
        from sphinx.cmd.build import build_main
    except ImportError as error:
        raise SystemExit(f'{error}: pip install -e ".[docs]"') from None
    if asked.out.exists() and any(asked.out.iterdir()) and not (asked.out / "genindex.html").exists():
        raise SystemExit(f"--out {asked.out} holds something else than these pages: name a new folder")
    shutil.rmtree(asked.out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        write(Path(place, "source"), run=not asked.no_run)
        options = ["-q", "-W", "--keep-going", "-j", "auto", "-c", str(HERE), "-d", f"{place}/trees"]
        if failed := build_main([*options, f"{place}/source", str(asked.out)]):
            return failed
    found = broken(asked.out)
    print("\n".join(found) or f"written: {asked.out / 'index.html'}")
    return bool(found)


def write(source: Path, run: bool = True) -> None:
    """The sources of all pages: the first is the README's beginning."""
    families = reference.write(source / "reference")
    gallery.write(source / "gallery", run)
    shutil.copytree(gallery.EXAMPLES, source / "examples", ignore=shutil.ignore_patterns("*.py", "figures", "__*"))
    pages = "\n".join(f"    reference/{family}" for family in reference.FAMILIES)
    text = first_page((ROOT / "README.md").read_text(encoding="utf-8"))
    (source / "index.md").write_text(text + CONTENTS.format(families=families, pages=pages), encoding="utf-8")


def first_page(readme: str) -> str:
    """The README up to the end of its section "Set-up". Links to examples lead to their pages, others of its are text.

    >>> first_page("# xpnn\\n\\n## Set-up\\n[a](examples/01_circles.py) [b](#layers)\\n\\n## More\\n")
    '# xpnn\\n\\n## Set-up\\n[a](gallery/01_circles.rst) b\\n'
    """
    head, mark, rest = readme.partition("\n## Set-up\n")
    if not mark:
        raise ValueError('README.md has no section "Set-up", where the first page ends')
    text = head + mark + rest.partition("\n## ")[0]
    text = re.sub(r"\]\(examples/(\d\w+)\.py\)", r"](gallery/\1.rst)", text)
    return re.sub(r"(?<!!)\[([^]]+)\]\((?!https?:|gallery/)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    sys.exit(main())
