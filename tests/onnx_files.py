"""Reading ONNX files and running them, for the tests of the export."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

runtime.set_default_logger_severity(3)


def run(path, x):
    """The outputs by name of the model in a file, or of its bytes."""
    session = runtime.InferenceSession(path if isinstance(path, bytes) else str(path))
    given = {session.get_inputs()[0].name: np.asarray(x)}
    return dict(zip((one.name for one in session.get_outputs()), session.run(None, given), strict=True))


def operators(path):
    """The operators of the nodes, in order."""
    return [node.op_type for node in onnx.load(str(path)).graph.node]
