"""What goes wrong with rows that are read and batches that others make: it is explained, and changes nothing."""

import re

import numpy as np
import pytest

from tests import lazy
from tests.lazy import CLASSES, FIT, WEIGHT, Batched, Lazy, X, Y, network
from tests.trained import state_of
from xpnn import SGD, Network, mlp
from xpnn.training import NonFiniteLoss

small = lazy.small  # pytest looks for fixtures among the names of the module


@pytest.mark.parametrize("kind", ["read", "batches", "an iterator"])
def test_a_loss_gone_non_finite_is_explained(small, kind):
    net = network(layers=mlp([3, 4, 1]))
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    given = {"read": (Lazy(X), Y), "batches": (Batched(X, Y),), "an iterator": (iter(Batched(X, Y)),)}[kind]
    with pytest.raises(NonFiniteLoss) as caught:
        net.fit(*given, optimizer=SGD(1e200), epochs=1)
    wanted = {
        "read": r"epoch 1, step \d of 4: .*layer \d.*learning rate",
        "batches": r"epoch 1, step \d: .*layer \d.*learning rate",
        "an iterator": r"epoch 1\. .*replay.*iterator",
    }[kind]
    assert re.search(wanted, str(caught.value)), str(caught.value)
    assert state_of(net, recorded=False) == before


def test_the_scale_of_what_is_read_is_named_as_the_cause(small):
    with pytest.raises(NonFiniteLoss, match="scale of the data"):
        network(layers=mlp([3, 1]), dtype="float32").fit(Lazy(X), 1e30 * Y, epochs=1)


def placed(array, row, value):
    array = np.array(array, dtype=array.dtype if np.issubdtype(array.dtype, np.integer) else float)
    array[row] = value
    return array


class Shapeless(Lazy):
    """Slices of another shape than was promised."""

    def __getitem__(self, rows):
        return super().__getitem__(rows)[:, :2]


class Growing(Lazy):
    def __len__(self):
        return 104


def fit(x, y=None, **options):
    return lambda net: net.fit(x, y, **{"epochs": 1} | options)


BATCHES = [(X[:20], Y[:20]), (X[20:40], Y[20:40]), (X[40:60], Y[40:60])]
REFUSED = {
    "NaN in a row": (fit(Lazy(placed(X, (77, 1), np.nan)), Y), ValueError, r"^x holds 1 .*NaN.* row 77, column 1"),
    "infinity in the first": (fit(Lazy(placed(X, 0, np.inf)), Y), ValueError, r"^x .*infinite.* row 0, column 0"),
    "beyond float32": (fit(Lazy(placed(X, (50, 2), 1e300)), Y), ValueError, r"^x .*infinite.* row 50, column 2"),
    "NaN in y": (fit(Lazy(X), placed(Y, 33, np.nan)), ValueError, r"^y .*NaN.* row 33"),
    "NaN in y that is read": (fit(Lazy(X), Lazy(placed(Y, 33, np.nan))), ValueError, r"^y .*NaN.* row 33"),
    "a probability of 2": (fit(Lazy(X), Lazy(placed(Y, 99, 2.0)), loss="bce"), ValueError, r"^y .*0 to 1.* row 99"),
    "a negative weight": (fit(X, Lazy(Y), sample_weight=placed(WEIGHT, 8, -1.0)), ValueError, r"^sample_w.*-1.* row 8"),
    "no rows": (fit(Lazy(X[:0]), Y[:0]), ValueError, r"^x has no rows"),
    "other lengths": (fit(Lazy(X), Y[:90]), ValueError, r"^y must be \(103, 1\).*\(90,\)"),
    "another length that is read": (fit(Lazy(X), Lazy(Y[:90])), ValueError, r"^y must be \(103, 1\).*\(90,\)"),
    "weights too few": (fit(Lazy(X), Y, sample_weight=Lazy(WEIGHT[1:])), ValueError, r"^sample_weight .*103"),
    "two features": (fit(Lazy(X[:, :2]), Y), ValueError, r"Dense\(3, 4\).* x .*\(103, 2\)"),
    "one sample": (fit(Lazy(X[0]), Y), ValueError, r"^x .*one sample"),
    "four axes": (fit(Lazy(X[None, None]), Y), ValueError, r"^x .*axis too many"),
    "slices of another shape": (fit(Shapeless(X), Y), ValueError, r"^x\[0:1\] .*\(1, 3\).*\(1, 2\)"),
    "another length than shape": (fit(Growing(X), Y), ValueError, r"^x .*\(103, 3\).*104"),
    "words": (fit(Lazy(np.full((103, 3), "a")), Y), TypeError, r"^x\[0:1\] must be real numbers"),
    "y left out": (fit(Lazy(X)), TypeError, r"^y "),
    "classes as floats": (
        lambda net: Network(mlp([3, 3])).fit(Lazy(X), Lazy(CLASSES * 1.0), "cross_entropy"),
        TypeError,
        r"class indices.* y ",
    ),
    "a class too many": (
        lambda net: Network(mlp([3, 2])).fit(Lazy(X), Lazy(CLASSES), "cross_entropy"),
        ValueError,
        r"^y .*2 outputs.* row \d",
    ),
    "all rows at once": (fit(Lazy(X), Y, batch_size=None), ValueError, r"^batch_size=None .*x is read"),
    "a split": (fit(X, Lazy(Y), validation_split=0.2), ValueError, r"^validation_split .*y is read.*np\.asarray\(y\)"),
    "classes of what is read": (fit(Lazy(X), Lazy(Y), class_weight="balanced"), ValueError, r"^class_weight .* y"),
    "validation of other rows": (fit(X, Y, validation_data=(Lazy(X), Y[:3])), ValueError, r"^validation y must be"),
    "validation with NaN": (
        fit(X, Y, validation_data=(Lazy(placed(X, 70, np.nan)), Y)),
        ValueError,
        r"^validation x .* row 70",
    ),
    "predict two features": (lambda net: net.predict(Lazy(X[:, :2])), ValueError, r"layer 0.* x .*\(103, 2\)"),
    "predict batch_size 0": (lambda net: net.predict(Lazy(X), batch_size=0), ValueError, "^batch_size"),
    "evaluate batch_size 0": (lambda net: net.evaluate(Lazy(X), Y, batch_size=0), ValueError, "^batch_size"),
    "evaluate NaN": (lambda net: net.evaluate(Lazy(placed(X, 90, np.nan)), Y), ValueError, r"^x .* row 90"),
    # iterables of batches
    "a dict": (fit({"x": X}), TypeError, r"^x must be .*iterable of \(x, y\).*dict"),
    "a string": (fit("batches"), TypeError, r"^x must be .*iterable.*str"),
    "nothing": (fit(None), TypeError, r"^x must be .*iterable.*None"),
    "a generator function": (fit(Batched(X, Y).__iter__), TypeError, r"^x must be .*iterable.*call it"),
    "a class": (fit(Batched), TypeError, r"^x must be .*iterable.*call it"),
    "no batches": (fit([]), ValueError, r"^x gave no batches"),
    "an iterator that is used up": (fit(iter([])), ValueError, r"^x gave no batches"),
    "an iterator for two epochs": (fit(iter(BATCHES), epochs=2), ValueError, r"^epochs=2 .*batches of x.*iterator"),
    "an iterator and metrics": (fit(iter(BATCHES), metrics=["mse"]), ValueError, r"^metrics .*iterator"),
    "validation by an iterator": (
        fit(BATCHES, validation_data=iter(BATCHES), epochs=2),
        ValueError,
        r"^epochs=2 .*validation_data.*iterator",
    ),
    "batch_size and shuffle": (fit(BATCHES, batch_size=8, shuffle=False), ValueError, r"^batch_size, shuffle cannot"),
    "a split of batches": (fit(BATCHES, validation_split=0.1), ValueError, r"^validation_split cannot"),
    "weights beside batches": (fit(BATCHES, sample_weight=WEIGHT), ValueError, r"^sample_weight cannot.*batches"),
    "class weights beside batches": (fit(BATCHES, class_weight="balanced"), ValueError, r"^class_weight cannot"),
    "rows without y": (fit(X[:5].tolist()), TypeError, r"^batch 0 .*\(x, y\)"),
    "pairs without y": (fit(X[:5, :2].tolist()), TypeError, r"^batch 0 .*y was left out"),
    "an array for a batch": (fit([X]), TypeError, r"^batch 0 must be \(x, y\).*ndarray"),
    "four in a batch": (fit([(X, Y, WEIGHT, WEIGHT)]), TypeError, r"^batch 0 must be .*tuple of 4"),
    "a batch of other rows": (fit([*BATCHES, (X, Y[:9])]), ValueError, r"^batch 3: y must be \(103, 1\).*\(9,\)"),
    "a batch of two features": (fit([*BATCHES, (X[:, :2], Y)]), ValueError, r"^batch 3: .*layer 0.*\(103, 2\)"),
    "a batch with NaN": (fit([*BATCHES, (X * np.nan, Y)]), ValueError, r"^batch 3: x .*NaN"),
    "a batch of words": (fit([*BATCHES, (["a"], Y)]), TypeError, r"^batch 3: x must be real numbers"),
    "weights in some batches": (fit([*BATCHES, (X, Y, WEIGHT)]), ValueError, r"^batch 3 .*sample_weight"),
    "validation batches": (
        fit(X, Y, validation_data=Batched(X, X)),
        ValueError,
        r"^validation batch 0: y must be \(20, 1\)",
    ),
    "evaluate batches": (lambda net: net.evaluate([(X, Y[:3])]), ValueError, r"^batch 0: y must be"),
    "evaluate weights": (lambda net: net.evaluate(BATCHES, sample_weight=WEIGHT), ValueError, r"^sample_weight cannot"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(small, case):
    call, error, message = REFUSED[case]
    net = network(layers=mlp([3, 4, 1]), dtype="float32")
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    with pytest.raises(error, match=message):
        call(net)
    assert state_of(net, recorded=False) == before


def test_what_a_source_raises_undoes_the_epoch_and_arrives_as_it_is(small):
    class Failing(Lazy):
        reads = 0

        def __getitem__(self, rows):
            self.reads += 1
            if self.reads == 20:
                raise OSError("the disk is gone")
            return super().__getitem__(rows)

    def breaking():
        yield X, Y
        raise KeyError("label")

    net = network()
    with pytest.raises(OSError, match="the disk is gone"):
        net.fit(Failing(X), Y, **FIT, epochs=5)
    assert net.epoch == 1  # eleven blocks an epoch, and the first row before it
    before = state_of(net)
    with pytest.raises(KeyError, match="label"):
        net.fit(breaking(), loss="bce", optimizer=FIT["optimizer"], epochs=1)
    assert state_of(net, recorded=False) == {name: before[name] for name in before if name != "history"}
    again = network()
    again.fit(Lazy(X), Y, **FIT, epochs=1)
    assert state_of(net, recorded=False) == state_of(again, recorded=False)
