"""Training by L-BFGS on all rows at once, through scipy.optimize on the flat vector of parameters."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnn import inputs, optimizers
from xpnn.architecture import trunk
from xpnn.network import Network
from xpnn.numbers import Numbers
from xpnn.program import Program
from xpnn.progress import START

_STOPPED = 99  # scipy's status where the callback ended it


def minimize(estimator: Any, x: Any, y: Any, loss: Any, weight: Any) -> tuple[float, int]:
    """Make the objective on (x, y) small by `estimator`'s network; the final value and the number of iterations.

    Each evaluation takes the parameters to the device and the value and gradient back. A ConvergenceWarning says where
    it ended before the largest part of the gradient was below `tol`, unless it was for the `time_limit`.

    Liu and Nocedal (1989), "On the limited memory BFGS method for large scale optimization".
    """
    from scipy.optimize import minimize as scipy_minimize

    began, limit = time.monotonic(), estimator.time_limit
    net: Network = estimator.network_
    backend = net.backend
    data = inputs.data(x, y, weight, loss, net.shapes, backend, check=True)
    program = Program(trunk(net.layer, loss), *net.layouts, loss, optimizers.SGD())
    numbers = Numbers(program, net.seeds, net.members, backend).epoch(START)[0]
    state = net.progress.carry.state

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with backend.current():
            value, gradient, _ = program.value_and_grad(backend.asarray(flat), state, data, numbers, xp=backend.xp)
        return float(value), backend.to_host(gradient).astype(np.float64)

    start = backend.to_host(net.progress.shown.params).astype(np.float64)

    def on_iteration(_) -> None:
        if limit is not None and time.monotonic() - began >= limit:
            raise StopIteration

    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    found = scipy_minimize(function, start, method="L-BFGS-B", jac=True, options=options, callback=on_iteration)
    if estimator.verbose:
        print(f"L-BFGS: {found.message} after {found.nit} iterations, loss = {found.fun:.8f}")
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            "preprocessed."
        )
    net.progress = net.progress.replaced(backend.asarray(found.x), state)
    iterations = min(found.nit, estimator.max_iter)
    if found.status not in (0, _STOPPED):
        more = "\nIncrease the number of iterations to improve the convergence "
        more = f"{more}(max_iter={iterations})." if iterations == estimator.max_iter else ""
        warnings.warn(
            f"lbfgs failed to converge after {iterations} iteration(s) (status={found.status}):\n{found.message}\n"
            f"{more}\nYou might also want to scale the data as shown in:\n"
            "    https://scikit-learn.org/stable/modules/preprocessing.html",
            ConvergenceWarning,
            stacklevel=5,
        )
    return float(found.fun), iterations
