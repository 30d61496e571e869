"""The network: the one object with a state. It ties layers, a backend, parameters and the training state together.

Everything it computes is done by the pure functions of the layers, the loss and the optimizer; what it hands out is a
copy, and what it is handed is checked before anything of it changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from xpnn import activations, batches, callbacks, inputs, losses, metrics, optimizers
from xpnn._arguments import check_count, check_number
from xpnn.activations import Activation
from xpnn.backend import Backend, resolve
from xpnn.inputs import Data, Shapes
from xpnn.layers import BatchNorm, Dense, Dropout, Layer, Sequential, Step, walk
from xpnn.parameters import Layout, merge
from xpnn.training import Carry, History, NonFiniteLoss, Numbers, Program, explain_non_finite, run_epoch

Array = Any

EVALUATION_ROWS = 8192
"""Rows that validation within `fit` sends through the network at once, so that memory stays bounded."""


def mlp(
    widths: Sequence[int],
    activation: Any = "relu",
    output: Any = None,
    *,
    dropout: float = 0.0,
    norm: str | None = None,
    weight_init: Any = "glorot_uniform",
    bias_init: Any = "zeros",
) -> list[Layer]:
    """The layers of a multilayer perceptron as a list, to read or edit.

    Parameters
    ----------
    widths : the number of features, of each hidden layer's neurons, and of outputs: [2, 4, 8, 1].
    activation : one for all hidden layers, or a list with one for each; a list with one more names the output's too.
    output : the last layer's activation; None is "identity" (or the last of the `activation` list).
    dropout : rate of a Dropout after every hidden layer; 0 leaves it out.
    norm : "batch" puts a BatchNorm before every hidden activation, in place of the bias.
    weight_init, bias_init : initializers of every Dense layer.

    Raises
    ------
    ValueError for fewer than two widths, a list of activations of another length, or an unknown name.

    >>> mlp([2, 4, 1], "tanh", "sigmoid")
    [Dense(2, 4), Tanh(), Dense(4, 1), Sigmoid()]
    """
    widths = list(widths)
    if len(widths) < 2:
        raise ValueError(f"widths must name at least the inputs and the outputs, got {widths}")
    hidden = len(widths) - 2
    if isinstance(activation, str | Activation):
        chosen = [activation] * hidden
    else:
        chosen = list(activation)
        if len(chosen) == hidden + 1 and output is None:
            output = chosen.pop()
        if len(chosen) != hidden:
            raise ValueError(f"activation must be one, or one for each of the {hidden} hidden layers, got {activation!r}")
    if norm not in (None, "batch"):
        raise ValueError(f"norm must be None or 'batch', got {norm!r}")
    check_number("dropout", dropout, low=0.0, high=1.0, open_high=True)
    starts = {"weight_init": weight_init, "bias_init": bias_init}
    layers: list[Layer] = []
    for n_in, n_out, name in zip(widths[:-2], widths[1:-1], chosen, strict=True):
        layers += [Dense(n_in, n_out, bias=norm is None, **starts)]
        layers += [BatchNorm(n_out)] if norm == "batch" else []
        layers += [activations.get(name)]
        layers += [Dropout(dropout)] if dropout else []
    layers.append(Dense(widths[-2], widths[-1], **starts))
    last = activations.get("identity" if output is None else output)
    return layers if last == activations.identity else [*layers, last]


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
      0  Dense(2, 3)  -> 3       9 parameters
      1  ReLU()       -> 3
      2  Dense(3, 1)  -> 1       4 parameters
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
        layers = (layers,) if isinstance(layers, Layer) else layers
        self.layer = Sequential(tuple(activations.get(one) if isinstance(one, str) else one for one in layers))
        sample = self.layer.input_shape
        if sample is None:
            raise ValueError(f"no layer says how many features the network takes: {list(self.layer.layers)}")
        self.seeds = _seeds(seed, members)
        stack = len(self.seeds) if members is not None or isinstance(seed, Sequence) else None
        self._shapes = Shapes(sample, self.layer.output_shape(sample), stack, f"{self.layer.layers[0]}, layer 0")
        self.backend = resolve(backend, dtype)
        self.history = History()
        self._begin()

    def _begin(self) -> None:
        """Initial parameters and layer state from the seeds, and no training state."""
        generators = [batches.generator(seed, batches.INITIAL) for seed in self.seeds]
        learned = [self.layer.init(rng) for rng in generators]
        state = self.layer.init_state()
        self._learned, self._state = Layout(learned[0]), Layout(state)
        one = np.zeros(0) if not self._state.size else self._state.flatten(state, xp=np)
        rows = [self._learned.flatten(tree, xp=np) if self._learned.size else np.zeros(0) for tree in learned]
        params, states = np.stack(rows), np.stack([one] * len(rows))
        if self.members is None:
            params, states = params[0], states[0]
        self._carry = Carry(self.backend.copy(self.backend.asarray(params)), self.backend.asarray(states), None)
        self._optimizer: Any = None
        self._loss: Any = None
        self._epoch = self._step = self._first = 0

    # What it is

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return self.layer.layers

    @property
    def members(self) -> int | None:
        """How many networks are stacked; None for one."""
        return self._shapes.members

    @property
    def seed(self) -> Any:
        """The seed; the list of seeds of a stack."""
        return self.seeds[0] if self.members is None else list(self.seeds)

    @property
    def epoch(self) -> int:
        """How many epochs `fit` has finished."""
        return self._epoch

    @property
    def n_params(self) -> int:
        """How many learned numbers a member has."""
        return self._learned.size

    def __repr__(self) -> str:
        shape, rows = self._shapes.sample, []
        for index, layer in enumerate(self.layers):
            shape = layer.output_shape(shape)
            count = sum(entry.stop - entry.start for entry in self._learned.entries if entry.path[0] == index)
            rows.append((str(index), str(layer), "-> " + " x ".join(map(str, shape)), f"{count:,} parameters" * bool(count)))
        wide = [max(len(row[column]) for row in rows) for column in range(4)]
        table = "\n".join(
            f"  {a:>{wide[0]}}  {b:<{wide[1]}}  {c:<{wide[2]}}  {d:>{max(16, wide[3])}}".rstrip() for a, b, c, d in rows
        )
        stack = f", {self.members} members" if self.members is not None else f", seed {self.seed}"
        each = " a member" if self.members is not None else ""
        head = f"Network on {self.backend.label}, {self.backend.dtype}{stack}"
        return f"{head}\n{table}\n{self.n_params:,} parameters{each}"

    def summary(self) -> Summary:
        """What `print(net)` shows, with the memory that parameters and layer state take and the training so far."""
        size = {"float32": 4, "float64": 8}[self.backend.dtype] * (self.members or 1)
        trained = f"{self._epoch} epochs, {self._step} updates" if self._step else "not trained"
        return Summary(
            f"{self!r}\n{self.n_params * size:,} bytes of parameters, {self._state.size * size:,} of layer state; {trained}"
            + (f" by {self._optimizer} on {self._loss}" if self._step else "")
        )

    # Parameters

    @property
    def params(self) -> list[Any]:
        """The parameters and the state of each layer, a dict of arrays each; a snapshot. Assigning checks, then writes."""
        copied = Carry(self.backend.copy(self._carry.params), self.backend.copy(self._carry.state), None)
        return self._tree(copied)

    @params.setter
    def params(self, values: Sequence[Any]) -> None:
        shape = {entry.label: entry.shape for layout in (self._learned, self._state) for entry in layout.entries}
        lead = () if self.members is None else (self.members,)
        checked = _checked_tree(values, self._tree(self._carry), shape, lead, self.backend, ())
        xp = self.backend.xp
        params = self._learned.flatten(checked, xp=xp) if self._learned.size else self._carry.params
        state = self._state.flatten(checked, xp=xp) if self._state.size else self._carry.state
        self._carry = Carry(self.backend.copy(params), self.backend.copy(state), self._carry.memory)

    @property
    def weights(self) -> list[Array]:
        """The `weight` of every layer that has one, the tutorial's W; copies."""
        return self._named("weight")

    @property
    def biases(self) -> list[Array]:
        """The `bias` of every layer that has one, the tutorial's b; copies."""
        return self._named("bias")

    def _named(self, name: str) -> list[Array]:
        xp = self.backend.xp
        tree = self._learned.unflatten(self._carry.params, xp=xp)
        return [self.backend.copy(array) for entry, array in self._learned.pairs(tree) if entry.name == name]

    def _tree(self, carry: Carry) -> list[Any]:
        xp = self.backend.xp
        return merge(self._learned.unflatten(carry.params, xp=xp), self._state.unflatten(carry.state, xp=xp))

    # Inference

    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """The network's output for `x` (n, features), as (n, outputs) or (members, n, outputs) on its own backend.

        `batch_size` bounds how many rows are computed at once; None takes all.
        """
        x = inputs.features(x, self._shapes, self.backend, lead=True)
        return self._output(self.layer, x, batch_size)

    def __call__(self, x: Any) -> Array:
        """`predict(x)`."""
        return self.predict(x)

    def apply(self, params: Sequence[Any], x: Array) -> Array:
        """The output as a pure function of parameters, as `net.params` has them, and x: for jax.grad, say, or a solver.

        Both must be the network's own arrays: nothing is moved. Raises TypeError, naming the argument, where not.
        """
        self.backend.check(x, "x")
        for entry, array in self._learned.pairs(params):
            self.backend.check(array, f"params {entry.label}")
        return self.layer.forward(params, x, xp=self.backend.xp)[0]

    def outputs(self, x: Any) -> list[Array]:
        """x and then the output of every layer: the list that the tutorial calls `output`."""
        found = [inputs.features(x, self._shapes, self.backend, lead=True)]
        for layer, params in zip(self.layers, self._tree(self._carry), strict=True):
            found.append(layer.forward(params, found[-1], xp=self.backend.xp)[0])
        return found

    def evaluate(
        self,
        x: Any,
        y: Any,
        loss: Any = None,
        metrics: Iterable[Any] = ("accuracy",),
        sample_weight: Any = None,
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """The loss and the metrics on (x, y), as floats (arrays with one number a member for a stack).

        `loss=None` is the one that training used last, or the mean squared error.

        >>> Network(mlp([1, 1]), seed=0).evaluate([[0.0], [0.0]], [[0.0], [1.0]], loss="mse")
        {'loss': 0.5, 'accuracy': 0.5}
        """
        loss = self._loss_of(loss)
        chosen = [_metric(one) for one in metrics]
        data = self._data(x, y, sample_weight, loss, lead=False)
        return self._evaluate(data, loss, chosen, batch_size)

    def _evaluate(self, data: Data, loss: Any, chosen: Sequence[Any], batch_size: int | None) -> dict[str, Any]:
        xp, trunk = self.backend.xp, _trunk(self.layer, loss)
        output = self._output(trunk, data.x, batch_size)
        logs = {"loss": loss(output, data.y, xp=xp, weight=data.weight)[0]}
        link = getattr(loss, "link", None)
        for metric in chosen:
            needs = getattr(metric, "needs", "scores")
            prediction, target = metrics.convert(output, data.y, needs, link, _ending(self.layer), xp=xp)
            logs[metrics.name_of(metric)] = metric(prediction, target, xp=xp, weight=data.weight)
        return {name: self._number(value) for name, value in logs.items()}

    def _output(self, layer: Sequential, x: Array, batch_size: int | None = None) -> Array:
        """The output of `layer` (the network, or without its last activation), some rows at a time."""
        xp, tree = self.backend.xp, self._tree(self._carry)
        axis = x.ndim - len(self._shapes.sample) - 1
        rows = x.shape[axis]
        if batch_size is None or batch_size >= rows:
            return layer.forward(tree, x, xp=xp)[0]
        check_count("batch_size", batch_size)
        before = (slice(None),) * axis
        parts = [
            layer.forward(tree, x[(*before, slice(start, min(start + batch_size, rows)), ...)], xp=xp)[0]
            for start in range(0, rows, batch_size)
        ]
        return xp.concat(parts, axis=-1 - len(self._shapes.output))

    # Gradients

    def value_and_grad(
        self, x: Any, y: Any, loss: Any = None, sample_weight: Any = None
    ) -> tuple[Array, list[Any]]:
        """The loss on (x, y) and its gradient: a dict of arrays for each layer, as `params`, the learned entries.

        Exactly what the next `step` would use: layers are in training mode, dropout with that step's mask. Nothing
        changes. With x (n, 1, features) and y (n, 1, outputs) a lone network gives each sample's own value and
        gradient, with a leading n.
        """
        loss = self._loss_of(loss)
        data = self._data(x, y, sample_weight, loss, lead=True)
        xp, program = self.backend.xp, self._program(loss, self._optimizer or optimizers.Adam())
        numbers = self._numbers(program).epoch(self._epoch, range(self._step, self._step + 1), self._first)[0]
        step = Step(numbers.layers, numbers.keys, xp)
        value, grads, _ = program.value_and_grad(self._carry.params, self._carry.state, data, step, xp=xp)
        return value, self._learned.unflatten(grads, xp=xp)

    def vjp(self, x: Any) -> tuple[Array, Callable[[Array], tuple[Array, list[Any]]]]:
        """The output y at inference and the function `dy -> (dx, grads)` that pulls a gradient back through the network.

        For forces, sensitivities and solvers: with y an energy, dx at dy = 1 is dE/dx. `dy` must be one of the
        network's own arrays, of the shape of y.

        >>> y, pullback = Network([Dense(2, 1)], seed=0).vjp([[1.0, 2.0]])
        >>> dx, grads = pullback(np.ones_like(y))
        >>> grads[0]["weight"]
        array([[1.],
               [2.]], dtype=float32)
        """
        x = inputs.features(x, self._shapes, self.backend, lead=True)
        xp, tree = self.backend.xp, self.params
        y, cache = self.layer.forward(tree, x, xp=xp)

        def pullback(dy: Array) -> tuple[Array, list[Any]]:
            self.backend.check(dy, "dy")
            if tuple(dy.shape) != tuple(y.shape):
                raise ValueError(f"dy must have the shape of y, {tuple(y.shape)}, got {tuple(dy.shape)}")
            return self.layer.backward(tree, cache, dy, xp=xp)

        return y, pullback

    # Training

    def step(self, x: Any, y: Any, loss: Any = None, optimizer: Any = None, sample_weight: Any = None) -> Array:
        """One update on (x, y) as one batch; the loss before it, still on the device (the members' shape).

        `optimizer` and `loss` as in `fit`. Values are not checked, which would wait for the device.
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        data = self._data(x, y, sample_weight, loss, lead=False)
        program, first, carry = self._start(loss, optimizer)
        numbers = self._numbers(program).epoch(self._epoch, range(self._step, self._step + 1), first)[0]
        with self.backend.quiet():
            carry, value = program.step(carry, data, numbers, xp=self.backend.xp)
        self._install(carry, loss, optimizer, first, self._epoch, self._step + 1)
        return value

    def fit(
        self,
        x: Any,
        y: Any,
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
        x, y : rows (n, features) and their targets: (n, outputs), (n,) for one output, or class indices (n,).
        loss : by name or as a callable; None is the last one used, at first the mean squared error.
        optimizer : by name or as an object; None or one equal to the last goes on where that stopped, at first
            Adam(0.001). Another one starts with new state.
        epochs : how many epochs more.
        batch_size : rows an update; None takes the whole set.
        validation_data : (x, y) or (x, y, sample_weight) to evaluate after each epoch, recorded as val_loss.
        validation_split : share of the rows to hold out as validation data, chosen by the seed, by class where y is
            classes.
        sample_weight : (n,) weight of each row in the loss.
        class_weight : {class: weight} or "balanced", multiplied into sample_weight.
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
        if batch_size is not None:
            check_count("batch_size", batch_size)
        check_number("validation_split", validation_split, low=0.0, high=1.0, open_high=True)
        chosen = [_metric(one) for one in metrics]
        watchers = _watchers(callbacks, verbose)
        train, held = self._training_data(
            x, y, loss, sample_weight, class_weight, validation_data, validation_split
        )
        if not self.n_params:
            raise ValueError("the network has no learned parameters: there is nothing to fit")
        program, first, carry = self._start(loss, optimizer)
        numbers = self._numbers(program)
        stacked, rank = self.members is not None, len(self._shapes.sample)
        source = batches.Batches(train, rank, batch_size, shuffle, self.seeds, stacked, self.backend)

        self._install(carry, loss, optimizer, first, self._epoch, self._step)
        self.history = history = History()
        try:
            for watcher in watchers:
                watcher.on_fit_begin(self, epochs)
            for _ in range(epochs):
                if self._fit_epoch(program, source, numbers, held, chosen, watchers, batch_size):
                    break
        finally:
            for watcher in watchers:
                watcher.on_fit_end(self, history)
        return history

    def _fit_epoch(self, program, source, numbers, held, chosen, watchers, batch_size) -> bool:
        """One epoch with its record and callbacks; whether one of them asks to stop. Undone where anything raises."""
        before = self._carry, self._epoch, self._step
        recorded = len(self.history.epoch)
        try:
            rows = numbers.epoch(self._epoch, range(self._step, self._step + source.steps), self._first)
            done = run_epoch(program, self._carry, source, rows, self._epoch)
            if not done.finite:
                what = explain_non_finite(program, self._carry, source, rows, self._epoch)
                raise NonFiniteLoss(f"training went non-finite in {what} The network is as it was before that epoch.")
            self._carry, self._epoch, self._step = done.carry, self._epoch + 1, self._step + source.steps
            logs = {"loss": self._number(done.loss)}
            if chosen:
                size = max(batch_size or EVALUATION_ROWS, EVALUATION_ROWS)
                trained = self._evaluate(source.data, program.loss, chosen, size)
                logs |= {name: value for name, value in trained.items() if name != "loss"}
            if held is not None:
                found = self._evaluate(held, program.loss, chosen, max(batch_size or EVALUATION_ROWS, EVALUATION_ROWS))
                logs |= {f"val_{name}": value for name, value in found.items()}
            self.history.append(self._epoch - 1, logs)
            return any([watcher.on_epoch_end(self, self._epoch - 1, logs) is True for watcher in watchers])
        except BaseException:
            self._carry, self._epoch, self._step = before
            if len(self.history.epoch) > recorded:
                self.history.pop()
            raise

    def reset(self, seed: Any = None) -> None:
        """Start afresh: initial parameters from the seed (another one where given), no training state."""
        if seed is not None:
            self.seeds = _seeds(seed, self.members)
        self.history = History()
        self._begin()

    # Elsewhere

    def to(self, backend: Any, dtype: Any = None) -> Network:
        """The same network, training state included, on another backend; this one stays as it is."""
        return self._moved(resolve(backend, dtype or self.backend.dtype))

    def copy(self) -> Network:
        """The same network in memory of its own."""
        return self._moved(self.backend)

    def _moved(self, backend: Backend) -> Network:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.backend, new.history = backend, copy.deepcopy(self.history)
        new._carry = _map_carry(lambda array: backend.copy(backend.asarray(array)), self._carry)
        return new

    def __getstate__(self) -> dict[str, Any]:
        host = _map_carry(lambda array: np.array(self.backend.to_host(array)), self._carry)
        return self.__dict__ | {"backend": (self.backend.label, self.backend.dtype), "_carry": host}

    def __setstate__(self, state: dict[str, Any]) -> None:
        backend = resolve(*state["backend"])
        carry = _map_carry(lambda array: backend.copy(backend.asarray(array)), state["_carry"])
        self.__dict__.update(state | {"backend": backend, "_carry": carry})

    # What the methods above share

    def _loss_of(self, loss: Any) -> Any:
        return (self._loss or losses.mean_squared_error) if loss is None else losses.get(loss)

    def _optimizer_of(self, optimizer: Any) -> Any:
        return (self._optimizer or optimizers.Adam()) if optimizer is None else optimizers.get(optimizer)

    def _program(self, loss: Any, optimizer: Any) -> Program:
        return Program(_trunk(self.layer, loss), self._learned, self._state, loss, optimizer)

    def _numbers(self, program: Program) -> Numbers:
        return Numbers(program, self.seeds, self.members, self.backend)

    def _start(self, loss: Any, optimizer: Any) -> tuple[Program, int, Carry]:
        """The program, the step at which the optimizer's state began, and what a step changes; nothing is kept yet."""
        program = self._program(loss, optimizer)
        if self._carry.memory is not None and optimizer == self._optimizer:
            return program, self._first, self._carry
        memory = optimizer.init(self._carry.params, xp=self.backend.xp)
        return program, self._step, self._carry._replace(memory=memory)

    def _install(self, carry: Carry, loss: Any, optimizer: Any, first: int, epoch: int, step: int) -> None:
        self._carry, self._loss, self._optimizer = carry, loss, optimizer
        self._first, self._epoch, self._step = first, epoch, step

    def _data(self, x: Any, y: Any, weight: Any, loss: Any, *, lead: bool, of: str = "") -> Data:
        _trunk(self.layer, loss)  # a loss that does not fit the last layer is the first thing to say
        x = inputs.features(x, self._shapes, self.backend, name=f"{of}x", lead=lead)
        y = inputs.targets(y, x, loss, self._shapes, self.backend, name=f"{of}y")
        return Data(x, y, inputs.weights(weight, x, self._shapes, self.backend, name=f"{of}sample_weight"))

    def _training_data(self, x, y, loss, sample_weight, class_weight, validation_data, validation_split):
        """Checked training data, and validation data or None."""
        names = ("x", "y", "sample_weight")
        data = self._data(x, y, None, loss, lead=False)
        weight = inputs.class_weights(class_weight, sample_weight, data.y, self.backend)
        data = data._replace(weight=inputs.weights(weight, data.x, self._shapes, self.backend))
        inputs.check_values(data, loss, self._shapes, self.backend, names)
        if validation_data is not None:
            if validation_split:
                raise ValueError("give validation_data or validation_split, not both")
            if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
                raise TypeError(f"validation_data must be (x, y) or (x, y, sample_weight), got {type(validation_data)}")
            x, y, weight = (*validation_data, None)[:3]
            held = self._data(x, y, weight, loss, lead=False, of="validation ")
            inputs.check_values(held, loss, self._shapes, self.backend, tuple(f"validation {name}" for name in names))
            return data, held
        return self._split(data, validation_split) if validation_split else (data, None)

    def _split(self, data: Data, fraction: float) -> tuple[Data, Data]:
        rank = len(self._shapes.sample)
        own = (data.x.ndim == rank + 2, data.y.ndim == 3, data.weight is not None and data.weight.ndim == 2)
        labels = inputs.class_labels(data.y, self.backend)
        parts = batches.split(data.x.shape[data.x.ndim - rank - 1], fraction, self.seeds, labels)
        chosen = []
        for rows in parts:
            rows = self.backend.asarray(rows if self.members is not None else rows[0], dtype=None)
            chosen.append(
                Data(*(
                    None if array is None else batches.gather(array, rows, mine, xp=self.backend.xp)
                    for array, mine in zip(data, own, strict=True)
                ))
            )
        return chosen[0], chosen[1]

    def _number(self, value: Any) -> Any:
        """A float, or a host array with one number a member."""
        host = value if isinstance(value, np.ndarray | np.generic) else self.backend.to_host(value)
        return float(host) if self.members is None else np.asarray(host, dtype=np.float64)


class Summary(str):
    """Text that shows its line breaks where a console or a notebook shows a value."""

    def __repr__(self) -> str:
        return str(self)


def _seeds(seed: Any, members: int | None) -> tuple[int, ...]:
    """One seed a member, each from 0 to 2^64 - 1."""
    if members is not None:
        check_count("members", members)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    if hasattr(seed, "tolist"):
        seed = seed.tolist()
    seeds = list(seed) if isinstance(seed, Sequence) else [seed]
    for one in seeds:
        check_count("seed", one, low=0)
        if one >= 1 << 64:
            raise ValueError(f"seed must be < 2**64, got {one}")
    if isinstance(seed, Sequence):
        if members is not None and len(seeds) != members:
            raise ValueError(f"seed must have one entry for each of the {members} members, got {len(seeds)}")
        if not seeds:
            raise ValueError("seed must not be an empty list")
        return tuple(int(one) for one in seeds)
    return tuple(int(seed) + k for k in range(members or 1))


def _ending(layer: Layer) -> Layer | None:
    """The last layer that is no container."""
    last = None
    for _, last in walk(layer):  # noqa: B007
        pass
    return last


def _trunk(layer: Sequential, loss: Any) -> Sequential:
    """The layers up to what the loss takes: without the last activation where that is the loss's link.

    Raises ValueError where the network ends in another probability.
    """
    link, ending = getattr(loss, "link", None), _ending(layer)
    if link is None or not isinstance(ending, Activation):
        return layer
    if ending == link:
        return _without_last(layer)
    if ending.probability:
        raise ValueError(
            f"loss {type(loss).__name__} takes logits or a last layer {link}, but the network ends in {ending}: "
            "leave that layer out, or take the loss that goes with it"
        )
    return layer


def _without_last(layer: Sequential) -> Sequential:
    *before, last = layer.layers
    if isinstance(last, Sequential):
        return Sequential((*before, _without_last(last)))
    return Sequential(tuple(before))


def _watchers(chosen: Iterable[Any], verbose: int) -> list[callbacks.Callback]:
    watchers = [callbacks.get(one) for one in chosen]
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    return watchers + [callbacks.ProgressBar()] * (verbose == 1) + [callbacks.PrintEpoch()] * (verbose == 2)


def _metric(metric: Any) -> Any:
    return metrics.get(metric)


def _map_carry(function: Callable[[Array], Array], carry: Carry) -> Carry:
    memory = carry.memory
    if memory:
        memory = type(memory)(*map(function, memory))
    return Carry(function(carry.params), function(carry.state), memory)


def _checked_tree(values: Any, template: Any, shapes: dict, lead: tuple, backend: Backend, path: tuple) -> Any:
    """`values` as the network's own arrays in the nesting of `template`; a difference raises, naming the place."""
    at = f"params{''.join(f'[{i}]' for i in path)}"
    if isinstance(template, list):
        if not isinstance(values, Sequence) or len(values) != len(template):
            raise ValueError(f"{at} must be a list of {len(template)} layers, got {type(values).__name__}")
        pairs = enumerate(zip(values, template, strict=True))
        return [_checked_tree(value, part, shapes, lead, backend, (*path, i)) for i, (value, part) in pairs]
    if not isinstance(values, dict) or set(values) != set(template):
        given = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{at} must have the entries {sorted(template)}, got {given}")
    checked = {}
    for name in template:
        array = backend.asarray(values[name], f"{at}[{name!r}]")
        wanted = (*lead, *shapes[".".join([*map(str, path), name])])
        if tuple(array.shape) != wanted:
            raise ValueError(f"{at}[{name!r}] must have shape {wanted}, got {tuple(array.shape)}")
        checked[name] = array
    return checked
