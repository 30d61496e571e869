"""What an optimizer is told: its numbers and how they are kept, shown, compared and refused; multipliers; one's own."""

import copy
import dataclasses
import pickle
from fractions import Fraction

import numpy as np
import pytest

from tests.test_optimizers import ALL, GRADS, START, WITH_OPTIONS, arrays, run, steps
from xpnn import optimizers, schedules
from xpnn.backend import resolve
from xpnn.parameters import Layout, multiplier_table
from xpnn.testing import assert_close


def test_the_numbers_are_those_that_are_there():
    assert set(optimizers.number_fields(optimizers.SGD(0.1))) == {"learning_rate", "momentum"}
    shared = {"weight_decay", "clip_value", "clip_norm", "average"}
    assert set(optimizers.number_fields(WITH_OPTIONS[0])) == shared | {"learning_rate", "momentum"}
    assert set(optimizers.Lion.numbers) == shared | {"learning_rate", "beta1", "beta2"}
    assert optimizers.number_fields(optimizers.Adam(0.1, weight_decay=[0.0, 0.1]))["weight_decay"] == (0.0, 0.1)
    assert optimizers.AdamW.numbers["clip_norm"] == {"low": 0.0, "open_low": True}


def test_equal_settings_are_equal_optimizers():
    assert optimizers.Adam(0.1) == optimizers.Adam(0.1)
    assert optimizers.Adam(np.asarray([0.1, 0.2])) == optimizers.Adam([0.1, 0.2])
    assert optimizers.SGD(schedules.Constant(0.1)) == optimizers.SGD(schedules.Constant(0.1))
    assert optimizers.Adam(0.1) != optimizers.Adam(0.2)
    assert optimizers.Adam(0.1, clip_norm=1) != optimizers.Adam(0.1)
    assert optimizers.Adam(0.1, clip_norm=1) == optimizers.Adam(0.1, clip_norm=np.float32(1))
    assert optimizers.Adam(0.1, weight_decay=0.01) != optimizers.AdamW(0.1)
    assert hash(optimizers.SGD(0.1, multipliers={"bias": 0.5})) == hash(optimizers.SGD(0.1, multipliers={"bias": 0.5}))


@pytest.mark.parametrize("kind", [np.float64, np.float32, Fraction], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_every_number_is_kept_as_a_python_float(optimizer, kind):
    plain = {one.name: getattr(optimizer, one.name) for one in dataclasses.fields(optimizer)}
    plain = {name: float(kind(value)) for name, value in plain.items() if isinstance(value, float)}
    plain, given = (
        dataclasses.replace(optimizer, **{name: as_kind(value) for name, value in plain.items()})
        for as_kind in (float, kind)
    )
    assert given == plain and repr(given) == repr(plain)
    assert not {type(value) for value in vars(given).values()} & {np.float64, np.float32, Fraction}
    for name in ("numpy", "array-api-strict:no_float64"):
        backend = resolve(name, "float32")
        params, state = steps(given, backend)[-1]
        assert {str(array.dtype).rpartition(".")[2] for array in [params, *arrays(state)]} == {"float32"}
        assert_close(params, run(plain, backend), rtol=0.0)


def test_an_optimizer_is_shown_as_the_call_that_makes_it():
    assert repr(optimizers.Adam()) == "Adam()"
    shown = "RMSprop(learning_rate=0.1, centered=True, clip_norm=1, multipliers={'bias': 0})"
    assert repr(optimizers.RMSprop(0.1, centered=True, clip_norm=1, multipliers={"bias": 0})) == shown
    assert repr(optimizers.Adam([0.1] * 64)) == "Adam(learning_rate=(0.1, ..., 0.1))"
    assert repr(optimizers.AdamW(weight_decay=0.0)) == "AdamW(weight_decay=0)"


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("sgd", optimizers.SGD(0.01)),
        ("Lion", optimizers.Lion(1e-4)),
        ("rmsprop", optimizers.RMSprop(0.01)),
        ("RMS-prop", optimizers.RMSprop(0.01)),
        ("adagrad", optimizers.Adagrad(0.01)),
        ("Adam", optimizers.Adam(0.001)),
        ("AdamW", optimizers.AdamW(0.001, weight_decay=0.01)),
        ("nadam", optimizers.NAdam(0.002)),
        ("radam", optimizers.RAdam(0.001)),
        (optimizers.NAdam, optimizers.NAdam()),
        (optimizers.Lion(0.1), optimizers.Lion(0.1)),
    ],
)
def test_optimizers_by_name(name, wanted):
    assert optimizers.get(name) == wanted


@dataclasses.dataclass(frozen=True)
class SignDescent(optimizers.Optimizer):
    """An optimizer of one's own: a rule, a plain tuple of numbers, and an option that may be left out."""

    learning_rate: float = 0.1
    longest: float | None = None

    numbers = ("learning_rate", "longest")

    def rule(self, params, grads, state, hyper, *, xp):
        length = hyper["learning_rate"] if self.longest is None else hyper["longest"]
        return params - length * xp.sign(grads), state


@dataclasses.dataclass(frozen=True)
class Whole(optimizers.Optimizer):
    """One that writes the whole contract itself."""

    learning_rate: float = 0.1

    def init(self, params, *, xp):
        return ()

    def update(self, params, grads, state, hyper, *, xp):
        return params - hyper["learning_rate"] * grads, state


def test_an_optimizer_of_ones_own():
    decaying = SignDescent(0.5, weight_decay=0.5, clip_norm=1.0, average=0.0)
    params, state = steps(decaying, start=np.asarray([4.0, 4.0]), grads=np.asarray([[3.0, -3.0]]))[-1]
    assert params.tolist() == decaying.shown(params, state).tolist() == [2.5, 3.5]
    assert run(SignDescent(longest=2), start=np.zeros(1), grads=np.ones((1, 1))).tolist() == [-2.0]
    assert optimizers.number_fields(SignDescent()) == {"learning_rate": 0.1}
    assert SignDescent.numbers["longest"] == {} and "average" in SignDescent.numbers
    params, state = steps(Whole(1.0), grads=GRADS[:1])[-1]
    assert (Whole().shown(params, state) == START - GRADS[0]).all()
    with pytest.raises(ValueError, match="longest must be finite"):
        SignDescent(longest=np.inf)
    with pytest.raises(NotImplementedError, match=r"Unwritten must define rule\("):
        run(type("Unwritten", (Whole,), {"update": optimizers.Optimizer.update})())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optimizers.SGD(-0.1), "learning_rate must be >= 0, got -0.1"),
        (lambda: optimizers.SGD(0.1, momentum=1.0), "momentum must be >= 0 and < 1"),
        (lambda: optimizers.SGD(0.1, nesterov=True), "nesterov=True needs a momentum > 0, got momentum=0.0"),
        (lambda: optimizers.SGD(0.1, 0.9, 0.5), "nesterov must be True or False, got 0.5"),
        (optimizers.Optimizer, r"Optimizer is what every optimizer is built on .* Adam\(\)"),
        (lambda: optimizers.get(optimizers.Optimizer), "Optimizer is what every optimizer is built on"),
        (type("Fieldless", (Whole,), {"numbers": ("rate",)}), "Fieldless has no field 'rate', which its numbers name"),
        (type("Loose", (Whole,), {"constants": {"eps": {}}}), "Loose has no field 'eps', which its constants name"),
        (lambda: optimizers.Adam(schedules.CosineDecay), "learning_rate must be .*CosineDecay"),
        (lambda: optimizers.Adam(beta1=schedules.Constant), "beta1 must be .*Constant"),
        (lambda: optimizers.SGD(clip_norm=schedules.Constant), "clip_norm must be .*Constant"),
        (lambda: optimizers.Adam(eps=schedules.Constant(1e-8)), "eps must be a number"),
        (lambda: optimizers.SGD(None), "learning_rate must be a number, got None"),
        (lambda: optimizers.SGD(clip_norm=0), "clip_norm must be > 0, got 0"),
        (lambda: optimizers.SGD(clip_value=-1.0), "clip_value must be > 0, got -1.0"),
        (lambda: optimizers.SGD(clip_value="1"), "clip_value must be a number, got '1'"),
        (lambda: optimizers.SGD(average=1.0), "average must be >= 0 and < 1, got 1.0"),
        (lambda: optimizers.Adam(weight_decay=-1), "weight_decay must be >= 0, got -1"),
        (lambda: optimizers.Adam(weight_decay=None), "weight_decay must be a number, got None"),
        (lambda: optimizers.Adam(clip_norm=[1.0, 0.0]), r"clip_norm\[1\] must be > 0"),
        (lambda: optimizers.Adam([0.1, -0.2]), r"learning_rate\[1\] must be >= 0"),
        (lambda: optimizers.Adam("fast"), "learning_rate must be a number, got 'fast'"),
        (lambda: optimizers.Adam(beta2=1.5), "beta2 must be"),
        (lambda: optimizers.Adam(eps=0), "eps must be > 0"),
        (lambda: optimizers.RMSprop(rho=1.5), "rho must be >= 0 and < 1, got 1.5"),
        (lambda: optimizers.RMSprop(centered="yes"), "centered must be True or False, got 'yes'"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value must be >= 0, got -1"),
        (lambda: optimizers.NAdam(momentum_decay=-1), "momentum_decay must be >= 0"),
        (lambda: optimizers.RAdam(eps=(1e-8, 1e-8)), "eps must be a number"),
        (lambda: optimizers.SGD(multipliers={"bias": -1}), r"multipliers\['bias'\] must be >= 0"),
        (lambda: optimizers.SGD(multipliers=[1.0]), "multipliers must be a dict"),
        (lambda: optimizers.get("adom"), "did you mean 'adam'"),
        (lambda: optimizers.get("adamm"), "did you mean 'adam'"),
        (lambda: optimizers.get("rms_porp"), "did you mean 'rmsprop'"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_multipliers_stand_with_the_optimizer():
    given = {"bias": 0.5, 0: 0, "2.weight": np.float32(0.25)}
    optimizer = optimizers.Adam(0.1, multipliers=given)
    given["bias"] = 2.0
    table = optimizer.multipliers
    assert table == {"bias": 0.5, 0: 0.0, "2.weight": 0.25} and table != {"bias": 0.5} and len(table) == 3
    assert {type(factor) for factor in table.values()} == {float}
    assert repr(table) == "{'bias': 0.5, 0: 0, '2.weight': 0.25}"
    with pytest.raises(TypeError, match="does not support item assignment"):
        table["bias"] = 0.0
    with pytest.raises(AttributeError):
        table.update({"bias": 0.0})
    for same in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer), copy.copy(optimizer)):
        assert same == optimizer and same.multipliers == table and hash(same) == hash(optimizer)
    assert dataclasses.replace(optimizer, learning_rate=0.2).multipliers == table
    assert optimizer == optimizers.Adam(0.1, multipliers=table) != optimizers.Adam(0.1)


LAYOUT = Layout([{"weight": np.zeros((1, 2)), "bias": np.zeros(2)}, {}, {"weight": np.zeros((2, 1))}])


@pytest.mark.parametrize(
    "multipliers, table",
    [
        ({}, None),
        ({"bias": 0.5}, [1, 1, 0.5, 0.5, 1, 1]),
        ({0: 0}, [0, 0, 0, 0, 1, 1]),
        ({-1: 3}, [1, 1, 1, 1, 3, 3]),
        ({"2.weight": 2, "weight": 0.5}, [0.5, 0.5, 1, 1, 1, 1]),
    ],
)
def test_multipliers_by_name_layer_or_both(multipliers, table):
    assert multiplier_table(LAYOUT, 3, multipliers) == table


def test_a_multiplier_that_reaches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"multipliers: 'biases' is no parameter or layer"):
        multiplier_table(LAYOUT, 3, {"biases": 1.0})
    with pytest.raises(ValueError, match="multipliers: 1 is no"):
        multiplier_table(LAYOUT, 3, {1: 1.0})


def test_nesterov_and_amsgrad_are_names_too():
    assert optimizers.get("nesterov", learning_rate=0.5) == optimizers.SGD(0.5, momentum=0.9, nesterov=True)
    assert optimizers.get("Nesterov", momentum=0.5) == optimizers.SGD(momentum=0.5, nesterov=True)
    assert optimizers.get("amsgrad") == optimizers.Adam(amsgrad=True)
    with pytest.raises(ValueError, match="did you mean 'nesterov'"):
        optimizers.get("nestrov")
