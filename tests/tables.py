"""Every layer, activation, loss and optimizer, a line each: a new piece is tested by adding its line here."""

from xpnn import activations, initializers, layers, losses, optimizers, schedules

# What layers take that do not take five numbers: category indices, numbers and indices, samples of two axes.
INDICES = [[0, 3], [3, 3], [1, 0], [3, 2], [0, 0], [2, 1]]
MIXED = [[0.3, 2, -1.2, 0.5, 1], [1.1, 0, 0.4, -0.2, 1], [-0.7, 2, 2.0, 0.1, 3], [0.2, 1, -0.3, 1.4, 0]]
PICTURES = [[[0.1 * (n - i) ** 2 - 0.3 * n * j for j in range(3)] for i in range(2)] for n in range(6)]

# Layers of five features, or beside the x that they take; each is checked with and without training, lone and stacked,
# and sample by sample.
LAYERS = [
    layers.Dense(5, 3),
    layers.Dense(5, 3, bias=False),
    layers.Dropout(0.3),
    layers.BatchNorm(5),
    layers.BatchNorm(5, eps=1e-2, momentum=0.5),
    layers.PReLU(),
    layers.PReLU(5),
    layers.PReLU(5, initial=-0.5),
    layers.Standardize((0.1, -0.2, 0.3, 0.0, 1.0), (1.0, 2.0, 0.5, 3.0, 1.5)),
    layers.Standardize((0.1, -0.2, 0.3, 0.0, 1.0), (1.0, 2.0, 0.5, 3.0, 1.5), inverse=True),
    layers.Sequential([layers.Dense(5, 4), activations.tanh, layers.Dropout(0.2), layers.Dense(4, 2)]),
    layers.Sequential([layers.Sequential([layers.Dense(5, 4), layers.BatchNorm(4)]), activations.sigmoid]),
    layers.Sequential([activations.tanh, layers.Dropout(0.5)]),
    layers.LayerNorm(5),
    layers.LayerNorm(5, eps=1e-2, bias=False),
    layers.RMSNorm(5),
    layers.RMSNorm(5, eps=1e-2),
    layers.Residual([layers.Dense(5, 4), activations.tanh, layers.Dropout(0.2), layers.Dense(4, 5)]),
    layers.Residual(
        layers.Sequential([layers.Residual([layers.Dense(5, 5), activations.sigmoid]), layers.BatchNorm(5)])
    ),
    (layers.Flatten((2, 3)), PICTURES),
    (layers.Sequential([layers.Flatten((2, 3)), layers.Dense(6, 2)]), PICTURES),
    (layers.Embedding(4, 3, columns=2), INDICES),
    (layers.Sequential([layers.Embedding(5, 2, columns=2), layers.Dense(4, 2), activations.tanh]), INDICES),
    (layers.Embedding(501, 2, columns=2), INDICES),
    (layers.FeatureEmbedding([None, 3, None, None, 4], [2, 3]), MIXED),
    (layers.Sequential([layers.FeatureEmbedding([4, 7], 2), layers.Dense(4, 2)]), INDICES),
    layers.FeatureEmbedding([None] * 5),
    layers.Maxout(5, 3),
    layers.Maxout(5, 2, pieces=3),
    layers.GaussianNoise(0.3),
    layers.ActivityPenalty(l1=0.1, l2=0.4),
    layers.Sequential(
        [layers.Dense(5, 4), layers.ActivityPenalty(0.2), layers.Residual(layers.ActivityPenalty(l2=0.3))]
    ),
    layers.Increasing(5, 5),
    layers.Sequential([layers.Dense(5, 6), layers.Increasing(6, 3)]),
]

# Whose samples depend on one another in training, so that a gradient sample by sample has no meaning there.
COUPLED = (layers.BatchNorm,)

# Each beside PyTorch's function of the same numbers and JAX's. (PyTorch's Hardsigmoid has a derivative rounded to
# float32, and its Softplus is x above a threshold.)
ACTIVATIONS = {
    "identity": ("nn.Identity()", "lambda x: x"),
    "sigmoid": ("torch.sigmoid", "nn.sigmoid"),
    "tanh": ("torch.tanh", "nn.tanh"),
    "relu": ("torch.relu", "nn.relu"),
    "softmax": ("nn.Softmax(dim=-1)", "nn.softmax"),
    "log_softmax": ("nn.LogSoftmax(dim=-1)", "nn.log_softmax"),
    "leaky_relu": ("nn.LeakyReLU()", "nn.leaky_relu"),
    "elu": ("nn.ELU()", "nn.elu"),
    "selu": ("nn.SELU()", "nn.selu"),
    "softplus": ("nn.Softplus(threshold=40)", "nn.softplus"),
    "hard_sigmoid": ("lambda x: nn.functional.relu6(x + 3) / 6", "nn.hard_sigmoid"),
    "hard_swish": ("nn.Hardswish()", "nn.hard_swish"),
    "silu": ("nn.SiLU()", "nn.silu"),
    "gelu": ("nn.GELU()", "lambda x: nn.gelu(x, approximate=False)"),
    "gelu_tanh": ("nn.GELU(approximate='tanh')", "lambda x: nn.gelu(x, approximate=True)"),
    "mish": ("nn.Mish()", "nn.mish"),
    "softsign": ("nn.Softsign()", "nn.soft_sign"),
    "exponential": ("torch.exp", "jnp.exp"),
    "sine": ("torch.sin", "jnp.sin"),
}

# The same, where they have numbers of their own.
TUNED_ACTIVATIONS = [
    (activations.LeakyReLU(0.3), "nn.LeakyReLU(0.3)", "lambda x: nn.leaky_relu(x, 0.3)"),
    (activations.LeakyReLU(0), "nn.ReLU()", "nn.relu"),
    (activations.ELU(2), "nn.ELU(2.0)", "lambda x: nn.elu(x, 2.0)"),
    (activations.ELU(0.4), "nn.ELU(0.4)", "lambda x: nn.elu(x, 0.4)"),
    (activations.Sine(2.5), "lambda x: torch.sin(2.5 * x)", "lambda x: jnp.sin(2.5 * x)"),
]

# Each beside PyTorch's value for predictions p and targets t (f is torch.nn.functional, d the number of targets), and
# the kind of target that it takes.
LOSSES = [
    (losses.mean_squared_error, "f.mse_loss(p, t)", "real"),
    (losses.mean_absolute_error, "f.l1_loss(p, t)", "real"),
    (losses.huber, "f.huber_loss(p, t)", "real"),
    (losses.Huber(delta=0.3), "f.huber_loss(p, t, delta=0.3)", "real"),
    (losses.log_cosh, "torch.log(torch.cosh(p - t)).mean()", "real"),
    (losses.cosine_distance, "(1 - f.cosine_similarity(p, t, -1)).mean()", "real"),
    (losses.binary_cross_entropy, "f.binary_cross_entropy_with_logits(p, t)", "unit"),
    (losses.BinaryCrossEntropy(0.2), "f.binary_cross_entropy_with_logits(p, 0.8 * t + 0.1)", "unit"),
    (losses.softmax_cross_entropy, "f.cross_entropy(p, t)", "classes"),
    (losses.softmax_cross_entropy, "f.cross_entropy(p, t)", "soft"),
    (losses.SoftmaxCrossEntropy(label_smoothing=0.2), "f.cross_entropy(p, t, label_smoothing=0.2)", "classes"),
    (losses.SoftmaxCrossEntropy(label_smoothing=0.2), "f.cross_entropy(p, t, label_smoothing=0.2)", "soft"),
    (losses.kl_divergence, "f.kl_div(f.log_softmax(p, -1), t, reduction='batchmean')", "soft"),
    (losses.focal, "focal(p, t, 2.0, 0.25)", "binary"),
    (losses.Focal(gamma=0.5, alpha=None), "focal(p, t, 0.5, 0.5) * 2", "unit"),
    (losses.hinge, "f.relu(1 - (2 * t - 1) * p).mean()", "binary"),
    (losses.Hinge(margin=0.5), "f.relu(0.5 - (2 * t - 1) * p).mean()", "binary"),
    (losses.poisson, "f.poisson_nll_loss(p, t)", "counts"),
    (losses.quantile, "pinball(p, t, [0.5])", "real"),
    (losses.Quantile((0.1, 0.7)), "pinball(p, t, [0.1, 0.7])", "real"),
    (losses.gaussian_nll, "f.gaussian_nll_loss(p[:, :d], t, p[:, d:].exp() + 1e-6, eps=0.0)", "real"),
    (losses.GaussianNLL(0.5), "f.gaussian_nll_loss(p[:, :d], t, p[:, d:].exp() + 0.5, eps=0.0)", "real"),
]

# Each beside PyTorch's with the same settings; Lion, which PyTorch lacks, beside one written from the paper.
OPTIMIZERS = [
    (optimizers.SGD(0.1), "SGD(p, lr=0.1)"),
    (optimizers.SGD(0.1, momentum=0.9), "SGD(p, lr=0.1, momentum=0.9)"),
    (optimizers.SGD(0.1, 0.9, nesterov=True), "SGD(p, lr=0.1, momentum=0.9, nesterov=True)"),
    (optimizers.SGD(0.1, weight_decay=0.2), "SGD(p, lr=0.1, weight_decay=0.2)"),
    (optimizers.Lion(0.01), "Lion(p, lr=0.01)"),
    (optimizers.Lion(0.1, 0.5, 0.7, weight_decay=0.2), "Lion(p, lr=0.1, betas=(0.5, 0.7), weight_decay=0.2)"),
    (optimizers.RMSprop(), "RMSprop(p)"),
    (optimizers.RMSprop(0.1, rho=0.5, eps=1e-4), "RMSprop(p, lr=0.1, alpha=0.5, eps=1e-4)"),
    (optimizers.RMSprop(0.1, momentum=0.5), "RMSprop(p, lr=0.1, momentum=0.5)"),
    (optimizers.RMSprop(0.1, centered=True), "RMSprop(p, lr=0.1, centered=True)"),
    (
        optimizers.RMSprop(0.1, 0.8, 1e-4, 0.9, centered=True),
        "RMSprop(p, lr=0.1, alpha=0.8, eps=1e-4, momentum=0.9, centered=True)",
    ),
    (optimizers.Adagrad(), "Adagrad(p)"),
    (optimizers.Adagrad(0.1, 2.0, eps=1e-4), "Adagrad(p, lr=0.1, initial_accumulator_value=2.0, eps=1e-4)"),
    (optimizers.Adagrad(schedules.InverseTimeDecay(0.1, rate=0.5, steps=1)), "Adagrad(p, lr=0.1, lr_decay=0.5)"),
    (optimizers.Adam(), "Adam(p)"),
    (optimizers.Adam(0.1, beta1=0.5, beta2=0.9, eps=1e-4), "Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-4)"),
    (optimizers.Adam(0.1, 0.5, 0.6, amsgrad=True), "Adam(p, lr=0.1, betas=(0.5, 0.6), amsgrad=True)"),
    (optimizers.AdamW(), "AdamW(p)"),
    (optimizers.AdamW(0.1, weight_decay=0.3, amsgrad=True), "AdamW(p, lr=0.1, weight_decay=0.3, amsgrad=True)"),
    (optimizers.NAdam(), "NAdam(p)"),
    (
        optimizers.NAdam(0.1, 0.8, 0.9, 1e-4, momentum_decay=0.5, weight_decay=0.3),
        "NAdam(p, 0.1, (0.8, 0.9), 1e-4, momentum_decay=0.5, weight_decay=0.3, decoupled_weight_decay=True)",
    ),
    (optimizers.RAdam(), "RAdam(p)"),
    (
        optimizers.RAdam(0.1, 0.8, 0.9, 1e-4, weight_decay=0.3),
        "RAdam(p, 0.1, (0.8, 0.9), 1e-4, weight_decay=0.3, decoupled_weight_decay=True)",
    ),
    (optimizers.RAdam(0.1, beta1=0.0, beta2=0.5), "RAdam(p, lr=0.1, betas=(0.0, 0.5))"),
]

# Each of 0.1 at its highest, beside PyTorch's of optimizer o, and the step at which PyTorch's goes another way.
SCHEDULES = [
    (schedules.Constant(0.1), "ConstantLR(o, factor=1.0)", None),
    (schedules.ExponentialDecay(0.1, rate=0.5, steps=10), "ExponentialLR(o, gamma=0.5**0.1)", None),
    (schedules.StepDecay(0.1, rate=0.5, steps=10), "StepLR(o, step_size=10, gamma=0.5)", None),
    (schedules.InverseTimeDecay(0.1, rate=1.0, steps=10), "LambdaLR(o, lambda t: 1 / (1 + t / 10))", None),
    (schedules.InverseScaling(0.1), "LambdaLR(o, lambda t: 1 / (t + 1) ** 0.5)", None),
    (schedules.PolynomialDecay(0.1, 40), "PolynomialLR(o, 40)", None),
    (schedules.PolynomialDecay(0.1, 40, power=2.5), "PolynomialLR(o, 40, power=2.5)", None),
    (schedules.PolynomialDecay(0.1, 40, final=0.02), "LinearLR(o, 1.0, 0.2, total_iters=40)", None),
    (schedules.CosineDecay(0.1, 40), "CosineAnnealingLR(o, 40)", 41),
    (schedules.CosineDecay(0.1, 40, final=0.01), "CosineAnnealingLR(o, 40, eta_min=0.01)", 41),
    (
        schedules.CosineDecay(0.1, 40, final=0.01, warmup=10, warmup_from=0.02),
        "SequentialLR(o, [LinearLR(o, 0.2, total_iters=10), CosineAnnealingLR(o, 30, eta_min=0.01)], [10])",
        41,
    ),
    (schedules.CosineDecay(0.1, 30, restarts=2), "CosineAnnealingWarmRestarts(o, 10)", 30),
    (
        schedules.CosineDecay(0.1, 70, final=0.01, restarts=2, growth=2),
        "CosineAnnealingWarmRestarts(o, 10, T_mult=2, eta_min=0.01)",
        70,
    ),
    (schedules.OneCycle(0.1, 60), "OneCycleLR(o, 0.1, 60)", 60),
    (schedules.OneCycle(0.1, 60, start_fraction=0.0), "OneCycleLR(o, 0.1, 60, pct_start=0.0)", 60),
    (
        schedules.OneCycle(0.1, 33, start_fraction=0.4, div_factor=10, final_div_factor=100, anneal="linear"),
        "OneCycleLR(o, 0.1, 33, pct_start=0.4, div_factor=10, final_div_factor=100, anneal_strategy='linear')",
        33,
    ),
    (schedules.Piecewise([10, 35], [0.1, 0.05, 0.025]), "MultiStepLR(o, [10, 35], gamma=0.5)", None),
]

# Each beside the function of torch.nn.init that draws a weight w from the same distribution, and its spread for a
# weight of 400 inputs and 300 outputs.
INITIALIZERS = [
    (initializers.Zeros(), "zeros_(w)", 0.0),
    (initializers.Constant(0.5), "constant_(w, 0.5)", 0.0),
    (initializers.TruncatedNormal(), "trunc_normal_(w, std=1.0, a=-1.0, b=1.0)", 0.5395599),
    (initializers.Normal(), "normal_(w, std=0.05)", 0.05),
    (initializers.Normal(mean=1.0, std=2.0), "normal_(w, mean=1.0, std=2.0)", 2.0),
    (initializers.Uniform(), "uniform_(w, -0.05, 0.05)", 0.1 / 12**0.5),
    (initializers.Uniform(0.0, 1.0), "uniform_(w)", 1 / 12**0.5),
    (initializers.GlorotUniform(), "xavier_uniform_(w)", (2 / 700) ** 0.5),
    (
        initializers.GlorotUniform(gain="tanh"),
        "xavier_uniform_(w, gain=5 / 3)",
        5 / 3 * (2 / 700) ** 0.5,
    ),
    (initializers.GlorotNormal(), "xavier_normal_(w)", (2 / 700) ** 0.5),
    (initializers.GlorotNormal(gain=2.0), "xavier_normal_(w, gain=2.0)", 2 * (2 / 700) ** 0.5),
    (initializers.HeUniform(), "kaiming_uniform_(w, nonlinearity='relu')", (2 / 400) ** 0.5),
    (initializers.HeUniform(gain="leaky_relu"), "kaiming_uniform_(w, 0.01)", (2 / 1.0001 / 400) ** 0.5),
    (initializers.HeNormal(), "kaiming_normal_(w, nonlinearity='relu')", (2 / 400) ** 0.5),
    (initializers.HeNormal(gain="tanh"), "kaiming_normal_(w, nonlinearity='tanh')", 5 / 3 / 20),
    (initializers.LeCunUniform(), "kaiming_uniform_(w, nonlinearity='linear')", 1 / 20),
    (initializers.LeCunUniform(gain="relu"), "kaiming_uniform_(w)", (2 / 400) ** 0.5),
    (initializers.LeCunNormal(), "kaiming_normal_(w, nonlinearity='linear')", 1 / 20),
    (initializers.LeCunNormal(gain="selu"), "kaiming_normal_(w, nonlinearity='selu')", 0.75 / 20),
    (initializers.Orthogonal(), "orthogonal_(w)", 1 / 20),
    (initializers.Orthogonal(gain="relu"), "orthogonal_(w, gain=calculate_gain('relu'))", (2 / 400) ** 0.5),
    (initializers.Sparse(std=1.0), "sparse_(w, 0.9, std=1.0)", 0.1**0.5),
    (initializers.Sparse(sparsity=0.5), "sparse_(w, 0.5)", 0.01 * 0.5**0.5),
]
