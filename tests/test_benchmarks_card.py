"""The comparisons on a GPU, as far as they run without one: who computes where, with CuPy pretended, bars and tables.

PyTorch's graphs are captured and replayed by functions that stand for CUDA's.
"""

import argparse
import contextlib
import importlib.util
import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests import pretend_cupy
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import bars, card, machine
from tests.benchmarks.peers import PEERS, CannotRun, made
from tests.benchmarks.table import caption, count, markdown, parts, plain, reached, samples
from tests.benchmarks.table import card as card_tables
from tests.benchmarks.worker import Worker, environment, measured, ready
from tests.benchmarks.workloads import WORKLOADS
from tests.c_kernels import COMPILER
from tests.pretend_cublas import calls
from tests.pretend_streams import Graph
from tests.test_benchmarks import BATCHES, BINARY, CLASSES, OUTPUT, SQUARED, command
from tests.test_benchmarks_many import MANY, ORDERS
from xpnn.availability import status
from xpnn.compile.plan import Plan
from xpnn.compile.trace import Graph as Trace

USABLE = status("cupy").usable  # which loads CuPy where it is installed
pretended = pytest.mark.skipif(COMPILER is None or "cupy" in sys.modules, reason="needs g++, and CuPy not loaded")


def chosen(*arguments, monkeypatch):
    """The options of a command, where a GPU is."""
    monkeypatch.setattr(benchmarks, "refused", lambda backend: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
    return benchmarks.options()


def test_a_run_on_a_card_is_all_on_the_card_by_default(monkeypatch):
    asked = chosen("--backend", "cupy", monkeypatch=monkeypatch)
    assert asked.torch_device == "cuda" and 1 <= asked.threads <= benchmarks.ON_CARD
    assert set(asked.only) == set(WORKLOADS) and asked.peers == list(PEERS)
    where = benchmarks.places(asked)
    assert set(PEERS) - set(where) == {"xpnn jit", "tutorial script", "scikit-learn", "scikit-learn jobs"}
    assert set(where.values()) == {"cupy", "cuda"} and where["limit"] == where["xpnn loop"] == "cupy"
    other = chosen("--backend", "cupy", "--torch-device", "cuda:1", "--threads", 2, monkeypatch=monkeypatch)
    assert other.threads == 2 and benchmarks.places(other)["PyTorch graphs"] == "cuda:1"
    plainly = chosen(monkeypatch=monkeypatch)
    assert (plainly.torch_device, plainly.threads) == ("cpu", 1)
    assert set(benchmarks.places(plainly)) == set(PEERS)
    assert set(benchmarks.places(plainly).values()) == {"cpu", "numpy"}
    assert environment(4)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


@pytest.mark.skipif(USABLE, reason="a GPU is here")
def test_without_a_card_the_command_says_what_to_install():
    done = command("--backend", "cupy", module="tests.benchmarks")
    assert done.returncode == 2
    assert "--backend cupy needs a GPU: cupy" in done.stderr and "pip install cupy-cuda12x[ctk]" in done.stderr
    assert "take cupy, and CUDA_VISIBLE_DEVICES" in str(benchmarks.refused("cupy:1"))
    assert benchmarks.refused("torch") is None


@pytest.mark.skipif(machine.driver() is not None, reason="a GPU is here")
def test_peers_that_find_no_gpu_are_left_out_and_never_on_the_processor():
    found = {"JAX step": "jax", "PyTorch bmm": "torch"}
    asked = [peer for peer, library in found.items() if importlib.util.find_spec(library)]
    results = {"left_out": {}}
    with contextlib.ExitStack() as stack:
        given = argparse.Namespace(
            peers=[*asked, "scikit-learn", "xpnn jit"], backend="cupy", torch_device="cuda", threads=2
        )
        assert benchmarks.started(stack, given, results) == []
    for peer in ("scikit-learn", "xpnn jit"):
        assert results["left_out"].pop(peer) == "it computes on the processor alone"
    assert set(results["left_out"]) == set(asked)
    assert all("finds no cuda here" in why.lower() for why in results["left_out"].values())


def test_one_card_is_shared_with_a_peer_that_fails():
    worker = Worker("xpnn", "xpnn", "numpy", 1)
    try:
        assert "it failed: " in worker.measure(replace(BATCHES, loss="no such loss"), 0.01)["skipped"]
        assert worker.measure(BATCHES, 0.01)["microseconds"] > 0.0
    finally:
        worker.close()


def test_what_a_peer_has_of_the_rounds_before_it_failed_is_dropped():
    class Failing:
        def __init__(self, name, rounds):
            self.name, self.rounds = name, rounds

        def measure(self, work, seconds):
            self.rounds -= 1
            return {"skipped": "no memory"} if self.rounds < 0 else {"microseconds": 1.0, "busy": 1.0}

    results = {"microseconds": {}, "busy": {}, "no_such": {}, "left_out": {}}
    asked = argparse.Namespace(threads=1, only=["W1"], rounds=3, seconds=0.0)
    benchmarks.measure([Failing("xpnn", 9), Failing("limit", 2)], asked, results)  # type: ignore[list-item]
    assert results["microseconds"] == {"W1": {"xpnn": [1.0] * 3}}
    assert results["left_out"] == {"limit": "no memory"}


# PyTorch's graphs


def replayed(work):
    """Stands for a capture: what is replayed reads and writes the same memory, which `work` does too."""
    for _ in range(3):
        work()
    return work


def test_graphs_are_for_a_gpu():
    torch = pytest.importorskip("torch", reason="not installed: torch")
    places = ["cpu"] + ["cuda"] * (not torch.cuda.is_available())
    for place in places:
        with pytest.raises(CannotRun, match="captured on a GPU"):
            made("PyTorch graphs", BATCHES, place)


@pytest.mark.parametrize(
    "work",
    [SQUARED, BINARY, CLASSES, BATCHES, replace(BATCHES, rows=19), MANY, ORDERS, replace(ORDERS, shared=True)],
    ids=lambda work: f"{work.name} {work.rows} {work.shared}",
)
def test_the_step_of_pytorchs_graphs_is_that_of_its_loop(work):
    pytest.importorskip("torch", reason="not installed: torch")
    from tests.benchmarks.peers import torch_graphs

    run = torch_graphs.train(work, "cpu", replayed, lambda: None)
    expected = made("PyTorch bmm" if work.members > 1 else "PyTorch eager", work, "cpu")(5)[1]
    assert run(5)[1] == pytest.approx(expected, rel=1e-5)
    assert run(5)[1] == pytest.approx(expected, rel=1e-5)  # which begins anew


def test_the_forward_pass_of_pytorchs_graphs_is_that_of_its_loop():
    pytest.importorskip("torch", reason="not installed: torch")
    from tests.benchmarks.peers import torch_graphs

    run = torch_graphs.predict(OUTPUT, "cpu", replayed, lambda: None)
    assert run(2)[1] == pytest.approx(made("PyTorch eager", OUTPUT, "cpu")(2)[1], rel=1e-5)


def test_a_capture_is_as_pytorchs_documentation_has_it(monkeypatch):
    torch = pytest.importorskip("torch", reason="not installed: torch")
    from tests.benchmarks.peers import torch_graphs

    told = []

    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

    class Captured:
        def replay(self):
            told.append("replay")

    @contextlib.contextmanager
    def within(thing):
        told.append(f"into {type(thing).__name__}")
        yield
        told.append("out")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Captured)
    monkeypatch.setattr(torch.cuda, "graph", within)
    torch_graphs.captured(lambda: told.append("work"))()
    warm = ["side waits for main", "into Stream", *["work"] * 3, "out", "main waits for side"]
    assert told == [*warm, "into Captured", "work", "out", "replay"]


# CuPy pretended


@pretended
@pytest.mark.parametrize("work", [BATCHES, replace(BATCHES, rows=19), ORDERS, OUTPUT], ids=lambda work: str(work.rows))
def test_the_limit_on_a_card_is_one_graph_of_the_products_of_an_epoch(work):
    products = {BATCHES: 15, ORDERS: 20, OUTPUT: 2}.get(work, 15)
    with pretend_cupy.installed():
        run = made("limit", work, "cupy")
        before, launched = calls["products"], Graph.launched
        assert run(4)[0] > 0.0
        assert calls["products"] - before == 2 * products  # launched once, captured once
        assert Graph.launched - launched == 3


class Here:
    """A peer in this process, where CuPy is pretended."""

    def __init__(self, name, peer, place, threads):
        self.name, self.peer, self.place = name, peer, place
        self.held: dict[Any, tuple[Any, int]] = {}
        self.skipped = None if place == "cupy" else "no GPU"

    def measure(self, work, seconds):
        try:
            if work not in self.held:
                self.held[work] = ready(self.peer, work, self.place, seconds)
            return measured(*self.held[work], work)
        except CannotRun as error:
            return {"skipped": str(error)}

    def close(self):
        pass


@pretended
def test_the_command_on_a_pretended_card(monkeypatch, tmp_path, capsys):
    path = tmp_path / "cupy.json"
    tops = {"float64": {"bytes_a_second": 1e12, "flops_a_second": 1e13, "square": 64}}
    monkeypatch.setattr(benchmarks, "Worker", Here)
    monkeypatch.setattr(benchmarks.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(card, "measure", lambda backend, dtypes: {dtype: tops[dtype] for dtype in dtypes})
    arguments = ["--backend", "cupy", "--only", "W1", "--rounds", 2, "--seconds", 0.001, "--json", path]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
    monkeypatch.setenv("XPNN_EPILOGUES", "0")  # a peer sets it, of what should be its own process
    with pretend_cupy.installed():
        benchmarks.main()
    results = json.loads(path.read_text())
    assert {"card", "driver", "cuda", "cupy", "versions", "date"} <= set(results["machine"])
    assert results["machine"]["card"] == "a CPU that pretends" and results["machine"]["cuda"] == "12.9"
    assert set(results["microseconds"]["W1"]) == {"limit", "xpnn", "xpnn epilogues", "xpnn eager"}
    assert set(results["samples_a_second"]["W1"]) == {"limit", "xpnn", "xpnn epilogues", "xpnn eager"}
    assert results["left_out"]["PyTorch eager"] == results["left_out"]["JAX scan"] == "no GPU"
    assert results["left_out"]["scikit-learn"] == "it computes on the processor alone"
    assert results["left_out"]["xpnn loop"] == "one network is xpnn's own figure"
    step = results["card"]["steps"]["W1"]
    assert step["product_flops"] == 2 * 300 * (3 * (2 * 4 + 4 * 8 + 8) - 2 * 4 - 8)  # an outer product is none
    assert step["share_of_products"] > 0.0 and step["kernels"] > 5
    assert results["card"]["ceilings"] == tops
    printed = capsys.readouterr().out
    assert "xpnn's step of all networks" in printed and "a CPU that pretends (driver None, CUDA 12.9)" in printed


@pretended
def test_the_plan_that_is_counted_is_the_one_that_runs():
    from tests.benchmarks.peers import ours

    for work in (replace(BATCHES, rows=19), replace(ORDERS, shared=True), ORDERS):
        with pretend_cupy.installed():
            net = ours.network(work, "cupy", None if work.members > 1 else 0)
            x, y = ours.data(work, net)
            shuffle = "shared" if work.shared else True
            net.fit(x, y, work.loss, ours.optimizer_of(work), epochs=1, batch_size=work.batch_size, shuffle=shuffle)
            ran = [traced.plan for traced in net._prepared[0].traced.values()]
        expected = [card.planned(work, rows) for rows in (work.batch, work.rest)]
        assert [card.counted(plan) for plan in ran] == [card.counted(plan) for plan in expected]
        assert [plan.blocks for plan in ran] == [plan.blocks for plan in expected]


@pretended
def test_ceilings_on_a_pretended_card(monkeypatch):
    monkeypatch.setattr(card, "SECONDS", 0.001)
    with pretend_cupy.installed():
        assert card.ceilings("cupy", "float32", 1 << 10, 8)["flops_a_second"] > 0.0


# what is counted


def test_ceilings_are_measured_by_copies_and_products(monkeypatch):
    monkeypatch.setattr(card, "SECONDS", 0.001)
    for dtype in ("float32", "float64"):
        found = card.ceilings("numpy", dtype, 1 << 16, 16)
        assert found.pop("square") == 16 and len(found) == 2
        assert all(0.0 < rate < 1e16 for rate in found.values())
    rates = iter([1.0, 1.0, 2.0, 0.25])
    monkeypatch.setattr(card, "quickest", lambda call, kind: next(rates))
    assert card.ceilings("numpy", "float64", 1 << 10, 8) == {
        "bytes_a_second": 2048.0, "flops_a_second": 1024.0, "square": 8
    }  # fmt: skip
    assert card.ceilings("numpy", "float32", 1 << 10, 8)["flops_a_second"] == 4096.0


def test_the_command_of_the_ceilings():
    found = card.measure("numpy", ["float32"], "--copied", "4096", "--square", "8")
    assert set(found) == {"float32"} and found["float32"]["square"] == 8
    with pytest.raises(RuntimeError, match="could not be measured"):
        card.measure("nothing", ["float32"])


def test_what_a_plan_moves_by_hand():
    trace = Trace()
    x, w, b = (trace.input(name, shape, "float32") for name, shape in (("x", (8, 3)), ("w", (3, 2)), ("b", (2,))))
    plan = Plan({"y": trace.xp.tanh(trace.xp.matmul(x, w) + b) * 2.0}, {"y": "fresh"}, products=False, cluster=True)
    product, cluster = 4 * (24 + 6 + 16), 4 * (16 + 2 + 16)
    assert card.counted(plan) == card.Step(2, 2 * 8 * 3 * 2 + 3 * 16, 2 * 8 * 3 * 2, product + cluster)


def test_a_step_is_the_mean_over_an_epoch():
    whole, rest = (card.counted(card.planned(replace(BATCHES, rows=19), rows)) for rows in (8, 3))
    found = card.step_of(replace(BATCHES, rows=19))
    assert found == pytest.approx([(2 * one + other) / 3 for one, other in zip(whole, rest, strict=True)])
    assert card.step_of(BATCHES).product_flops == 2 * 8 * (3 * (5 * 8 + 8 * 3) - 5 * 8)
    assert card.step_of(replace(ORDERS, rows=24)).product_flops == 2 * 3 * 8 * (3 * (5 * 6 + 6) - 5 * 6 - 6)


# bars and tables by hand

ROUNDS = {"limit": [9.0, 9.0, 9.0], "xpnn": [10.0, 10.0, 10.0], "PyTorch eager": [25.0, 19.0, 25.0]}
MACHINE = {"card": "H200", "driver": "570.1", "cuda": "12.8", "versions": {"cupy": "14"}}
MACHINE |= dict.fromkeys(("cpu", "cores", "python", "backend", "blas", "date"), 1)


def on_card(**microseconds):
    """Results of a run on a card."""
    results = {"card": {"steps": {}, "ceilings": {}}, "threads": 4, "rounds": 3, "microseconds": microseconds}
    return results | {"machine": MACHINE, "busy": {"W1": {"xpnn": [0.1]}}, "peer_threads": {}}


def test_the_bars_of_a_card():
    for asked in (bars.CARD, bars.CARD_MANY):
        for row in asked.values():
            for name, (bar, goal) in row.items():
                assert {bars.RATIOS[name].over, bars.RATIOS[name].under} <= set(PEERS)
                assert bar >= 0.85 and goal is None and not bars.RATIOS[name].at_most
    assert set(bars.CARD) | set(bars.CARD_MANY) == {name for name, work in WORKLOADS.items() if work.optimizer}
    assert bars.asked({"threads": 1}) == [bars.ONE_THREAD, bars.EAGER, bars.MANY]
    assert bars.asked({"threads": 1, "card": {}}) == [bars.CARD, bars.CARD_MANY]
    assert bars.asked({"threads": 3}) == []


def test_verdicts_on_a_card_by_hand():
    graphs = {"PyTorch graphs": [9.9, 9.9, 9.9]}
    loops = {"xpnn loop": [90.0] * 3, "PyTorch eager": [300.0] * 3, "PyTorch graphs": [10.0] * 3}
    results = on_card(W1=ROUNDS | graphs, W5=ROUNDS | {"limit": [8.0] * 3}, W6a=ROUNDS, W7o=ROUNDS | loops)
    one, many = reached(results)
    assert one[0] == ["reached? (bar, goal)", "PyTorch / ours", "PyTorch graphs / ours", "limit / ours"]
    assert one[1] == ["W1", "2.50 reached (2)", "0.99 not reached (1)", "-"]
    assert one[2] == ["W5", "2.50 reached (1)", "-", "0.80 not reached (0.85)"]
    assert many[0][1:] == ["our loop / ours", "PyTorch loop / ours", "PyTorch graphs / ours"]
    assert many[1] == ["W7o", "9.00 not reached (10)", "30.00 reached (10)", "1.00 reached (1)"]
    assert count(results) == "4 of 7 bars reached, 0 of them with the goal."


def test_samples_a_second_by_hand():
    found = card.samples({"W2": {"xpnn": [64.0], "limit": [32.0]}, "W7o": {"xpnn": [1.0]}})
    assert found["W2"] == {"xpnn": 2e6, "limit": 4e6}
    assert found["W7o"]["xpnn"] == pytest.approx(20_000 / 157 * 1e6)
    (table,) = samples({"samples_a_second": found})
    assert table[0] == ["samples a second", "limit", "xpnn"]
    assert table[1] == ["W2", "4,000,000", "2,000,000"]
    assert samples({}) == []


def test_the_step_on_a_card_by_hand(monkeypatch, capsys):
    monkeypatch.setattr(card, "step_of", lambda work: card.Step(24, 4e6, 3e6, 1e6))
    results = on_card(W2=ROUNDS, W6a=ROUNDS, W7s={"limit": [1.0]})
    tops = {"float32": {"bytes_a_second": 4e12, "flops_a_second": 5e13, "square": 8192}}
    monkeypatch.setattr(card, "measure", lambda backend, dtypes: tops)
    card.tell(results, "cupy")
    assert results["card"]["steps"]["W2"]["microseconds"] == 10.0
    assert results["card"]["steps"]["W2"]["share_of_products"] == 0.9
    (table,) = card_tables(results)
    assert table[1] == ["W2", "24.0", "10.0", "90 %", "1.00", "100", "2.5 %", "4.00", "400", "0.8 %"]
    assert table[2] == ["W7s", "24.0", "-", "-", "1.00", "-", "-", "4.00", "-", "-"]
    assert len(table) == 3  # a step is of training
    told = caption(results)
    assert "H200 (driver 570.1, CUDA 12.8) beside 1 (1 cores, 4 threads)" in told
    assert "4,000 GB/s in a copy and 50.0 TFLOP/s in a product of 8192 rows and columns in float32" in told
    assert "the limit is products of stacks" in told and "Less than a core" not in told
    assert "| 90 % |" in parts(results, markdown) and "samples a second" in parts(results, plain)

    def fails(backend, dtypes):
        raise RuntimeError("the ceilings could not be measured")

    monkeypatch.setattr(card, "measure", fails)
    results = on_card(W2=ROUNDS)
    card.tell(results, "cupy")
    assert "could not be measured" in capsys.readouterr().err
    assert "Ceilings: the ceilings could not be measured." in caption(results)
    assert card_tables(results)[0][1][5:7] == ["100", "-"]


def test_the_driver_is_asked_of_nvidias_tool(monkeypatch):
    def answered(text, code=0):
        return lambda *args, **options: argparse.Namespace(stdout=text, returncode=code)

    for run, expected in ((answered("570.1\n570.1\n"), "570.1"), (answered("", 9), None)):
        monkeypatch.setattr(machine.subprocess, "run", run)
        assert machine.driver() == expected
    assert not machine.is_card("numpy") and machine.is_card("cupy")
