"""Each example runs as a user would run it, at its smallest size, without a warning and without a window."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert sorted(path.name for path in FOLDER.glob("*.py")) == ["01_circles.py", "02_digits.py", "03_own_layer.py"]


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
