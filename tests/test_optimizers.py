"""Each optimizer on the flat vector: PyTorch's numbers, members apart, and the options that every one of them has."""

import dataclasses

import array_api_strict
import numpy as np
import pytest

import xpnn
from tests.tables import OPTIMIZERS
from tests.test_no_sync import LOOKS, STRICT
from xpnn import optimizers, schedules
from xpnn.backend import resolve
from xpnn.testing import assert_close

GRADS = np.random.default_rng(0).normal(size=(12, 7))
LONG = np.random.default_rng(1).normal(size=(60, 7))
START = np.linspace(-1.0, 1.0, 7)
NUMPY = resolve("numpy", "float64")
ALL = [optimizer for optimizer, _ in OPTIMIZERS]
OPTIONS = {"weight_decay": 0.1, "clip_value": 1.0, "clip_norm": 0.7, "average": 0.8}
WITH_OPTIONS = [dataclasses.replace(optimizer, **OPTIONS) for optimizer in ALL]


def hyper(optimizer, backend=NUMPY, step=0, shape=(1,)):
    found = {name: n(step) if callable(n) else n for name, n in optimizers.number_fields(optimizer).items()}
    return {name: backend.asarray(np.broadcast_to(n, shape)) for name, n in found.items()}


def steps(optimizer, backend=NUMPY, start=START, grads=GRADS, shape=(1,), **given):
    """Parameters and state before the first step and after each; `given` replaces entries of `hyper`."""
    params = backend.asarray(start)
    state = optimizer.init(params, xp=backend.xp)
    found = [(params, state)]
    for step, gradient in enumerate(grads):
        numbers = hyper(optimizer, backend, step, shape) | given
        params, state = optimizer.update(params, backend.asarray(gradient), state, numbers, xp=backend.xp)
        found.append((params, state))
    return found


def run(optimizer, backend=NUMPY, *args, **options):
    return steps(optimizer, backend, *args, **options)[-1][0]


def arrays(state):
    """Every array of nested NamedTuples."""
    return [found for part in state for found in arrays(part)] if isinstance(state, tuple) else [state]


class Lion:
    """Algorithm 2 of Chen et al. (2023), in PyTorch's manner."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        self.p, self.m = params[0], 0.0
        self.param_groups = [{"lr": lr, "betas": betas, "weight_decay": weight_decay}]

    def step(self):
        p, lr, (beta1, beta2), weight_decay = self.p.data, *self.param_groups[0].values()
        c = beta1 * self.m + (1 - beta1) * self.p.grad
        self.p.data = p - lr * (c.sign() + weight_decay * p)
        self.m = beta2 * self.m + (1 - beta2) * self.p.grad


@pytest.fixture
def torch():
    """PyTorch with double precision for all: NAdam keeps the product of its momenta in the default dtype."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_pytorchs_steps(optimizer, theirs, torch):
    p = torch.tensor(START, requires_grad=True)
    their = eval(theirs.replace("(p", "([p]"), vars(torch.optim) | {"Lion": Lion, "p": p})
    for gradient, (ours, _) in zip(GRADS, steps(optimizer)[1:], strict=True):
        p.grad = torch.tensor(gradient)
        their.step()
        assert_close(ours, p.detach().numpy(), rtol=1e-12, atol=1e-14)


# The name of each number in a param_group of PyTorch's, with the place in its tuple of betas.
THEIRS = {"learning_rate": "lr", "rho": "alpha", "beta1": ("betas", 0), "beta2": ("betas", 1)}


def falling(step, k=0):
    """A factor on a schedulable number that changes in every step, and from number to number."""
    return 0.3 + 0.7 / (1.0 + 0.5 * ((step + k) % 5))


@dataclasses.dataclass(frozen=True)
class Scaled:
    """`number`, itself a schedule or not, times what `falling` gives."""

    number: object
    k: int

    def __call__(self, step):
        return (self.number(step) if callable(self.number) else self.number) * falling(step, self.k)


def scheduled(optimizer, names=None):
    """`optimizer` with all its numbers, or those of `names`, changing from step to step."""
    found = optimizers.number_fields(optimizer)
    found = {name: value for name, value in found.items() if value != 0.0 and (names is None or name in names)}
    return dataclasses.replace(optimizer, **{name: Scaled(value, k) for k, (name, value) in enumerate(found.items())})


@pytest.mark.parametrize("names", [None, ["beta1"], ["beta2"]], ids=str)
@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_pytorchs_steps_under_schedules_of_every_number(optimizer, theirs, names, torch):
    p = torch.tensor(START, requires_grad=True)
    their = eval(theirs.replace("(p", "([p]"), vars(torch.optim) | {"Lion": Lion, "p": p})
    group, optimizer = their.param_groups[0], scheduled(optimizer, names)
    changing = {n: value for n, value in optimizers.number_fields(optimizer).items() if isinstance(value, Scaled)}
    given = {name: group["lr"] if name == "learning_rate" else value.number for name, value in changing.items()}
    for step, (ours, _) in enumerate(steps(optimizer, grads=LONG)[1:]):
        for name, value in changing.items():
            place = THEIRS.get(name, name)
            number = given[name] * falling(step, value.k)
            if isinstance(place, tuple):
                group["betas"] = tuple(number if i == place[1] else old for i, old in enumerate(group["betas"]))
            else:
                group[place] = number
        p.grad = torch.tensor(LONG[step])
        their.step()
        assert_close(ours, p.detach().numpy(), rtol=1e-10, atol=1e-13)


def standing(optimizer):
    """`optimizer` with every number a schedule that stands still."""
    numbers = {name: value for name, value in optimizers.number_fields(optimizer).items() if not callable(value)}
    numbers = {name: value for name, value in numbers.items() if name != "momentum" or value != 0.0}
    return dataclasses.replace(optimizer, **{name: schedules.Constant(value) for name, value in numbers.items()})


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_schedule_that_stands_still_is_the_number(optimizer, backend, tolerance):
    expected = backend.asarray(run(optimizer))
    assert_close(run(standing(optimizer), backend), expected, rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_members_step_apart_under_their_own_schedules(optimizer):
    optimizer, shares = scheduled(optimizer), np.asarray([[1.0], [0.5], [0.0]])
    numbers = optimizers.number_fields(optimizer)
    together = dataclasses.replace(
        optimizer, **{n: lambda step, one=one: shares * one(step) for n, one in numbers.items() if callable(one)}
    )
    starts, grads = np.stack([START, -START, START + 1]), np.stack([GRADS, 2 * GRADS, -GRADS], axis=1)
    found = run(together, NUMPY, starts, grads, (3, 1))
    for k, share in enumerate(shares[:, 0]):
        own = {n: lambda step, one=one, share=share: share * one(step) for n, one in numbers.items() if callable(one)}
        alone = run(dataclasses.replace(optimizer, **own), NUMPY, starts[k], grads[:, k])
        assert_close(found[k], alone, rtol=1e-14)


@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_every_backend_gives_numpys_numbers(optimizer, backend, tolerance):
    expected, state = steps(optimizer)[-1]
    params, found = steps(optimizer, backend)[-1]
    assert_close(params, backend.asarray(expected), rtol=tolerance * 10, atol=tolerance)
    shown = backend.asarray(optimizer.shown(expected, state))
    assert_close(optimizer.shown(params, found), shown, rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_members_step_apart_with_their_own_rates(optimizer):
    rates = np.asarray([[0.1], [0.01], [0.0]])
    starts, grads = np.stack([START, -START, START + 1]), np.stack([GRADS, 2 * GRADS, -GRADS], axis=1)
    together, state = steps(optimizer, NUMPY, starts, grads, (3, 1), learning_rate=rates)[-1]
    for k in range(3):
        alone, own = steps(optimizer, NUMPY, starts[k], grads[:, k], learning_rate=rates[k])[-1]
        assert_close(together[k], alone, rtol=1e-14)
        assert_close(optimizer.shown(together, state)[k], optimizer.shown(alone, own), rtol=1e-14)


@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_nothing_that_is_given_is_written(optimizer):
    params, gradient = START.copy(), GRADS[0].copy()
    state = optimizer.init(params, xp=np)
    before = [array.copy() for array in arrays(state)]
    numbers = hyper(optimizer)
    first, _ = optimizer.update(params, gradient, state, numbers, xp=np)
    again, _ = optimizer.update(params, gradient, state, numbers, xp=np)
    assert (params == START).all() and (gradient == GRADS[0]).all()
    assert all((one == old).all() for one, old in zip(arrays(state), before, strict=True))
    assert not any(np.shares_memory(array, params) for array in arrays(state))
    assert (first == again).all()


@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_no_value_is_read_on_the_host(optimizer, monkeypatch):
    backend = resolve("array-api-strict:device1", "float64")
    params, gradient, numbers = backend.asarray(START), backend.asarray(GRADS[0]), hyper(optimizer, backend)

    def look(self, *args, **kwargs):
        raise AssertionError("a value was read on the host")

    for name in (name for name in LOOKS if hasattr(STRICT, name)):
        monkeypatch.setattr(STRICT, name, look)
    state = optimizer.init(params, xp=array_api_strict)
    for _ in range(2):
        params, state = optimizer.update(params, gradient, state, numbers, xp=array_api_strict)
    assert optimizer.shown(params, state).shape == START.shape


EDGES = [
    optimizers.SGD(0.1, momentum=0.0, average=0.0),
    optimizers.Lion(0.1, beta1=0.0, beta2=0.0),
    optimizers.RMSprop(0.1, rho=0.0),
    optimizers.RMSprop(0.1, rho=0.0, centered=True),
    optimizers.Adam(0.1, beta1=0.0, beta2=0.0, amsgrad=True),
    optimizers.NAdam(0.1, beta1=0.0, beta2=0.0, momentum_decay=0.0),
    optimizers.RAdam(0.1, beta1=0.0, beta2=0.0),
    optimizers.RAdam(0.1, beta2=0.6),  # rho_inf is 4
    optimizers.RAdam(0.1, beta2=2 / 3),  # 5
    optimizers.RAdam(0.1, beta2=0.9999999),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS, *EDGES, *map(standing, EDGES)], ids=str)
def test_nothing_overflows_or_divides_by_zero(optimizer, dtype):
    backend = resolve("numpy", dtype)
    optimizer = dataclasses.replace(optimizer, weight_decay=0.0)
    assert_close(run(optimizer, backend, grads=0.0 * GRADS), backend.asarray(START))
    assert np.isfinite(run(optimizer, backend)).all()
    assert np.isfinite(run(optimizer, backend, grads=np.ones((300, 7)))).all()  # centered: the deviation vanishes


TARGET, CURVATURE = np.linspace(1.0, -2.0, 7), np.linspace(0.5, 2.0, 7)


@pytest.mark.parametrize("options", [{}, OPTIONS | {"clip_value": 0.9}])
@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.5),
        optimizers.Lion(0.3),
        optimizers.RMSprop(0.3),
        optimizers.Adagrad(1.0),
        optimizers.Adam(0.3),
        optimizers.AdamW(0.3),
        optimizers.NAdam(0.3),
        optimizers.RAdam(0.3, beta2=0.9),
    ],
    ids=str,
)
def test_two_hundred_steps_reach_the_minimum_of_a_quadratic(optimizer, options):
    rate = schedules.ExponentialDecay(optimizer.learning_rate, rate=0.5, steps=30)
    optimizer = dataclasses.replace(optimizer, learning_rate=rate, **(options | {"weight_decay": 1e-6}))
    params = START
    state = optimizer.init(params, xp=np)
    for step in range(200):
        gradient = CURVATURE * (params - TARGET)
        params, state = optimizer.update(params, gradient, state, hyper(optimizer, step=step), xp=np)
    assert_close(params, TARGET, rtol=0.0, atol=5e-3)
    assert_close(optimizer.shown(params, state), TARGET, rtol=0.0, atol=5e-3)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_every_optimizer_decays_weights_beside_its_own_step(optimizer):
    plain = dataclasses.replace(optimizer, weight_decay=0.0)
    decaying = dataclasses.replace(optimizer, weight_decay=0.3)
    (_, (without, state)), (_, (params, same)) = steps(plain, grads=GRADS[:1]), steps(decaying, grads=GRADS[:1])
    assert_close(params, without - 0.3 * hyper(decaying)["learning_rate"] * START, rtol=1e-14)
    assert all((one == two).all() for one, two in zip(arrays(state), arrays(same), strict=True))


@pytest.mark.parametrize("optimizer", ALL, ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_is_the_weighted_mean_of_all_parameters_so_far(optimizer, decay):
    plain = np.stack([params for params, _ in steps(optimizer)])
    averaging = dataclasses.replace(optimizer, average=decay)
    for t, (params, state) in enumerate(steps(averaging)):
        assert (params == plain[t]).all()
        shares = np.asarray([decay ** (t - i) for i in range(1, t + 1)])
        expected = shares @ plain[1 : t + 1] / np.sum(shares) if t else START
        assert_close(averaging.shown(params, state), expected, rtol=1e-13, atol=1e-15)
        assert optimizer.shown(params, state.rule) is params


def test_an_average_under_a_schedule_is_a_weighted_mean_too():
    decays = [0.9, 0.0, 0.5, 0.25]
    found = steps(optimizers.SGD(0.1, average=lambda step: decays[step]), grads=GRADS[:4])
    second, third, fourth = (params for params, _ in found[2:])
    params, state = found[-1]
    shown = optimizers.SGD(average=0.5).shown(params, state)
    assert_close(shown, (0.125 * second + 0.25 * third + fourth) / 1.375, rtol=1e-14)


def test_an_average_starts_anew_from_parameters_put_in():
    optimizer = optimizers.SGD(0.1, momentum=0.5, average=0.9)
    _, state = steps(optimizer)[-1]
    again = optimizer.restarted(START, state)
    assert (optimizer.shown(START, again) == START).all() and not np.shares_memory(again.average, START)
    assert again.rule is state.rule
    params, after = optimizer.update(START, GRADS[0], again, hyper(optimizer), xp=np)
    assert_close(optimizer.shown(params, after), params, rtol=1e-14)
    assert optimizer.restarted(START, state.rule) is state.rule


@pytest.mark.parametrize("bound", [0.3, 2.0, 100.0])
@pytest.mark.parametrize("options", [["value"], ["norm"], ["value", "norm"]], ids=str)
def test_pytorchs_clipping(options, bound, torch):
    parts = [torch.zeros(3), torch.zeros(4)]
    parts[0].grad, parts[1].grad = torch.tensor(GRADS[0, :3]), torch.tensor(GRADS[0, 3:])
    if "value" in options:
        torch.nn.utils.clip_grad_value_(parts, 0.5 * bound)
    if "norm" in options:
        torch.nn.utils.clip_grad_norm_(parts, bound)
    bounds = {"value": ("clip_value", 0.5 * bound), "norm": ("clip_norm", bound)}
    optimizer = optimizers.SGD(1.0, **dict(bounds[option] for option in options))
    step = run(optimizer, start=np.zeros(7), grads=GRADS[:1])
    assert_close(step, -torch.cat([part.grad for part in parts]).numpy(), rtol=1e-14)


@pytest.mark.parametrize("dtype, size", [("float64", 1.7e308), ("float32", 3e38), ("float64", 1e-300)])
def test_an_explosion_is_held_without_overflow(dtype, size):
    for optimizer in (optimizers.SGD(1.0, clip_norm=0.5), optimizers.Adam(1.0, clip_value=0.5, clip_norm=0.5)):
        assert np.isfinite(run(optimizer, resolve("numpy", dtype), np.zeros(7), np.full((2, 7), size))).all()
    step = run(optimizers.SGD(1.0, clip_norm=0.5), resolve("numpy", dtype), np.zeros(7), np.full((1, 7), size))
    assert_close(step / step[0], np.ones_like(step), rtol=1e-6)
    assert np.sqrt(np.sum(step * step)) == pytest.approx(min(0.5, size), abs=1e-6)


def test_each_member_is_clipped_to_its_own_bound():
    bounds, grads = np.asarray([[0.5], [1.0], [100.0]]), np.stack([GRADS[:3]])
    step = run(optimizers.SGD(1.0, clip_norm=1.0), NUMPY, np.zeros((3, 7)), grads, (3, 1), clip_norm=bounds)
    expected = np.minimum(np.linalg.norm(GRADS[:3], axis=-1), bounds[:, 0])
    assert_close(np.linalg.norm(step, axis=-1), expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", WITH_OPTIONS, ids=str)
def test_what_is_frozen_stands_still_and_does_not_count(optimizer):
    table = np.asarray([0.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0])
    free = np.flatnonzero(table)
    rates, grads = 0.1 * table, GRADS * np.where(table == 0.0, 1e3, 1.0)
    params, state = steps(optimizer, grads=grads, learning_rate=rates, multiplier=table)[-1]
    frozen = table == 0.0
    assert (params[frozen] == START[frozen]).all()
    assert (optimizer.shown(params, state)[frozen] == START[frozen]).all()
    alone = run(optimizer, start=START[free], grads=GRADS[:, free], learning_rate=rates[free])
    assert_close(params[free], alone, rtol=1e-14)


def test_all_options_at_once():
    optimizer = optimizers.AdamW(0.1, 0.5, 0.9, **OPTIONS)
    grads = np.minimum(np.maximum(GRADS, -1.0), 1.0)
    norms = np.linalg.norm(grads, axis=-1, keepdims=True)
    grads = grads * np.minimum(1.0, 0.7 / (norms + 1e-6))
    first, second, params, seen = np.zeros(7), np.zeros(7), START, []
    for t, gradient in enumerate(grads, 1):
        first, second = 0.5 * first + 0.5 * gradient, 0.9 * second + 0.1 * gradient**2
        step = first / (1 - 0.5**t) / (np.sqrt(second / (1 - 0.9**t)) + 1e-8)
        params = params - 0.1 * step - 0.1 * 0.1 * params
        seen.append(params)
    shares = 0.8 ** np.arange(11.0, -1.0, -1.0)
    found, state = steps(optimizer)[-1]
    assert_close(found, params, rtol=1e-12)
    assert_close(optimizer.shown(found, state), shares @ np.stack(seen) / np.sum(shares), rtol=1e-12)


def test_weight_decay_under_a_schedule_in_a_network():
    net = xpnn.Network([xpnn.Dense(2, 1, bias=False)], dtype="float64")
    before = net.weights[0]
    net.fit(
        np.zeros((4, 2)), np.zeros(4), optimizer=optimizers.SGD(0.1, weight_decay=lambda step: 0.5 * step), epochs=3
    )
    assert_close(net.weights[0], before * (1 - 0.1 * 0.5) * (1 - 0.1 * 1.0), rtol=1e-14)


def test_structure_is_what_is_asked_for():
    assert optimizers.SGD(0.1).init(START, xp=np) == ()
    assert optimizers.SGD(0.1, momentum=0.5).init(START, xp=np).velocity.shape == START.shape
    assert optimizers.RMSprop().init(START, xp=np)[1:] == ((), ())
    assert not hasattr(optimizers.Adam().init(START, xp=np), "largest")
    state = optimizers.SGD(average=0.5).init(np.ones((3, 7)), xp=np)
    assert state.rule == () and state.average.shape == (3, 7) and state.weight.shape == (3, 1)
