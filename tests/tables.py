"""Every layer, activation, loss and optimizer, a line each: a new piece is tested by adding its line here."""

from xpnn import activations, layers, optimizers, schedules

# Layers of five features; each is checked with and without training, lone and stacked, and sample by sample.
LAYERS = [
    layers.Dense(5, 3),
    layers.Dense(5, 3, bias=False),
    layers.Dropout(0.3),
    layers.BatchNorm(5),
    layers.BatchNorm(5, eps=1e-2, momentum=0.5),
    layers.Standardize((0.1, -0.2, 0.3, 0.0, 1.0), (1.0, 2.0, 0.5, 3.0, 1.5)),
    layers.Standardize((0.1, -0.2, 0.3, 0.0, 1.0), (1.0, 2.0, 0.5, 3.0, 1.5), inverse=True),
    layers.Sequential([layers.Dense(5, 4), activations.tanh, layers.Dropout(0.2), layers.Dense(4, 2)]),
    layers.Sequential([layers.Sequential([layers.Dense(5, 4), layers.BatchNorm(4)]), activations.sigmoid]),
    layers.Sequential([activations.tanh, layers.Dropout(0.5)]),
]

# Whose samples depend on one another in training, so that a gradient sample by sample has no meaning there.
COUPLED = (layers.BatchNorm,)

# Each beside PyTorch's function of the same numbers.
ACTIVATIONS = {
    "identity": "nn.Identity()",
    "sigmoid": "torch.sigmoid",
    "tanh": "torch.tanh",
    "relu": "torch.relu",
    "softmax": "nn.Softmax(dim=-1)",
}

# Each beside PyTorch's, and the kind of target that it takes.
LOSSES = {
    "mean_squared_error": ("nn.functional.mse_loss", "real"),
    "binary_cross_entropy": ("nn.functional.binary_cross_entropy_with_logits", "unit"),
    "softmax_cross_entropy": ("nn.functional.cross_entropy", "classes"),
}

# Each beside PyTorch's with the same settings.
OPTIMIZERS = [
    (optimizers.SGD(0.1), "SGD(p, lr=0.1)"),
    (optimizers.SGD(0.1, momentum=0.9), "SGD(p, lr=0.1, momentum=0.9)"),
    (optimizers.Adam(0.01), "Adam(p, lr=0.01)"),
    (optimizers.Adam(0.1, beta1=0.5, beta2=0.9, eps=1e-4), "Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-4)"),
]

SCHEDULES = [
    schedules.Constant(0.1),
    schedules.ExponentialDecay(0.1, rate=0.5, steps=10),
    schedules.InverseTimeDecay(0.1, rate=1.0, steps=10),
]
