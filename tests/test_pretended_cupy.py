"""The programs for CuPy as they run, on a pretended one: kernels, products, buffers, streams and captured graphs."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnn
from tests import pretend_cupy
from tests.c_kernels import COMPILER, built, reducing
from tests.cuda_source import _cases, kernels
from tests.pretend_cublas import calls, handles
from tests.pretend_cupy import installed
from tests.pretend_streams import Event, Graph, Stream
from xpnn import Adam, Network, mlp
from xpnn.availability import BackendUnavailable
from xpnn.backend import resolve
from xpnn.compile import cublas, outputs
from xpnn.compile.cuda import Cluster, Reduction
from xpnn.compile.rows import Rows
from xpnn.compile.traced import Traced

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.skipif("cupy" in sys.modules, reason="CuPy itself is loaded"),
]
X, Y = xpnn.datasets.circles(60)
LAYERS = [xpnn.Standardize.fit(X), *mlp([2, 16, 16, 1], "tanh", "sigmoid", dropout=0.2, norm="batch")]
CASES: dict[str, Any] = {name: parts for name, *parts in _cases()}


@pytest.fixture
def cupy():
    with installed() as module:
        yield module


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """All kernels of the tables, compiled at once."""
    made = kernels().values()
    clusters = [kernel for kernel in made if isinstance(kernel, Cluster | Rows)]
    pretend_cupy.ElementwiseKernel.made |= built(clusters, tmp_path_factory.mktemp("clusters"))
    others = [kernel for kernel in made if isinstance(kernel, Reduction)]
    pretend_cupy.ReductionKernel.made |= reducing(others, tmp_path_factory.mktemp("reductions"))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", CASES)
def test_every_piece_trains_as_on_numpy(name, members, cupy, compiled):
    layers, x, y, loss, optimizer = CASES[name]
    found = []
    for backend in ("numpy", "cupy"):
        net = Network(layers, backend=backend, dtype="float64", members=members)
        target = np.zeros(net.predict(x).shape[-len(net.shapes.output) - 1 :]) if y is None else y
        options = {"batch_size": len(x) // 2 + 1, "sample_weight": np.arange(len(x)) + 1.0}
        history = net.fit(x, target, loss, optimizer, epochs=4, **options)
        outputs = [net.backend.to_host(net.predict(x)) for _ in range(4)]  # as written, plainly, captured, replayed
        np.testing.assert_array_equal(outputs[2], outputs[1])
        np.testing.assert_array_equal(outputs[3], outputs[1])
        found.append((np.asarray(history["loss"]), outputs[0], outputs[3]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-8)  # Adam amplifies what is rounded otherwise


def curves(epochs=6, **options):
    net = Network(LAYERS, dtype="float64", seed=3, **options)
    return net, net.fit(X, Y, "bce", Adam(0.01), epochs=epochs, batch_size=32)["loss"]


def test_steps_are_captured_and_replayed(cupy):
    before = Graph.launched
    net, losses = curves(backend="cupy")
    np.testing.assert_allclose(losses, curves()[1], rtol=1e-9)
    programs = [traced.program for traced in net._prepared[0].traced.values()]
    assert len(programs) == 2  # the last batch of 120 rows is shorter, and alone in its epoch
    assert any(program.replay.captured for program in programs)
    assert Graph.launched - before >= 8  # the first step of an epoch may be in a new place


def test_what_cannot_be_captured_runs_as_it_is(cupy, monkeypatch):
    def refused(stream, mode=None):
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")

    monkeypatch.setattr(Stream, "begin_capture", refused)
    np.testing.assert_allclose(curves(backend="cupy")[1], curves()[1], rtol=1e-9)


def test_without_a_cublas_of_our_own_cupys_products_serve(cupy, monkeypatch):
    def missing():
        raise RuntimeError("cublas is not found")

    monkeypatch.setattr(cublas, "library", missing)
    before = Graph.launched
    np.testing.assert_allclose(curves(backend="cupy")[1], curves()[1], rtol=1e-9)
    assert Graph.launched == before


def test_the_callers_stream_is_the_one_that_works(cupy):
    net, _ = curves(backend="cupy")
    expected = net.predict(X).get()
    for _ in range(3):
        with cupy.cuda.Stream(non_blocking=True):
            x = cupy.ndarray(X.shape, "float64")
            x.set(np.asarray(X))  # written last on this stream, right before it is read
            np.testing.assert_allclose(net.predict(x).get(), expected, rtol=1e-12)


def test_a_card_that_is_not_there(cupy):
    with pytest.raises(BackendUnavailable, match="'cupy:7' is not usable here: there are 1 CUDA devices"):
        Network(LAYERS, backend="cupy:7")


def test_two_networks_on_two_streams(cupy):
    alone = [curves(backend="cupy", epochs=2)[1] for _ in range(2)]
    streams, nets = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)], []
    for stream in streams:
        with stream:
            nets.append(curves(backend="cupy", epochs=2))
    for (net, losses), expected in zip(nets, alone, strict=True):
        np.testing.assert_array_equal(losses, expected)
        with streams[0]:
            here = net.predict(X).get()
        np.testing.assert_allclose(net.predict(X).get(), here, rtol=1e-12)


def in_another_thread(function):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def test_a_thread_that_ends_leaves_its_handle_to_the_next(cupy):
    net, _ = curves(backend="cupy")
    expected = net.predict(X).get()
    for _ in range(2):
        in_another_thread(lambda: net.predict(X))
    before = len(handles)
    for _ in range(5):
        np.testing.assert_array_equal(in_another_thread(lambda: net.predict(X).get()), expected)
    assert len(handles) == before


def test_what_a_capture_cannot_make_is_made_before_it(cupy):
    net, _ = curves(backend="cupy")
    net.predict(X)  # the first time is not captured, and the handle that it makes is this thread's
    in_another_thread(lambda: net.predict(X))
    (program,) = [traced.program for traced in net._outputs.traced.values()]
    assert program.replay.captured == 1
    assert not program.replay.reason


def test_another_threads_default_stream_is_waited_for(cupy, monkeypatch):
    waits, wait = [], Stream.wait_event
    monkeypatch.setattr(Stream, "wait_event", lambda stream, event: (waits.append(event), wait(stream, event)))
    net, _ = curves(backend="cupy")
    for _ in range(3):
        net.predict(X)
    assert not waits
    in_another_thread(lambda: net.predict(X))
    assert len(waits) == 1


def test_what_is_kept_is_copied_before_the_next_stream_may_begin(cupy, monkeypatch):
    order, copy, record = [], cupy.ndarray.copy, Event.record
    monkeypatch.setattr(cupy.ndarray, "copy", lambda array: (order.append(array.shape), copy(array))[1])
    monkeypatch.setattr(Event, "record", lambda event, stream=None: (order.append("done"), record(event, stream))[1])
    net = Network(mlp([2, 4, 1]), backend="cupy")
    net.fit(X, Y, epochs=2, batch_size=40)
    steps = [k for k, what in enumerate(order) if what == "done" and order[k - 1] == ()]
    assert len(steps) == 6  # each loss is copied right before the event of its step
    assert () not in [what for k, what in enumerate(order) if order[k + 1 : k + 2] != ["done"]]


def test_an_array_that_is_written_anew_is_read_anew(cupy):
    net, _ = curves(backend="cupy")
    x = net.backend.asarray(X)
    for scale in (1.0, 2.0, 3.0, 4.0):
        x[...] = net.backend.asarray(X * scale)
        expected = net.to("numpy").predict(X * scale)
        np.testing.assert_allclose(net.predict(x).get(), expected, rtol=1e-9)


def test_many_rows_are_computed_in_pieces(cupy, monkeypatch):
    net, _ = curves(backend="cupy")
    whole = net.predict(X).get()
    monkeypatch.setitem(outputs.ROWS, "cupy", 50)
    np.testing.assert_allclose(net.predict(X).get(), whole, rtol=1e-12)
    stack = Network(LAYERS, backend="cupy", members=3)
    pieces = stack.predict(X).get()
    monkeypatch.undo()
    np.testing.assert_allclose(pieces, stack.predict(X).get(), rtol=1e-6)


def test_predictions_handed_out_are_never_written_over(cupy):
    net, _ = curves(backend="cupy")
    first = [net.predict(X) for _ in range(4)]
    kept = [one.get() for one in first]
    net.predict(X + 1.0)
    for one, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(one.get(), before)


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 11), ("bfloat16", 8)])
def test_products_are_computed_in_the_precision_that_is_asked_for(precision, bits, cupy):
    layers = [xpnn.Dense(50, 3)]
    x = np.random.default_rng(0).normal(size=(8, 50))
    exact, rough = (Network(layers, backend="cupy", precision=which) for which in (None, precision))
    for net in (exact, rough):
        net.predict(x)  # the next is compiled
    found = np.max(np.abs(rough.predict(x).get() - exact.predict(x).get()))
    assert 2.0 ** -(bits + 4) < found < 2.0 ** -(bits - 4)
    assert rough.backend == pickle.loads(pickle.dumps(rough.backend)) != exact.backend
    assert rough.copy().backend.precision == precision
    assert rough.to("numpy").backend.precision is None


LAYOUTS = ("row", "column", "part", "shared", "lifted")


@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["float32", "float64"]),
    st.tuples(*[st.sampled_from(LAYOUTS)] * 3), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_products_find_their_operands_wherever_they_lie(members, m, k, n, dtype, layouts, seed):
    rng = np.random.default_rng(seed)
    with installed() as cupy:
        multiply = cublas.Products(cupy)
        multiply.begin(cupy.cuda.get_current_stream())
        a, b, out = (
            laid(rng.normal(size=(members, *shape)).astype(dtype), "row" if last and layout == "shared" else layout)
            for shape, layout, last in zip(((m, k), (k, n), (m, n)), layouts, (False, False, True), strict=True)
        )
        before = calls["products"]
        multiply(*(pretend_cupy._of(array, view=True) for array in (a, b, out)))
        assert calls["products"] == before + 1
    np.testing.assert_allclose(out, a @ b, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-5)


def laid(array, layout):
    """The array's numbers, lying in memory in another way."""
    members, rows, columns = array.shape
    if layout == "column":
        return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "part":  # of a flat vector for each member
        flat = np.zeros((members, rows * columns + 3), array.dtype)
        part = flat[:, 2 : 2 + rows * columns].reshape(members, rows, columns)
        assert np.shares_memory(part, flat)
        part[...] = array
        return part
    if layout == "shared":
        return np.broadcast_to(array[0], array.shape)
    if layout == "lifted":  # columns of a wider matrix
        wide = np.zeros((members, rows, columns + 2), array.dtype)
        wide[..., 1:-1] = array
        return wide[..., 1:-1]
    return array


def test_what_strides_cannot_say_is_computed_all_the_same(cupy):
    multiply = cublas.Products(cupy)
    multiply.begin(cupy.cuda.get_current_stream())
    rng = np.random.default_rng(0)
    a, b, out = rng.normal(size=(4, 6))[:, ::2], rng.normal(size=(3, 5))[::-1], np.empty((4, 5))
    multiply(*(pretend_cupy._of(array, view=True) for array in (a, b, out)))
    np.testing.assert_allclose(out, a @ b)


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_a_part_of_columns_may_be_looked_at_in_a_row(backend, cupy):
    def function(x, w, v, *, xp):
        product = x @ w
        return {"both": xp.concat([product, x @ v], axis=1), "row": 2.0 * xp.reshape(product, (16,))}

    rng, there = np.random.default_rng(0), resolve(backend, "float64")
    arrays = {"x": rng.normal(size=(8, 3)), "w": rng.normal(size=(3, 2)), "v": rng.normal(size=(3, 2))}
    trees = {name: there.asarray(array) for name, array in arrays.items()}
    traced = Traced(function, trees, lambda name: "fresh", there)
    found = traced.bind(**trees)(*traced.arguments(*trees)(*trees.values()))
    for ours, theirs in zip(found, function(**arrays, xp=np).values(), strict=True):
        np.testing.assert_allclose(there.to_host(ours), theirs, rtol=1e-12)


def test_an_error_of_cublas_says_which_call(cupy, monkeypatch):
    multiply = cublas.Products(cupy)
    multiply.begin(cupy.cuda.get_current_stream())
    monkeypatch.setitem(cublas.COMPUTE, ("float64", None), 68)
    arrays = [pretend_cupy._of(np.ones((2, 2)), view=True) for _ in range(3)]
    with pytest.raises(cublas.CublasError, match="cublasGemmStridedBatchedEx of cuBLAS gave status 7"):
        multiply(*arrays)


def test_a_sum_over_a_row_that_lies_in_a_column_of_the_gradients(cupy):
    chain = [xpnn.Dense(5, 200), xpnn.PReLU(), xpnn.Dense(200, 1)]  # one slope, of each member's own
    x = np.random.default_rng(0).normal(size=(64, 5))
    found = [
        xpnn.Network(chain, backend=backend, dtype="float64", members=3, seed=1).fit(x, x[:, :1], epochs=3)["loss"]
        for backend in ("cupy", "numpy")
    ]
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_a_precision_that_cannot_be_had_is_told(cupy, monkeypatch):
    def missing():
        raise ImportError("no cuBLAS")

    monkeypatch.setattr(cublas, "library", missing)
    net = xpnn.Network(xpnn.mlp([2, 3, 1]), backend="cupy", precision="tf32")
    with pytest.warns(RuntimeWarning, match="precision='tf32' needs cuBLAS, which cannot be called: no cuBLAS"):
        net.fit([[1.0, 2.0]], [[3.0]], epochs=1)
