"""The network: the one object with a state. It ties layers, a backend, parameters and the training state together.

Everything it computes is done by the pure functions of the layers, the loss and the optimizer; what it hands out is a
copy, and what it is handed is checked before anything of it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from xpnn import activations, batches, evaluation, inputs, sources
from xpnn._arguments import as_list, check_count
from xpnn.architecture import mlp, trunk
from xpnn.backend import on_device, resolve
from xpnn.callbacks import watchers
from xpnn.chosen import Chosen, is_list_of_data
from xpnn.history import History
from xpnn.inputs import Shapes
from xpnn.insight import Insight
from xpnn.layers import Array, Layer, Sequential
from xpnn.metrics import choose
from xpnn.own import merged, own
from xpnn.progress import joined
from xpnn.schedules import values
from xpnn.training import Asked, fit_epochs, plan

__all__ = ["Network", "mlp"]


@on_device
class Network(Insight):
    """A feed-forward network, or a stack of `members` independent networks of the same layers.

    Parameters
    ----------
    layers : layers in order (activations also by name), as `mlp` gives them.
    backend : where the arrays live: "numpy", "cupy", "cupy:1", "torch", "jax", "array-api-strict", "auto", an array
        namespace or a Backend.
    dtype : "float32" or "float64".
    seed : decides the initial weights, the order of rows and every dropout mask; None draws one. For a stack the
        members' seeds are seed, seed + 1, ..., or those of a list.
    members : None for one network, or how many are stacked; member k is the network that its seed alone would give.
    precision : None, or on CuPy "tf32" or "bfloat16" for products that a card computes faster and less exactly (see
        `xpnn.backend.resolve`).

    Raises
    ------
    ValueError where widths do not fit, naming the layer; BackendUnavailable where the backend is not usable.

    >>> net = Network(mlp([2, 3, 1], output="sigmoid"), seed=1)
    >>> print(net)
    Network on numpy, float32, seed 1
      0  Dense(2, 3)  -> 3  9 parameters
      1  ReLU()       -> 3
      2  Dense(3, 1)  -> 1  4 parameters
      3  Sigmoid()    -> 1
    13 parameters
    >>> net.predict([[0.0, 0.0]]).shape
    (1, 1)
    """

    def __init__(
        self,
        layers: Iterable[Any],
        backend: Any = "numpy",
        dtype: Any = None,
        seed: Any = 0,
        members: int | None = None,
        precision: str | None = None,
    ):
        layers = [layers] if isinstance(layers, Layer) else as_list("layers", layers)
        self.layer = Sequential(tuple(activations.get(one) if isinstance(one, str) else one for one in layers))
        sample = self.layer.input_shape
        if sample is None:
            raise ValueError(f"layers must say how wide x is, as Dense(2, 8) does, got {list(self.layer.layers)}")
        self.seeds, members = batches.member_seeds(seed, members)
        output, first = self.layer.output_shape(sample), f"{self.layer.layers[0]}, layer 0"
        if len(output) != 1:
            raise ValueError(f"the network ends in samples of shape {output}: put Flatten({output}) at its end")
        self.shapes = Shapes(sample, output, members, first, self.layer.categories)
        self.backend = resolve(backend, dtype, precision)
        self._begin()
        self._forget()

    @classmethod
    def stack(cls, networks: Sequence[Network]) -> Network:
        """Lone networks as the members of one stack, training state included, in memory of its own: `net[k]` reversed.

        They have the same layers and stand at the same optimizer and loss, but for numbers that members of a stack may
        own, such as learning rates; backend and dtype are those of the first.

        >>> stack = Network.stack([Network(mlp([2, 1]), seed=3), Network(mlp([2, 1]), seed=5)])
        >>> stack.seed, stack.n_params
        ([3, 5], 3)

        Raises
        ------
        ValueError where they cannot be stacked, naming what differs.
        """
        networks = as_list("networks", networks)
        if not networks or any(not isinstance(net, Network) or net.members is not None for net in networks):
            raise ValueError(f"networks must be at least one Network, each with members=None, got {networks}")
        first = networks[0]
        layer = merged([net.layer for net in networks], "layers")
        new = cls(layer.layers, first.backend, seed=[net.seeds[0] for net in networks])
        moved = [net if net.backend == first.backend else net.to(first.backend) for net in networks]
        new.progress = joined([net.progress for net in moved], xp=first.backend.xp)
        return new

    def predict(self, x: Any, batch_size: int | None = None, compile: bool = True) -> Array:
        """The network's output for `x` (n, features), as (n, outputs) or (members, n, outputs) on its own backend.

        A list with each member's own rows gives a list. `batch_size` bounds how many rows are computed at once; None
        takes all that are in memory. `compile=False` runs the layers as they are written.
        """
        if is_list_of_data(x, self.shapes):
            return self._predict_each(x, batch_size, compile)
        x = sources.features(x, self.shapes, self.backend)
        if batch_size is None and self.backend.owns(x):
            y = self._outputs(self.layer, self.progress.shown, x, compile)
        else:
            y = sources.output(self._forward(self.layer, compile), x, self.shapes, batch_size, backend=self.backend)
        return self.backend.copy(y) if y is x else y

    def _predict_each(self, x: Sequence[Any], batch_size: int | None, compile: bool) -> list[Array]:
        if len(x) != self.members:
            raise ValueError(f"x must be a list with one array for each of the {self.members} members, got {len(x)}")
        return [self._lane(k).predict(rows, batch_size, compile) for k, rows in enumerate(x)]

    def _forward(self, layer: Any, compile: bool) -> Callable[[Array], Array]:
        return partial(self._outputs, layer, self.progress.shown, compile=compile)

    def __call__(self, x: Any) -> Array:
        """`predict(x)`."""
        return self.predict(x)

    def apply(self, params: Sequence[Any], x: Array) -> Array:
        """The output as a pure function of parameters, as `net.params` has them, and x: for jax.grad, say, or a solver.

        Both must be the network's own arrays: nothing is moved. Raises TypeError, naming the argument, where not.
        """
        self.backend.check(x, "x")
        inputs.check_features(x, self.shapes, lead=True)
        return self.layer.forward(self._checked(params, self.backend.check), x, xp=self.backend.xp)[0]

    def outputs(self, x: Any) -> list[Array]:
        """x and then the output of every layer: the list that the tutorial calls `output`."""
        found = [self.backend.copy(inputs.features(x, self.shapes, self.backend, lead=True))]
        for layer, params in zip(self.layers, self._tree(self.progress.shown), strict=True):
            found.append(layer.forward(params, found[-1], xp=self.backend.xp)[0])
        return [found[0], *map(self.backend.copy, found[1:])]  # a Dropout's output is its input itself

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        loss: Any = None,
        metrics: Iterable[Any] | None = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        compile: bool = True,
        rows: Any = None,
    ) -> dict[str, Any]:
        """The loss and the metrics on (x, y), given as in `fit`: floats (arrays with one number a member for a stack).

        `loss=None` is the one that training used last, or the mean squared error; `metrics=None` is the accuracy
        where the outputs are classes, by the loss or by the last layer.

        >>> Network(mlp([1, 1], output="sigmoid")).evaluate([[0.0], [0.0]], [[0.0], [1.0]], loss="mse")
        {'loss': 0.25, 'accuracy': 0.5}
        """
        loss = self._loss_of(loss)
        chosen = choose(evaluation.usual_metrics(self.layer, loss) if metrics is None else metrics)
        data = sources.given(x, y, sample_weight, loss, self.shapes, self.backend, rows=rows)
        return self._measured(data, loss, chosen, batch_size, compile)

    def _measured(
        self, data: Any, loss: Any, chosen: Sequence[Any], batch_size: int | None, compile: bool = True
    ) -> dict[str, Any]:
        """The values as floats, or host arrays with one number a member."""
        if isinstance(data, Chosen) and not data.even:
            return self._measured_each(data, loss, chosen, batch_size, compile)
        forward, where = self._forward(trunk(self.layer, loss), compile), self.backend
        if held := getattr(loss, "held", {}):
            each = {name: np.asarray(values(name, value, range(1), self.members)) for name, value in held.items()}
            loss = loss.holding({name: where.asarray(value[0, ..., None, None]) for name, value in each.items()})
        found = sources.evaluate(self.layer, forward, data, loss, chosen, self.shapes, batch_size, backend=where)
        host = {name: self.backend.to_host(value).astype(float) for name, value in found.items()}
        return host if self.members is not None else {name: float(value) for name, value in host.items()}

    def _measured_each(
        self, data: Chosen, loss: Any, chosen: Sequence[Any], batch_size: int | None, compile: bool
    ) -> dict[str, Any]:
        """The values of members that have unequally many rows."""
        found = []
        for k in range(len(self.seeds)):
            mine = data.of(k, len(self.shapes.sample), self.backend)
            found.append(self._lane(k)._measured(mine, own(loss, k), chosen, batch_size, compile))
        return {name: np.asarray([one[name] for one in found]) for name in found[0]}

    def value_and_grad(self, x: Any, y: Any, loss: Any = None, sample_weight: Any = None) -> tuple[Array, list[Any]]:
        """The loss on (x, y) and its gradient, a dict of arrays for each layer: the learned entries of `params`.

        Exactly what the next `step` would use: layers are in training mode, dropout with that step's mask. Nothing
        changes. With x (n, 1, features) and y (n, 1, outputs) a lone network gives each sample's own value and
        gradient, with a leading n (where no layer couples samples or draws bits: one mask would serve all).
        """
        loss = self._loss_of(loss)
        steps, numbers = self._prepare(loss, self._optimizer_of(None))
        data, xp = inputs.data(x, y, sample_weight, loss, self.shapes, self.backend, lead=True), self.backend.xp
        now = self.progress
        numbers = numbers.epoch(now)[0]
        value, grads, _ = steps.program.value_and_grad(now.carry.params, now.carry.state, data, numbers, xp=xp)
        return value, self.layouts[0].unflatten(grads, xp=xp)

    def vjp(self, x: Any) -> tuple[Array, Callable[[Array], tuple[Array, list[Any]]]]:
        """The output y at inference, and the function `dy -> (dx, grads)` that pulls a gradient back to the input.

        For forces, sensitivities and solvers: with y an energy, dx at dy = 1 is dE/dx. `dy` must be one of the
        network's own arrays, of the shape of y.

        >>> import numpy as np
        >>> y, pullback = Network(mlp([2, 1]), seed=0).vjp([[1.0, 2.0]])
        >>> dx, grads = pullback(np.ones_like(y))
        >>> grads[0]["weight"]
        array([[1.],
               [2.]], dtype=float32)
        """
        x = self.backend.copy(inputs.features(x, self.shapes, self.backend, lead=True))
        xp, tree = self.backend.xp, self.params
        y, cache = self.layer.forward(tree, x, xp=xp)
        shape = tuple(y.shape)

        def pullback(dy: Array) -> tuple[Array, list[Any]]:
            if tuple(self.backend.check(dy, "dy").shape) != shape:
                raise ValueError(f"dy must have the shape of y, {shape}, got {tuple(dy.shape)}")
            with self.backend.current():
                return self.layer.backward(tree, cache, dy, xp=xp)

        return self.backend.copy(y), pullback

    def step(
        self,
        x: Any,
        y: Any,
        loss: Any = None,
        optimizer: Any = None,
        sample_weight: Any = None,
        compile: bool | str = True,
    ) -> Array:
        """One update on (x, y) as one batch; the loss before it, still on the device (the members' shape).

        `optimizer`, `loss` and `compile` are as in `fit`. Values are not checked: that would wait for the device.
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        steps, numbers = self._prepare(loss, optimizer)
        data = inputs.data(x, y, sample_weight, loss, self.shapes, self.backend)
        now = self.progress.started(loss, optimizer, xp=self.backend.xp)
        numbers = numbers.epoch(now)[0]
        self._outputs.release()
        carry, value = steps.step(now.carry, data, numbers, compile)
        self.progress = now.advanced(carry, 0, 1)
        return value

    def fit(
        self,
        x: Any,
        y: Any = None,
        loss: Any = None,
        optimizer: Any = None,
        epochs: int = 100,
        batch_size: int | None = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        metrics: Iterable[Any] = (),
        callbacks: Iterable[Any] = (),
        shuffle: bool | str = True,
        verbose: int = 0,
        compile: bool | str = True,
        rows: Any = None,
        resume: Any = None,
    ) -> History:
        """Train for `epochs` further epochs and return what was recorded after each.

        Parameters
        ----------
        x, y : rows (n, features) and their targets: (n, outputs), (n,) for one output, or class indices (n,). A
            numpy.memmap, h5py.Dataset, zarr.Array or the like is read in blocks as it is needed, never whole. x alone
            may be an iterable of batches, (x, y) or (x, y, sample_weight). For a stack they may also be lists with each
            member's own, unequally many, or have an axis of members in front.
        loss : by name or as a callable; None is the last one used, at first the mean squared error.
        optimizer : by name or as an object; None or one equal to the last goes on where that stopped, at first
            Adam(0.001). Another one starts with new state.
        epochs : how many epochs more.
        batch_size : rows an update; None takes the whole set.
        validation_data : (x, y) or (x, y, sample_weight) to evaluate after each epoch, recorded as val_loss; or an
            iterable of batches that is no list.
        validation_split : share of the rows to hold out as validation data, chosen by the seed, by class where y is
            classes.
        sample_weight : (n,) weight of each row in the loss.
        class_weight : {class: weight} or "balanced", multiplied into sample_weight, also of what a split holds out.
        metrics : by name or as callables, evaluated after each epoch on (x, y) and on the validation data.
        callbacks : Callback objects or functions (net, epoch, logs).
        shuffle : draw a new order of rows each epoch, by the seed. "shared" gives all members of a stack the first
            one's order, which is faster where they share x.
        verbose : 0 for silence, 1 for a progress bar, 2 for a line an epoch.
        compile : False runs the steps as the layers are written, to look into them; so does the environment variable
            XPNN_COMPILE=0 everywhere. "jit", or XPNN_COMPILE=jit, has numba compile loops for NumPy, which takes some
            seconds and makes steps of small networks several times as fast (needs `pip install xpnn[jit]`). A compiled
            step is a pure function: what a layer or a loss reads elsewhere than in its arguments is read once.
        rows : for a stack, which rows each member is trained on: row numbers, which may repeat, or a mask for each, of
            unequal numbers too (the training rows of folds, bootstraps). Nothing is copied or padded for it: member k
            is the lone network with its seed, trained on x[rows[k]].
        resume : a folder of `callbacks.ModelCheckpoint`, or one of its files: training goes on from the latest, and
            `epochs` are then those in all. It ends, on NumPy to the bit, where it would have without a break, for the
            same arguments and data. A folder without any begins at the beginning.

        Raises
        ------
        ValueError, TypeError for unusable input, before anything has changed.
        NonFiniteLoss where the loss or a parameter became NaN or infinite. That epoch is undone, as it is where a
        callback raises or Ctrl-C is pressed; `net.history` keeps what was recorded. In a stack such a member is stopped
        and the others are trained on: a RuntimeWarning at the end, and `history.stop_reason`, name it.

        >>> net = Network(mlp([1, 1]), seed=0)
        >>> from xpnn import SGD
        >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], optimizer=SGD(0.5), epochs=200)
        >>> net.predict([[2.0]]).round(2)
        array([[5.]], dtype=float32)
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        check_count("epochs", epochs, low=0)
        steps, numbers = self._prepare(loss, optimizer)
        held = (validation_data, validation_split)
        asked = Asked(epochs, batch_size, *held, sample_weight, class_weight, metrics, shuffle, compile, rows, resume)
        self._outputs.release()
        ready = plan(self, x, y, steps, numbers, asked, watchers(callbacks, verbose))
        return fit_epochs(self, ready, epochs)
