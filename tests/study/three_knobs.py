"""A study of three knobs, and how another program states them."""

from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

PLAIN: dict[str, Any] = {
    "budget": {"trials": 6},
    "sampler": {"name": "random"},
    "pruner": {"name": "none"},
    "search_space": {
        "lr": {"low": 0.01, "high": 1.0, "log": True},
        "optimizer": {"choices": ["sgd", "adamw"]},
        "epochs": {"low": 2, "high": 6, "step": 2},
    },
}
LR = FloatDistribution(0.01, 1.0, log=True)
OPTIMIZER = CategoricalDistribution(["sgd", "adamw"])
EPOCHS = IntDistribution(2, 6, step=2)
