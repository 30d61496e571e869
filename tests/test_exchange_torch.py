"""Networks from PyTorch and back: the same outputs, the same gradients, and refusals that name the module."""

import numpy as np
import pytest

import xpnn
from tests.tables import ACTIVATIONS, LAYERS
from xpnn import Network, activations, from_torch, layers, mlp, to_torch, to_torch_state_dict

torch = pytest.importorskip("torch")
nn = torch.nn
RELU = nn.ReLU()
X = np.random.default_rng(0).normal(size=(7, 5))


def settled(module, dtype=torch.float64):
    """The module with statistics and parameters that are none of its first ones."""
    torch.manual_seed(0)
    module = module.to(dtype)
    with torch.no_grad():
        for name, one in module.state_dict().items():
            if one.dtype == dtype:
                one.copy_(torch.rand_like(one) + (0.5 if "var" in name else -0.4))
    return module.eval()


MODULES = {
    "plain": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(dim=-1)),
    "one module": lambda: nn.Linear(5, 3),
    "no bias": lambda: nn.Sequential(nn.Linear(5, 3, bias=False), nn.Tanh()),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.Sigmoid()), nn.Sequential(nn.Linear(4, 1))),
    "batch norm": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, eps=1e-3, momentum=0.3), nn.Linear(4, 2)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(5, eps=1e-3), nn.Linear(5, 2)),
    "layer norm without bias": lambda: nn.Sequential(nn.LayerNorm(5, bias=False), nn.Linear(5, 2)),
    "rms norm": lambda: nn.Sequential(nn.RMSNorm(5), nn.Linear(5, 4), nn.RMSNorm(4, eps=1e-2)),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 4), nn.Dropout(0.3), nn.Identity(), nn.Linear(4, 2)),
    "prelu": lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(4), nn.Linear(4, 3), nn.PReLU()),
    "leaky": lambda: nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.3), nn.ELU(0.7), nn.GELU("tanh"), nn.Softplus()),
    "one activation twice": lambda: nn.Sequential(
        *(nn.Linear(5, 4), RELU, nn.Sequential(nn.Linear(4, 4), RELU), nn.Linear(4, 2), RELU)
    ),
    "every": lambda: nn.Sequential(
        *(nn.Linear(5, 5), nn.SELU(), nn.SiLU(), nn.GELU(), nn.Mish(), nn.Hardsigmoid(), nn.Hardswish(), nn.Softsign()),
        *(nn.Linear(5, 5), nn.LogSoftmax(dim=1)),
    ),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("backend", ["numpy", "torch", "array-api-strict"])
def test_a_module_is_a_network_of_the_same_outputs_and_gradients(name, backend):
    module = settled(MODULES[name]())
    net = from_torch(module, backend=backend)
    x = torch.tensor(X, requires_grad=True)
    wanted = module(x)
    assert net.backend.dtype == "float64" and net.backend.name == backend
    assert np.allclose(net.backend.to_host(net.predict(X)), wanted.detach().numpy(), rtol=1e-9, atol=1e-12)
    y, pullback = net.vjp(X)
    dy = np.random.default_rng(1).normal(size=y.shape)
    wanted.backward(torch.tensor(dy))
    dx, _ = pullback(net.backend.asarray(dy))
    near = 1e-6 if name == "every" else 1e-9  # PyTorch's Hardsigmoid has a derivative rounded to float32
    assert np.allclose(net.backend.to_host(dx), x.grad.numpy(), rtol=near, atol=1e-11)


@pytest.mark.parametrize("name", MODULES)
def test_a_network_goes_to_torch_and_back(name):
    net = from_torch(settled(MODULES[name]()))
    module = to_torch(net)
    assert not module.training
    with torch.no_grad():
        assert np.allclose(module(torch.tensor(X)).numpy(), net.predict(X), rtol=1e-9, atol=1e-12)
    again = from_torch(module)
    assert again.layer == net.layer
    assert np.array_equal(again.predict(X), net.predict(X))


TAKEN = [line for line in LAYERS if not isinstance(line, tuple)]
OTHERS = (layers.Maxout, layers.GaussianNoise, layers.ActivityPenalty, layers.Increasing, layers.FeatureEmbedding)


@pytest.mark.parametrize("layer", TAKEN, ids=repr)
def test_every_layer_goes_to_torch_or_is_refused_by_name(layer):
    inside = [one for _, one in layers.walk(layer)]
    net = Network([xpnn.Dense(5, 5), layer], dtype="float64", seed=2)
    if any(isinstance(one, OTHERS) for one in inside):
        with pytest.raises(TypeError, match=r"layer 1.*has no module in PyTorch"):
            to_torch(net)
        return
    with torch.no_grad():
        assert np.allclose(to_torch(net)(torch.tensor(X)).numpy(), net.predict(X), rtol=1e-9, atol=1e-12)
    assert np.allclose(from_torch(to_torch(net)).predict(X), net.predict(X), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_goes_to_torch_or_is_refused_by_name(name):
    net = Network([xpnn.Dense(5, 3), activations.get(name)], dtype="float64", seed=2)
    if name in ("exponential", "sine"):
        with pytest.raises(TypeError, match="layer 1, has no module in PyTorch"):
            to_torch(net)
        return
    with torch.no_grad():
        assert np.allclose(to_torch(net)(torch.tensor(X)).numpy(), net.predict(X), rtol=1e-7, atol=1e-9)


def test_training_goes_on_there_and_here():
    x, y = xpnn.datasets.circles(200)
    net = Network([xpnn.Standardize.fit(x), *mlp([2, 16, 1], "tanh")], dtype="float64", seed=1)
    net.fit(x, y, epochs=5)
    module = to_torch(net).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    loss = torch.mean((module(torch.tensor(x)) - torch.tensor(y)) ** 2)
    assert float(loss.detach()) == pytest.approx(net.evaluate(x, y)["loss"], rel=1e-9)
    loss.backward()
    optimizer.step()
    net.step(x, y, optimizer=xpnn.SGD(0.1))
    with torch.no_grad():
        assert np.allclose(module(torch.tensor(x)).numpy(), net.predict(x), rtol=1e-9)
    back = from_torch(module)
    assert back.layers[0] == net.layers[0]
    back.fit(x, y, epochs=1)


def test_a_state_dict_is_taken_by_layers_and_given_back():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.second = nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x):
            return self.second(torch.relu(self.norm(self.first(x))))

    model = settled(Model())
    chain = [layers.Dense(5, 4), layers.BatchNorm(4), "relu", layers.Dense(4, 2)]
    net = from_torch(model.state_dict(), layers=chain)
    with torch.no_grad():
        assert np.allclose(net.predict(X), model(torch.tensor(X)).numpy(), rtol=1e-12)
    assert np.array_equal(from_torch(model, layers=chain).predict(X), net.predict(X))
    plain = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    plain.load_state_dict(to_torch_state_dict(net), strict=True)
    nested = Network([layers.Sequential([layers.Dense(5, 4), layers.PReLU()]), layers.Residual([layers.Dense(4, 4)])])
    again = from_torch(to_torch_state_dict(nested), layers=nested)
    assert np.array_equal(again.predict(X), nested.predict(X))


@pytest.mark.parametrize("place", [lambda net: net, lambda net: layers.Residual(net.layers)])
def test_a_state_dict_that_is_sorted_by_name_gives_the_same(place):
    net = Network([place(layers.Sequential(tuple(layers.Dense(5, 5) for _ in range(12))))], seed=3)
    state = to_torch_state_dict(net)
    for prefix in ("", "module.", "_orig_mod.body."):
        mixed = {prefix + name: state[name] for name in sorted(state)}
        assert [*mixed] != [prefix + name for name in state]
        assert np.array_equal(from_torch(mixed, layers=net).predict(X), net.predict(X))


def test_embeddings_of_several_columns_and_flatten_go_there_and_back():
    net = Network([layers.Embedding(6, 3, columns=2), layers.Flatten((6,)), layers.Dense(6, 2)], seed=1)
    x = np.asarray([[0, 5], [3, 3], [1, 2]])
    module = to_torch(net)
    with torch.no_grad():
        assert np.allclose(module(torch.tensor(x)).numpy(), net.predict(x), rtol=1e-6)
    assert np.array_equal(from_torch(module).predict(x), net.predict(x))


def test_the_eps_that_pytorch_takes_is_that_of_its_own_dtype():
    module = nn.Sequential(nn.RMSNorm(5))
    x = X * 1e-5
    with torch.no_grad():
        wanted = module(torch.tensor(x, dtype=torch.float32)).numpy()
    assert np.allclose(from_torch(module, dtype="float64").predict(x), wanted, rtol=1e-4)


def tied():
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def hooked(register):
    module = nn.Linear(5, 2)
    getattr(module, register)(lambda *given: None)
    return nn.Sequential(module)


class Residual(nn.Module):
    """Another's, of the same name."""

    def forward(self, x):
        return x


Sequential_ = type("Sequential", (nn.Sequential,), {"forward": lambda self, x: 2.0 * x})


def test_what_would_be_another_network_is_refused():
    lone = nn.Linear(5, 5)
    for module, message in (
        (tied(), "one parameter in two places, 0.weight and 2.weight, .*copy.deepcopy"),
        (nn.Sequential(lone, nn.Tanh(), lone), "one parameter in two places, 0.weight and 2.weight"),
        (nn.Sequential(nn.BatchNorm1d(5, momentum=1.5)), r"module 0 is BatchNorm1d\(.*momentum"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(module)
    for module, message in (
        (hooked("register_forward_hook"), "module 0 is Linear.*without forward hooks"),
        (hooked("register_forward_pre_hook"), "module 0 is Linear.*without forward hooks"),
        (nn.Sequential(nn.Linear(5, 5), Residual()), "module 1 is Residual.*there is no layer"),
        (Sequential_(nn.Linear(5, 5)), r"(?s)module source is Sequential.*there is no layer"),
        (nn.Sequential(nn.Linear(5, 5), nn.Softplus(threshold=0.1)), "threshold=20"),
        (nn.Sequential(nn.Embedding(5, 5, scale_grad_by_freq=True)), "scale_grad_by_freq it can"),
        (nn.Linear(5, 5, dtype=torch.complex64), "real numbers in memory, got torch.complex64"),
        (nn.Linear(5, 5, device="meta"), "real numbers in memory, got torch.float32 on meta"),
        (nn.Sequential(nn.BatchNorm1d(5, bias=False)), "with affine=True, a bias"),
    ):
        with pytest.raises(TypeError, match=message):
            from_torch(module)
    state = {"state_dict": nn.Linear(5, 5).state_dict(), "epoch": 3}
    with pytest.raises(TypeError, match=r"got 'state_dict' with OrderedDict: .*checkpoint\[\"state_dict\"\]"):
        from_torch(state, layers=mlp([5, 5]))
    for function in (to_torch, to_torch_state_dict):
        with pytest.raises(TypeError, match="net must be a Network, got 3"):
            function(3)  # type: ignore[arg-type]


def test_what_does_not_fit_is_named():
    state = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()
    for given, message in (
        (None, "layers must be given with a state dict"),
        (mlp([5, 4]), r"has entries of 2 modules, 0, 2, and layers with parameters are 1: Dense\(5, 4\), layer 0"),
        (mlp([5, 3, 2]), r"Dense\(5, 3\), layer 0, has .*\(5, 3\).*; 0 gives .*\(5, 4\)"),
        ([layers.Dense(5, 4, bias=False), "relu", layers.Dense(4, 2)], r"layer 0, has \{'weight': \(5, 4\)\}; 0 gives"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(state, layers=given)
    for module, message in (
        (nn.Sequential(nn.Linear(5, 4), nn.Conv1d(1, 1, 1)), "module 1 is Conv1d.*there is no layer for it"),
        (nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.LSTM(4, 4))), "module 0.1 is LSTM"),
        (nn.Sequential(nn.Linear(5, 4), nn.Softplus(beta=2.0)), "with beta=1 and threshold=20 it can be taken"),
        (nn.Sequential(nn.Linear(5, 4), nn.Softmax(dim=0)), "over the features, dim=-1"),
        (nn.Sequential(nn.BatchNorm1d(5, affine=False)), "with affine=True"),
        (nn.Sequential(nn.LayerNorm((2, 5))), "over one axis"),
        (nn.Sequential(nn.Flatten(0)), "with start_dim=1"),
        (nn.Sequential(nn.Embedding(3, 2, padding_idx=0)), "without padding_idx"),
        (3, "source must be a torch.nn.Module or a state dict, got 3"),
    ):
        with pytest.raises(TypeError, match=message):
            from_torch(module)
    with pytest.raises(ValueError, match="no modules that a network could be made of"):
        from_torch(nn.Sequential())
    for function in (to_torch, to_torch_state_dict):
        with pytest.raises(TypeError, match=r"net must be one network, got a stack of 2: give one of them, net\[k\]"):
            function(Network(mlp([2, 1]), members=2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_widened(dtype):
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh()).to(dtype)
    net = from_torch(module)
    assert net.backend.dtype == "float32"
    assert np.array_equal(net.weights[0], module[0].weight.detach().float().numpy().T)
    assert from_torch(module, dtype="float64").backend.dtype == "float64"


def test_an_embedding_of_one_column():
    module = settled(nn.Sequential(nn.Embedding(4, 3)))
    net = from_torch(module)
    with torch.no_grad():
        wanted = module(torch.tensor([0, 3, 1])).numpy()
    assert np.array_equal(net.predict([[0], [3], [1]]), wanted)


def test_nothing_is_shared():
    module = nn.Linear(5, 3)
    net = from_torch(module)
    before, back = net.predict(X), to_torch(net)
    with torch.no_grad():
        module.weight.zero_()
        back[0].weight.zero_()
        for one in to_torch_state_dict(net).values():
            one.zero_()
    assert np.array_equal(net.predict(X), before)
