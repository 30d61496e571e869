"""Each example runs as a user would run it, at its smallest size, without a warning and without a window."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xpnn
from xpnn.availability import status

FOLDER = Path(__file__).parent.parent / "examples"
DATA = os.environ.get("XPNN_DATA")


def run(name, *arguments):
    environment = {k: v for k, v in os.environ.items() if k not in ("XPNN_DATA", "MPLBACKEND")}
    environment["PYTHONPATH"] = os.pathsep.join([str(FOLDER.parent), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", str(FOLDER / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_examples_are_here():
    assert sorted(path.name for path in FOLDER.glob("*.py")) == [
        "01_circles.py",
        "02_digits.py",
        "03_own_layer.py",
        "04_first_table.py",
        "05_wine_regression.py",
        "06_ensemble.py",
        "07_many_networks.py",
        "08_stop_resume_serve.py",
        "09_step_by_step.py",
        "10_imbalanced.py",
        "11_search.py",
        "12_larger_than_memory.py",
        "13_surrogate.py",
        "14_two_backends.py",
        "15_compiled_program.py",
        "16_from_pytorch.py",
    ]


@pytest.mark.parametrize("where", ["numpy", "array-api-strict", "torch"])
def test_circles(where, tmp_path):
    if not status(where).usable:
        pytest.skip(status(where).reason)
    out = run("01_circles.py", "--backend", where, "--epochs", 20, "--figures", tmp_path)
    assert "error of the rounded predictions: before 0.583, after 20 epochs" in out
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(drawn) == {"activations.png", "circles.png", "error.png", "decision_boundary.png"}
    assert min(drawn.values()) > 10_000


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_digits_of_scikit_learn(where):
    out = run("02_digits.py", "--backend", where, "--epochs", 5)
    assert "accuracy on digits not seen: 9" in out
    assert "taken for a" in out


@pytest.mark.skipif(not DATA, reason="the environment variable XPNN_DATA names no folder with MNIST's digits")
def test_digits_of_mnist_reach_94_percent():
    out = run("02_digits.py", "--data", DATA)
    accuracy = float(out.partition("accuracy on digits not seen: ")[2].partition("%")[0])
    assert accuracy >= 94.0


def test_an_own_layer():
    assert "accuracy of four networks" in run("03_own_layer.py", "--epochs", 5)


def percents(out, *words):
    """The number before or after each of the words."""
    return [float(re.search(word, out)[1]) for word in words]


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_a_first_table_of_scikit_learn(where):
    out = run("04_first_table.py", "--backend", where, "--epochs", 5)
    assert "362 rows to learn from, 64 to stop by, 143 to be tested on; 30 columns" in out
    assert "26.0% of the rows with missing entries" in out
    assert min(percents(out, r"(\S+)% of the answers", r"(\S+)% of the malignant are found")) > 85.0
    assert "the first row of the test is malignant with probability" in out


@pytest.mark.skipif(not DATA, reason="the environment variable XPNN_DATA names no folder with Adult's files")
def test_a_first_table_of_adult():
    out = run("04_first_table.py", "--data", DATA, "--epochs", 2)
    assert "7.4% of the rows with missing entries, 24.0% >50K" in out
    plain, balanced = out.split("class_weight='balanced'")
    assert percents(plain, r"(\S+)% of the answers")[0] > 84.0
    assert percents(plain, r"(\S+)% of the >50K")[0] < 70.0 < 80.0 < percents(balanced, r"(\S+)% of the >50K")[0]


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_an_interval_for_scikit_learns_diabetes(where):
    out = run("05_wine_regression.py", "--backend", where, "--epochs", 20)
    assert "progression of diabetes: 331 rows to learn from, 111 to be tested on; 25 to 346" in out
    assert 60.0 < percents(out, r"the interval holds (\S+)%")[0] <= 100.0


@pytest.mark.skipif(not DATA, reason="the environment variable XPNN_DATA names no folder with winequality-white.csv")
def test_an_interval_for_wine():
    out = run("05_wine_regression.py", "--data", DATA, "--epochs", 20)
    one, always = percents(out, r"one number is off by (\S+) on", r"is off by (\S+)\n")
    assert one < 0.9 * always
    assert 83.0 < percents(out, r"the interval holds (\S+)%")[0] < 97.0


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_an_ensemble_for_scikit_learns_diabetes(where):
    out = run("06_ensemble.py", "--backend", where, "--epochs", 20)
    assert "progression of diabetes: 331 rows to learn from, 111 to be tested on; 25 to 346" in out
    one, sixteen = percents(out, r"R2 of one network (\S+),", r"of sixteen (\S+)")
    assert sixteen > one
    assert 80.0 < percents(out, r"90% wanted: .* calibrated, (\S+)% inside")[0] <= 100.0


@pytest.mark.skipif(not DATA, reason="the environment variable XPNN_DATA names no folder with the two tables")
def test_an_ensemble_for_wine_and_abalone():
    for table in run("06_ensemble.py", "--data", DATA, "--epochs", 20).split("mark of a wine")[1].split("rings of an"):
        surest, least = percents(table, r"surest: std .*off by (\S+)", r"least sure: std .*off by (\S+)")
        assert surest < 0.9 * least
        for wanted in (90, 80):
            found = percents(table, rf"{wanted}% wanted: .* calibrated, (\S+)% inside")[0]
            assert found == pytest.approx(wanted, abs=4.0)


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_a_network_for_each_sensor(where, tmp_path):
    count = 12 if where == "numpy" else 3
    out = run("07_many_networks.py", "--backend", where, "--sensors", count, "--epochs", 1, "--folder", tmp_path)
    diverged = re.findall(r"(sensor-\d+) \(learning rate", out)
    assert f"{len(diverged)} diverged" in out
    expected = sorted({f"sensor-{k:03}" for k in range(count)} - set(diverged))
    assert sorted(path.stem for path in tmp_path.iterdir()) == expected
    assert xpnn.load(tmp_path / f"{expected[0]}.safetensors").metadata["sensor"] == expected[0]


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_a_training_that_is_killed_goes_on_and_is_served(where, tmp_path):
    out = run("08_stop_resume_serve.py", "--backend", where, "--epochs", 6, "--folder", tmp_path)
    assert re.search(r"killed after epoch [2-6]\n", out)
    assert "gone on to epoch 6; off from a training that nobody disturbed by 0.0" in out
    assert {"checkpoints", "circles.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    assert "trained on" in out and ("served by onnxruntime" in out or "pip install onnx" in out)


@pytest.mark.parametrize("where", ["numpy", "torch"])
def test_an_imbalanced_table(where):
    if not status(where).usable:
        pytest.skip(status(where).reason)
    out = run("10_imbalanced.py", "--backend", where, "--epochs", 8)
    plain, balanced = (float(found) for found in re.findall(r"recall (\S+),", out))
    assert plain < 0.6 < 0.8 < balanced
    found = [float(share) for share in re.findall(r"(\S+)% found", out)]
    assert len(found) == 4 and found == sorted(found, reverse=True)


def test_a_search(tmp_path):
    out = run("11_search.py", "--epochs", 3, "--widths", 8, 4, "--figure", tmp_path / "deep" / "search.png")
    assert "200 networks in" in out and "learning_rate_init" in out
    assert percents(out, r"on 450 others: (\S+)%")[0] > 85.0
    assert (tmp_path / "deep" / "search.png").stat().st_size > 5_000


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_a_table_larger_than_memory(where, tmp_path):
    out = run("12_larger_than_memory.py", "--backend", where, "--rows", 20_000, "--epochs", 2, "--folder", tmp_path)
    assert "20000 rows, 5 MB on the disk" in out and percents(out, r"variance explained: (\S+)")[0] > 0.5
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_a_surrogate(where):
    out = run("13_surrogate.py", "--backend", where, "--epochs", 20, "--steps", 100)
    force, difference = percents(out, r"a force (\S+);", r"of energies (\S+)")
    assert force == pytest.approx(difference, abs=2e-6)
    assert percents(out, r"moves by (\S+)")[0] < 0.01


def test_two_backends():
    out = run("14_two_backends.py", "--epochs", 3)
    assert max(float(off) for off in re.findall(r"off by (\S+)(?: at most)?", out)) < 1e-9
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    wrong = [sys.executable, str(FOLDER / "14_two_backends.py"), "--backends", "numpy", "dask"]
    done = subprocess.run(wrong, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "dask" in done.stderr and "Traceback" not in done.stderr


def test_a_compiled_program():
    out = run("15_compiled_program.py", "--epochs", 3)
    assert "A training step on 64 rows" in out and "def run(" in out and "us compiled" in out


@pytest.mark.parametrize("where", ["numpy", "array-api-strict", "torch"])
def test_a_step_value_by_value(where):
    if not status(where).usable:
        pytest.skip(status(where).reason)
    out = run("09_step_by_step.py", "--backend", where, "--epochs", 20)
    assert "y = x W + b, with W of shape" in out and "dL/dW = x^T dy   (layer 4, Dense(8, 1))" in out
    assert len(re.findall(r": off by (0|\de-0[5-9])\n", out)) == 3
    first, later = percents(out, r"loss (\S+) at first", r"at first, (\S+) after 20 epochs")
    assert later < first == 0.352


@pytest.mark.parametrize("where", ["numpy", "array-api-strict"])
def test_from_pytorch_and_back(where):
    pytest.importorskip("torch")
    out = run("16_from_pytorch.py", "--backend", where, "--epochs", 10)
    assert max(float(off) for off in re.findall(r"off by (\S+)", out)) < 1e-5


def test_the_readmes_programs_run(tmp_path, monkeypatch, capsys):
    """Those before the tables of speeds, one after another as a reader would run them."""
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8").partition("## Speed")[0]
    monkeypatch.chdir(tmp_path)
    names = {}
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) >= 7
    for program in programs:
        if 'net.to("cupy")' in program and not status("cupy").usable:
            program = program.replace('"cupy"', '"array-api-strict"')
        exec(program, names)
    assert "(50, 64)" in capsys.readouterr().out
