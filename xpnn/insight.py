"""Looking into a network: what it is, what it costs, how its steps are computed; and what a step is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn import inputs, losses, optimizers
from xpnn._arguments import check_count
from xpnn.architecture import trunk
from xpnn.backend import on_device
from xpnn.compile.explain import amount, costs, explain, unit
from xpnn.compile.steps import Steps
from xpnn.display import network_html
from xpnn.numbers import Numbers
from xpnn.program import Program
from xpnn.state import State
from xpnn.summary import Summary, summary, table

if TYPE_CHECKING:
    from xpnn.checkup import Checkup
    from xpnn.walk import Walk


@on_device
class Insight(State):
    """The part of `Network` that shows: nothing of the network changes in it."""

    def __repr__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        return network_html(self)

    def summary(self, batch_size: int = 32) -> Summary:
        """What `print(net)` shows, with the cost of each layer on a batch of so many rows, that of predicting and of a
        training step, the memory that the numbers take, what is computed in one go, and the training so far.

        The loss and the optimizer of the step are those used last. Costs are left out where a layer looks at numbers.
        """
        rows = check_count("batch_size", batch_size)
        return summary(self, rows, costs(self, rows), amount, unit)

    def explain(self, batch_size: int = 32, loss: Any = None, optimizer: Any = None) -> Summary:
        """How a training step on a batch of so many rows is computed: operations, memory, cost, and the program.

        That is the program that `fit` runs on NumPy, or its kernels on CuPy. `loss` and `optimizer` are as in `fit`;
        nothing changes. Raises TypeError where the step cannot be compiled, saying what stands in the way.

        >>> import xpnn
        >>> print(xpnn.Network(xpnn.mlp([2, 1])).explain(optimizer="sgd"))  # doctest: +ELLIPSIS
        A training step on 32 rows, MeanSquaredError() and SGD()
          operations  12: 7 elementwise, 4 products, 1 concat; 8 views cost nothing
          cost        519 FLOP, 74 % of it in matrix products; 2.28 kB read and written
          memory      276 bytes beside parameters and optimizer state
        ...
        """
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        steps, numbers = self._prepare(loss, optimizer)
        now = self.progress.started(loss, optimizer, xp=self.backend.xp)
        row = numbers.epoch(now)[0]
        return explain(steps, now.carry, row, self.shapes, check_count("batch_size", batch_size))

    def trace_step(self, x: Any, y: Any, loss: Any = None, optimizer: Any = None, sample_weight: Any = None) -> Walk:
        """Every value of the update that `step` would make of the same arguments, by name: `print` shows it as a text,
        a notebook as a table.

        Values are of shapes and numbers as the step has them (dropout with that step's mask), to the bit those of
        `step(..., compile=False)`; nothing changes. Layers, outermost first, are named by their positions:

            x, 0.output, 1.output, ..., 3.1.output        forward; 3.1 is layer 1 inside of layer 3
            y, loss                                       with penalties also penalty, 4.penalty, objective
            3.delta, 2.delta, 2.weight.gradient, ...      backward; a delta is dL/dy, the gradient by a layer's output
            learning_rate, 2.weight, 1.running_mean       update, each with `before`; with clipping 2.weight.clipped

        Formulas are those of the docstrings: a layer of your own says in its first paragraph what comes out, as in
        "y = g x", and after the word "Backward" its gradients, as in "Backward: dL/dx = g dy,  dL/dg = sum(x dy)".

        Raises as `step` does.

        >>> import xpnn
        >>> walk = xpnn.Network([xpnn.Dense(1, 1, bias=False)]).trace_step([[1.0], [2.0]], [[0.0], [0.0]])
        >>> walk.names
        ['x', '0.output', 'y', 'loss', '0.delta', '0.weight.gradient', 'learning_rate', 'beta1', 'beta2', '0.weight']
        >>> walk["0.weight.gradient"].formula, walk["0.weight.gradient"].shape
        ('dL/dW = x^T dy', (1, 1))
        """
        from xpnn.walkthrough import walk_through

        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        steps, numbers = self._prepare(loss, optimizer)
        data = inputs.data(x, y, sample_weight, loss, self.shapes, self.backend)
        now = self.progress.started(loss, optimizer, xp=self.backend.xp)
        return walk_through(self, steps.program, now, data, numbers.epoch(now)[0])

    def diagnose(
        self,
        x: Any,
        y: Any,
        loss: Any = None,
        optimizer: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = 32,
    ) -> Checkup:
        """What is likely to keep the network from learning (x, y), found before or after a training: `print` it.

        Looked at are features (constant, repeated, on different scales, of the wrong size, or one that alone tells y),
        targets (rare or missing classes, numbers that are large or out of reach), units (dead, saturated), gradients
        (vanishing, exploding) and the learning rate: copies of the network make 30 steps at each of many. Nothing
        changes. Each finding has `kind`, `what`, `number` and `advice`; a healthy case has none. `plot()` draws the
        loss over the learning rate.

        Parameters
        ----------
        x, y, loss, optimizer, sample_weight, batch_size : as in `fit`; in memory.

        Raises
        ------
        TypeError for a stack; TypeError and ValueError for unusable arguments, as `fit` does.

        >>> import numpy as np, xpnn
        >>> x = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 1000.0, 0.0]
        >>> checkup = xpnn.Network(xpnn.mlp([3, 8, 1])).diagnose(x, x[:, 0] ** 2)
        >>> checkup.kinds
        ['constant features', 'scales of features']
        >>> checkup[0].what
        '1 of 3 features is the same in all rows: column 2'
        """
        from xpnn.checkup import check_up

        if self.members is not None:
            raise TypeError(f"diagnose looks at one network, this is a stack of {self.members}: take net[k]")
        loss, optimizer = self._loss_of(loss), self._optimizer_of(optimizer)
        rows = len(x) if batch_size is None else check_count("batch_size", batch_size)
        net = self.copy()
        net._prepare(loss, optimizer)  # refuses a network that learns nothing, and numbers that do not go with it
        return check_up(net, x, y, loss, optimizer, sample_weight, rows)

    def _loss_of(self, loss: Any) -> Any:
        loss = (self.progress.loss or losses.mean_squared_error) if loss is None else losses.get(loss)
        trunk(self.layer, loss)  # refuses a last layer that does not go with the loss
        return loss

    def _optimizer_of(self, optimizer: Any) -> Any:
        return (self.progress.optimizer or optimizers.Adam()) if optimizer is None else optimizers.get(optimizer)

    def _prepare(self, loss: Any, optimizer: Any) -> tuple[Steps, Numbers]:
        """What runs the steps, and their numbers; those made last where loss and optimizer are the same."""
        if not self.n_params:
            raise ValueError("the network has no learned parameters: there is nothing to train")
        prepared = self._prepared  # once: another thread may put its own there at any moment
        if prepared is None or (prepared[0].program.loss, prepared[0].program.optimizer) != (loss, optimizer):
            program = Program(trunk(self.layer, loss), self.layouts[0], self.layouts[1], loss, optimizer)
            numbers = Numbers(program, self.seeds, self.members, self.backend)
            prepared = self._prepared = Steps(program, len(self.shapes.sample), self.backend), numbers
        return prepared
