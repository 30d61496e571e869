"""Estimators as ONNX files: onnxruntime gives what `predict` and `predict_proba` give."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import xpnn
from tests.onnx_files import onnx, operators, run
from tests.sklearn_problems import CANCER, IRIS, MANY, PROBLEMS, TWO
from xpnn import losses
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV, export_onnx

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "tol": 0.0, "n_iter_no_change": 1000}
ESTIMATORS = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(),
    MinMaxScaler((-1, 2), clip=True),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
]
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def check(model, X, path, tolerance=1e-5):
    """That the file gives for X what the model gives."""
    model.export_onnx(path) if hasattr(model, "export_onnx") else export_onnx(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    for rows in (X, X[:1], X[:7]):
        found, predicted = run(path, rows), model.predict(rows)
        if "variable" in found:
            assert list(found) == ["variable"] and found["variable"].dtype == predicted.dtype
            scale = np.max(np.abs(predicted))
            np.testing.assert_allclose(found["variable"], predicted, rtol=tolerance, atol=tolerance * scale)
            continue
        predicted = predicted.toarray() if hasattr(predicted, "toarray") else predicted
        assert found["label"].shape == predicted.shape and found["label"].tolist() == predicted.tolist()
        assert predicted.dtype.kind in "UO" or found["label"].dtype == predicted.dtype
        if hasattr(model, "predict_proba"):
            wanted = model.predict_proba(rows)
            assert found["probabilities"].dtype == wanted.dtype
            np.testing.assert_allclose(found["probabilities"], wanted, atol=tolerance)
        else:
            assert list(found) == ["label"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ensemble", [None, 3])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem(problem, ensemble, dtype, tmp_path):
    name, (X, y), options = PROBLEMS[problem]
    X = X.astype(dtype)
    model = ESTIMATORS[name](**QUICK, **options, ensemble=ensemble, activation=["tanh"]).fit(X, y)
    check(model, X, tmp_path / "a.onnx", 1e-5 if dtype == "float32" else 1e-10)


LABELS = {
    "text": np.asarray(["one", "two", "three"]),
    "text of other alphabets": np.asarray(["ä", "日本", ""], dtype=object),
    "floats": np.asarray([-1.0, 0.0, 2.0]),
    "small integers": np.asarray([7, -3, 100], dtype=np.int8),
    "far apart": np.asarray([10**12, -(10**12), 0]),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("count", [2, 3])
def test_every_kind_of_label(name, count, tmp_path):
    X, y = IRIS
    check(MLPClassifier(**QUICK).fit(X, LABELS[name][y % count]), X, tmp_path / "a.onnx")


def test_labels_of_true_and_false(tmp_path):
    X, y = CANCER
    check(MLPClassifier(**QUICK).fit(X, y == 1), X, tmp_path / "a.onnx")


def test_a_single_class(tmp_path):
    X, y = IRIS
    check(MLPClassifier(**QUICK).fit(X, np.zeros_like(y) + 5), X, tmp_path / "a.onnx")


def test_labels_that_are_neither_numbers_nor_text_are_refused(tmp_path):
    model = MLPClassifier(**QUICK).fit(*IRIS)
    model.classes_ = np.asarray([None, "b", 3], dtype=object)
    with pytest.raises(TypeError, match="labels must be numbers or text"):
        model.export_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize("ensemble", [None, 2])
@pytest.mark.parametrize("loss", ["focal", "hinge", "mse", losses.Focal(gamma=1.0)], ids=str)
@pytest.mark.parametrize("data", [CANCER, IRIS, MANY], ids=["binary", "multiclass", "multilabel"])
def test_every_loss_of_a_classifier(data, loss, ensemble, tmp_path):
    X, y = data
    check(MLPClassifier(**QUICK, loss=loss, ensemble=ensemble).fit(X, y), X, tmp_path / "a.onnx")


@pytest.mark.parametrize("ensemble", [None, 2])
@pytest.mark.parametrize("loss", ["gaussian_nll", losses.Quantile((0.1, 0.4, 0.9)), "huber"], ids=str)
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_head_of_a_regressor(outputs, loss, ensemble, tmp_path):
    X, y = TWO
    y = y if outputs == 2 else y[:, 0]
    check(MLPRegressor(**QUICK, loss=loss, ensemble=ensemble).fit(X, y), X, tmp_path / "a.onnx")


def test_members_that_diverged_are_left_out(tmp_path):
    X, y = IRIS
    model = MLPClassifier(**QUICK, ensemble=3).fit(X, y)
    model.diverged_ = [1]
    check(model, X, tmp_path / "a.onnx")
    held = {one.name: one.dims for one in onnx.load(str(tmp_path / "a.onnx")).graph.initializer}
    assert list(held["0.weight"]) == [2, 4, 8]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_a_scaler_before_it(scaler, dtype, tmp_path):
    X = (IRIS[0] * 3.0 + 5.0).astype(dtype)
    model = make_pipeline(scaler, MLPClassifier(**QUICK)).fit(X[::2], IRIS[1][::2])
    check(model, X, tmp_path / "a.onnx")


def test_several_scalers_and_none(tmp_path):
    X, y = TWO
    steps = [("a", MinMaxScaler()), ("b", "passthrough"), ("c", RobustScaler()), ("d", None)]
    check(Pipeline([*steps, ("mlp", MLPRegressor(**QUICK))]).fit(X, y), X, tmp_path / "a.onnx")


def test_a_pipeline_is_few_nodes(tmp_path):
    model = make_pipeline(StandardScaler(), MLPClassifier(**QUICK)).fit(*IRIS)
    export_onnx(model, tmp_path / "a.onnx", opset=21, metadata={"of": "iris"})
    found = ["Sub", "Div", "Gemm", "Relu", "Gemm", "Softmax", "ArgMax", "Gather"]
    assert sorted(operators(tmp_path / "a.onnx")) == sorted(found)
    model = onnx.load(str(tmp_path / "a.onnx"))
    assert model.opset_import[0].version == 21 and model.metadata_props[0].value == "iris"


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("scaler", [s for s in SCALERS if not getattr(s, "clip", False)], ids=str)
def test_a_target_that_is_scaled(scaler, outputs, tmp_path):
    X, y = TWO
    y = y * 100 + 7 if outputs == 2 else y[:, 0] * 100 + 7
    inner = make_pipeline(StandardScaler(), MLPRegressor(**QUICK))
    check(TransformedTargetRegressor(inner, transformer=scaler).fit(X, y), X, tmp_path / "a.onnx")


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_a_target_of_one_column_stays_one(tmp_path):
    X, y = TWO
    model = TransformedTargetRegressor(MLPRegressor(**QUICK), transformer=StandardScaler())
    model.fit(X, y[:, :1])
    export_onnx(model, tmp_path / "a.onnx")
    np.testing.assert_allclose(run(tmp_path / "a.onnx", X)["variable"], model.predict(X), rtol=1e-5)


@pytest.mark.parametrize("search", [GridSearchCV, MLPSearchCV])
def test_the_best_of_a_search(search, tmp_path):
    X, y = IRIS
    found = search(MLPClassifier(**QUICK), {"alpha": [0.0, 0.1]}, cv=2).fit(X, y)
    export_onnx(found, tmp_path / "a.onnx")
    assert run(tmp_path / "a.onnx", X)["label"].tolist() == found.predict(X).tolist()


def test_layers_of_every_kind(tmp_path):
    X, y = IRIS
    options = {"activation": ["gelu", xpnn.ELU(0.5)], "norm": "batch", "dropout": 0.2} | QUICK
    options["hidden_layer_sizes"] = (8, 6)
    check(MLPClassifier(**options).fit(X, y), X, tmp_path / "a.onnx", 1e-6)


@pytest.mark.parametrize(
    "model, told",
    [
        (
            lambda: make_pipeline(PCA(2), MLPClassifier(**QUICK)),
            r"step 'pca', PCA\(n_components=2\), cannot",
        ),
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()), "got .*LogisticRegression"),
        (lambda: LogisticRegression(), "takes an MLPClassifier or MLPRegressor of xpnn.sklearn, .* got .*Logistic"),
        (
            lambda: TransformedTargetRegressor(MLPRegressor(**QUICK), func=np.sqrt, inverse_func=np.square),
            "transformer, FunctionTransformer",
        ),
        (
            lambda: TransformedTargetRegressor(MLPRegressor(**QUICK), transformer=MinMaxScaler(clip=True)),
            "cannot be undone in ONNX",
        ),
    ],
)
def test_what_cannot_be_written_is_named(model, told, tmp_path):
    X, y = CANCER
    with pytest.raises(TypeError, match=told):
        export_onnx(model().fit(X, y), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model", [MLPClassifier(), make_pipeline(StandardScaler(), MLPRegressor())], ids=["lone", "pipe"]
)
def test_before_it_is_fitted(model, tmp_path):
    with pytest.raises(NotFittedError):
        export_onnx(model, tmp_path / "a.onnx")
