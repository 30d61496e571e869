"""A place that is not there is refused by name, and in a pure function an array of elsewhere or of another shape."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnn
from tests.trained import X, params_with, state_of, trained
from xpnn import BatchNorm, Dense, Network
from xpnn.availability import BackendUnavailable, status
from xpnn.backend import resolve

ROOT = Path(xpnn.__file__).parents[1]


@pytest.mark.parametrize(
    ("place", "package"),
    [("cupy", "pip install cupy-cuda12x"), ("torch:cuda", "pip install torch"), ("jax:gpu", "pip install .*jax")],
)
def test_a_gpu_asked_for_where_none_is_usable_names_the_package(place, package):
    library = place.partition(":")[0]
    if library == "torch":
        if pytest.importorskip("torch").cuda.is_available():
            pytest.skip("PyTorch has a GPU here")
    elif status("cupy").usable or (library != "cupy" and not status(library).usable):
        pytest.skip("a GPU is usable here, or the library is not installed")
    net = trained("plain")
    before = state_of(net)
    with pytest.raises(BackendUnavailable, match=f"{place}.*{package}"):
        net.to(place)
    assert state_of(net) == before


def test_float64_on_jax_without_x64_names_the_variable():
    pytest.importorskip("jax")
    code = "import xpnn; xpnn.Network(xpnn.mlp([2, 1]), 'jax'); xpnn.Network(xpnn.mlp([2, 1]), 'jax', 'float64')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAX_ENABLE_X64": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "BackendUnavailable: float64 on JAX" in done.stderr
    assert "JAX_ENABLE_X64=1" in done.stderr


ELSEWHERE = [
    ("numpy", "torch"),
    ("numpy", "jax"),
    ("numpy", "array-api-strict"),
    ("torch", "numpy"),
    ("jax", "numpy"),
    ("array-api-strict", "array-api-strict:device1"),
    ("array-api-strict:device1", "array-api-strict"),
]


@pytest.mark.parametrize("argument", ["x", "params[0]['weight']", "params[1]['running_mean']", "dy"])
@pytest.mark.parametrize(("home", "place"), ELSEWHERE)
def test_a_foreign_array_in_a_pure_function_is_refused_by_name(home, place, argument):
    for library in (home.partition(":")[0], place.partition(":")[0]):
        if not status(library).usable:
            pytest.skip(status(library).reason)
    net, other = Network([Dense(2, 2), BatchNorm(2)], home), resolve(place).asarray(np.ones((2, 2)))
    before, own = state_of(net), net.backend.asarray(np.ones((2, 2)))
    library = place.partition(":")[0].replace("-", "_")
    with pytest.raises(
        TypeError, match=f"^{re.escape(argument)} must be an array of {net.backend.label}, got .*{library}"
    ):
        if argument == "dy":
            net.vjp(own)[1](other)
        elif argument == "x":
            net.apply(net.params, other)
        elif argument == "params[0]['weight']":
            net.apply(params_with(net, (0, "weight"), other), own)
        else:
            net.apply(params_with(net, (1, "running_mean"), other[0, ...]), own)
    assert state_of(net) == before


UNFIT = {
    "apply to three features": (lambda n: n.apply(n.params, np.ones((4, 3))), ValueError, r"layer 0.* x .*\(4, 3\)"),
    "apply to one sample": (lambda n: n.apply(n.params, np.ones(2)), ValueError, r"^x .*one sample"),
    "apply fewer layers": (lambda n: n.apply(n.params[:2], X), ValueError, r"^params .*3 layers.*2"),
    "apply no params": (lambda n: n.apply(None, X), ValueError, r"^params .*3 layers"),
    "apply without a bias": (
        lambda n: n.apply(params_with(n, (0,), {"weight": np.ones((2, 3))}), X),
        ValueError,
        r"^params\[0\].*bias",
    ),
    "apply another shape": (
        lambda n: n.apply(params_with(n, (0, "weight"), np.ones((2, 4))), X),
        ValueError,
        r"^params\[0\]\['weight'\] .*\(2, 3\).*\(2, 4\)",
    ),
    "pull back another shape": (lambda n: n.vjp(X)[1](np.ones(12)), ValueError, r"^dy .*\(12, 1\).*\(12,\)"),
    "pull back a list": (lambda n: n.vjp(X)[1]([[1.0]] * 12), TypeError, r"^dy .*list"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_pure_functions_name_what_does_not_fit(case):
    call, error, message = UNFIT[case]
    with pytest.raises(error, match=message):
        call(trained("plain"))
