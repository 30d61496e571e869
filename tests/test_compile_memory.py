"""A plan's memory: nothing is overwritten that is still to be read, whatever is computed and wherever it is put."""

from typing import Any, NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tests.compiled import PROBLEMS, WEIGHT, X, prepared, problem
from tests.plans import KINDS, Machine, check, evaluated, plan_of
from tests.test_compile import DEEP, Y
from tests.test_compile_fallback import Swapping, Turning
from tests.test_optimizers import ALL, WITH_OPTIONS
from xpnn import Adam, Dense, Network, mlp
from xpnn.backend import resolve
from xpnn.compile import memory, numpy, traced
from xpnn.compile.traced import Traced

NUMPY = resolve("numpy", "float64")
LANES = {"lone": (None, False), "own rows": (3, True)}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_steps_of_every_piece_of_the_tables(case, lanes):
    ready = problem(case, *LANES[lanes], weighted=True, dtype="float32")
    check(ready, "step", "numpy")
    check(ready, "rows", "numpy")
    check(ready, "all", "clusters")


@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS, Swapping(), Turning()], ids=str)
def test_steps_of_every_optimizer(optimizer):
    for kind in ("numpy", "clusters of products"):
        for members in (None, 3):
            check(prepared(Network(DEEP, members=members), X, Y, optimizer=optimizer, weight=WEIGHT), "rows", kind)


def _release_early(self, unit):
    for (kind, where), node in self._holder.items():
        if kind == "block" and self._last.get(node, unit) <= unit + 2 and where not in self._free:
            self._free.append(where)


FAULTS = {"_may_write": lambda self, home, node, unit: True, "_release": _release_early}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_checker_sees_what_is_wrong(fault, monkeypatch):
    """Memory that is written over or is free too early."""
    monkeypatch.setattr(memory.Memory, fault, FAULTS[fault])
    layers = [Dense(5, 5), "tanh", Dense(5, 5), "softmax", Dense(5, 2)]
    with pytest.raises(AssertionError, match=r"is lost|is written"):
        check(prepared(Network(layers), X[:5], Y[:5], optimizer=Adam()), "rows", "numpy")


class Arrays(NamedTuple):
    a: Any  # (12, 3)
    b: Any  # (12, 3)
    c: Any  # (36,)


UNARY = ["negative", "tanh", "abs", "square", "sin"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]
SHAPES = [(12, 3), (3, 12), (36,), (6, 6), (4, 9)]


def computed(recipe, results, carry, x, rows, *, xp):
    """A drawn function: each line of the recipe is an operation on two of the arrays made so far."""
    pool = [*carry, x]
    for op, i, j in recipe:
        p, q = pool[i % len(pool)], pool[j % len(pool)]
        try:
            made = OPERATIONS[op % len(OPERATIONS)](xp, p, q, i + j, rows)
        except (ValueError, IndexError, TypeError):
            continue  # of shapes that do not go together
        pool.append(made)
    fitting = [[one for one in pool if one.shape == array.shape] for array in carry]
    chosen = [few[k % len(few)] for few, k in zip(fitting, results, strict=False)]
    return {"carry": Arrays(*chosen), "value": pool[-1], "again": pool[results[3] % len(pool)]}


def _alike(p, q):
    np.broadcast_shapes(p.shape, q.shape)
    return p, q


def _rows(p):
    if p.shape[0] < 12:
        raise ValueError("a row that is not there")
    return p


OPERATIONS = [
    lambda xp, p, q, k, rows: getattr(xp, UNARY[k % len(UNARY)])(p),
    lambda xp, p, q, k, rows: getattr(xp, BINARY[k % len(BINARY)])(*_alike(p, q)),
    lambda xp, p, q, k, rows: getattr(xp, BINARY[k % len(BINARY)])(p, p),
    lambda xp, p, q, k, rows: xp.where(xp.greater(*_alike(p, q)), p, q),
    lambda xp, p, q, k, rows: xp.where(p > 0.5, p, 0.25),
    lambda xp, p, q, k, rows: xp.multiply(p, 0.5),
    lambda xp, p, q, k, rows: xp.sum(p, axis=-1 - k % p.ndim, keepdims=k % 3 > 0),
    lambda xp, p, q, k, rows: xp.max(p, axis=-1 - k % p.ndim, keepdims=True),
    lambda xp, p, q, k, rows: xp.tanh(xp.matmul(p, xp.matrix_transpose(q))),
    lambda xp, p, q, k, rows: xp.tanh(xp.matmul(p, q)),
    lambda xp, p, q, k, rows: xp.reshape(p, SHAPES[k % len(SHAPES)]),
    lambda xp, p, q, k, rows: xp.matrix_transpose(p),
    lambda xp, p, q, k, rows: p[k % 3 : 6 + k % 3, ...],
    lambda xp, p, q, k, rows: p[..., ::-1],
    lambda xp, p, q, k, rows: xp.concat([p, q], axis=-1 - k % 2),
    lambda xp, p, q, k, rows: xp.concat([xp.reshape(p, (-1,)), xp.tanh(xp.reshape(q, (-1,)))], axis=0)[:36],
    lambda xp, p, q, k, rows: xp.broadcast_to(p, (12, 3)),
    lambda xp, p, q, k, rows: xp.take(_rows(p), rows, axis=0),
    lambda xp, p, q, k, rows: xp.astype(p > 0.1, p.dtype),
]
LINE = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 40), st.integers(0, 40))
RECIPES = st.lists(LINE, min_size=4, max_size=30)


def small(monkeypatch):
    """Vectors of 8 bytes are long, and pieces have 8 numbers, so that what is for 16 MB happens in a small test."""
    monkeypatch.setattr(traced, "LONG", 8)
    monkeypatch.setattr(numpy, "PIECE", 64)
    monkeypatch.setattr(numpy, "FILLED", 0)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "piece by piece"])
def test_random_functions(pieces):
    """The plan in its memory, and the program twice with garbage in it, give what NumPy gives."""
    with pytest.MonkeyPatch.context() as patch:
        if pieces:
            small(patch)

        @hypothesis.settings(max_examples=400)
        @hypothesis.given(
            recipe=RECIPES,
            results=st.tuples(*[st.integers(0, 20)] * 4),
            bound=st.booleans(),
        )
        def run(recipe, results, bound):
            rng = np.random.default_rng(len(recipe))
            given = [rng.uniform(-1.0, 1.0, shape) for shape in ((12, 3), (12, 3), (36,), (12, 3))]
            carry, x, rows = Arrays(*given[:3]), given[3], rng.permutation(12)
            expected = computed(recipe, results, carry, x, rows, xp=np)

            def function(carry, x, rows, *, xp):
                return computed(recipe, results, carry, x, rows, xp=xp)

            own = Arrays(*map(np.copy, carry))
            trees = {"carry": own, "x": x, "rows": rows}
            place = {"value": "kept", "again": "fresh"}
            made = Traced(
                function, trees, lambda name: place.get(name, name), NUMPY, ("carry.", "x") if bound else ("carry.",)
            )
            inputs = {name: eval(name, dict(trees)) for name in made.plan.inputs}
            found = Machine(made.plan, inputs).run()
            simple = evaluated(made.plan, inputs)
            for name, node in made.plan.outputs.items():
                np.testing.assert_allclose(found[name], simple[node], rtol=1e-9, atol=1e-9)
            for _ in range(2):
                for one, start in zip(own, carry, strict=True):
                    one[...] = start
                for block in made.program._blocks:
                    block[...] = 255
                arguments = made.arguments("x", "rows") if not bound else made.arguments("rows")
                (again,) = made.bind(**trees)(*arguments(*([rows] if bound else [x, rows])))
                for one, two in zip(own, expected["carry"], strict=True):
                    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(made.program.kept["value"], expected["value"], rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(again, expected["again"], rtol=1e-9, atol=1e-9)
                assert not any(np.shares_memory(again, one) for one in (*own, x, made.program.kept["value"]))

        run()


@pytest.mark.parametrize("members", [None, 3])
def test_long_vectors_piece_by_piece(members, monkeypatch):
    small(monkeypatch)
    for optimizer in (Adam(0.1), Adam(0.1, amsgrad=True, average=0.9, clip_value=0.1), Swapping(), Turning()):
        ready = prepared(Network(DEEP, members=members), X, Y, optimizer=optimizer, weight=WEIGHT)
        plan, given = plan_of(ready, "rows")
        assert members or any(len(unit.nodes) > 1 for unit in plan.units)
        Machine(plan, given).run()
        eager, _ = ready.steps.step(ready.carry, ready.data, ready.numbers, compile=False)
        found, _ = ready.steps.step(ready.carry, ready.data, ready.numbers)
        np.testing.assert_allclose(found.params, eager.params, atol=2e-4)


def test_what_is_written_lies_where_it_is_wanted():
    """Gradients in the flat vector, parameters and the optimizer's state over the old: nothing is copied."""
    net = Network(mlp([5, 16, 16, 2]))
    plan, given = plan_of(prepared(net, X, Y, optimizer=Adam()), "rows")
    assert [target for node, target in plan.copies if node.size > 1] == []
    parts = [home.where[0] for home in plan.home.values() if home.kind == "part"]
    assert len(parts) == 6
    assert len(set(parts)) == 1
    vectors = {name for name, array in given.items() if name.startswith("carry.") and array.size > 1}
    assert {home.where for home in plan.home.values() if home.kind == "input"} >= vectors
    assert len(vectors) == 3


@pytest.mark.parametrize("members", [None, 2])
def test_the_memory_of_a_step_of_100_512_512_10(members):
    """At most the model's four vectors, the epoch's safety copy and 2.5 batches of activations."""
    widths, rows, lanes = [100, 512, 512, 10], 1024, members or 1
    net = Network(mlp(widths, output="softmax"), members=members)
    x, y = np.zeros((rows, 100), np.float32), np.zeros(rows, int)
    for role in ("rows", "all"):
        ready = prepared(net, x, y, "cross_entropy", Adam())
        plan, _ = plan_of(ready, role)
        vector = lanes * net.n_params * 4
        carry = sum(array.nbytes for array in (ready.carry.params, *ready.carry.memory))
        activations = lanes * sum(widths) * rows * 4
        needed = plan.memory + carry + carry  # what the programs write into, and the safety copy
        assert needed <= 4 * vector + carry + 2.5 * activations


def test_every_kind_of_plan_of_a_deep_step():
    for kind in KINDS:
        for role in ("step", "rows", "all"):
            for members in (None, 3):
                check(prepared(Network(DEEP, members=members), X, Y, optimizer=Adam(), weight=WEIGHT), role, kind)
