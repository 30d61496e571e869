"""A hundred networks tried at once: which learning rate, which penalty, which width?

    python examples/11_search.py --figure search.png

MLPSearchCV takes the place of scikit-learn's GridSearchCV: 5 learning rates x 4 penalties x 5 folds are 100 networks of
each width, trained together as the members of one stack, with the results that one by one would give.
"""

import argparse
import time
import warnings
from pathlib import Path

try:
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise SystemExit(f"{error}: pip install scikit-learn") from None

from xpnn.plotting import plot_search
from xpnn.sklearn import MLPClassifier, MLPSearchCV


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--widths", type=int, nargs="+", default=[16], help="neurons of the hidden layer")
    parser.add_argument("--figure", type=Path, help="where to draw the scores")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # that a few epochs were not enough

    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    model = MLPClassifier(max_iter=arguments.epochs, batch_size=64, random_state=0, dtype="float32")
    model.set_params(backend=arguments.backend)
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(width,) for width in arguments.widths],
        "mlpclassifier__learning_rate_init": [1e-4, 1e-3, 3e-3, 1e-2, 1e-1],
        "mlpclassifier__alpha": [1e-5, 1e-3, 1e-1, 1.0],
    }
    search = MLPSearchCV(make_pipeline(StandardScaler(), model), grid, cv=5)
    start = time.perf_counter()
    search.fit(x, y)
    count = len(search.cv_results_["params"]) * search.n_splits_
    print(f"{count} networks in {time.perf_counter() - start:.1f} s")

    best = {name.partition("__")[2]: value for name, value in search.best_params_.items()}
    print(f"best of {len(x)} digits: {search.best_score_:.1%} of those held out, with {best}")
    print(f"on {len(x_test)} others: {search.score(x_test, y_test):.1%}")
    if arguments.figure:
        arguments.figure.parent.mkdir(parents=True, exist_ok=True)
        plot_search(search).figure.savefig(arguments.figure)
        print(f"drawn into {arguments.figure}")


if __name__ == "__main__":
    main()
