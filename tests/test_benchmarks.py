"""The comparisons by their commands: of estimators, on what scikit-learn ships and on files of the form of the real
ones; of steps, small, for what the peers compute and not for how fast."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import xpnn
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import bars, imports, installed
from tests.benchmarks.data import COUNTED, SETS, split
from tests.benchmarks.estimators import caption, error, summary
from tests.benchmarks.peers import PEERS, CannotRun, made, tutorial
from tests.benchmarks.table import count, markdown, parts, reached, unlike
from tests.benchmarks.worker import Worker, environment
from tests.benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent


def command(*arguments, module="tests.benchmarks.estimators"):
    inherited = {name: value for name, value in os.environ.items() if name != "XPNN_DATA"}
    full = [sys.executable, "-W", "error", "-m", module, *map(str, arguments)]
    return subprocess.run(full, cwd=ROOT, capture_output=True, text=True, env=inherited, stdin=subprocess.DEVNULL)


def test_a_small_comparison(tmp_path):
    path = tmp_path / "results.json"
    done = command("--only", "diabetes", "adult", "--seeds", 2, "--max-iter", 5, "--json", path)
    assert done.returncode == 0, done.stderr
    assert "| diabetes | 442 x 10 |" in done.stdout
    assert "| 5, 5, 5 |" in done.stdout
    assert "adult is left out: name the folder that holds adult-train.csv.gz, adult-test.csv.gz" in done.stdout
    results = json.loads(path.read_text())
    assert list(results["fits"]) == ["diabetes"]
    for peer in ("ours", "theirs"):
        found = results["fits"]["diabetes"][peer]
        assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 2)
        assert found["epochs"] == [5, 5]
        assert min(found["seconds"]) > 0.0


@pytest.mark.parametrize(
    "options, words",
    [(("--seeds", 0), "--seeds and --max-iter must be at least 1"), (("--only", "iris"), "invalid choice: 'iris'"),
     (("--data", "nowhere"), "--data must name a folder, got nowhere")],
)  # fmt: skip
def test_wrong_options(options, words):
    done = command(*options)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_table_by_hand():
    ours = {"score": [0.5, 0.7], "seconds": [1.0, 2.0], "epochs": [10, 10]}
    theirs = {"score": [0.4, 0.4], "seconds": [2.0, 6.0], "epochs": [20, 20]}
    fits = {"one": {"ours": ours, "theirs": theirs, "shape": [1000, 3], "max_iter": 20}}
    row = summary({"seeds": 2, "fits": fits})[1]
    assert row[:6] == ["one", "1,000 x 3", "0.6000 ± 0.1000", "0.4000 ± 0.0000", "+0.2000", "+2.0"]
    assert row[6:] == ["10, 20, 20", "1.50", "4.00", "2.50", "1.25"]
    assert error([1.0]) == 0.0


def test_the_results_that_are_kept():
    kept = ROOT / "tests" / "benchmarks" / "results" / "estimators.json"
    results = json.loads(kept.read_text())
    assert list(results["fits"]) == list(SETS)
    assert not results["left_out"]
    assert f"mean of {results['seeds']} seeds" in caption(results)


def test_adult_and_abalone_become_numbers(tmp_path):
    import gzip

    words = [["Private", "?"][i % 4 == 0] for i in range(40)]
    cells = [["1" if c in COUNTED else words[i] for c in range(14)] for i in range(40)]
    for i, row in enumerate(cells):
        row[0] = str(20 + i)
    for file, end in zip(SETS["adult"].files, ("", "."), strict=True):
        with gzip.open(tmp_path / file, "wt") as out:
            out.writelines(", ".join([*row, [">50K", "<=50K"][i % 2] + end]) + "\n" for i, row in enumerate(cells))
            out.write("\n")
    adult = SETS["adult"]
    assert not adult.missing(tmp_path)
    x, y = adult.read(tmp_path)
    assert x.shape == (80, 14)
    assert set(y) == {">50K", "<=50K"}
    rows = split(adult, (x, y), 0)
    assert rows.x.shape == (60, 6 + 8)  # one category each: what is missing is filled with the most frequent
    assert rows.x.dtype == np.float64
    assert abs(rows.x[:, 0].mean()) < 1e-12

    (tmp_path / "abalone.csv").write_text("".join(f"{'MFI'[i % 3]},{i}.5,1,1,1,1,1,1,{i}\n" for i in range(40)))
    rows = split(SETS["abalone"], SETS["abalone"].read(tmp_path), 0)
    assert rows.x.shape == (30, 7 + 3)
    assert (rows.x[:, 7:].sum(axis=1) == 1.0).all()
    assert abs(rows.y.mean()) < 1e-12 and abs(rows.y.std() - 1.0) < 1e-12


@pytest.mark.skipif("XPNN_DATA" not in os.environ, reason="the environment variable XPNN_DATA names no folder")
@pytest.mark.parametrize("name", SETS)
def test_the_real_data(name):
    rows = {"adult": 48_842, "mnist": 10_000, "phoneme": 5404, "wine-quality": 4898, "abalone": 4177}
    x, y = SETS[name].read(Path(os.environ["XPNN_DATA"]))
    assert len(x) == len(y) == rows.get(name, len(x))
    prepared = split(SETS[name], (x, y), 0)
    assert np.isfinite(prepared.x).all()
    assert prepared.x.flags.c_contiguous


SQUARED = Workload("squared", (2, 4, 8, 1), 20, None, "mean_squared_error", "sgd", 0.15, "float64", circles=True)
BINARY = Workload("binary", (5, 6, 1), 24, None, "binary_cross_entropy", "adam", 0.01, "float32")
CLASSES = Workload("classes", (5, 8, 3), 24, None, "softmax_cross_entropy", "adam", 0.01, "float32")
BATCHES = Workload("batches", (5, 8, 3), 24, 8, "softmax_cross_entropy", "adam", 0.01, "float32")
OUTPUT = Workload("output", (5, 8, 3), 4, None, "softmax_cross_entropy", None, 0.0, "float32")


def test_the_kernels_of_numba_are_a_peer_of_their_own():
    pytest.importorskip("numba", reason="not installed: numba")
    with contextlib.ExitStack() as stack:
        chosen = argparse.Namespace(peers=["xpnn jit"], backend="numpy", torch_device="cpu", threads=1)
        (worker,) = benchmarks.started(stack, chosen, {"left_out": {}})
        found = worker.found(SQUARED, 5)["found"]
        assert found == pytest.approx(made("xpnn eager", SQUARED, "numpy")(5)[1], rel=1e-5)
        assert "outputs" in worker.found(OUTPUT, 1)["skipped"]


LIBRARIES = {"scikit-learn": ["sklearn"], "PyTorch eager": ["torch"], "PyTorch compile": ["torch"]}
LIBRARIES |= {"JAX step": ["jax"], "JAX scan": ["jax"], "Keras on JAX": ["keras", "jax"]}


@pytest.mark.parametrize("peer", LIBRARIES)
def test_a_peer_does_the_same_as_ours(peer, monkeypatch):
    if missing := [library for library in LIBRARIES[peer] if find_spec(library) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    monkeypatch.setenv(
        "TORCH_COMPILE_DISABLE", "1"
    )  # half a minute of C++: the benchmark itself shows whether it works
    worker = Worker(peer, peer, "cpu", threads=1)
    try:
        assert worker.skipped is None
        for work in (SQUARED, BINARY, CLASSES):
            found = worker.found(work, 5)["found"]
            if peer == "scikit-learn":  # which draws its own weights
                assert len(found) == 5 and found[-1] < found[0]
            else:
                assert found == pytest.approx(made("xpnn eager", work, "numpy")(5)[1], rel=1e-5)
        found = worker.found(BATCHES, 20)["found"]
        assert len(found) == 20 and found[-1] < found[0]
        if peer == "JAX step":
            assert "under the scan" in worker.found(OUTPUT, 1)["skipped"]
        else:
            assert worker.found(OUTPUT, 2)["found"] == pytest.approx(made("xpnn", OUTPUT, "numpy")(2)[1], rel=1e-5)
        timed = worker.measure(BATCHES, seconds=0.01)
        assert timed["microseconds"] > 0.0
        assert timed["busy"] < 1.2
    finally:
        worker.close()


def test_our_two_peers_do_the_same():
    for work in (SQUARED, BINARY, CLASSES, BATCHES, OUTPUT):
        assert made("xpnn", work, "numpy")(4)[1] == pytest.approx(made("xpnn eager", work, "numpy")(4)[1], rel=1e-5)


def test_the_tutorials_script_trains_as_the_tutorial_does():
    x, y = SQUARED.data()
    layers = [[weight, bias[None, :], tutorial.relu, tutorial.relu_slope] for weight, bias in SQUARED.initial()]
    layers[-1][2:] = tutorial.sigmoid, tutorial.sigmoid_slope
    net = xpnn.Network(xpnn.mlp(SQUARED.widths, output="sigmoid"), dtype="float64")
    params = net.params
    for entry, (weight, bias) in zip([one for one in params if one], SQUARED.initial(), strict=True):
        entry["weight"], entry["bias"] = weight, bias
    net.params = params
    net.fit(x, y, "mse", xpnn.SGD(0.15, multipliers={"bias": 1 / len(x)}), epochs=30, batch_size=None)
    for _ in range(30):
        tutorial.epoch(layers, x, y[:, None], 0.15 * 2 / len(x))
    for (weight, bias, *_), ours, our_bias in zip(layers, net.weights, net.biases, strict=True):
        np.testing.assert_allclose(weight, ours, atol=1e-12)
        np.testing.assert_allclose(bias[0], our_bias, atol=1e-12)
    errors = made("tutorial script", SQUARED, "cpu")(3)[1]
    assert len(errors) == 3 and all(0.0 <= error <= 1.0 for error in errors)
    with pytest.raises(CannotRun, match="its own data"):
        made("tutorial script", BINARY, "cpu")


def test_the_limit_is_the_products_of_a_step(monkeypatch):
    sizes = []

    class Counted(np.ndarray):
        def dot(self, other, out):
            sizes.append((*self.shape, other.shape[1]))
            assert out.shape == (self.shape[0], other.shape[1])

    class Drawn:
        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype).view(Counted)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Drawn())
    made("limit", BATCHES, "numpy")(1)
    step = [(8, 5, 8), (5, 8, 8), (8, 8, 3), (8, 8, 3), (8, 3, 8)]
    assert sorted(sizes) == sorted(step * BATCHES.steps)
    sizes.clear()
    made("limit", replace(BATCHES, rows=19, members=4), "numpy")(1)
    last = [(3, 5, 8), (5, 3, 8), (3, 8, 3), (8, 3, 3), (3, 3, 8)]
    assert sorted(sizes) == sorted((step * 2 + last) * 4)
    sizes.clear()
    made("limit", OUTPUT, "numpy")(2)
    assert sizes == [(4, 5, 8), (4, 8, 3)] * 2
    with pytest.raises(RuntimeError, match="no limit for torch"):
        made("limit", OUTPUT, "torch")


def test_every_class_is_among_the_labels():
    x, y = WORKLOADS["W5"].data()
    assert set(y) == set(range(1000))
    assert x.dtype == np.float32


def test_one_thread_and_two_by_the_command(tmp_path):
    path = tmp_path / "results.json"
    arguments = ("--rounds", 2, "--seconds", 0.01, "--only", "W2,W6a", "--peers", "limit,xpnn,tutorial script")
    done = command(*arguments, "--threads", 2, "--size", "--json", path, module="tests.benchmarks")
    assert done.returncode == 0, done.stderr
    assert "tutorial script has no W2: it trains its own network" in done.stderr
    results = json.loads(path.read_text())
    assert results["threads"] == 2
    assert results["peer_threads"] == {"xpnn one thread": 1}
    for rounds in (results["microseconds"], results["busy"]):
        assert list(rounds) == ["W2", "W6a"]
        for found in rounds.values():
            assert {peer: len(values) for peer, values in found.items()} == dict.fromkeys(
                ("limit", "xpnn", "xpnn one thread"), 2
            )
    printed = command(path, module="tests.benchmarks.table")
    assert printed.returncode == 0, printed.stderr
    assert "| microseconds a step | limit | xpnn | xpnn one thread |" in printed.stdout
    assert "| reached? (bar, goal) | one thread / ours |" in printed.stdout
    assert "Left out: tutorial script (it trains its own network on its own data)." in printed.stdout
    assert "of 1 bars reached, 0 of them with the goal." in printed.stdout
    assert "| installed | MiB of its own |" in printed.stdout
    assert (
        0.1 < results["installed_mebibytes"]["xpnn"]["own"] < 1.1
    )  # the bar of 1.0 is not reached any more, see the README


def test_the_bars():
    assert set(bars.ONE_THREAD) | set(bars.MANY) == set(WORKLOADS)
    for asked in (bars.ONE_THREAD, bars.EAGER, bars.MANY, bars.TWO_THREADS, bars.MANY_TWO_THREADS):
        for row in asked.values():
            for name, (bar, goal) in row.items():
                over, under, at_most = bars.RATIOS[name]
                assert goal is None or (goal < bar if at_most else goal > bar)
                assert {over.removesuffix(" one thread"), under} <= set(PEERS)


def test_the_bars_table_by_hand():
    rounds = {"limit": [10.0, 10.0, 10.0], "xpnn": [13.0, 19.0, 30.0], "PyTorch eager": [130.0, 1.0, 300.0]}
    results = {"threads": 1, "microseconds": {"W2": rounds}}
    (table,) = reached(results)
    assert table[0] == ["reached? (bar, goal)", "ours / limit", *list(bars.ONE_THREAD["W2"])[1:]]
    assert table[1] == ["W2", "1.90 reached (2, 1.4)", "10.00 goal reached (5.5, 8)", "-", "-"]
    assert count(results) == "2 of 2 bars reached, 1 of them with the goal."
    rounds["xpnn"] = [21.0, 21.0, 21.0]
    assert reached(results)[0][1][1] == "2.10 not reached (2, 1.4)"
    results = {"threads": 2, "microseconds": {"W4": rounds, "W2": rounds | {"xpnn one thread": [20.0] * 3}}}
    (table,) = reached(results)
    assert table[1:] == [["W2", "0.95 not reached (1)", "-"], ["W4", "-", "2.10 not reached (1.35)"]]
    assert reached(results | {"threads": 3}) == []


def test_threads_are_told():
    busy = {"W1": {"JAX scan": [1.7, 1.8], "xpnn": [1.0, 1.0]}, "W2": {"xpnn": [0.5, 0.6], "limit": [0.5, 0.5]}}
    results = {"threads": 1, "peer_threads": {}, "busy": busy}
    assert list(unlike(results).values()) == [["JAX scan on W1 (1.75)"], ["W2 (0.53)"]]
    assert not any(unlike({"threads": 1}).values())
    variables = environment(1)
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == variables["NPROC"] == "1"
    assert "multi_thread_eigen=false" in variables["XLA_FLAGS"]
    assert "multi_thread_eigen" not in environment(2)["XLA_FLAGS"]
    assert all(flag.startswith("--") for flag in variables["XLA_FLAGS"].split())  # a file's name is what else XLA takes


def test_the_results_of_steps_that_are_kept():
    kept = ROOT / "tests" / "benchmarks" / "results" / "cpu.json"
    assert "W1" in parts(json.loads(kept.read_text()), markdown)


@pytest.mark.parametrize(
    "options, words",
    [(("--only", "W9"), "unknown workloads ['W9']"), (("--peers", "keras"), "unknown peers ['keras']"),
     (("--rounds", 0), "--rounds and --threads must be at least 1")],
)  # fmt: skip
def test_wrong_options_of_steps(options, words):
    done = command(*options, module="tests.benchmarks")
    assert done.returncode == 2
    assert words in done.stderr


def test_imports_and_sizes():
    assert imports.milliseconds("import json") > 0.0
    assert {"numpy"} <= installed.closure(["scipy"])
    assert installed.mebibytes(["numpy"]) > 1.0
    with pytest.raises(metadata.PackageNotFoundError):
        installed.closure(["no-such-package-anywhere"])
