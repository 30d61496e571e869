"""Links within the built pages that lead nowhere."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit


def broken(folder: Path) -> list[str]:
    """A line for each link of a page in `folder` to a file, or a place in a page, that is not there."""
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    places = {path: {"", *re.findall(r'\sid="([^"]+)"', text)} for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        for link in sorted(set(re.findall(r'\s(?:href|src)="([^"]+)"', text))):
            parts = urlsplit(unescape(link))
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.exists() and (target not in places or unquote(parts.fragment) in places[target])
            if not (parts.scheme or parts.netloc or there):
                found.append(f"{path.relative_to(folder.resolve())}: {link} leads nowhere")
    return sorted(found)
