"""Each loss: its gradient is that of exactly its value, with weights, members and every kind of target."""

from fractions import Fraction

import numpy as np
import pytest

from tests.layer_runs import numbers_of, with_numbers
from tests.tables import LOSSES
from xpnn import losses
from xpnn.backend import resolve
from xpnn.losses import Penalized
from xpnn.testing import assert_close, check_loss

RNG = np.random.default_rng(0)
WEIGHT = np.asarray([1.0, 0.0, 2.5, 0.5])
EVERY = [pytest.param(loss, kind, id=f"{loss}-{kind}") for loss, _, kind in LOSSES]
KINDS = {
    "real": lambda rng, shape: rng.normal(size=shape),
    "unit": lambda rng, shape: rng.uniform(size=shape),
    "binary": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "counts": lambda rng, shape: rng.poisson(2.0, shape).astype(float),
    "soft": lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
    "classes": lambda rng, shape: rng.integers(0, shape[-1], shape[:-1]),
}


def case(loss, kind, targets=3, members=None, own=False):
    """A prediction (4 rows) and a target of the kind that the loss takes, `own` with the members' axis."""
    lead, rng = () if members is None else (members,), np.random.default_rng([targets, members or 0])
    outputs = next(n for n in range(targets, 9 * targets) if _width(loss, n) == targets)
    return rng.normal(size=(*lead, 4, outputs)), KINDS[kind](rng, (*(lead if own else ()), 4, targets))


def _width(loss, outputs):
    try:
        return loss.target_width(outputs)
    except ValueError:
        return None


def on(backend, target):
    return backend.asarray(target, dtype=None if target.dtype.kind == "i" else "float")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("loss, kind", EVERY)
def test_the_gradient_is_that_of_the_value(loss, kind, targets, members, weight):
    prediction, target = case(loss, kind, targets, members)
    for where in ("numpy", "array-api-strict:device1"):
        check_loss(loss, prediction, target, weight=weight, backend=where)


@pytest.mark.parametrize(
    "loss", [losses.softmax_cross_entropy, losses.SoftmaxCrossEntropy(0.1), losses.kl_divergence], ids=str
)
def test_soft_targets_of_any_mass(loss):
    target = np.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.1, 0.1, 0.8]])
    check_loss(loss, RNG.normal(size=(4, 3)), target * [[1.0], [2.0], [0.5], [0.0]])


@pytest.mark.parametrize("loss, kind", EVERY)
def test_every_backend_gives_numpys_numbers(loss, kind, backend, tolerance):
    prediction, target = case(loss, kind)
    expected = loss(prediction, target, xp=np, weight=WEIGHT)
    value, gradient = loss(
        backend.asarray(prediction), on(backend, target), xp=backend.xp, weight=backend.asarray(WEIGHT)
    )
    assert_close(value, backend.asarray(expected[0]), rtol=tolerance * 10, atol=tolerance)
    assert_close(gradient, backend.asarray(expected[1]), rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("loss, theirs, kind", LOSSES, ids=str)
def test_pytorchs_value_and_gradient(loss, theirs, kind):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def focal(z, t, gamma, alpha):  # torchvision.ops.sigmoid_focal_loss
        p, ce = torch.sigmoid(z), f.binary_cross_entropy_with_logits(z, t, reduction="none")
        return ((alpha * t + (1 - alpha) * (1 - t)) * ce * (1 - (p * t + (1 - p) * (1 - t))) ** gamma).mean()

    def pinball(p, t, levels):
        q, error = torch.tensor(levels).repeat_interleave(t.shape[-1]), t.repeat(1, len(levels)) - p
        return torch.maximum(q * error, (q - 1) * error).mean()

    prediction, target = case(loss, kind)
    at = torch.tensor(prediction, requires_grad=True)
    scope = {"f": f, "torch": torch, "p": at, "t": torch.tensor(target), "d": 3, "focal": focal, "pinball": pinball}
    torch.set_default_dtype(torch.float64)
    try:
        expected = eval(theirs, scope)
        expected.backward()
    finally:
        torch.set_default_dtype(torch.float32)
    value, gradient = loss(prediction, target)
    assert abs(float(value) - expected.item()) < 1e-12
    assert np.abs(gradient - at.grad.numpy()).max() < 1e-12


@pytest.mark.parametrize("loss, kind", EVERY)
def test_weights_are_a_weighted_mean_and_all_zero_is_zero(loss, kind):
    prediction, target = case(loss, kind)
    rows = [loss(prediction[i : i + 1], target[i : i + 1])[0] for i in range(4)]
    value, _ = loss(prediction, target, weight=WEIGHT)
    assert abs(value - np.average(rows, weights=WEIGHT)) < 1e-14
    value, gradient = loss(prediction, target, weight=np.zeros(4))
    assert value == 0.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("own", [False, True], ids=["shared targets", "own targets"])
@pytest.mark.parametrize("loss, kind", EVERY)
def test_lane_k_of_a_stack_has_its_own_value(loss, kind, own):
    prediction, target = case(loss, kind, members=3, own=own)
    value, gradient = loss(prediction, target, xp=np)
    for k in range(3):
        alone = loss(prediction[k], target[k] if own else target, xp=np)
        assert_close(value[k], alone[0], rtol=1e-13)
        assert_close(gradient[k], alone[1], rtol=1e-13, atol=1e-16)


FAR = [-1e4, -1000.0, -30.0, 0.0, 30.0, 1000.0, 1e4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "loss, kind", [pytest.param(a, b, id=f"{a}-{b}") for a, _, b in LOSSES if "oisson" not in str(a)]
)
def test_finite_and_silent_however_far_off_the_prediction_is(loss, kind, dtype):
    for far in FAR:
        prediction, target = case(loss, kind)
        prediction[:2] = far
        prediction[1, 0] = -far
        prediction, target = prediction.astype(dtype), target if kind == "classes" else target.astype(dtype)
        value, gradient = loss(prediction, target)
        assert value.dtype == gradient.dtype == dtype
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [losses.binary_cross_entropy, losses.softmax_cross_entropy], ids=str)
def test_stable_where_the_probability_rounds_to_nought(loss):
    wrong, right = (np.asarray([[-1000.0, 1000.0]]), [0]), (np.asarray([[1000.0, -1000.0]]), [0])
    if loss == losses.binary_cross_entropy:
        wrong, right = (np.asarray([[-1000.0]]), [[1.0]]), (np.asarray([[1000.0]]), [[1.0]])
    assert loss(*wrong)[0] >= 1000.0
    assert loss(*right)[0] == 0.0
    assert np.isfinite(loss(*wrong)[1]).all()


@pytest.mark.parametrize("loss", [losses.mean_absolute_error, losses.quantile, losses.hinge], ids=str)
def test_at_a_kink_the_gradient_is_pytorchs(loss):
    torch = pytest.importorskip("torch")
    at, target = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[1.0]])
    theirs = {
        losses.mean_absolute_error: lambda: (at - target).abs(),
        losses.quantile: lambda: torch.maximum(0.5 * (target - at), -0.5 * (target - at)),
        losses.hinge: lambda: torch.relu(1.0 - at),
    }
    theirs[loss]().sum().backward()
    assert loss([[1.0]], [[1.0]])[1] == at.grad.numpy()


@pytest.mark.parametrize(
    "loss", [losses.softmax_cross_entropy, losses.SoftmaxCrossEntropy(0.1), losses.kl_divergence], ids=str
)
def test_one_hot_rows_equal_indices(loss):
    prediction, target = case(loss, "classes")
    by_index = loss(prediction, target)
    by_row = loss(prediction, np.eye(3)[target])
    assert_close(by_row[0], by_index[0], rtol=1e-14)
    assert_close(by_row[1], by_index[1], rtol=1e-14)


def test_the_divergence_is_the_cross_entropy_less_the_targets_own():
    prediction, target = case(losses.kl_divergence, "soft")
    own = -np.sum(target * np.log(target), axis=-1).mean()
    assert losses.kl_divergence(prediction, target)[0] + own == pytest.approx(
        losses.softmax_cross_entropy(prediction, target)[0], rel=1e-13
    )
    assert losses.kl_divergence(np.log(target), target)[0] == pytest.approx(0.0, abs=1e-15)


def test_quantiles_are_found():
    draws = np.random.default_rng(0).exponential(size=(4001, 1))
    grid = np.linspace(0.0, 4.0, 401)
    for level in (0.1, 0.5, 0.9):
        best = min(grid, key=lambda p: losses.Quantile(level)(np.full_like(draws, p), draws)[0])
        assert abs(best - np.quantile(draws, level)) < 0.02


def test_the_point_forecast_of_each_loss():
    outputs = np.asarray([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    assert (losses.gaussian_nll.point(outputs, xp=np) == [[1.0, 2.0, 3.0]]).all()
    assert (losses.Quantile((0.1, 0.4, 0.9)).point(outputs, xp=np) == [[3.0, 4.0]]).all()
    assert (losses.Quantile((0.5, 0.9)).point(outputs, xp=np) == [[1.0, 2.0, 3.0]]).all()
    assert (losses.poisson.point(outputs, xp=np) == np.exp(outputs)).all()
    assert (losses.huber.point(outputs, xp=np) == outputs).all()


@pytest.mark.parametrize("loss, kind", EVERY)
def test_shapes_that_would_broadcast_are_refused(loss, kind):
    prediction, _ = case(loss, kind, targets=1)
    with pytest.raises(ValueError, match=r"target of shape \(3,\) does not fit prediction of shape \(4, \d\)"):
        loss(prediction, np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match=r"prediction must be \(batch, outputs\)"):
        loss(np.zeros(4), np.zeros(4))


@pytest.mark.parametrize("index", [2, -1, 300])
@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.kl_divergence], ids=str)
def test_by_hand_an_index_that_names_no_class_is_refused(loss, index, backend):
    prediction = backend.asarray(np.zeros((2, 2)))
    for target in ([0, index], backend.asarray(np.asarray([0, index]), dtype=None)):
        with pytest.raises(ValueError, match=r"target must hold class indices from 0 to 1, got "):
            loss(prediction, target)
    assert loss(prediction, [0, 1])[0] < 1.0


def test_a_weight_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"weight must be \(4,\), one a row, got shape \(4, 1\)"):
        losses.mean_squared_error(np.zeros((4, 1)), np.zeros((4, 1)), weight=np.ones((4, 1)))


@pytest.mark.parametrize("name", losses._NAMES)
def test_names(name):
    assert losses.get(name.replace("_", "-").upper()) is losses.get(name)
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        losses.get(name[:-1] + "x" + name[-1] if len(name) > 3 else name + name[-1])


def test_a_class_is_its_default():
    assert losses.get(losses.Huber) == losses.huber


def test_a_class_is_found_by_its_own_name_and_keras_spelling():
    assert losses.get("MeanSquaredError") is losses.mean_squared_error
    assert losses.get("KLDivergence") is losses.kl_divergence
    assert losses.get("binary_crossentropy") is losses.binary_cross_entropy


def test_a_loss_shows_only_what_is_not_at_its_default():
    assert str(losses.huber) == "Huber()"
    assert str(losses.Focal(1.0, alpha=None)) == "Focal(gamma=1, alpha=None)"


@pytest.mark.parametrize("kind", [np.float32, np.float64, Fraction], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("loss, target_kind", EVERY)
def test_a_constant_of_another_kind_widens_nothing(loss, target_kind, kind):
    same = with_numbers(loss, kind)
    assert same == with_numbers(loss, lambda value: float(kind(value)))
    assert all(type(value) is float for value in numbers_of(same).values())
    prediction, target = case(loss, target_kind)
    target = target if target_kind == "classes" else np.float32(target)
    value, gradient = same(np.float32(prediction), target)
    assert value.dtype == gradient.dtype == np.float32
    strict = resolve("array-api-strict", "float32")
    value, gradient = same(strict.asarray(prediction), on(strict, target))
    assert value.dtype == gradient.dtype == strict.float


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.Quantile(1.2), r"levels\[0\] must be > 0 and < 1, got 1.2"),
        (lambda: losses.Quantile((0.1, 0.0)), r"levels\[1\] must be > 0 and < 1, got 0.0"),
        (lambda: losses.Quantile((0.9, 0.1)), r"levels must be one or several that increase, got \(0.9, 0.1\)"),
        (lambda: losses.Quantile(()), "levels must be one or several"),
        (lambda: losses.Quantile("0.5"), r"levels\[0\] must be a number, got '0.5'"),
        (lambda: losses.Quantile((0.1, 0.5, 0.9)).target_width(4), "needs 3 outputs for each target, got 4 outputs"),
        (lambda: losses.gaussian_nll.target_width(3), "needs two outputs for each target"),
        (lambda: losses.GaussianNLL(eps=0.0), "eps must be > 0, got 0.0"),
        (lambda: losses.Huber(delta=0), "delta must be > 0, got 0"),
        (lambda: losses.Hinge(margin=-1.0), "margin must be > 0, got -1.0"),
        (lambda: losses.Focal(gamma=-1), "gamma must be >= 0, got -1"),
        (lambda: losses.Focal(alpha=2.0), "alpha must be >= 0 and <= 1, got 2.0"),
        (lambda: losses.BinaryCrossEntropy(1.0), "label_smoothing must be >= 0 and < 1, got 1.0"),
        (lambda: losses.SoftmaxCrossEntropy(label_smoothing=-0.1), "label_smoothing must be >= 0 and < 1, got -0.1"),
        (lambda: losses.CosineDistance(eps=0.0), "eps must be > 0"),
        (lambda: Penalized("mse", l1=-1.0), "l1 must be >= 0, got -1.0"),
        (lambda: Penalized("mse", l2=[0.1, -1.0]), r"l2\[1\] must be >= 0, got -1.0"),
        (lambda: Penalized("msee"), "did you mean 'mse'"),
        (lambda: Penalized(Penalized("mse")), "penalized already"),
        (lambda: Penalized("mse", multipliers={"bias": -1.0}), r"multipliers\['bias'\] must be >= 0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.kl_divergence], ids=str)
def test_integer_one_hot_rows_are_rows_also_where_they_are_as_many_as_classes(loss):
    prediction = np.random.default_rng(0).normal(size=(3, 3))
    by_row = loss(prediction, np.eye(3, dtype=int), xp=np)
    assert by_row[0] == pytest.approx(loss(prediction, np.arange(3), xp=np)[0])
    assert by_row[0].shape == ()


def test_a_length_below_eps_counts_as_eps_and_no_target_is_no_direction():
    check_loss(losses.CosineDistance(eps=10.0), RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)))
    value, gradient = losses.cosine_distance([[1.0, 2.0]], [[0.0, 0.0]])
    assert value == 1.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("logit, target", [(12.0, 1.0), (-12.0, 0.0)])
def test_focal_of_a_confident_row_has_its_own_small_gradient(logit, target):
    loss, step = losses.Focal(gamma=0.5, alpha=None), 1e-4
    above, below = (float(loss([[logit + move]], [[target]])[0]) for move in (step, -step))
    assert loss([[logit]], [[target]])[1][0, 0] == pytest.approx((above - below) / (2 * step), rel=1e-4)
