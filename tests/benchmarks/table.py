"""Results as tables: medians, and ratios that are taken round by round before their median is.

`python -m tests.benchmarks.table PATH.json ...` prints the README's Markdown from files of results, one after another:
the run of one thread, say, and that of two.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import bars
from tests.benchmarks.bars import ratio
from tests.benchmarks.peers import PEERS
from tests.benchmarks.workloads import WORKLOADS

MISSING = "-"
TOLERANCE = 1.05
"""How far the cores at work may be from the threads asked for before it is said."""
Table = list[list[str]]


def steps(results: dict[str, Any]) -> list[Table]:
    """Microseconds a step by workload and peer, a row each, with a head; a peer that measured nothing has no column.

    Workloads of many networks at once, where it is a step of one of them, have a table of their own.
    """
    tables = []
    for head, many in (("microseconds a step", False), ("microseconds a network's step", True)):
        chosen = {
            name: rounds for name, rounds in results["microseconds"].items() if (WORKLOADS[name].members > 1) == many
        }
        measured = [peer for rounds in chosen.values() for peer in rounds]
        peers = sorted(dict.fromkeys(measured), key=[*PEERS, *measured].index)
        table = [[head, *peers]]
        for name, rounds in chosen.items():
            cells = [short(median(rounds[peer])) if peer in rounds else MISSING for peer in peers]
            table.append([WORKLOADS[name].label, *cells])
        tables += [table] * bool(chosen)
    return tables


def reached(results: dict[str, Any]) -> list[Table]:
    """For each set of bars that is asked of the run, what was found of each bar; none where nothing was."""
    tables = []
    for asked in bars.asked(results):
        rows = {name: row for name, row in asked.items() if name in results["microseconds"]}
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        table = [["reached? (bar, goal)", *columns]]
        for name, row in rows.items():
            rounds = results["microseconds"][name]
            table.append([name, *(cell(column, row.get(column), rounds) for column in columns)])
        tables += [table] * any(text != MISSING for _, *cells in table[1:] for text in cells)
    return tables


def cell(name: str, bar: bars.Bar | None, rounds: dict[str, list[float]]) -> str:
    """ "1.83 reached (2, 1.4)"."""
    value = bars.found(name, rounds)
    if bar is None or value is None:
        return MISSING
    lines = ", ".join(f"{line:g}" for line in bar if line is not None)
    return f"{value:.2f} {bars.verdict(value, bar, bars.RATIOS[name].at_most)} ({lines})"


def samples(results: dict[str, Any]) -> list[Table]:
    """Rows a second by workload and peer, those of all networks together."""
    found = results.get("samples_a_second", {})
    peers = [peer for peer in PEERS if any(peer in row for row in found.values())]
    rows = [[name, *(short(row[peer]) if peer in row else MISSING for peer in peers)] for name, row in found.items()]
    return [[["samples a second", *peers], *rows]] * bool(rows)


def card(results: dict[str, Any]) -> list[Table]:
    """What a step of all networks costs on the card, and how near its rates are to the ceilings that were measured."""
    found = results.get("card", {})
    head = ["xpnn's step of all networks", "kernels a step", "microseconds a step", "time in products"]
    table = [[*head, "MB a step", "GB/s", "of the copy's", "MFLOP a step", "GFLOP/s", "of the product's"]]
    for name, step in found.get("steps", {}).items():
        top = found["ceilings"].get(WORKLOADS[name].dtype, {})
        row = [name, short(step["kernels"]), _told(step.get("microseconds")), _share(step.get("share_of_products"))]
        for amount in ("bytes", "flops"):
            rate, most = step.get(f"{amount}_a_second"), top.get(f"{amount}_a_second")
            row += [
                short(step[amount] / 1e6),
                _told(rate and rate / 1e9),
                _share(rate / most if rate and most else None),
            ]
        table.append(row)
    return [table] * (len(table) > 1)


def _told(value: float | None) -> str:
    return MISSING if value is None else short(value)


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.3g} %"


def count(results: dict[str, Any]) -> str:
    """How many bars were reached, in a sentence."""
    given = Counter(bars.verdicts(results))
    goals, passed = given["goal reached"], given["goal reached"] + given["reached"]
    return f"{passed} of {given.total()} bars reached, {goals} of them with the goal."


def imports(results: dict[str, Any]) -> Table:
    """Milliseconds an import, each with its ratio to the first, NumPy's."""
    found = results["import_milliseconds"]
    first = next(iter(found))
    table = [["import", "milliseconds", f"/ {first}"]]
    for name, times in found.items():
        value, (ours, under, bar) = ratio(times, found[first]), bars.IMPORT
        judged = f" {bars.verdict(value, bar, at_most=True)} ({bar.bar:g})" * (name == ours and first == under)
        table.append([name, short(median(times)), f"{value:.2f}{judged}"])
    return table


def sizes(results: dict[str, Any]) -> Table:
    """MiB of each package by itself and with what it requires."""
    table = [["installed", "MiB of its own", "MiB with what it requires"]]
    for name, found in results["installed_mebibytes"].items():
        own = short(found["own"])
        if name == "xpnn":
            own += f" {bars.verdict(found['own'], bars.OWN_SIZE, at_most=True)} ({bars.OWN_SIZE.bar:g})"
        table.append([name, own, short(found["whole"])])
    return table


def short(value: float) -> str:
    """Three digits, which is more than the noise leaves."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{0 if rounded >= 100 else 1 if rounded >= 10 else 2}f}"


def plain(table: Table) -> str:
    """The table for a terminal: columns padded, numbers to the right."""
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        cells = [f"{cell:>{n}}" for cell, n in zip(rest, wide[1:], strict=True)]
        lines.append(" | ".join([f"{first:<{wide[0]}}", *cells]))
    lines.insert(1, "-+-".join("-" * n for n in wide))
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """The table for the README."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def caption(results: dict[str, Any]) -> str:
    """How it was measured, in a sentence or two."""
    machine, threads = results["machine"], results["threads"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    where = f"{machine['cores']} cores, {threads} thread{'s' * (threads > 1)}"
    on = f"{machine['cpu']} ({where})"
    if "card" in machine:
        on = f"{machine['card']} (driver {machine['driver']}, CUDA {machine['cuda']}) beside {on}"
    text = (
        f"Medians of {results['rounds']} interleaved rounds on {on}, "
        f"backend {machine['backend']}; Python {machine['python']}, {versions}, "
        f"NumPy's BLAS {machine['blas']}; {machine['date']}."
    )
    if scaled := [name for name in results["microseconds"] if WORKLOADS[name].members > WORKLOADS[name].lone]:
        work = WORKLOADS[scaled[0]]
        text += (
            f" {', '.join(scaled)}: who trains the {work.members} networks one after another was given {work.lone} of "
            "them, who trains them at once all; the limit is "
            + ("products of stacks." if "card" in results else "each network's own products.")
        )
    text += _ceilings(results.get("card", {}))
    left = "; ".join(f"{peer} ({why})" for peer, why in results.get("left_out", {}).items())
    text += f" Left out: {left}." * bool(left)
    for words, cases in unlike(results).items():
        text += f" {words}: {', '.join(cases)}." * bool(cases)
    return text


def _ceilings(card: dict[str, Any]) -> str:
    """The rates that the card was measured to reach, in a sentence."""
    if "left_out" in card:
        return f" Ceilings: {card['left_out']}."
    told = [
        f"{short(rates['bytes_a_second'] / 1e9)} GB/s in a copy and {short(rates['flops_a_second'] / 1e12)} TFLOP/s in "
        f"a product of {rates['square']} rows and columns in {dtype}"
        for dtype, rates in card.get("ceilings", {}).items()
    ]
    return f" The card was measured to reach {', '.join(told)}." * bool(told)


def unlike(results: dict[str, Any]) -> dict[str, list[str]]:
    """Which measurements are not of as many threads as were asked for, by the processor's time over the clock's.

    Where a workload's peers had less than a core, which they do not by themselves, the machine ran something else. A
    processor beside a GPU waits for it.
    """
    if "card" in results:
        return {}
    more, less = [], []
    for work, rounds in results.get("busy", {}).items():
        cores = {peer: median(values) for peer, values in rounds.items()}
        for peer, at_work in cores.items():
            if at_work > TOLERANCE * results["peer_threads"].get(peer, results["threads"]):
                more.append(f"{peer} on {work} ({at_work:.2f})")
        if cores and median(cores.values()) < 1.0 / TOLERANCE:
            less.append(f"{work} ({median(cores.values()):.2f})")
    return {"More cores at work than threads asked for": more, "Less than a core for a peer, in the middle": less}


def parts(results: dict[str, Any], form: Any) -> str:
    """All that the results hold, tables made by `form`, which is `plain` or `markdown`."""
    found = []
    if results["microseconds"]:
        found += [*map(form, steps(results)), *map(form, samples(results)), *map(form, reached(results))]
        found += map(form, card(results))
        found += [count(results)] * bool(bars.verdicts(results))
    found.append(caption(results))
    if "import_milliseconds" in results:
        found.append(form(imports(results)))
    if "installed_mebibytes" in results:
        found.append(form(sizes(results)))
    return "\n\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.table", description=__doc__)
    parser.add_argument("paths", type=Path, metavar="PATH.json", nargs="+")
    print("\n\n".join(parts(json.loads(path.read_text()), markdown) for path in parser.parse_args().paths))


if __name__ == "__main__":
    main()
