"""The comparisons of many networks at once, by steps and by a search, small: what the peers compute, and the tables."""

import itertools
import json
from dataclasses import replace
from importlib.util import find_spec

import pytest

from tests.benchmarks import bars, search
from tests.benchmarks.peers import CannotRun, made, ours
from tests.benchmarks.table import parts, plain, reached, steps
from tests.benchmarks.worker import Worker
from tests.benchmarks.workloads import WORKLOADS, Workload
from tests.test_benchmarks import BINARY, LIBRARIES, command

MANY = Workload("many", (5, 6, 1), 24, None, "binary_cross_entropy", "adam", 0.01, "float32", members=3, lone=3)
ORDERS = replace(MANY, rows=27, batch_size=8)  # with a last batch of three rows
FEW = replace(ORDERS, lone=2)


def of_a_worker(peer, *jobs, threads=1):
    """What a peer's process answers to jobs, each a method's name and its arguments."""
    worker = Worker(peer, peer, "numpy" if peer.startswith("xpnn") else "cpu", threads)
    try:
        assert worker.skipped is None
        return [getattr(worker, name)(*rest) for name, *rest in jobs]
    finally:
        worker.close()


PAIRS = [("xpnn loop", "xpnn"), ("PyTorch eager", "PyTorch bmm"), ("JAX scan", "JAX vmap")]


@pytest.mark.parametrize("loop, stack", PAIRS)
def test_many_networks_at_once_are_the_same_as_one_after_another(loop, stack):
    if missing := [library for library in LIBRARIES.get(loop, []) if find_spec(library) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    works = [replace(work, shared=shared) for work in (MANY, ORDERS) for shared in (False, True)]
    jobs = [("found", work, 5) for work in works] + [("measure", FEW, 0.01)]
    *one_by_one, timed = of_a_worker(loop, *jobs)
    *at_once, timed_too, lone = of_a_worker(stack, *jobs, ("found", BINARY, 1))
    for a, b in zip(one_by_one, at_once, strict=True):
        assert a["found"] == pytest.approx(b["found"], rel=1e-5)
    expected = made("xpnn eager", MANY, "numpy")(5)[1]
    assert at_once[0] == at_once[1] and at_once[0]["found"] == pytest.approx(expected, rel=1e-5)  # all rows are a batch
    assert at_once[2]["found"] != pytest.approx(at_once[3]["found"], rel=1e-4)
    assert min(timed["microseconds"], timed_too["microseconds"]) > 0.0
    assert stack == "xpnn" or "one network needs no" in lone["skipped"]


def test_scikit_learns_networks_in_processes_are_those_one_after_another(monkeypatch):
    pytest.importorskip("sklearn", reason="not installed: scikit-learn")
    alone = made("scikit-learn", ORDERS, "cpu")(4)[1]
    assert len(alone) == 4 and alone[-1] < alone[0]
    in_processes, timed = of_a_worker("scikit-learn jobs", ("found", ORDERS, 4), ("measure", FEW, 0.01), threads=2)
    assert in_processes["found"] == pytest.approx(alone, rel=1e-5)
    assert timed["microseconds"] > 0.0
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(CannotRun, match="more than one network and more than one thread"):
        made("scikit-learn jobs", ORDERS, "cpu")


def test_a_part_of_many_networks_counts_as_all(monkeypatch):
    losses = [made("xpnn loop", replace(ORDERS, lone=lone), "numpy")(2)[1] for lone in (1, 3)]
    assert losses[0] == pytest.approx(
        made("xpnn eager", replace(BINARY, rows=27, batch_size=8), "numpy")(2)[1], rel=1e-5
    )
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    monkeypatch.setattr(ours, "perf_counter", itertools.count().__next__)  # one passes between two looks at the clock
    for lone in (1, 2, 4):
        assert made("xpnn loop", replace(MANY, lone=lone, members=8), "numpy")(1)[0] == 8


def test_many_networks_have_tables_of_their_own():
    rounds = {"limit": [50.0], "xpnn": [80.0], "PyTorch eager": [640.0], "PyTorch bmm": [160.0], "JAX vmap": [112.0]}
    found = {"W7o": rounds | {"scikit-learn": [560.0]}, "W2": {"limit": [50.0]}, "W7s": rounds}
    made_on = {"machine": {"versions": {}} | dict.fromkeys(("cpu", "cores", "python", "backend", "blas", "date"), 1)}
    results = {"threads": 1, "rounds": 1, "microseconds": found} | made_on
    one, many = steps(results)
    assert one == [["microseconds a step", "limit"], [WORKLOADS["W2"].label, "50.0"]]
    head = ["limit", "xpnn", "scikit-learn", "PyTorch eager", "PyTorch bmm", "JAX vmap"]
    assert many[0] == ["microseconds a network's step", *head]
    assert many[1][0] == "W7o 64 x 30-64-64-1, batch 128, Adam, float32, own orders"
    assert many[2][1:] == ["50.0", "80.0", "-", "640", "160", "112"]
    (table,) = reached(results)
    assert table[0] == ["reached? (bar, goal)", *bars.MANY["W7o"]]
    assert table[1][1:3] == ["1.60 reached (1.65, 1.4)", "8.00 reached (7.5, 9)"]
    assert table[1][3:] == ["2.00 not reached (2.4, 2.9)", "7.00 reached (6.3, 7.5)", "1.40 goal reached (1.1, 1.3)"]
    assert table[2][1] == "1.60 not reached (1.5, 1.3)"
    printed = parts(results, plain)
    assert "W7o, W7s: who trains the 64 networks one after another was given 8 of them" in printed
    assert "6 of 9 bars reached, 2 of them with the goal." in printed
    results = {"threads": 2, "microseconds": {"W7s": rounds | {"xpnn one thread": [120.0]}}}
    assert reached(results) == [[["reached? (bar, goal)", "one thread / ours"], ["W7s", "1.50 reached (1.35)"]]]


def test_a_small_search(tmp_path):
    path = tmp_path / "results.json"
    arguments = ("--only", "breast-cancer", "phoneme", "--rounds", 1, "--max-iter", 2, "--json", path)
    done = command(*arguments, module="tests.benchmarks.search")
    assert done.returncode == 0, done.stderr
    assert "| breast-cancer | 569 x 30 |" in done.stdout
    assert "5-fold search over 6 learning_rate_init x 4 alpha in float64, at most 2 epochs" in done.stdout
    assert "phoneme is left out: name the folder that holds phoneme.csv" in done.stdout
    found = json.loads(path.read_text())["searches"]["breast-cancer"]
    for peer in ("ours", "theirs"):
        assert {name: len(values) for name, values in found[peer].items()} == dict.fromkeys(found[peer], 1)
        assert all(
            0.0 < part < whole for part, whole in zip(found[peer]["search"], found[peer]["seconds"], strict=True)
        )
        assert all(0.5 < score <= 1.0 for folds in found[peer]["folds"] for score in folds)
        assert all(set(best) == set(search.GRID) for best in found[peer]["best"])


def test_the_table_of_searches_by_hand():
    ours = {"seconds": [2.0, 3.0], "search": [1.0, 2.0], "folds": [[0.5, 0.7], [0.7, 0.9]]}
    theirs = {"seconds": [10.0, 18.0], "search": [8.0, 16.0], "folds": [[0.4, 0.6], [0.4, 0.8]]}
    row = search.summary({"searches": {"one": {"ours": ours, "theirs": theirs, "shape": [1000, 3]}}})[1]
    assert row[:5] == ["one", "1,000 x 3", "1.50", "12.0", "8.00 reached (6)"]
    assert row[5:8] == ["2.50", "14.0", "5.50"]
    assert row[8:] == ["0.7000 ± 0.1000", "0.5500 ± 0.1500", "+0.1500", "+3.0"]


@pytest.mark.parametrize(
    "options, words",
    [(("--rounds", 0), "--rounds, --threads and --max-iter must be at least 1"),
     (("--only", "diabetes"), "invalid choice: 'diabetes'"), (("--data", "nowhere"), "--data must name a folder")],
)  # fmt: skip
def test_wrong_options_of_searches(options, words):
    done = command(*options, module="tests.benchmarks.search")
    assert done.returncode == 2
    assert words in done.stderr
