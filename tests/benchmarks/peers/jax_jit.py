"""JAX: functions by hand over a list of (weight, bias), jitted a step at a time and a whole epoch at a time.

Every step gathers its rows inside the jitted function, by an order drawn on the host. What a function replaces is
donated to it. A scan covers an epoch; on W1, whose epochs are one step, it covers `EPOCHS` of them, whose losses are
read together, which is faster than a loop that looks at each epoch could be. A last batch with fewer rows, which no
scan takes, follows it in the same function.

Many networks are trained one after another by that function, compiled once, or all at once by its `jax.vmap`.

On a GPU it is told to compute the products of float32 numbers in float32, as xpnn does; by itself it takes TF32.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.peers import CannotRun, Run, of_all
from tests.benchmarks.workloads import Workload

EPOCHS = 100
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def step(work: Workload, place: str) -> Run:
    """One call a step."""
    if work.optimizer is None:
        raise CannotRun("a call of the jitted network stands under the scan, which has no other inference")
    if work.members > 1:
        raise CannotRun("many networks stand under the scan")
    jax = library(work, place)
    x, y = _data(work)
    update = jax.jit(_update(work), donate_argnums=0)

    def run(n: int) -> tuple[float, list[float]]:
        state, rng, history = _state(work, work.initial()), np.random.default_rng(0), []
        start = perf_counter()
        for _ in range(n):
            losses, (whole, rest) = [], _order(work, rng)
            for rows in [None] if whole is None else [*whole, *([] if rest is None else [rest])]:
                state, loss = update(state, x, y, rows)
                losses.append(loss)
            history.append(float(jax.numpy.stack(losses).mean() if len(losses) > 1 else losses[0]))
        return perf_counter() - start, history

    return run


def scan(work: Workload, place: str) -> Run:
    """One call an epoch, or `EPOCHS` where an epoch is one step; at inference one call of the network."""
    jax = library(work, place)
    x, y = _data(work)
    if work.optimizer is None:
        return _inference(work, x, place)
    call = jax.jit(_epoch(work), donate_argnums=0)

    def run(n: int) -> tuple[float, list[float]]:
        found = []
        for member in range(work.lone):
            state, rng = _state(work, work.initial(member)), np.random.default_rng(work.seed(member))
            found.append(_epochs(work, call, state, x, y, lambda rng=rng: _order(work, rng), n))
        return of_all(work, sum(seconds for seconds, _ in found), (losses for _, losses in found))

    return run


def vmap(work: Workload, place: str) -> Run:
    """One call an epoch of all networks; each gathers its own rows, or all the same."""
    jax = library(work, place)
    if work.members == 1:
        raise CannotRun("one network needs no vmap")
    x, y = _data(work)
    call = jax.jit(jax.vmap(_epoch(work), in_axes=(0, None, None, None if work.shared else 0)), donate_argnums=0)

    def run(n: int) -> tuple[float, list[float]]:
        rngs = [np.random.default_rng(work.seed(member)) for member in range(1 if work.shared else work.members)]
        state = _state(work, work.stacked(), work.members)

        def order() -> Any:
            orders = [_order(work, rng) for rng in rngs]
            if work.shared:
                return orders[0]
            return tuple(None if parts[0] is None else np.stack(parts) for parts in zip(*orders, strict=True))

        return _epochs(work, call, state, x, y, order, n)

    return run


def _epoch(work: Workload) -> Any:
    """(state, x, y, order) -> (state, losses): the steps of an epoch, or as many epochs of one step."""
    import jax
    import jax.numpy as jnp

    update = _update(work)

    def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
        whole, rest = order
        length = EPOCHS if whole is None else None
        state, losses = jax.lax.scan(lambda state, rows: update(state, x, y, rows), state, whole, length)
        if rest is not None:
            state, last = update(state, x, y, rest)
            losses = jnp.append(losses, last)
        return state, losses

    return epoch


def _epochs(work: Workload, call: Any, state: Any, x: Any, y: Any, order: Any, n: int) -> tuple[float, list[float]]:
    """The seconds that n epochs take, and their losses, by the mean over the networks."""
    history: list[float] = []
    calls = n if work.steps > 1 else -(-n // EPOCHS)
    start = perf_counter()
    for _ in range(calls):
        state, losses = call(state, x, y, order())
        losses = np.asarray(losses)
        losses = losses.mean(axis=0) if losses.ndim > 1 else losses
        history += [float(losses.mean())] if work.steps > 1 else losses.tolist()
    seconds = perf_counter() - start
    return seconds * n / len(history), history[:n]


def _inference(work: Workload, x: Any, place: str) -> Run:
    """On a GPU calls are handed over without waiting for those before, as the other peers' are."""
    import jax

    forward = jax.jit(lambda params, x: jax.nn.softmax(_logits(params, x)))
    params = _state(work, work.initial())[0]

    def run(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n):
            out = forward(params, x)
            if place == "cpu":
                out.block_until_ready()
        out.block_until_ready()
        return perf_counter() - start, np.asarray(out[0]).tolist()

    return run


def library(work: Workload, place: str) -> Any:
    """JAX, told the device and whether it may hold float64; raises RuntimeError where it does not take that device."""
    import jax

    jax.config.update("jax_platforms", place if place == "cpu" else f"{place},cpu")  # which Keras asks for too
    jax.config.update("jax_enable_x64", work.dtype == "float64")
    if place != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")
        try:
            found = jax.default_backend()
        except (RuntimeError, AssertionError) as error:
            raise RuntimeError(f"JAX finds no {place} here: {str(error) or 'for want of its plugin'}") from error
        if found == "cpu":
            raise RuntimeError(f"JAX finds no {place} here: it would compute on the processor")
    return jax


def _data(work: Workload) -> tuple[Any, Any]:
    import jax.numpy as jnp

    x, y = work.data()
    y = y.astype(np.int32) if work.output == "softmax" else y[:, None].astype(work.dtype)
    return jnp.asarray(x), jnp.asarray(y)


def _state(work: Workload, initial: Any, members: int | None = None) -> Any:
    """(params, first moments, second moments, t); SGD has params alone."""
    import jax
    import jax.numpy as jnp

    params = jax.tree.map(jnp.asarray, initial)
    if work.optimizer != "adam":
        return (params,)
    t = jnp.int32(0) if members is None else jnp.zeros(members, jnp.int32)
    return params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), t


def _order(work: Workload, rng: np.random.Generator) -> Any:
    """The rows of each step of an epoch, (steps, batch), and those of a shorter last one; None where there is none, or
    for a step that takes all rows as they are."""
    if work.steps == 1:
        return None, None
    order, whole = rng.permutation(work.rows).astype(np.int32), work.rows - work.rest
    return order[:whole].reshape(-1, work.batch), order[whole:] if work.rest else None


def _logits(params: Any, x: Any) -> Any:
    import jax

    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ params[-1][0] + params[-1][1]


def _loss(kind: str) -> Any:
    """(params, x, y) -> the mean loss."""
    import jax
    import jax.numpy as jnp

    def mean_squared_error(logits: Any, y: Any) -> Any:
        return (jax.nn.sigmoid(logits) - y) ** 2

    def binary_cross_entropy(logits: Any, y: Any) -> Any:
        return jax.nn.softplus(logits) - logits * y

    def softmax_cross_entropy(logits: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)

    chosen = {one.__name__: one for one in (mean_squared_error, binary_cross_entropy, softmax_cross_entropy)}[kind]
    return lambda params, x, y: jnp.mean(chosen(_logits(params, x), y))


def _update(work: Workload) -> Any:
    """(state, x, y, rows) -> (state, loss): the gather, the gradient and SGD or Adam."""
    import jax
    import jax.numpy as jnp

    gradient = jax.value_and_grad(_loss(work.loss))
    rate = work.learning_rate

    def update(state: Any, x: Any, y: Any, rows: Any) -> Any:
        if rows is not None:
            x, y = x[rows], y[rows]
        loss, grads = gradient(state[0], x, y)
        if work.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - rate * g, state[0], grads),), loss
        params, m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1.0 - BETA1) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1.0 - BETA2) * g * g, v, grads)
        first, second = 1.0 - BETA1**t, 1.0 - BETA2**t
        params = jax.tree.map(lambda p, m, v: p - rate * (m / first) / (jnp.sqrt(v / second) + EPS), params, m, v)
        return (params, m, v, t), loss

    return update
