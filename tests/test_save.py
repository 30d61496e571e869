"""Saving and loading: every piece comes back, on every backend, and what does not fit together is refused."""

import builtins
import json
import os
import pathlib
import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import xpnn
from tests.networks import X, Y, build, same, state_of, train
from tests.tables import ACTIVATIONS, INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, TUNED_ACTIVATIONS
from xpnn import Dense, Layer, Network, UnusableFile, activations, files, mlp
from xpnn.backend import resolve
from xpnn.description import built, described

DATA = pathlib.Path(__file__).parent / "data"
PIECES = [
    *(
        line[0] if isinstance(line, tuple) else line
        for line in (*LAYERS, *TUNED_ACTIVATIONS, *OPTIMIZERS, *INITIALIZERS)
    ),
    *(line[0] for line in LOSSES),
    *(line[0] if isinstance(line, tuple) else line for line in SCHEDULES),
    *(activations.get(name) for name in ACTIVATIONS),
    xpnn.Penalized("mse", l1=(0.1, 0.2), multipliers={0: 0.0, "1.weight": 2.0}),
    xpnn.Adam(multipliers={"bias": 0.5, -1: 2.0}),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_every_piece_is_made_again_from_its_description(piece):
    if callable(piece) and not hasattr(piece, "__dataclass_fields__"):
        pytest.skip("a function, which has a name and no settings")
    text = json.dumps(described(piece), allow_nan=False)
    again = built(json.loads(text), {})
    assert type(again) is type(piece) and described(again) == described(piece)
    assert again == piece


@pytest.mark.parametrize("line", LAYERS, ids=repr)
@pytest.mark.parametrize("members", [None, 2])
def test_every_layer_is_saved(line, members, path):
    layer, x = line if isinstance(line, tuple) else (line, np.linspace(-1, 1, 15).reshape(3, 5))
    layers = [layer] if layer.input_shape else [Dense(5, 5), layer]
    net = Network(layers, dtype="float64", seed=4, members=members)
    net.save(path)
    again = xpnn.load(path)
    assert np.array_equal(again.predict(np.asarray(x)), net.predict(np.asarray(x)), equal_nan=True)
    assert again.layer == net.layer and again.seed == net.seed and again.members == members
    assert same(again.params, net.params)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("training", [False, True])
def test_a_network_comes_back_on_every_backend(backend, members, training, path):
    net = build(backend, members, seed=2)
    train(net, 2)
    net.save(path, training=training)
    again, host = xpnn.load(path, backend), xpnn.load(path)
    assert same(again.params, net.params) and again.backend == net.backend
    assert same(host.params, net.params) and host.backend.name == "numpy" and host.backend.dtype == backend.dtype
    if training:
        assert same(state_of(again), state_of(net)) and again.progress[1:] == net.progress[1:]
        train(net, 2), train(again, 2)
        assert same(state_of(again), state_of(net))


def test_a_file_has_what_the_network_shows_and_what_it_trains(path):
    net = Network(mlp([3, 2]), seed=1)
    net.fit(X, Y, optimizer=xpnn.Adam(0.1, average=0.9), epochs=3)
    net.save(path)
    assert same(xpnn.load(path).params, net.params) and xpnn.load(path).progress.carry.memory is None
    assert xpnn.load(path).updates == 0
    net.save(path, training=True)
    again = xpnn.load(path)
    assert same(again.params, net.params) and again.progress.optimizer == net.progress.optimizer
    assert not same(files.read(path).tensors["0.weight"], net.params[0]["weight"])  # that which is trained on


def test_a_stack_is_saved_whole_or_member_by_member(tmp_path):
    stack = Network(mlp([3, 4, 2]), seed=[5, 1, 9])
    stack.fit(X, Y, optimizer=xpnn.SGD((0.1, 0.2, 0.3)), epochs=2)
    stack.save(tmp_path / "all.safetensors", training=True)
    for k in range(3):
        stack[k].save(tmp_path / f"{k}.safetensors", training=True)
    whole = xpnn.load(tmp_path / "all.safetensors")
    parts = Network.stack([xpnn.load(tmp_path / f"{k}.safetensors") for k in range(3)])
    assert same(state_of(whole), state_of(stack)) and same(state_of(parts), state_of(stack))
    assert parts.progress.optimizer == whole.progress.optimizer == xpnn.SGD((0.1, 0.2, 0.3))


def test_members_at_different_epochs_keep_their_counts(path):
    nets = [Network(mlp([3, 2]), seed=k) for k in range(2)]
    for k, net in enumerate(nets):
        net.fit(X, Y, epochs=k + 1)
    stack = Network.stack(nets)
    stack.save(path, training=True)
    again = xpnn.load(path)
    assert again.progress.epoch.tolist() == [1, 2] and again.progress.step.tolist() == stack.progress.step.tolist()


def test_the_metadata_of_a_file_goes_with_the_network(path):
    net = Network(mlp([1, 1]))
    net.save(path, metadata={"rows": 3, "of": ["ä", None], "nan": float("nan")})
    again = xpnn.load(path)
    assert again.metadata["of"] == ["ä", None] and again.metadata["rows"] == 3 and net.metadata == {}
    again.save(path)
    assert xpnn.load(path).copy().metadata["rows"] == 3
    before = path.read_bytes()
    for wrong in ({"x": object()}, {"x": np.ones(2)}, [1], "text"):
        with pytest.raises(TypeError, match="metadata must be"):
            net.save(path, metadata=wrong)
    assert path.read_bytes() == before


def test_a_file_in_another_dtype(path):
    net = Network(mlp([3, 4, 2]), dtype="float64", seed=1)
    net.fit(X, Y, epochs=1)
    net.save(path, training=True)
    again = xpnn.load(path, dtype="float32")
    assert again.backend.dtype == "float32" and np.allclose(again.predict(X), net.predict(X), atol=1e-6)
    again.fit(X, Y, epochs=1)


@dataclass(frozen=True)
class Scale(Layer):
    factor: Any = 2.0
    table: Any = None

    def forward(self, params, x, *, xp, step=None):
        return self.factor * x, None

    def backward(self, params, cache, dy, *, xp):
        return self.factor * dy, {}


class Told(Scale):
    def __init__(self, factor):
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "table", None)


def ones(rng, shape, *, fan_in, fan_out):
    return np.ones(shape)


def test_layers_and_functions_of_a_users_own_are_handed_in(path):
    layers = [Dense(3, 2, weight_init=ones), Scale(3.0, {"a": [1, 2.5], 4: np.eye(2)})]
    net = Network(layers, seed=1)
    net.save(path)
    with pytest.raises(UnusableFile, match=r"custom_layers=\{'ones': ...\}"):
        xpnn.load(path)
    with pytest.raises(UnusableFile, match=r"'Scale' is not part of xpnn"):
        xpnn.load(path, custom_layers={"ones": ones})
    again = xpnn.load(path, custom_layers={"ones": ones, "Scale": Scale})
    assert same(again.predict(X), net.predict(X)) and again.layers[1].table["a"] == [1, 2.5]
    assert again.layers[1].table[4].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_what_no_settings_describe_is_refused_before_anything_is_written(path):
    with pytest.raises(
        TypeError, match=r"layers\[1\], a Told, cannot be written into a file: Told has an __init__ of its"
    ):
        Network([Dense(3, 2), Told(3.0)]).save(path)
    with pytest.raises(TypeError, match=r"layers\[1\].table\[0\] cannot be written into a file: \{1, 2\}"):
        Network([Dense(3, 2), Scale(table=({1, 2},))]).save(path)
    twice = [lambda rng, shape, **_: np.ones(shape), lambda rng, shape, **_: np.zeros(shape)]
    with pytest.raises(ValueError, match="two different things are called '<lambda>'"):
        Network([Dense(3, 2, weight_init=twice[0]), Dense(2, 2, weight_init=twice[1])]).save(path)
    assert not path.exists()


def edited(path, change):
    """The file with other arrays and texts, and a checksum that goes with them."""
    tensors, texts = files.read(path)
    texts = {name: text for name, text in texts.items() if name not in ("format", "format_version")}
    loaded = {name: json.loads(text) if name != "xpnn" else text for name, text in texts.items()}
    change(tensors, loaded)
    files.write(path, tensors, {name: json.dumps(text) if name != "xpnn" else text for name, text in loaded.items()})


def of_layer(k, **settings):
    return lambda tensors, texts: texts["network"]["layers"][k]["settings"].update(settings)


def of_training(**settings):
    return lambda tensors, texts: texts["training"].update(settings)


WRONG = {
    "another shape": (
        lambda t, _: t.update({"0.weight": t["0.weight"].T}),
        r"0.weight must have shape \(3, 4\), it has",
    ),
    "another dtype": (
        lambda t, _: t.update({"0.bias": t["0.bias"].astype(np.int32)}),
        "0.bias must be float64, it is int32",
    ),
    "a wider dtype": (lambda t, n: n["network"].update(dtype="float32"), "must be float32, it is float64"),
    "a missing array": (lambda t, _: t.pop("2.bias"), r"missing \['2.bias'\]"),
    "one too many": (lambda t, _: t.update({"7.bias": np.ones(2)}), r"beyond them \['7.bias'\]"),
    "no state of the optimizer": (lambda t, _: t.pop("optimizer.first"), "lacks optimizer.first"),
    "another state": (
        lambda t, _: t.update({"optimizer.first": np.ones(3)}),
        r"optimizer.first must have shape \(26,\)",
    ),
    "an unknown layer": (
        lambda _, n: n["network"]["layers"][0].update({"class": "layers.Dens"}),
        "'layers.Dens' is not known",
    ),
    "a function for a layer": (lambda _, n: n["network"]["layers"][0].update({"class": "layers.walk"}), "is not known"),
    "what is no layer's": (
        lambda _, n: n["network"]["layers"][0].update({"class": "os.system"}),
        "'os.system' is not known",
    ),
    "dunder names": (lambda _, n: n["network"]["layers"][0].update({"class": "layers.__loader__"}), "is not known"),
    "an unknown setting": (of_layer(0, colour="red"), "layers.Dense refuses what is written of it: .*colour"),
    "a width below 1": (of_layer(0, in_features=0), "in_features must be >= 1"),
    "layers that do not fit": (
        of_layer(2, in_features=9),
        "no network can be made of what it describes: .*expects 9 features",
    ),
    "a layer that is none": (lambda _, n: n["network"].update(layers=[3]), r"layers\[0\] must be a layer"),
    "no layers": (lambda _, n: n["network"].pop("layers"), "no network can be made|layers must be"),
    "no seeds": (lambda _, n: n["network"].pop("seeds"), "no network can be made .*'seeds'"),
    "a seed that is text": (lambda _, n: n["network"].update(seeds=["x"]), "no network can be made"),
    "an unknown form": (lambda _, n: n["network"].update(layers={"what": 1}), "a description must be of one of"),
    "objects in an array": (of_layer(0, bias={"array": [1], "dtype": "O"}), "an array must be of numbers, got 'O'"),
    "no optimizer": (of_training(optimizer=None), "no loss and optimizer that training can go on with"),
    "a learning rate that is text": (of_training(learning_rate="x"), "learning_rate must be a number, got 'x'"),
    "counts that are text": (of_training(epoch="3"), "its counts of epochs and steps"),
    "negative counts": (of_training(step=-1), "its counts of epochs and steps"),
    "counts of members": (of_training(step=[1, 2]), "its counts of epochs and steps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_whole_file_whose_content_does_not_fit_together_is_refused(case, path):
    net = Network(mlp([3, 4, 2]), dtype="float64", seed=1)
    net.fit(X, Y, epochs=1)
    net.save(path, training=True)
    change, message = WRONG[case]
    edited(path, change)
    with pytest.raises(UnusableFile, match=message) as caught:
        xpnn.load(path)
    assert str(path) in str(caught.value)


def test_files_of_every_version_of_the_format_stay_readable():
    """Each was written by the version that brought it, with the outputs that its network had then."""
    found = sorted(DATA.glob("format_*.safetensors"))
    assert {int(path.stem.split("_")[1]) for path in found} == set(range(1, files.VERSION + 1))
    for path in found:
        net = xpnn.load(path)
        x = np.asarray(net.metadata["x"])
        assert np.allclose(net.predict(x), np.asarray(net.metadata["outputs"]), rtol=1e-6, atol=1e-7), path
        net.fit(x, np.zeros((len(x), 1)), epochs=1)


def test_loading_unpickles_and_executes_nothing(path, monkeypatch):
    net = build(resolve("numpy"), seed=1)
    train(net, 1)
    net.save(path, training=True)
    xpnn.load(path)  # modules are imported

    def forbidden(*args, **options):
        raise AssertionError("a file must not be executed")

    for module, names in ((pickle, "load loads Unpickler"), (builtins, "exec eval compile"), (os, "system")):
        for name in names.split():
            monkeypatch.setattr(module, name, forbidden)
    again = xpnn.load(path)
    monkeypatch.undo()
    assert same(state_of(again), state_of(net))


def test_a_changed_setting_is_seen_in_a_description():
    layer = xpnn.BatchNorm(3)
    assert described(layer) != described(replace(layer, eps=0.5))
    values = (float("inf"), float("-inf"), np.float32(0.5), np.int64(3), True, None, "x", (1, (2.0,)))
    assert built(json.loads(json.dumps(described(values), allow_nan=False)), {}) == (*values[:2], 0.5, 3, *values[4:])
