"""Networks and histories as tables in a notebook, in its own colours and letters, light or dark."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from xpnn.callbacks.base import range_of, trained
from xpnn.summary import head_of, rows_of, total_of


def network_html(net: Any) -> str:
    """The layers of a network with their output shapes and parameters."""
    done = f"trained for {net.epoch} epochs" if net.epoch else "not trained"
    names = ("", "layer", "output", "parameters")
    return html_table(f"{head_of(net)}, {done}", names, rows_of(net), total_of(net), right=(0, 3))


def history_html(history: Any) -> str:
    """Of each name that was recorded the first, best and last value; of a stack the range over its members."""
    if not history.epoch:
        return html_table("History, no epochs", (), ())
    rows = []
    for name, values in history.history.items():
        better = history.better.get(name, "min")
        means = [sum(one) / len(one) if one else math.nan for one in map(trained, values)]
        known = [i for i, mean in enumerate(means) if not math.isnan(mean)]
        best = (min if better == "min" else max)(known, key=means.__getitem__) if known else 0
        first, top, last = (range_of(values[i], " .. ") for i in (0, best, -1))
        rows.append([name, first, top, str(history.epoch[best]), last])
    reasons = history.stop_reason if isinstance(history.stop_reason, list) else [history.stop_reason]
    told = ", ".join(
        f"{count} {reason or 'broken off'}" if len(reasons) > 1 else str(reason or "broken off")
        for reason, count in Counter(reasons).items()
    )
    members = f", {len(reasons)} members" if len(reasons) > 1 else ""
    names = ("", "first", "best", "in epoch", "last")
    return html_table(f"History of {len(history.epoch)} epochs{members}: {told}", names, rows, right=(1, 2, 3, 4))


def html_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "", right: Sequence[int] = ()
) -> str:
    """A table without colours of its own. All text is escaped.

    >>> html_table("a < b", (), [])
    '<table><caption style="text-align:left"><b>a &lt; b</b></caption></table>'
    """

    def cells(kind: str, row: Sequence[str]) -> str:
        sides = ("right" if i in right else "left" for i in range(len(row)))
        pairs = zip(sides, row, strict=True)
        parts = (f'<{kind} style="text-align:{side}">{escape(text)}</{kind}>' for side, text in pairs)
        return f"<tr>{''.join(parts)}</tr>"

    parts = [f'<table><caption style="text-align:left"><b>{escape(title)}</b></caption>']
    parts += [f"<thead>{cells('th', head)}</thead>"] if head else []
    body = "".join(cells("td", row) for row in rows)
    parts += [f"<tbody>{body}</tbody>"] if body else []
    last = f'<tr><td colspan="{len(head)}" style="text-align:left">{escape(foot)}</td></tr>'
    parts += [f"<tfoot>{last}</tfoot>"] if foot else []
    return "".join([*parts, "</table>"])
