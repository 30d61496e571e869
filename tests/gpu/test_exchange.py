"""Arrays of a card handed over without a copy: DLPack to PyTorch and back, and a network in a solver's loop there."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnn

X, Y = xpnn.datasets.circles(60)
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.real_cupy
def test_pytorch_and_the_network_share_memory():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no GPU here")
    net = xpnn.Network(xpnn.mlp([2, 8, 1], "tanh", "sigmoid"), backend="cupy")
    x = torch.tensor(X, dtype=torch.float32, device="cuda")
    y = net.predict(x)
    shared = torch.from_dlpack(y)
    assert shared.data_ptr() == y.data.ptr
    assert shared.is_cuda
    assert net.backend.asarray(x).data.ptr == x.data_ptr()
    net.fit(x, torch.tensor(Y, dtype=torch.float32, device="cuda"), "bce", epochs=2)


@pytest.mark.real_cupy
def test_an_array_of_the_card_is_not_copied():
    import cupy

    net = xpnn.Network(xpnn.mlp([2, 8, 1]), backend="cupy")
    x = cupy.asarray(X, dtype=cupy.float32)
    assert net.backend.asarray(x) is x


def test_the_surrogate_in_a_solvers_loop(monkeypatch, capsys):
    script = EXAMPLES / "13_surrogate.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--backend", "cupy", "--epochs", "2", "--steps", "5"])
    runpy.run_path(str(script), run_name="__main__")
    on_the_card = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv[:1], "--epochs", "2", "--steps", "5"])
    runpy.run_path(str(script), run_name="__main__")
    on_the_cpu = capsys.readouterr().out
    forces = [float(out.partition("a force ")[2].partition(";")[0]) for out in (on_the_card, on_the_cpu)]
    np.testing.assert_allclose(*forces, rtol=1e-4)
