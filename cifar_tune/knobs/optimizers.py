"""The optimizers. A new one is one entry here."""

from collections.abc import Mapping

from cifar_tune.knobs.part import Part

_ADAM = {"lr": "lr", "weight_decay": "weight_decay", "beta1": "betas.0", "beta2": "betas.1", "eps": "eps"}
_FUSED = {"fused": True}

OPTIMIZERS: Mapping[str, Part] = {
    "sgd": Part(
        "torch.optim:SGD",
        "stochastic gradient descent with momentum",
        arguments={
            "lr": "lr",
            "weight_decay": "weight_decay",
            "momentum": "momentum",
            "nesterov": "nesterov",
        },
        defaults={"lr": 0.05},
        constants=_FUSED,
    ),
    "adam": Part(
        "torch.optim:Adam",
        "Adam (Kingma and Ba 2015); weight decay is added to the gradient",
        arguments=_ADAM,
        constants=_FUSED,
    ),
    "adamw": Part(
        "torch.optim:AdamW",
        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
        arguments=_ADAM,
        constants=_FUSED,
    ),
    "rmsprop": Part(
        "torch.optim:RMSprop",
        "RMSprop (Hinton 2012)",
        arguments={
            "lr": "lr",
            "weight_decay": "weight_decay",
            "momentum": "momentum",
            "alpha": "alpha",
            "eps": "eps",
        },
        defaults={"momentum": 0.0},
    ),
}
