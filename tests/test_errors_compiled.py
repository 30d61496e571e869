"""What a trace, ONNX and the exchange with PyTorch refuse: what was given, and what is wanted."""

import numpy as np
import pytest

from xpnn import Dense, Network
from xpnn.compile.simplify import simplified
from xpnn.compile.trace import Graph, Untraceable
from xpnn.exchange import from_torch
from xpnn.layers import Layer

GRAPH = Graph()
XP, NODE = GRAPH.xp, GRAPH.input("x", (2, 3), "float64")

# The call in a function that is traced, the error, and what its message must say.
TRACED = {
    "other lengths": (
        lambda: XP.concat([NODE, XP.zeros((2, 2))], axis=0),
        ValueError,
        r"concat of \(2, 3\) and \(2, 2\) along axis 0: all other axes must be as long",
    ),
    "a product that does not fit": (
        lambda: NODE @ NODE,
        ValueError,
        r"matmul of \(2, 3\) and \(2, 3\): the first must have as many columns as the second rows",
    ),
    "no axis": (
        lambda: XP.take(NODE, XP.asarray([0])),
        ValueError,
        r"axis must be given to take from an array of shape \(2, 3\), got None",
    ),
    "too many operands": (lambda: XP.add(NODE, NODE, NODE), TypeError, "add of 3 arguments: it takes 2"),
    "an array as an option": (
        lambda: XP.roll(NODE, XP.asarray(1)),
        Untraceable,
        "roll of 2 arrays: it takes 1, and all else as numbers",
    ),
    "a number as an array": (
        lambda: XP.searchsorted(NODE[0, :], 1.0),
        Untraceable,
        "searchsorted of 1 arrays: it takes 2, and all else as numbers",
    ),
}


@pytest.mark.parametrize("case", TRACED)
def test_what_cannot_be_traced_says_what_would_be(case):
    call, error, message = TRACED[case]
    with pytest.raises(error, match=message):
        call()


def test_a_tensor_that_cannot_be_taken_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"bias must be real numbers in memory, got torch\.float32 on meta"):
        from_torch({"weight": torch.ones(1, 2), "bias": torch.ones(1, device="meta")}, [Dense(2, 1)])


class Signed(Layer):
    """A layer with an elementwise operation that no operator of ONNX is written for."""

    def forward(self, params, x, *, xp, step=None):
        return xp.copysign(x, x), None


def test_an_elementwise_operation_that_onnx_does_not_have(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(TypeError, match="because of copysign of float32, for which no operator of ONNX is written"):
        Network([Dense(2, 1), Signed()]).export_onnx(tmp_path / "net.onnx")


def test_what_leaves_numbers_as_they_are_keeps_the_wider_dtype():
    graph = Graph()
    x = graph.input("x", (3,), "float32")
    for result in (x * graph.xp.asarray(np.asarray(1.0)), x ** graph.xp.asarray(np.asarray(2.0))):
        assert result.dtype == simplified({"y": result}, exact=False, products=False)["y"].dtype == np.float64
