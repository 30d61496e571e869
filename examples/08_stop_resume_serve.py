"""A training that is killed goes on where it was, and ends as a file that is served without this library.

    pip install -e ".[onnx]" onnxruntime
    python examples/08_stop_resume_serve.py --folder serving

The script starts the training in a process of its own and kills it in the middle, as a power cut or a queue's time
limit would. Then it trains again with the same few lines, which take up the last checkpoint; the network is, to the
bit, that of a training which nobody disturbed. It is saved, loaded, exported to ONNX and run by onnxruntime.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import xpnn


def train(folder, arguments, pause=0.0):
    """The network, trained; `resume` takes up the last checkpoint in the folder, if there is one."""
    x, y = xpnn.datasets.circles(n=500, seed=1)
    layers = [xpnn.Standardize.fit(x), *xpnn.mlp([2, 32, 32, 1], "tanh", "sigmoid", dropout=0.1)]
    net = xpnn.Network(layers, backend=arguments.backend, seed=0)
    net.fit(
        x,
        y,
        loss="binary_cross_entropy",
        optimizer=xpnn.Adam(0.01, average=0.99),
        epochs=arguments.epochs,
        validation_split=0.2,
        callbacks=[
            xpnn.EarlyStopping(patience=50),
            xpnn.ReduceLROnPlateau(patience=10, factor=0.5),
            lambda net, epoch, logs: time.sleep(pause),  # as if there were more to do
            xpnn.ModelCheckpoint(folder),
        ],
        resume=folder,
    )
    return net


def kill_in_the_middle(folder, arguments):
    """Start the training as a process of its own, and kill it once it has written some checkpoints."""
    command = [sys.executable, __file__, "--train-into", str(folder), "--backend", arguments.backend]
    with subprocess.Popen([*command, "--epochs", str(arguments.epochs)]) as process:
        wanted = max(arguments.epochs // 3, 1)
        while process.poll() is None and not any(number >= wanted for number in finished(folder)):
            time.sleep(0.01)
        process.kill()
    print(f"killed after epoch {max(finished(folder))}")


def finished(folder):
    """The epochs of the checkpoints in the folder."""
    return [int(path.stem.removeprefix("epoch-")) for path in folder.glob("epoch-*.safetensors")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where to keep the files")
    parser.add_argument("--train-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train_into:
        train(arguments.train_into, arguments, pause=0.05)
        return

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        kill_in_the_middle(folder / "checkpoints", arguments)
        net = train(folder / "checkpoints", arguments)
        undisturbed = train(Path(temporary) / "undisturbed", arguments)
        probe = np.random.default_rng(0).uniform(-3.0, 3.0, (5, 2)).astype(np.float32)
        outputs = [net.backend.to_host(one.predict(probe)) for one in (net, undisturbed)]
        off = np.max(np.abs(np.subtract(*outputs)))
        print(f"gone on to epoch {net.epoch}; off from a training that nobody disturbed by {off}")

        net.save(folder / "circles.safetensors", metadata={"trained on": "500 points in two rings"})
        again = xpnn.load(folder / "circles.safetensors")
        print(f"saved and loaded: {again.n_params} parameters, {again.metadata}")

        try:
            import onnx  # noqa: F401
            import onnxruntime
        except ImportError as error:
            print(f"{error}: pip install onnx onnxruntime, to export and serve it")
            return
        path = folder / "circles.onnx"
        net.export_onnx(path)
        session = onnxruntime.InferenceSession(path)
        (served,) = session.run(None, {session.get_inputs()[0].name: probe})
        print(f"served by onnxruntime {onnxruntime.__version__}, off by {np.max(np.abs(served - outputs[0])):.1e}")


if __name__ == "__main__":
    main()
