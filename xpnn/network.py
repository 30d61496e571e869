"""The network: the one object with a state. It ties layers, a backend, parameters and the training state together.

Everything it computes is done by the pure functions of the layers, the loss and the optimizer; what it hands out is a
copy, and what it is handed is checked before anything of it changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from xpnn import activations, batches, evaluation, inputs, losses, optimizers, parameters, sources
from xpnn._arguments import AT_LEAST_ZERO, as_list, check_count, hyper_parameter
from xpnn.architecture import mlp, trunk
from xpnn.backend import Backend, on_device, resolve
from xpnn.callbacks import watchers
from xpnn.history import History
from xpnn.inputs import Shapes
from xpnn.layers import Array, Layer, Sequential
from xpnn.metrics import choose
from xpnn.parameters import merge
from xpnn.program import Carry, Numbers, Program, Progress, initial
from xpnn.schedules import values
from xpnn.summary import Summary, summary, table
from xpnn.training import Asked, fit_epochs, plan

__all__ = ["Network", "mlp"]


@on_device
class Network:
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
    ):
        layers = [layers] if isinstance(layers, Layer) else as_list("layers", layers)
        self.layer = Sequential(tuple(activations.get(one) if isinstance(one, str) else one for one in layers))
        sample = self.layer.input_shape
        if sample is None:
            raise ValueError(f"no layer says how many features the network takes: {list(self.layer.layers)}")
        self.seeds, members = batches.member_seeds(seed, members)
        output, first = self.layer.output_shape(sample), f"{self.layer.layers[0]}, layer 0"
        if len(output) != 1:
            raise ValueError(f"the network ends in samples of shape {output}: put Flatten({output}) at its end")
        self.shapes = Shapes(sample, output, members, first, self.layer.categories)
        self.backend = resolve(backend, dtype)
        self._begin()

    def _begin(self) -> None:
        """Initial parameters and layer state from the seeds, and no training state."""
        self.layouts, carry = initial(self.layer, self.seeds, self.members, self.backend)
        self.progress = Progress(carry)
        self._prepared: Any = None
        self.history = History()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return self.layer.layers

    @property
    def members(self) -> int | None:
        """How many networks are stacked; None for one."""
        return self.shapes.members

    @property
    def seed(self) -> Any:
        """The seed; the list of seeds of a stack."""
        return self.seeds[0] if self.members is None else list(self.seeds)

    @property
    def epoch(self) -> int:
        """How many epochs `fit` has finished."""
        return self.progress.epoch

    @property
    def n_params(self) -> int:
        """How many learned numbers a member has."""
        return self.layouts[0].size

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next update, a number or one a member; None before training.

        One that is assigned, a schedule too, stands in the place of the optimizer's own until another optimizer starts
        or None is assigned.
        """
        now = self.progress
        rate = getattr(now.optimizer, "learning_rate", None) if now.learning_rate is None else now.learning_rate
        return rate(now.step - now.first) if callable(rate) else rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        rate = None if rate is None else hyper_parameter("learning_rate", rate, **AT_LEAST_ZERO)
        if rate is not None:
            values("learning_rate", rate, range(1), self.members)  # as many as there are members
        self.progress = self.progress._replace(learning_rate=rate)

    @property
    def updates(self) -> int:
        """How many updates `fit` and `step` have made."""
        return self.progress.step

    def __repr__(self) -> str:
        return table(self)

    def summary(self) -> Summary:
        """What `print(net)` shows, with the memory that parameters and layer state take and the training so far."""
        return summary(self)

    @property
    def params(self) -> list[Any]:
        """The parameters and state of each layer, a dict of arrays each; a snapshot. Assigning checks, then writes."""
        params, state, _ = self.progress.shown
        return self._tree(Carry(self.backend.copy(params), self.backend.copy(state), None))

    @params.setter
    def params(self, values: Sequence[Any]) -> None:
        checked, xp, carry = self._checked(values, self.backend.asarray), self.backend.xp, self.progress.carry
        with self.backend.current():
            vectors = [
                self.backend.copy(layout.flatten(checked, xp=xp) if layout.size else vector)
                for layout, vector in zip(self.layouts, carry[:2], strict=True)
            ]
            self.progress = self.progress.replaced(*vectors)

    def _checked(self, values: Any, convert: Callable[[Any, str], Array]) -> Any:
        lead = () if self.members is None else (self.members,)
        shapes = {e.label: (*lead, *e.shape) for layout in self.layouts for e in layout.entries}
        return parameters.checked(values, self._tree(self.progress.carry), shapes, convert)

    @property
    def weights(self) -> list[Array]:
        """The `weight` of every layer that has one, the tutorial's W; copies."""
        return self._named("weight")

    @property
    def biases(self) -> list[Array]:
        """The `bias` of every layer that has one, the tutorial's b; copies."""
        return self._named("bias")

    def _named(self, name: str) -> list[Array]:
        found = self.layouts[0].pairs(self._tree(self.progress.shown))
        return [self.backend.copy(array) for entry, array in found if entry.name == name]

    def _tree(self, carry: Carry) -> list[Any]:
        pairs = zip(self.layouts, carry[:2], strict=True)
        return merge(*(layout.unflatten(vector, xp=self.backend.xp) for layout, vector in pairs))

    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """The network's output for `x` (n, features), as (n, outputs) or (members, n, outputs) on its own backend.

        `batch_size` bounds how many rows are computed at once; None takes all that are in memory.
        """
        x = sources.features(x, self.shapes, self.backend)
        tree = self._tree(self.progress.shown)
        y = sources.output(self.layer, tree, x, self.shapes, batch_size, backend=self.backend)
        return self.backend.copy(y) if y is x else y

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
    ) -> dict[str, Any]:
        """The loss and the metrics on (x, y), given as in `fit`: floats (arrays with one number a member for a stack).

        `loss=None` is the one that training used last, or the mean squared error; `metrics=None` is the accuracy
        where the outputs are classes, by the loss or by the last layer.

        >>> Network(mlp([1, 1], output="sigmoid")).evaluate([[0.0], [0.0]], [[0.0], [1.0]], loss="mse")
        {'loss': 0.25, 'accuracy': 0.5}
        """
        loss = self._loss_of(loss)
        chosen = choose(evaluation.usual_metrics(self.layer, loss) if metrics is None else metrics)
        data = sources.given(x, y, sample_weight, loss, self.shapes, self.backend)
        return self.measured(data, loss, chosen, batch_size)

    def measured(self, data: Any, loss: Any, chosen: Sequence[Any], batch_size: int | None) -> dict[str, Any]:
        """The values as floats, or host arrays with one number a member."""
        tree, where = self._tree(self.progress.shown), self.backend
        found = sources.evaluate(self.layer, tree, data, loss, chosen, self.shapes, batch_size, backend=where)
        host = {name: self.backend.to_host(value).astype(float) for name, value in found.items()}
        return host if self.members is not None else {name: float(value) for name, value in host.items()}

    def value_and_grad(self, x: Any, y: Any, loss: Any = None, sample_weight: Any = None) -> tuple[Array, list[Any]]:
        """The loss on (x, y) and its gradient, a dict of arrays for each layer: the learned entries of `params`.

        Exactly what the next `step` would use: layers are in training mode, dropout with that step's mask. Nothing
        changes. With x (n, 1, features) and y (n, 1, outputs) a lone network gives each sample's own value and
        gradient, with a leading n (where no layer couples samples or draws bits: one mask would serve all).
        """
        loss = self._loss_of(loss)
        program, numbers = self._prepare(loss, self._optimizer_of(None))
        data, xp = inputs.data(x, y, sample_weight, loss, self.shapes, self.backend, lead=True), self.backend.xp
        now = self.progress
        numbers = numbers.epoch(now.epoch, range(now.step, now.step + 1), now.first)[0]
        value, grads, _ = program.value_and_grad(now.carry.params, now.carry.state, data, numbers, xp=xp)
        return value, self.layouts[0].unflatten(grads, xp=xp)

    def vjp(self, x: Any) -> tuple[Array, Callable[[Array], tuple[Array, list[Any]]]]:
        """The output y at inference, and the function `dy -> (dx, grads)` that pulls a gradient back to the input.

        For forces, sensitivities and solvers: with y an energy, dx at dy = 1 is dE/dx. `dy` must be one of the
        network's own arrays, of the shape of y.

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

    def step(self, x: Any, y: Any, loss: Any = None, optimizer: Any = None, sample_weight: Any = None) -> Array:
        """One update on (x, y) as one batch; the loss before it, still on the device (the members' shape).

        `optimizer` and `loss` are as in `fit`. Values are not checked: that would wait for the device.
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        program, numbers = self._prepare(loss, optimizer)
        data = inputs.data(x, y, sample_weight, loss, self.shapes, self.backend)
        now = self.progress.started(loss, optimizer, xp=self.backend.xp)
        numbers = numbers.epoch(now.epoch, range(now.step, now.step + 1), now.first, now.learning_rate)[0]
        carry, value = program.step(now.carry, data, numbers, xp=self.backend.xp)
        self.progress = now._replace(carry=carry, step=now.step + 1)
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
        shuffle: bool = True,
        verbose: int = 0,
    ) -> History:
        """Train for `epochs` further epochs and return what was recorded after each.

        Parameters
        ----------
        x, y : rows (n, features) and their targets: (n, outputs), (n,) for one output, or class indices (n,). A
            numpy.memmap, h5py.Dataset, zarr.Array or the like is read in blocks as it is needed, never whole. x alone
            may be an iterable of batches, (x, y) or (x, y, sample_weight).
        loss : by name or as a callable; None is the last one used, at first the mean squared error.
        optimizer : by name or as an object; None or one equal to the last goes on where that stopped, at first
            Adam(0.001). Another one starts with new state.
        epochs : how many epochs more.
        batch_size : rows an update; None takes the whole set.
        validation_data : (x, y) or (x, y, sample_weight) to evaluate after each epoch, recorded as val_loss.
        validation_split : share of the rows to hold out as validation data, chosen by the seed, by class where y is
            classes.
        sample_weight : (n,) weight of each row in the loss.
        class_weight : {class: weight} or "balanced", multiplied into sample_weight, also of what a split holds out.
        metrics : by name or as callables, evaluated after each epoch on (x, y) and on the validation data.
        callbacks : Callback objects or functions (net, epoch, logs).
        shuffle : draw a new order of rows each epoch, by the seed.
        verbose : 0 for silence, 1 for a progress bar, 2 for a line an epoch.

        Raises
        ------
        ValueError, TypeError for unusable input, before anything has changed.
        NonFiniteLoss where the loss or a parameter became NaN or infinite. That epoch is undone, as it is where a
        callback raises or Ctrl-C is pressed; `net.history` keeps what was recorded.

        >>> net = Network(mlp([1, 1]), seed=0)
        >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], optimizer=optimizers.SGD(0.5), epochs=200)
        >>> net.predict([[2.0]]).round(2)
        array([[5.]], dtype=float32)
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        check_count("epochs", epochs, low=0)
        program, numbers = self._prepare(loss, optimizer)
        held = (validation_data, validation_split)
        asked = Asked(epochs, batch_size, *held, sample_weight, class_weight, metrics, shuffle)
        ready = plan(self, x, y, program, numbers, asked, watchers(callbacks, verbose))
        return fit_epochs(self, ready, epochs)

    def reset(self, seed: Any = None) -> None:
        """Start afresh: initial parameters from the seed (another one where given), no training state."""
        if seed is not None:
            self.seeds, _ = batches.member_seeds(seed, self.members, lone=self.members is None)
        self._begin()

    def to(self, backend: Any, dtype: Any = None) -> Network:
        """The same network, training state included, on another backend; this one stays as it is."""
        own = None if isinstance(backend, Backend) else self.backend.dtype
        new, backend = object.__new__(type(self)), resolve(backend, own if dtype is None else dtype)
        new.__dict__.update(self.__dict__)
        new.backend, new.history, new._prepared = backend, copy.deepcopy(self.history), None
        new.progress = self.progress.map(lambda array: backend.copy(backend.asarray(array)))
        return new

    def copy(self) -> Network:
        """The same network, training state included, in memory of its own."""
        return self.to(self.backend)

    def __getstate__(self) -> dict[str, Any]:
        progress = self.progress.map(lambda array: np.array(self.backend.to_host(array)))
        return self.__dict__ | {"progress": progress, "_prepared": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        progress = state["progress"].map(lambda array: state["backend"].copy(state["backend"].asarray(array)))
        self.__dict__.update(state | {"progress": progress})

    def _loss_of(self, loss: Any) -> Any:
        loss = (self.progress.loss or losses.mean_squared_error) if loss is None else losses.get(loss)
        trunk(self.layer, loss)  # refuses a last layer that does not go with the loss
        return loss

    def _optimizer_of(self, optimizer: Any) -> Any:
        return (self.progress.optimizer or optimizers.Adam()) if optimizer is None else optimizers.get(optimizer)

    def _prepare(self, loss: Any, optimizer: Any) -> tuple[Program, Numbers]:
        """The structure of a step and its numbers; those made last where loss and optimizer are the same."""
        if not self.n_params:
            raise ValueError("the network has no learned parameters: there is nothing to train")
        prepared = self._prepared  # once: another thread may put its own there at any moment
        if prepared is None or (prepared[0].loss, prepared[0].optimizer) != (loss, optimizer):
            program = Program(trunk(self.layer, loss), *self.layouts, loss, optimizer)
            prepared = self._prepared = program, Numbers(program, self.seeds, self.members, self.backend)
        return prepared
