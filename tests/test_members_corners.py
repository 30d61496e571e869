"""Many networks in one fit: what changing a line of it would break."""

import numpy as np
import pytest

import xpnn
from tests.test_members import LABELS, X, Y, arrays, equal
from tests.test_members_more import stopping
from xpnn import SGD, Adam, Network, mlp
from xpnn.batches import Blocks
from xpnn.callbacks import EarlyStopping


@pytest.mark.parametrize("options", [{"validation_split": 0.3}, {"class_weight": "balanced"}])
def test_classes_of_each_members_own_targets_are_counted(options):
    labels, rows = np.stack([LABELS, np.arange(60) % 5 // 4]), [np.arange(40), np.arange(15, 60)]
    stack = Network(mlp([3, 2]), members=2)
    history = stack.fit(X, labels, "softmax_cross_entropy", rows=rows, epochs=2, **options)
    for k, own in enumerate(rows):
        lone = Network(mlp([3, 2]), seed=k)
        alone = lone.fit(X[own], labels[k][own], "softmax_cross_entropy", epochs=2, **options)
        assert equal(stack, k, lone, history, alone)


@pytest.mark.parametrize("chain", [mlp([3, 1]), [xpnn.BatchNorm(3), xpnn.Dense(3, 1)]], ids=["optimizer", "layer"])
def test_a_state_that_overflows_is_found_where_loss_and_parameters_do_not(chain):
    x = np.stack([X, X])
    x[1, 0] = 1e25
    stack = Network(chain, members=2)
    with pytest.warns(RuntimeWarning, match=r"\[1\] diverged"), np.errstate(over="ignore"):
        history = stack.fit(x, Y, "mae", Adam() if len(chain) == 1 else SGD(1e-30), epochs=1, batch_size=None)
    assert history.stop_reason == ["finished", "diverged"]


def test_large_parameters_whose_sum_overflows_are_finite():
    stack = Network(mlp([3, 1]), members=2)
    stack.params = [{"weight": np.full((2, 3, 1), 2e38, np.float32), "bias": np.zeros((2, 1), np.float32)}]
    with np.errstate(over="ignore"):
        history = stack.fit(np.zeros((4, 3)), np.ones((4, 1)), optimizer=SGD(0.01), epochs=2)
    assert history.stop_reason == ["finished"] * 2


def test_a_member_takes_its_own_numbers_along():
    chain = [xpnn.Dense(3, 4), xpnn.Residual([xpnn.Dense(4, 4), xpnn.Dropout((0.1, 0.6))]), xpnn.Dense(4, 2)]
    loss = xpnn.Penalized(xpnn.losses.SoftmaxCrossEntropy((0.1, 0.3)), l2=(0.01, 0.2))
    stack = Network(chain, members=2)
    stack.fit(X, LABELS, loss, Adam((0.01, 0.03)), epochs=2)
    members = list(stack)
    again = Network.stack(members)
    for net in (stack, again, *members):
        net.fit(X, LABELS, epochs=2)
    assert all(equal(stack, k, net) and equal(again, k, net) for k, net in enumerate(members))


def test_another_optimizer_begins_its_schedule_where_each_member_stands():
    stack = Network(mlp([3, 4, 1]), members=2)
    stack.fit(X, Y, epochs=4, callbacks=[stopping(0)])
    stack.fit(X, Y, optimizer=SGD(xpnn.ExponentialDecay((0.1, 0.2), 0.5, 2)), epochs=2)
    for k in range(2):
        lone = Network(mlp([3, 4, 1]), seed=k)
        lone.fit(X, Y, epochs=(2, 4)[k])
        lone.fit(X, Y, optimizer=SGD(xpnn.ExponentialDecay((0.1, 0.2)[k], 0.5, 2)), epochs=2)
        assert equal(stack, k, lone)


def test_blocks_on_a_disk_come_in_the_order_of_those_that_are_trained(tmp_path, monkeypatch):
    on_disk = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=X.shape)
    numbers, inner = [], Blocks._pools
    monkeypatch.setattr(Blocks, "_pools", lambda self, number: numbers.append(number) or inner(self, number))
    stack = Network(mlp([3, 4, 1]), members=2)
    stack.fit(on_disk, Y, epochs=4, callbacks=[stopping(0)])
    stack.fit(on_disk, Y, epochs=3, callbacks=[lambda net, epoch, logs: [False, True]])
    assert numbers == [0, 1, 2, 3, 4, 3, 4]


def test_a_learning_rate_that_was_set_on_one_network_stacks_beside_the_others_own():
    each = [Network(mlp([3, 1]), seed=k) for k in range(3)]
    for net in each:
        net.fit(X, Y, optimizer=Adam(0.01), epochs=1)
    each[1].learning_rate = 0.5
    each[2].learning_rate = xpnn.ExponentialDecay(0.1, 0.5, 10)
    stack = Network.stack(each)
    for net in (stack, *each):
        net.fit(X, Y, epochs=2)
    assert all(equal(stack, k, net) for k, net in enumerate(each))
    assert stack.learning_rate == tuple(net.learning_rate for net in each)


def test_an_answer_that_is_no_bool_asks_for_nothing():
    for answer in ([1, 0], np.ones(2), 1, "stop", [None, None]):
        history = Network(mlp([3, 1]), members=2).fit(X, Y, epochs=2, callbacks=[lambda *_, given=answer: given])
        assert history.stop_reason == ["finished"] * 2


def test_an_epoch_that_is_undone_was_trained_by_nobody():
    def failing(net, epoch, logs):
        if epoch == 2:
            raise KeyError("broken")

    stack = Network(mlp([3, 1]), members=2)
    with pytest.raises(KeyError, match="broken"):
        stack.fit(X, Y, epochs=4, callbacks=[stopping(1), failing])
    assert (stack.history.trained.tolist(), stack.history.lane(0).epoch) == ([2, 2], [0, 1])


def test_a_member_without_a_best_epoch_has_none():
    stack = Network(mlp([3, 4, 1]), members=2)
    before = arrays(stack)[0].copy()
    with pytest.warns(RuntimeWarning, match=r"\[1\] diverged"):
        history = stack.fit(X, Y, optimizer=SGD((0.01, 1e32)), epochs=3, callbacks=[EarlyStopping("loss")])
    assert history.best_epoch.tolist() == [2, -1]
    assert (stack[0].history.best_epoch, stack[1].history.best_epoch) == (2, None)
    assert np.array_equal(arrays(stack)[0][1], before[1])
