"""The comparison of estimators by its command, on what scikit-learn ships and on files of the form of the real ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.data import COUNTED, SETS, split
from tests.benchmarks.estimators import caption, error, summary

ROOT = Path(__file__).parent.parent


def command(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "XPNN_DATA"}
    full = [sys.executable, "-W", "error", "-m", "tests.benchmarks.estimators", *map(str, arguments)]
    return subprocess.run(full, cwd=ROOT, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)


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
