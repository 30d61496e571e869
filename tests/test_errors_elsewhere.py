"""Refusals of files, of other libraries that are not there, of estimators and of ONNX that no other table provokes."""

import json
import sys

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import xpnn
from tests.trained import INDICES, X, Y, trained
from xpnn import Network, UnusableFile, files, mlp
from xpnn.availability import BackendUnavailable
from xpnn.callbacks import ModelCheckpoint
from xpnn.compile.plan import Unit
from xpnn.compile.rows import rows_source
from xpnn.compile.trace import Graph, Untraceable
from xpnn.exchange import to_sklearn, to_torch
from xpnn.layers import Dense, Layer
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.safetensors"
    trained("plain").save(path)
    return path


def rewritten(path, **changed):
    """The file with other texts, its checksum right."""
    found = files.read(path)
    files.write(path, found.tensors, {**found.texts, **changed})


# Texts of the file, and what is said of it.
TEXTS = {
    "no JSON": ({"network": "{"}, r"net\.safetensors: its text cannot be read: "),
    "no network": ({"network": "null"}, r"net\.safetensors describes no network: the files of net\.save do"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_says_something_else(case, path):
    texts, message = TEXTS[case]
    rewritten(path, **texts)
    with pytest.raises(UnusableFile, match=message):
        xpnn.load(path)


def test_a_header_that_is_not_filled_up_with_blanks(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    path.write_bytes(raw[:8] + raw[8 : 8 + size].rstrip().ljust(size, b"\n") + raw[8 + size :])
    with pytest.raises(UnusableFile, match="is altered: its header is not filled up with blanks"):
        files.read(path)


# What of a checkpoint's record of training is spoilt, and what.
RECORDS = {
    "callbacks": lambda fit: fit | {"callbacks": [3]},
    "rates": lambda fit: fit | {"rates": {"x": 1.0}},
    "recorded": lambda fit: fit | {"recorded": ["never"]},
    "reason": lambda fit: {name: value for name, value in fit.items() if name != "stop_reason"},
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_checkpoint_whose_record_cannot_be_used(case, tmp_path):
    net = Network(mlp([2, 3, 1]))
    net.fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(tmp_path)])
    (path,) = [path for path in tmp_path.iterdir() if "last" in path.name] or [max(tmp_path.iterdir())]
    fit = json.loads(files.read(path).texts["fit"])
    rewritten(path, fit=json.dumps(RECORDS[case](fit)))
    with pytest.raises(UnusableFile, match="its record of training cannot be used: "):
        Network(mlp([2, 3, 1])).fit(X, Y, epochs=4, resume=path, callbacks=[ModelCheckpoint(tmp_path)])


@pytest.mark.parametrize("library", ["sklearn.neural_network", "torch"])
def test_exchange_says_what_to_install(library, monkeypatch):
    name, to = {"torch": ("torch", to_torch)}.get(library, ("scikit-learn", to_sklearn))
    monkeypatch.setitem(sys.modules, library, None)  # as where it is not installed
    with pytest.raises(ImportError, match=rf"import of {library} halted.*: pip install {name}, to exchange networks"):
        to(trained("plain"))


def test_float64_on_a_jax_that_has_none():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(BackendUnavailable, match="float64 on JAX needs x64: set the environment variable JAX_EN"):
            Network(mlp([2, 1]), "jax", dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_device_of_jax_that_is_not_there():
    pytest.importorskip("jax")
    with pytest.raises(
        BackendUnavailable, match="'jax:cpu:99' is not usable here: there are 1 devices of platform 'cpu'"
    ):
        Network(mlp([2, 1]), "jax:cpu:99")


class Further(Layer):
    """A layer with an operation that ONNX does not have."""

    def forward(self, params, x, *, xp, step=None):
        return xp.nextafter(x, x + 1.0), None


def test_an_operation_that_onnx_does_not_have(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(
        TypeError, match=r"Further.*, layer 1, cannot be written as ONNX, because of nextafter of float32"
    ):
        Network([Dense(2, 1), Further()]).export_onnx(tmp_path / "net.onnx")


def test_more_parameters_than_a_file_of_onnx_holds(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr("xpnn.compile.onnx.LARGEST", 40)
    with pytest.raises(ValueError, match="the parameters take 2 GB and more, which no file of ONNX alone can hold"):
        trained("plain").export_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_rows_of_more_arrays_than_a_kernel_takes():
    graph = Graph()
    nodes = [graph.input("x0", (4, 10), "float32")]
    for i in range(1, 90):
        nodes.append(nodes[-1] + graph.input(f"x{i}", (4, 10), "float32"))
    largest = graph.xp.max(nodes[-1], axis=-1, keepdims=True)
    with pytest.raises(Untraceable, match="91 arrays in one kernel, more than it takes"):
        rows_source(Unit((*nodes[1:], largest), (largest,)))


def test_what_an_uninstalled_part_of_xpnn_would_need(path, monkeypatch):
    def missing(home):
        raise ImportError("No module named 'sklearn'")

    layers = files.read(path).texts["network"].replace("xpnn.layers.dense.Dense", "xpnn.sklearn.scales.Dense")
    monkeypatch.setattr("xpnn.description._module", missing)
    rewritten(path, network=layers)
    with pytest.raises(UnusableFile, match="needs what is not installed here: No module named 'sklearn'"):
        xpnn.load(path)


class Unwilling(xpnn.losses.MeanSquaredError):
    """A loss that is content with no number of outputs."""

    def target_width(self, outputs):
        raise ValueError("never")


def unseen():
    model = MLPClassifier(max_iter=2)
    model.partial_fit(X, INDICES > 0, classes=[False, True])
    model.partial_fit(X, INDICES)


def refusing(x):
    raise ValueError("not these rows")


def searched():
    model = make_pipeline(FunctionTransformer(refusing), MLPClassifier(max_iter=2))
    MLPSearchCV(model, {"mlpclassifier__alpha": [0.1, 0.2]}, error_score="raise", cv=2).fit(X, Y[:, 0])


# Of estimators: the call, and what is said.
ESTIMATORS = {
    "classes that are new": (unseen, r"`y` has classes not in `self.classes_`"),
    "numbers too large for L-BFGS": (
        lambda: MLPRegressor(solver="lbfgs", activation="identity").fit(X * 1e160, X[:, 0] * 1e160),
        "Solver produced non-finite parameter weights",
    ),
    "a loss of no width": (
        lambda: MLPRegressor(loss=Unwilling(), max_iter=2).fit(X, X[:, 0]),
        r"loss Unwilling\(\) has no number of outputs for 1 targets, by its target_width",
    ),
    "an axis of another library": (lambda: MLPRegressor().fit(foreign(X[:, 0]), X[:, 0]), "Expected 2D array, got 1D"),
    "no rows of another library": (
        lambda: MLPRegressor().fit(foreign(X[:0]), X[:0, 0]),
        r"Found array with 0 sample\(s",
    ),
    "a transformer of all candidates": (searched, "not these rows"),
}


def foreign(array):
    return pytest.importorskip("torch").asarray(array)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", ESTIMATORS)
def test_estimators_refuse(case):
    call, message = ESTIMATORS[case]
    with pytest.raises(ValueError, match=message):
        call()
