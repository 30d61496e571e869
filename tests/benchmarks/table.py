"""Results as tables: medians, and ratios that are taken round by round before their median is.

`python -m tests.benchmarks.table PATH.json` prints the README's Markdown from a file of results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.peers import PEERS
from tests.benchmarks.workloads import WORKLOADS

OURS = "xpnn eager"
RATIOS = {"scikit-learn": "scikit-learn / ours", "PyTorch eager": "PyTorch / ours"}
MISSING = "-"


def ratio(others: Sequence[float], ours: Sequence[float]) -> float:
    """The median of the rounds' ratios: what slows a whole round cancels in each."""
    return median(other / own for other, own in zip(others, ours, strict=True))


def steps(results: dict[str, Any]) -> list[list[str]]:
    """Microseconds a step by workload and peer, a row each, with a head."""
    table = [["microseconds a step", *PEERS, *RATIOS.values()]]
    for name, rounds in results["microseconds"].items():
        row = [WORKLOADS[name].label]
        row += [short(median(rounds[peer])) if peer in rounds else MISSING for peer in PEERS]
        both = [peer in rounds and OURS in rounds for peer in RATIOS]
        row += [f"{ratio(rounds[p], rounds[OURS]):.2f}" if b else MISSING for p, b in zip(RATIOS, both, strict=True)]
        table.append(row)
    return table


def imports(results: dict[str, Any]) -> list[list[str]]:
    """Milliseconds an import, each with its ratio to the first, NumPy's."""
    found = results["import_milliseconds"]
    first = next(iter(found))
    rows = [[name, short(median(times)), f"{ratio(times, found[first]):.2f}"] for name, times in found.items()]
    return [["import", "milliseconds", f"/ {first}"], *rows]


def short(value: float) -> str:
    """Three digits, which is more than the noise leaves."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{0 if rounded >= 100 else 1 if rounded >= 10 else 2}f}"


def plain(table: list[list[str]]) -> str:
    """The table for a terminal: columns padded, numbers to the right."""
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        cells = [f"{cell:>{n}}" for cell, n in zip(rest, wide[1:], strict=True)]
        lines.append(" | ".join([f"{first:<{wide[0]}}", *cells]))
    lines.insert(1, "-+-".join("-" * n for n in wide))
    return "\n".join(lines)


def markdown(table: list[list[str]]) -> str:
    """The table for the README."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def caption(results: dict[str, Any]) -> str:
    """How it was measured, in a sentence."""
    machine, threads = results["machine"], results["threads"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    return (
        f"Medians of {results['rounds']} interleaved rounds on {machine['cpu']} ({machine['cores']} cores, {threads} "
        f"thread{'s' * (threads > 1)}), backend {machine['backend']}; Python {machine['python']}, {versions}, "
        f"NumPy's BLAS {machine['blas']}; {machine['date']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, metavar="PATH.json")
    results = json.loads(parser.parse_args().path.read_text())
    parts = [markdown(steps(results)), caption(results)]
    if "import_milliseconds" in results:
        parts.append(markdown(imports(results)))
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
