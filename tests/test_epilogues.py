"""Products together with what follows them: which are found in a plan, and what a pretended cuBLASLt makes of them."""

import gc
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import pretend_cublaslt, pretend_cupy
from tests.c_kernels import COMPILER
from tests.pretend_cublas import calls
from tests.pretend_cupy import installed
from tests.test_pretended_cupy import LAYOUTS, laid
from xpnn import Network, mlp
from xpnn.compile import cublas
from xpnn.compile.cublaslt import Epilogues
from xpnn.compile.launches import Joined, steps
from xpnn.compile.plan import Plan
from xpnn.compile.trace import Graph

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.skipif("cupy" in sys.modules, reason="CuPy itself is loaded"),
]
X, Y = np.random.default_rng(0).normal(size=(2, 70, 5))


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setenv("XPNN_EPILOGUES", "1")
    with installed() as module:
        yield module


def joined(function, x=(8, 3), w=(3, 2), bias=(1, 2), **options):
    """The epilogues that are found in a plan of `function(xp, x, w, bias)`."""
    graph = Graph()
    nodes = [graph.input(name, shape, "float32") for name, shape in (("x", x), ("w", w), ("bias", bias))]
    found = function(graph.xp, *nodes)
    outputs = dict(enumerate(found)) if isinstance(found, tuple) else {0: found}
    plan = Plan(
        {str(k): node for k, node in outputs.items()},
        dict.fromkeys(map(str, outputs), "fresh"),
        products=False,
        cluster=True,
    )
    return [step.kernel.epilogue for step in steps(plan, epilogues=True) if isinstance(step.kernel, Joined)]


FOUND = {
    "bias": (lambda xp, x, w, b: x @ w + b, ["bias"], {}),
    "bias first": (lambda xp, x, w, b: b + x @ w, ["bias"], {}),
    "bias without rows": (lambda xp, x, w, b: x @ w + b, ["bias"], {"bias": (2,)}),
    "ReLU": (lambda xp, x, w, b: xp.maximum(x @ w + b, 0.0), ["relu_bias"], {}),
    "each member's own": (lambda xp, x, w, b: x @ w + b, ["bias"], {"x": (4, 8, 3), "w": (4, 3, 2), "bias": (4, 1, 2)}),
    "one for all members": (lambda xp, x, w, b: x @ w + b, ["bias"], {"x": (4, 8, 3), "w": (4, 3, 2)}),
    "gradient": (lambda xp, x, w, b: (x.T @ b, xp.sum(b, axis=0)), ["bias_gradient"], {"bias": (8, 2)}),
    "gradient, sum first": (lambda xp, x, w, b: (xp.sum(b, axis=-2), x.T @ b), ["bias_gradient"], {"bias": (8, 2)}),
    "sum of another": (lambda xp, x, w, b: (x.T @ b, xp.sum(x, axis=0)), [], {"bias": (8, 2)}),
    "sum of the first": (lambda xp, x, w, b: (x @ w, xp.sum(x, axis=0)), [], {}),
    "sum along rows": (lambda xp, x, w, b: (x.T @ b, xp.sum(b, axis=1)), [], {"bias": (8, 2)}),
    "largest": (lambda xp, x, w, b: (x.T @ b, xp.max(b, axis=0)), [], {"bias": (8, 2)}),
    "gradient of a stack": (
        lambda xp, x, w, b: (xp.permute_dims(x, (0, 2, 1)) @ b, xp.sum(b, axis=-2)),
        [],
        {"x": (4, 8, 3), "bias": (4, 8, 2)},
    ),
    "another activation": (lambda xp, x, w, b: xp.tanh(x @ w + b), [], {}),
    "a floor of one": (lambda xp, x, w, b: xp.maximum(x @ w + b, 1.0), [], {}),
    "a column": (lambda xp, x, w, b: x @ w + b, [], {"bias": (8, 1)}),
    "a matrix": (lambda xp, x, w, b: x @ w + b, [], {"bias": (8, 2)}),
    "itself": (lambda xp, x, w, b: x @ w + x @ w, [], {"x": (1, 3)}),
    "one number": (lambda xp, x, w, b: x @ w + 2.0, [], {}),
    "read elsewhere": (lambda xp, x, w, b: ((p := x @ w) + b, xp.sum(p)), [], {}),
    "handed out": (lambda xp, x, w, b: ((p := x @ w), p + b), [], {}),
    "turned": (lambda xp, x, w, b: (x @ w).T + b.T, [], {}),
    "before ReLU read": (lambda xp, x, w, b: (xp.maximum(s := x @ w + b, 0.0), s), [], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_what_is_an_epilogue_is_found(case):
    function, expected, shapes = FOUND[case]
    assert joined(function, **shapes) == expected


@given(
    st.sampled_from(["bias", "relu_bias", "bias_gradient"]),
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["float32", "float64"]),
    st.tuples(*[st.sampled_from(LAYOUTS)] * 2), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_both_are_computed_wherever_the_operands_lie(epilogue, members, m, k, n, dtype, layouts, shared, seed):
    rng = np.random.default_rng(seed)
    a, b = (
        laid(rng.normal(size=(members, *shape)).astype(dtype), layout)
        for shape, layout in zip(((m, k), (k, n)), layouts, strict=True)
    )
    out, row = np.zeros((members, m, n), dtype), rng.normal(size=(1 if shared else members, 1, n)).astype(dtype)
    if epilogue == "bias_gradient":
        a, b, out, row = a[0], b[0], out[0], row[0, 0]
    with installed() as module:
        products = cublas.Products(module)
        products.begin(module.cuda.get_current_stream())
        before = calls.get("epilogues", 0)
        arrays = [pretend_cupy._of(array, view=True) for array in (a, b, out, row)]
        assert Epilogues(products)(epilogue, *arrays)
        assert calls["epilogues"] == before + 1
    expected = a @ b if epilogue == "bias_gradient" else a @ b + row
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-12, "atol": 1e-5}
    np.testing.assert_allclose(out, np.maximum(expected, 0.0) if epilogue == "relu_bias" else expected, **close)
    if epilogue == "bias_gradient":
        np.testing.assert_allclose(row, np.sum(b, axis=0), **close)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_trains_as_without_them(activation, members, cupy, monkeypatch):
    found, used = [], calls.get("epilogues", 0)
    for epilogues in ("1", "0"):
        monkeypatch.setenv("XPNN_EPILOGUES", epilogues)
        net = Network(mlp([5, 16, 8, 5], activation), backend="cupy", dtype="float64", members=members)
        losses = net.fit(X, Y, optimizer="adam", epochs=5, batch_size=32)["loss"]
        found.append((np.asarray(losses), *(net.predict(X).get() for _ in range(4))))
        replays = [traced.program.replay for traced in net._prepared[0].traced.values()]
        assert any(replay.captured for replay in replays)
        assert not any(replay.reason for replay in replays)
        now = calls.get("epilogues", 0)
        assert (now > used) == (epilogues == "1")
        used = now
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_what_has_no_algorithm_takes_two_launches(cupy, monkeypatch):
    expected = Network(mlp([5, 8, 5]), dtype="float64").fit(X, Y, epochs=2)["loss"]
    loaded = pretend_cublaslt.pretended()
    monkeypatch.setattr(loaded, "cublasLtMatmulAlgoGetHeuristic", lambda *asked: pretend_cublaslt.NOT_SUPPORTED)
    before = calls.get("epilogues", 0)
    found = Network(mlp([5, 8, 5]), backend="cupy", dtype="float64").fit(X, Y, epochs=2)["loss"]
    assert calls.get("epilogues", 0) == before
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_lies_in_an_operand_takes_two_launches(cupy):
    products = cublas.Products(cupy)
    products.begin(cupy.cuda.get_current_stream())
    a, b, row = (pretend_cupy._of(np.ones(shape), view=True) for shape in ((4, 4), (4, 4), (1, 4)))
    apart = Epilogues(products)
    assert not apart("bias", a, b, a, row)
    assert not apart("bias", a, b, b, row)
    assert not apart("bias_gradient", a, b, pretend_cupy._of(np.ones((4, 4)), view=True), a[0, :])
    assert apart("bias", a, b, pretend_cupy._of(np.ones((4, 4)), view=True), row)


def test_what_was_described_is_let_go_of(cupy):
    gc.collect()
    before = len(pretend_cublaslt.made)
    net = Network(mlp([5, 8, 5]), backend="cupy")
    net.fit(X, Y, epochs=2)
    assert len(pretend_cublaslt.made) > before
    del net
    gc.collect()
    assert len(pretend_cublaslt.made) == before
