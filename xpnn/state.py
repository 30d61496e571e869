"""What a network is between its calls: layers, backend, parameters and training state, and how these are moved.

What is handed out is a copy, and what is handed in is checked before anything of it changes.
"""

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from xpnn import batches, files, parameters, snapshot
from xpnn._arguments import AT_LEAST_ZERO, hyper_parameter
from xpnn.backend import Backend, on_device, resolve
from xpnn.compile.outputs import Outputs
from xpnn.history import History
from xpnn.inputs import Shapes
from xpnn.layers import Array, Layer, Sequential
from xpnn.numbers import Numbers
from xpnn.own import own
from xpnn.parameters import Layout
from xpnn.program import initial, tree_of
from xpnn.progress import Carry, Progress
from xpnn.schedules import values


@on_device
class State:
    """The part of `Network` that computes nothing."""

    layer: Sequential
    shapes: Shapes
    backend: Backend
    seeds: tuple[int, ...]
    layouts: tuple[Layout, Layout]
    metadata: Mapping[str, Any] = MappingProxyType({})
    """What the file that the network was loaded from says beside it."""

    def _begin(self) -> None:
        """Initial parameters and layer state from the seeds, and no training state."""
        self.layouts, carry = initial(self.layer, self.seeds, self.members, self.backend)
        self.progress = Progress(carry)
        self.history = History()

    def _forget(self) -> None:
        """No compiled programs, and nothing else that was prepared for a step."""
        self._prepared: Any = None
        self._outputs = Outputs(self.layouts, len(self.shapes.sample), self.backend)

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
        """How many epochs `fit` has finished, of a stack those of the member that was trained longest."""
        return int(np.max(self.progress.epoch))

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
        if not callable(rate):
            return rate
        steps = now.step - now.first
        if not isinstance(steps, np.ndarray):
            return rate(steps)
        return tuple(values("rate", rate, range(step, step + 1), self.members)[0][k] for k, step in enumerate(steps))

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        rate = None if rate is None else hyper_parameter("learning_rate", rate, **AT_LEAST_ZERO)
        if rate is not None:
            values("learning_rate", rate, range(1), self.members)  # as many as there are members
        self.progress = self.progress._replace(learning_rate=rate)

    @property
    def updates(self) -> Any:
        """How many updates `fit` and `step` have made; an array where members of a stack have made unequally many."""
        return self.progress.step

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
        return tree_of(self.layouts, carry, xp=self.backend.xp)

    def reset(self, seed: Any = None) -> None:
        """Start afresh: initial parameters from the seed (another one where given), no training state."""
        if seed is not None:
            self.seeds, _ = batches.member_seeds(seed, self.members, lone=self.members is None)
            if self._prepared is not None:  # the programs stand, the random keys do not
                steps, _ = self._prepared
                self._prepared = steps, Numbers(steps.program, self.seeds, self.members, self.backend)
        self._begin()

    def to(self, backend: Any, dtype: Any = None, precision: str | None = None) -> Self:
        """The same network, training state included, on another backend; this one stays as it is."""
        own = None if isinstance(backend, Backend) else self.backend.dtype
        new, backend = object.__new__(type(self)), resolve(backend, own if dtype is None else dtype, precision)
        new.__dict__.update(self.__dict__)
        new.backend, new.history = backend, copy.deepcopy(self.history)
        new._forget()
        new.progress = self.progress.map(lambda array: backend.copy(backend.asarray(array)))
        return new

    def __getitem__(self, member: int) -> Self:
        """Member `member` of a stack as a lone network, training state included, in memory of its own.

        >>> import xpnn
        >>> stack = xpnn.Network(xpnn.mlp([1, 1]), members=3, seed=5)
        >>> stack[-1].seed
        7
        """
        if self.members is None:
            raise TypeError("net[k] is a member of a stack, and this is a lone network: use it as it is")
        number = operator.index(member)
        if not -self.members <= number < self.members:
            raise IndexError(f"member must be from 0 to {self.members - 1}, got {member}")
        return self._lane(number % self.members).copy()

    def _lane(self, member: int) -> Self:
        """Member `member` of a stack as a lone network, which shares its memory: for use within one call."""
        lone = object.__new__(type(self))
        lone.__dict__.update(self.__dict__)
        lone.shapes, lone.seeds = self.shapes._replace(members=None), (self.seeds[member],)
        lone.layer, lone.progress = own(self.layer, member), self.progress.lane(member)
        lone.history = self.history.lane(member)
        lone._forget()
        return lone

    def copy(self) -> Self:
        """The same network, training state included, in memory of its own."""
        return self.to(self.backend)

    def save(self, path: Any, metadata: Mapping[str, Any] | None = None, training: bool = False) -> None:
        """Write the network into one safetensors file, from which `xpnn.load` makes it again.

        In it are layers, seeds, parameters, layer state, and a checksum over all of it. The file is in its place whole
        or, where that fails, the one that was there before.

        Parameters
        ----------
        path : of the file; what is there is replaced.
        metadata : a dict of what JSON has, of your own; None writes `net.metadata`, which `load` gives back.
        training : with loss, optimizer and its state, so that `fit` goes on after `load` where it stopped.

        Raises
        ------
        TypeError, naming the place, for layers that settings do not describe (those of your own with an __init__ of
        their own); OSError where the file cannot be written.

        >>> import os, tempfile, xpnn
        >>> net = xpnn.Network(xpnn.mlp([2, 3, 1]), seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.safetensors")
        ...     net.save(path, {"trained on": "nothing yet"})
        ...     again = xpnn.load(path)
        >>> again.metadata, bool((again.predict([[1.0, 2.0]]) == net.predict([[1.0, 2.0]])).all())
        ({'trained on': 'nothing yet'}, True)
        """
        snapshot.write(self, path, self.metadata if metadata is None else metadata, training)

    def export_onnx(
        self, path: Any, *, opset: int = 20, average: bool = True, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Write `predict` into one ONNX file, which onnxruntime and others run without xpnn, in any language.

        Its input "x" (batch, *sample) and its output "y" (batch, outputs) have the network's dtype; the batch may be of
        any size. Layers become plain nodes, named "0.Gemm", "1.Relu" by their places, and arrays "0.weight". Layers of
        your own are written as the array API functions that they call. What gives NaN, a category out of range, gives
        NaN there too. In float64, functions that onnxruntime has in float32 alone (erf, atan ...) are off by 1e-7.

        Parameters
        ----------
        path : of the file; what is there is replaced, or, where that fails, stays.
        opset : number of ONNX's operator set, from 18; 20 is that of 2023, which onnxruntime reads from 1.17 on.
        average : of a stack, whether y is the mean of what the members give, probabilities where the network ends in
            sigmoid or softmax and logits where not, or all of it, (members, batch, outputs).
        metadata : text, or what JSON has, by name, for `metadata_props`; None writes `net.metadata`.

        Raises
        ------
        TypeError, naming layer and operation, for a layer of your own that cannot be written; ImportError without onnx;
        OSError where the file cannot be written.

        >>> import os, tempfile, xpnn
        >>> net = xpnn.Network(xpnn.mlp([2, 3, 1], output="sigmoid"), seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.export_onnx(os.path.join(folder, "model.onnx"))
        ...     os.listdir(folder)
        ['model.onnx']
        """
        from xpnn.compile.onnx import content

        def after(y: Array, *, xp: Any) -> dict[str, Array]:
            own = y.ndim > len(self.shapes.output) + 1  # not where no layer has arrays, which members could differ in
            return {"y": xp.mean(y, axis=0) if own and average else y}

        told = self.metadata if metadata is None else metadata
        files.replace(path, content(self, after=after, opset=opset, metadata=told))

    def __getstate__(self) -> dict[str, Any]:
        progress = self.progress.map(lambda array: np.array(self.backend.to_host(array)))
        return self.__dict__ | {"progress": progress, "_prepared": None, "_outputs": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        progress = state["progress"].map(lambda array: state["backend"].copy(state["backend"].asarray(array)))
        self.__dict__.update(state | {"progress": progress})
        self._forget()
