"""What a notebook shows of a network, a history and an estimator, and what a summary says."""

import html
from html.parser import HTMLParser

import numpy as np
import pytest

import xpnn
from xpnn import Network, mlp
from xpnn.layers import Layer

X, Y = xpnn.datasets.circles(40)


class Cells(HTMLParser):
    """The texts of a table's cells; every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag in ("td", "th", "b"):
            self.cells.append("")
        assert not any(name in ("color", "background", "class", "onclick") for name, _ in attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells[-1] += data


class Odd(Layer):
    """A layer with a name that is no HTML."""

    def __repr__(self):
        return "<script>&"

    def forward(self, params, x, *, xp, step=None):
        return x, None

    def backward(self, params, cache, dy, *, xp):
        return dy, {}


@pytest.mark.parametrize("members", [None, 3])
def test_a_network_is_a_table_in_a_notebook(members):
    net = Network([*mlp([2, 8, 1], output="sigmoid"), Odd()], members=members)
    cells = Cells(net._repr_html_()).cells
    assert cells[0].endswith("not trained") and "Dense(2, 8)" in cells and "24" in cells and "<script>&" in cells
    assert cells[-1] == ("33 parameters" if members is None else "33 parameters a member")
    net.fit(X, Y, "mse", epochs=2)
    assert Cells(net._repr_html_()).cells[0].endswith("trained for 2 epochs")


def test_a_history_is_a_table_of_first_best_and_last_values():
    net = Network(mlp([2, 8, 1], output="sigmoid"))
    history = net.fit(X, Y, "bce", xpnn.Adam(0.1), epochs=9, metrics=["accuracy"])
    cells = Cells(history._repr_html_()).cells
    assert cells[0] == "History of 9 epochs: finished"
    rows = [cells[i : i + 5] for i in range(6, len(cells), 5)]
    for row, name, best in zip(rows, ("loss", "accuracy"), (np.argmin, np.argmax), strict=True):
        values = history[name]
        at = int(best(values))
        assert row == [name, f"{values[0]:.4g}", f"{values[at]:.4g}", str(at), f"{values[-1]:.4g}"]
    assert "no epochs" in xpnn.History()._repr_html_()


def test_a_stacks_history_shows_the_range_of_the_members_that_were_trained():
    stack = Network(mlp([2, 8, 1], output="sigmoid"), members=3)
    stop = lambda net, epoch, logs: [epoch == 0, False, False]  # noqa: E731
    history = stack.fit(X, Y, "bce", epochs=3, callbacks=[stop])
    cells = Cells(history._repr_html_()).cells
    assert cells[0] == "History of 3 epochs, 3 members: 1 callback, 2 finished"
    last = history["loss"][-1][1:]
    assert cells[-1] == f"{last.min():.4g} .. {last.max():.4g}"


def test_a_summary_tells_what_each_layer_costs_and_what_is_fused():
    net = Network(mlp([30, 64, 1], output="sigmoid"))
    text = str(net.summary(batch_size=16))
    assert f"{2 * 16 * 30 * 64 + 16 * 64:,}"[:2] in text.splitlines()[1] and "FLOP" in text.splitlines()[1]
    assert "16 rows to predict: " in text and "16 rows to train on: " in text
    assert "a step is " in text and "not trained" in text.splitlines()[-1]
    assert "1.02 kFLOP" in text.splitlines()[2]  # 16 x 64 comparisons
    large = Network(mlp([784, 512, 10], output="softmax"))
    large.fit(np.zeros((8, 784)), np.zeros(8, int), "softmax_cross_entropy", xpnn.SGD(0.1, momentum=0.9), epochs=1)
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        net.summary(batch_size=0)
    assert "as the layers are written" in Network(mlp([2, 1]), "array-api-strict").summary()
    assert net.summary()._repr_html_() == f"<pre>{html.escape(net.summary())}</pre>"


def test_a_large_network_fuses_what_its_optimizer_does():
    net = Network(mlp([2200, 2200], weight_init="zeros"))
    line = next(line for line in net.summary().splitlines() if line.startswith("a step is"))
    assert "fuse" in line and "multiply" in line


def test_a_summary_leaves_out_what_cannot_be_told():
    class Looking(Odd):
        def forward(self, params, x, *, xp, step=None):
            return (x if float(xp.sum(x)) > -1e9 else -x), None

    text = Network([xpnn.Dense(2, 1), Looking()]).summary()
    assert "to predict" not in text and "to train" not in text and "128 FLOP" not in text and "not trained" in text


def test_estimators_keep_scikit_learns_diagram():
    pytest.importorskip("sklearn")
    from sklearn.base import BaseEstimator

    from xpnn.sklearn import MLPClassifier, MLPRegressor

    for kind in (MLPClassifier, MLPRegressor):
        assert kind._repr_html_ is BaseEstimator._repr_html_
        assert "sk-container" in kind()._repr_html_()
