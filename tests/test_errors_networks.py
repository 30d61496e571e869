"""Mistakes of a first hour with networks, training and files: each is told what was given and what is wanted."""

import numpy as np
import pytest

import xpnn
from tests.trained import X, Y, trained
from xpnn import Network, mlp
from xpnn.callbacks import CSVLogger, EarlyStopping, LearningRateScheduler
from xpnn.inputs import triple


def fit(**options):
    """A fit of a lone network, or of `members`, in which some arguments are as given."""
    members = options.pop("members", None)
    return lambda: Network(mlp([2, 3, 1]), members=members).fit(**{"x": X, "y": Y, "epochs": 1} | options)


def fit_many(**options):
    return lambda: xpnn.fit_many(**{"networks": [Network(mlp([2, 3, 1]))], "x": X, "y": Y, "epochs": 1} | options)


class Long:
    """Rows whose length is not that of their shape."""

    shape = (12, 2)

    def __len__(self):
        return 5

    def __getitem__(self, key):
        return X[key]


def three_answers(net, epoch, logs):
    return [True, False, True]


WEIGHT = np.ones(len(X))

# The call, the error, and what its message must say.
REFUSED = {
    # data
    "no targets": (fit(y=None), TypeError, r"^y must have a target for each row of x, got None"),
    "no targets to evaluate": (lambda: trained("plain").evaluate(X), TypeError, r"^y must have a target for each row"),
    "no targets for own rows": (fit(members=2, y=None, rows=[[0], [1]]), TypeError, r"^y must have a target"),
    "targets in place of batches": (fit(validation_data=X), TypeError, r"^validation_data must be \(x, y\).*\(12, 2\)"),
    "a list of batches": (fit(validation_data=[(X, Y)] * 4), TypeError, r"^validation_data must be.*got list of 4$"),
    "a batch that is a number": (lambda: triple("batch 0", 3), TypeError, r"^batch 0 must be \(x, y\) or .*got int$"),
    "too few lists of rows": (fit(members=3, x=[X], y=[Y]), ValueError, r"^x must be a list .* 3 members, got 1$"),
    "one y for lists of rows": (fit(members=3, x=[X] * 3), ValueError, r"^y must be a list .* 3 members, as x is, got"),
    "two lengths": (fit(x=Long()), ValueError, r"^x must be as long as its shape \(12, 2\) says, got a length of 5"),
    "weights in one batch": (
        fit(x=[(X, Y), (X, Y, WEIGHT)], y=None),
        ValueError,
        r"^batch 1 differs .* in its sample_weight: give all one, with an axis of members or without, or none",
    ),
    "class weights of numbers": (
        fit(members=2, y=X[:, :1], rows=[[0], [1]], class_weight="balanced"),
        ValueError,
        r"^class_weight needs targets that are classes: indices, one-hot rows or a column",
    ),
    # callbacks
    "answers for other members": (
        fit(members=2, callbacks=[three_answers]),
        ValueError,
        r"^on_epoch_end of a callback must give True, False or one for each of 2 members, got .* \(3,\)$",
    ),
    "one callback for a list": (fit(callbacks=EarlyStopping()), TypeError, r"^callbacks must be a list, got EarlyStop"),
    "one for many networks": (fit_many(callbacks=EarlyStopping()), TypeError, r"^callbacks must be a list, got Early"),
    "a rate in words": (
        fit(callbacks=[LearningRateScheduler(lambda epoch: "low")]),
        TypeError,
        r"^learning_rate must be a number, got 'low'",
    ),
    "a log without a name": (lambda: CSVLogger(""), TypeError, r"^path must be the path of a file, got ''"),
    "a bar of three": (fit(verbose=3), ValueError, r"^verbose must be 0, 1 or 2, got 3"),
    # many networks
    "a number of networks": (fit_many(networks=3), TypeError, r"^networks must be a list, got 3"),
    "epochs of others": (
        fit_many(epochs=[1, 2]),
        ValueError,
        r"^epochs must be one for all, or a list with one for each of 1 networks, got 2",
    ),
    # backends and files
    "a GPU that PyTorch has not": (
        lambda: Network(mlp([2, 1]), "torch:no"),
        xpnn.BackendUnavailable,
        r"^backend 'torch:no' is not usable here: .*; for a GPU: pip install torch with CUDA",
    ),
    "a device of no library": (
        lambda: Network(mlp([2, 1]), "array-api-strict:device9"),
        xpnn.BackendUnavailable,
        r"^backend 'array-api-strict:device9' is not usable here: .*'device9'",
    ),
    "resumed from a number": (fit(resume=3), TypeError, r"^resume must be the path of a folder or a file, got 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_told(case):
    call, error, message = REFUSED[case]
    if "torch" in message:
        pytest.importorskip("torch")
    with pytest.raises(error, match=message):
        call()


def test_layers_of_ones_own_come_by_name(tmp_path):
    trained("plain").save(tmp_path / "net.safetensors")
    with pytest.raises(
        TypeError, match=r"^custom_layers must be a dict of classes and functions by name, got \[<class"
    ):
        xpnn.load(tmp_path / "net.safetensors", custom_layers=[Network])


def test_a_log_of_other_columns_is_not_written_on(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,accuracy\n")
    with pytest.raises(ValueError, match=r"records \['epoch', 'loss'\]: give another path, or append=False"):
        fit(callbacks=[CSVLogger(path, append=True)])()
    assert path.read_text() == "epoch,accuracy\n"
