"""Networks as ONNX files: onnxruntime gives the numbers of `predict`, for any number of rows."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest

import xpnn
from tests.layer_runs import X, arrays
from tests.networks import EVERY, Through
from tests.onnx_files import onnx, operators, run
from tests.tables import ACTIVATIONS, LAYERS, TUNED_ACTIVATIONS
from xpnn import Dense, Network, Standardize, activations, mlp

PIECES = [
    *LAYERS,
    *map(activations.get, ACTIVATIONS),
    *(activation for activation, *_ in TUNED_ACTIVATIONS),
    xpnn.Residual([Dense(5, 5), xpnn.relu, xpnn.layers.BatchNorm(5), Dense(5, 5)]),
]
EXACT = {"float32": 1e-5, "float64": 1e-12}
ROUNDED = {"float32": 1e-5, "float64": 1e-6}  # where onnxruntime has float32 alone: erf


def network(piece, dtype="float32", members=None):
    """A network of one piece with random parameters, and rows for it."""
    layer, x = piece if isinstance(piece, tuple) else (piece, X)
    first = [] if layer.input_shape is not None else [Dense(5, 5)]
    net = Network([*first, layer], dtype=dtype, members=members, seed=0)
    net.params = arrays(net.layer, members, net.backend)
    return net, np.asarray(x, dtype)


def close(found, wanted, tolerance):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_onnxruntime_gives_the_same_numbers(piece, dtype, members, tmp_path):
    net, x = network(piece, dtype, members)
    tolerance = (ROUNDED if "GELU()" in str(net.layer) else EXACT)[dtype]
    net.export_onnx(tmp_path / "all.onnx", average=False)
    net.export_onnx(tmp_path / "mean.onnx")
    onnx.checker.check_model(str(tmp_path / "all.onnx"), full_check=True)
    for rows in (x, x[:1], np.concatenate([x, x[::-1], x])):
        wanted = net.predict(rows)
        mean = np.mean(wanted, axis=0) if wanted.ndim == 3 else wanted
        close(run(tmp_path / "all.onnx", rows)["y"], wanted, tolerance)
        close(run(tmp_path / "mean.onnx", rows)["y"], mean, tolerance)
    assert run(tmp_path / "mean.onnx", x[:0])["y"].shape == (0, *mean.shape[1:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "exponential"])
def test_activations_far_out_and_near_zero(name, dtype, tmp_path):
    x = np.asarray([[-1000.0, -30.0, -1e-6, 0.0, 1e-6], [30.0, 1000.0, 3.0, -3.0, -90.0]], dtype)
    net = Network([Standardize((0.0,) * 5, (1.0,) * 5), activations.get(name)], dtype=dtype)
    net.export_onnx(tmp_path / "a.onnx")
    close(run(tmp_path / "a.onnx", x)["y"], net.predict(x), ROUNDED[dtype])


@pytest.mark.parametrize("members", [None, 2])
def test_on_every_backend(backend, members, tmp_path):
    net = Network(EVERY, backend, backend.dtype, members=members, seed=1)
    net.export_onnx(tmp_path / "a.onnx", average=False)
    x = X[:, :3].astype(backend.dtype)
    close(run(tmp_path / "a.onnx", x)["y"], net.backend.to_host(net.predict(x)), 1e-5)


@pytest.mark.parametrize("opset", [18, 19, 20, 21, onnx.defs.onnx_opset_version()])
def test_operator_sets(opset, tmp_path):
    net = Network([Dense(5, 4), "gelu", xpnn.LayerNorm(4), "mish", Dense(4, 3), "softmax"], seed=0)
    net.export_onnx(tmp_path / "a.onnx", opset=opset)
    model = onnx.load(str(tmp_path / "a.onnx"))
    assert [(one.domain, one.version) for one in model.opset_import] == [("", opset)]
    assert ("Gelu" in operators(tmp_path / "a.onnx")) == (opset >= 20)
    close(run(tmp_path / "a.onnx", X.astype("float32"))["y"], net.predict(X), 1e-5)


def test_a_plain_network_is_two_nodes_a_layer(tmp_path):
    net = Network(mlp([5, 8, 8, 3], "relu", "softmax", dropout=0.5), seed=0)
    net.export_onnx(tmp_path / "a.onnx", metadata={"trained on": "nothing", "classes": [1, 2]})
    assert operators(tmp_path / "a.onnx") == ["Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    model = onnx.load(str(tmp_path / "a.onnx"))
    assert [one.name for one in model.graph.node] == ["0.Gemm", "1.Relu", "3.Gemm", "4.Relu", "6.Gemm", "7.Softmax"]
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert sorted(held) == ["0.bias", "0.weight", "3.bias", "3.weight", "6.bias", "6.weight"]
    np.testing.assert_array_equal(held["3.weight"], net.weights[1])
    np.testing.assert_array_equal(held["3.bias"], net.biases[1])
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 5]
    assert {one.key: one.value for one in model.metadata_props} == {"trained on": "nothing", "classes": "[1, 2]"}
    assert (model.producer_name, model.producer_version, model.ir_version) == ("xpnn", xpnn.__version__, 9)


def test_a_stack_has_a_product_for_all_members(tmp_path):
    net = Network(mlp([5, 8, 3], "relu"), members=3, seed=0)
    net.export_onnx(tmp_path / "a.onnx")
    assert operators(tmp_path / "a.onnx") == ["MatMul", "Add", "Relu", "MatMul", "Add", "ReduceMean"]


def test_members_that_share_everything_are_not_averaged_over_rows(tmp_path):
    net, x = network((xpnn.layers.Flatten((2, 3)), np.ones((4, 2, 3))), members=3)
    net.export_onnx(tmp_path / "a.onnx")
    assert run(tmp_path / "a.onnx", x)["y"].shape == net.predict(x).shape == (4, 6)


def test_an_output_that_is_the_input(tmp_path):
    net = Network([xpnn.Sequential([xpnn.FeatureEmbedding([None] * 5)]), "identity"])
    net.export_onnx(tmp_path / "a.onnx")
    x = X.astype("float32")
    np.testing.assert_array_equal(run(tmp_path / "a.onnx", x)["y"], x)


@pytest.mark.parametrize("members", [None, 2])
def test_categories_that_are_none_give_nan(members, tmp_path):
    net = Network([xpnn.FeatureEmbedding([None, 3], 2)], members=members, seed=0)
    net.export_onnx(tmp_path / "a.onnx", average=False)
    x = np.asarray([[0.5, 2], [1, 3], [1, -1], [1, 0.5], [np.nan, np.nan]], "float32")
    found = run(tmp_path / "a.onnx", x)["y"]
    assert np.isnan(found[..., 1:4, 1:]).all() and not np.isnan(found[..., :4, 0]).any()
    np.testing.assert_allclose(found, net.predict(x))


def test_after_training_it_is_the_trained_network(tmp_path):
    net = Network(EVERY, seed=0)
    net.fit(X[:, :3], X[:, 3:], epochs=2, batch_size=3)
    net.export_onnx(tmp_path / "a.onnx")
    close(run(tmp_path / "a.onnx", X[:, :3].astype("float32"))["y"], net.predict(X[:, :3]), 1e-5)


# Layers of one's own, written in array API functions.


@dataclass(frozen=True)
class Own(Through):
    """A function of x (n, 5) as a layer."""

    function: object = None

    def forward(self, params, x, *, xp, step=None):
        return self.function(x, xp), None


def _some(x, xp):
    return xp.where(xp.any(x > 1.0, axis=-1, keepdims=True), x, xp.zeros_like(x))


WRITTEN = {
    "ones": lambda x, xp: xp.ones_like(x) + 2.0,
    "full and parameters": lambda x, xp: xp.zeros_like(x) + xp.asarray([1.0, 2.0, 3.0, 4.0, 5.0], dtype=x.dtype),
    "broadcast": lambda x, xp: xp.broadcast_to(x[:, :1], x.shape) * xp.broadcast_to(x[:1, :], x.shape),
    "numbers in place of x": lambda x, xp: xp.broadcast_to(xp.arange(5, dtype=x.dtype), x.shape),
    "concat": lambda x, xp: xp.concat([x[:, 3:], xp.zeros_like(x)[:, :1], x[:, :2]], axis=-1),
    "rows backwards": lambda x, xp: x[::-1, :],
    "twice the rows": lambda x, xp: xp.mean(xp.reshape(xp.concat([x, -x], axis=0), (2, *x.shape)), axis=0) + x,
    "more rows": lambda x, xp: xp.concat([x[:1, :], x], axis=0)[1:, :],
    "index": lambda x, xp: xp.concat([x[:, None, 1], x[:, 2, None], x[..., -3:]], axis=-1),
    "backwards": lambda x, xp: xp.flip(x, axis=-1) + x[:, 3::-2][:, :1],
    "sum": lambda x, xp: xp.sum(x, axis=-1, keepdims=True) + xp.prod(x, axis=-1)[:, None] + x * xp.max(x) - xp.min(x),
    "any": _some,
    "all": lambda x, xp: xp.astype(xp.all(x > -1.0, axis=-1, keepdims=True), x.dtype) * x,
    "over no axis": lambda x, xp: xp.where(xp.any(x > 0.0, axis=()) & xp.all(x, axis=()), x, -x) + xp.max(x, axis=()),
    "argmax": lambda x, xp: x + xp.astype(xp.argmax(x, axis=-1, keepdims=True), x.dtype),
    "argmin": lambda x, xp: x + xp.astype(xp.argmin(x, axis=-1), x.dtype)[:, None],
    "take": lambda x, xp: xp.take(x, xp.asarray([4, 0, 0, 1, 2]), axis=-1),
    "take_along_axis": lambda x, xp: xp.take_along_axis(x, xp.astype(x > 0.0, xp.int64), axis=-1),
    "tril": lambda x, xp: x @ xp.tril(xp.matrix_transpose(x) @ x) + xp.triu(xp.matrix_transpose(x) @ x, k=1)[:1, :],
    "cumulative": lambda x, xp: xp.cumulative_sum(x, axis=-1),
    "rounding": lambda x, xp: xp.floor(x) + xp.ceil(x) + xp.round(x * 2.0) + xp.trunc(x * 3.0) + xp.sign(x),
    "remainder": lambda x, xp: xp.remainder(x, 0.7) + xp.floor_divide(x, 0.7),
    "logarithms": lambda x, xp: xp.log2(xp.square(x) + 1.0) + xp.log10(xp.abs(x) + 1.0) + xp.log1p(xp.square(x)),
    "small": lambda x, xp: (xp.log1p(x * 1e-6) + xp.expm1(x * 1e-6)) * 1e6,
    "two": lambda x, xp: xp.hypot(x, x[:, :1]) + xp.logaddexp(x, x[:, 1:2]) + xp.pow(xp.abs(x), 1.5),
    "angles": lambda x, xp: (
        xp.sin(x) + xp.cos(x) + xp.tan(x / 9.0) + xp.atan(x) + xp.asinh(x) + xp.sinh(x) + xp.cosh(x)
    ),
    "tests": lambda x, xp: xp.where(xp.isfinite(1.0 / xp.maximum(x, 0.0)) & ~xp.isnan(x) ^ xp.isinf(x), x, -x),
    "compared": lambda x, xp: xp.where((x != 0.0) & ((x <= 1.0) | (x >= 2.0)) & xp.logical_not(x == 3.0), x, 2.0 * x),
    "integers": lambda x, xp: xp.astype((xp.astype(x, xp.int32) * 3) & 5, x.dtype) + xp.astype(x > 0.0, x.dtype),
    "float64 within": lambda x, xp: xp.astype(xp.astype(x, xp.float64) * xp.asarray([0.1] * 5), x.dtype),
    "gemm of a transposed": lambda x, xp: x @ xp.matrix_transpose(xp.eye(5, dtype=x.dtype)) + 1.0,
    "bias first": lambda x, xp: xp.asarray([1.0] * 5, dtype=x.dtype) + x @ xp.eye(5, dtype=x.dtype),
    "product read twice": lambda x, xp: (lambda z: z + 1.0 + z * z)(x @ xp.eye(5, dtype=x.dtype)),
    "three axes": lambda x, xp: xp.permute_dims(xp.reshape(x, (-1, 5, 1)) + xp.ones((1, 1, 2)), (0, 2, 1))[:, 0, :],
    "means of the rows": lambda x, xp: x - xp.mean(x, axis=0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WRITTEN)
def test_layers_of_ones_own(name, dtype, tmp_path):
    net = Network([Standardize((0.0,) * 5, (1.0,) * 5), Own(WRITTEN[name])], dtype=dtype)
    net.export_onnx(tmp_path / "a.onnx")
    for rows in (X, X[:1]):
        rows = rows.astype(dtype)
        close(run(tmp_path / "a.onnx", rows)["y"], net.predict(rows, compile=False), ROUNDED[dtype])


REFUSED = {
    "sort": (lambda x, xp: xp.sort(x, axis=-1), "sort of float32"),
    "float": (lambda x, xp: x * float(x[0, 0]), r"float\(\) of an array"),
    "unknown": (lambda x, xp: xp.unique_values(x), "unique_values"),
    "rows as a number": (lambda x, xp: x / x.shape[0], "constant of float32, whose numbers hang on how many rows"),
    "rows counted": (lambda x, xp: x + xp.arange(x.shape[0], dtype=x.dtype)[:, None], "hang on how many rows"),
    "rows asked for": (lambda x, xp: x + 1.0 if x.shape[0] % 4 > 1 else x, "hang on how many rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_named_before_a_file_is(name, tmp_path):
    function, told = REFUSED[name]
    net = Network([Dense(5, 5), Own(function)])
    with pytest.raises(TypeError, match="(?s)cannot be written as ONNX.*" + told) as error:
        net.export_onnx(tmp_path / "a.onnx")
    assert name == "rows asked for" or "layer 1, cannot" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [17, 10**3, "20", None, True])
def test_operator_sets_that_are_none(opset, tmp_path):
    with pytest.raises(ValueError, match="opset must be from 18 to "):
        Network(mlp([2, 1])).export_onnx(tmp_path / "a.onnx", opset=opset)


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "xpnn\[onnx\]"'):
        Network(mlp([2, 1])).export_onnx(tmp_path / "a.onnx")


def test_what_was_there_stays_where_it_cannot_be_replaced(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        Network([Dense(5, 5), Own(REFUSED["sort"][0])]).export_onnx(path)
    assert path.read_bytes() == b"old"
    with pytest.raises(OSError):
        Network(mlp([2, 1])).export_onnx(tmp_path / "nowhere" / "a.onnx")


# An independent exporter of array API functions. Its `take` wants int64 on every index, so that Embedding is not there.


def plain(tree, convert):
    return [plain(one, convert) for one in tree] if isinstance(tree, list) else {k: convert(v) for k, v in tree.items()}


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_ndonnx_gives_the_same_numbers(piece, tmp_path):
    ndonnx = pytest.importorskip("ndonnx")
    net, x = network(piece)
    if "Embedding" in str(net.layer):
        pytest.skip("ndonnx takes no int32 indices")
    given = ndonnx.argument(shape=x.shape, dtype=ndonnx.float32)
    y, _ = net.layer.forward(plain(net.params, ndonnx.asarray), given, xp=ndonnx)
    net.export_onnx(tmp_path / "a.onnx")
    wanted = run(ndonnx.build({"x": given}, {"y": y}).SerializeToString(), x)["y"]
    close(run(tmp_path / "a.onnx", x)["y"], wanted, 1e-5)
