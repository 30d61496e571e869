"""Looking into a network: what it is, what it costs, how its steps are computed; and what a step is made of."""

from __future__ import annotations

from typing import Any

from xpnn import losses, optimizers
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
