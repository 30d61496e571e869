"""Training by L-BFGS on all rows at once, through scipy.optimize on the flat vector of parameters."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnn import inputs, optimizers
from xpnn.architecture import trunk
from xpnn.network import Network
from xpnn.program import Numbers, Program


def minimize(
    net: Network,
    x: Any,
    y: Any,
    loss: Any,
    weight: Any,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: Any = False,
) -> tuple[float, int]:
    """Make the objective on (x, y) small; the final value and the number of iterations.

    Each evaluation takes the parameters to the device and the value and gradient back. A ConvergenceWarning says where
    it ended before the largest part of the gradient was below `tol`.

    Liu and Nocedal (1989), "On the limited memory BFGS method for large scale optimization".
    """
    from scipy.optimize import minimize as scipy_minimize

    backend = net.backend
    data = inputs.data(x, y, weight, loss, net.shapes, backend, check=True)
    program = Program(trunk(net.layer, loss), *net.layouts, loss, optimizers.SGD())
    numbers = Numbers(program, net.seeds, net.members, backend).epoch(0, range(1), 0)[0]
    state = net.progress.carry.state

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with backend.current():
            value, gradient, _ = program.value_and_grad(backend.asarray(flat), state, data, numbers, xp=backend.xp)
        return float(value), backend.to_host(gradient).astype(np.float64)

    start = backend.to_host(net.progress.shown.params).astype(np.float64)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    found = scipy_minimize(function, start, method="L-BFGS-B", jac=True, options=options)
    if verbose:
        print(f"L-BFGS: {found.message} after {found.nit} iterations, loss = {found.fun:.8f}")
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            "preprocessed."
        )
    net.progress = net.progress.replaced(backend.asarray(found.x), state)
    if found.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}):\n{found.message}\n\n"
            "Increase the number of iterations to improve the convergence "
            f"(max_iter={max_iter}).\nYou might also want to scale the data as shown in:\n"
            "    https://scikit-learn.org/stable/modules/preprocessing.html",
            ConvergenceWarning,
            stacklevel=4,
        )
    return float(found.fun), min(found.nit, max_iter)
