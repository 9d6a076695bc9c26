"""The optimizers. A new one is one entry here.

Each has one learning rate and one schedule. Weight decay is the coupled kind, added to the gradient (an L2 penalty),
where the meaning does not say that it is decoupled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class OptimizerPart(Part):
    """An optimizer.

    One that is capturable takes its learning rate as a tensor, and keeps whatever else changes from step to step in
    tensors on the device.

    Attributes:
        graph_constants: further arguments where its step is captured in a CUDA graph.
    """

    graph_constants: Mapping[str, object] = field(default_factory=dict)


_COMMON = {"lr": "lr", "weight_decay": "weight_decay"}
_BETAS = {"beta1": "betas.0", "beta2": "betas.1"}
_ADAM = {**_COMMON, **_BETAS, "eps": "eps"}
_FUSED = {"fused": True}
_CAPTURABLE = {"capturable": True}
_FOREACH = {"capturable": True, "foreach": True}
"""Without `foreach`, some of torch's loops over single weights read a learning rate that is a tensor."""

_BUILT_IN: Mapping[str, OptimizerPart] = {
    "sgd": OptimizerPart(
        "torch.optim:SGD",
        "stochastic gradient descent with momentum",
        arguments={**_COMMON, "momentum": "momentum", "nesterov": "nesterov"},
        defaults={"lr": 0.05},
        constants=_FUSED,
    ),
    "adam": OptimizerPart(
        "torch.optim:Adam",
        "Adam (Kingma and Ba 2015); weight decay is added to the gradient",
        arguments=_ADAM,
        constants=_FUSED,
        graph_constants=_CAPTURABLE,
    ),
    "adamw": OptimizerPart(
        "torch.optim:AdamW",
        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
        arguments=_ADAM,
        constants=_FUSED,
        graph_constants=_CAPTURABLE,
    ),
    "nadam": OptimizerPart(
        "torch.optim:NAdam",
        "Adam with Nesterov momentum (Dozat 2016)",
        arguments={
            **_ADAM,
            "momentum_decay": "momentum_decay",
            "decoupled_weight_decay": "decoupled_weight_decay",
        },
        defaults={"lr": 2e-3},
        graph_constants=_FOREACH,
    ),
    "radam": OptimizerPart(
        "torch.optim:RAdam",
        "Adam that waits for its second moment: rectified (Liu et al. 2020)",
        arguments={**_ADAM, "decoupled_weight_decay": "decoupled_weight_decay"},
        graph_constants=_FOREACH,
    ),
    "adagrad": OptimizerPart(
        "torch.optim:Adagrad",
        "lr over the root of the sum of squared gradients (Duchi et al. 2011)",
        arguments={
            **_COMMON,
            "lr_decay": "lr_decay",
            "initial_accumulator_value": "initial_accumulator_value",
            "eps": "eps",
        },
        defaults={"lr": 0.01, "eps": 1e-10},
        capturable=False,
    ),
    "adadelta": OptimizerPart(
        "torch.optim:Adadelta",
        "steps in the units of the weights (Zeiler 2012); lr scales them",
        arguments={**_COMMON, "rho": "rho", "eps": "eps"},
        defaults={"lr": 1.0, "eps": 1e-6},
        graph_constants=_FOREACH,
    ),
    "rmsprop": OptimizerPart(
        "torch.optim:RMSprop",
        "RMSprop (Hinton 2012)",
        arguments={**_COMMON, "momentum": "momentum", "alpha": "alpha", "eps": "eps"},
        defaults={"momentum": 0.0},
        graph_constants=_FOREACH,
    ),
    "lion": OptimizerPart(
        "lion_pytorch:Lion",
        "the sign of a mean of gradients (Chen et al. 2023); decoupled weight decay; wants a tenth of adamw's lr",
        arguments={**_COMMON, **_BETAS},
        defaults={"lr": 1e-4, "beta2": 0.99},
        capturable=False,
    ),
    "muon": OptimizerPart(
        "cifar_tune.training.muon:MuonWithAdamW",
        "orthogonalized momentum (Jordan et al. 2024) for the weights of hidden layers; for all others adamw, with "
        "beta1, beta2 and eps; decoupled weight decay",
        arguments={**_ADAM, "momentum": "momentum", "nesterov": "nesterov", "ns_steps": "ns_steps"},
        defaults={"momentum": 0.95, "nesterov": True},
        constants=_FUSED,
        graph_constants=_CAPTURABLE,
    ),
    "sgd_schedule_free": OptimizerPart(
        "schedulefree:SGDScheduleFree",
        "SGD that validates an average instead of lowering lr (Defazio et al. 2024); wants ten times sgd's lr and more",
        arguments={**_COMMON, "momentum": "momentum"},
        defaults={"lr": 1.0},
        capturable=False,
    ),
    "adamw_schedule_free": OptimizerPart(
        "schedulefree:AdamWScheduleFree",
        "the same for adamw",
        arguments=_ADAM,
        defaults={"lr": 2.5e-3},
        capturable=False,
    ),
}

SCHEDULE_FREE = frozenset({"sgd_schedule_free", "adamw_schedule_free"})
"""They need a constant learning rate, and validate other weights than those that they move."""

OPTIMIZERS: Mapping[str, OptimizerPart] = MappingProxyType(_BUILT_IN)
