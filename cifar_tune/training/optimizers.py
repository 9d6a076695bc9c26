"""Builds the optimizer of a configuration, and changes gradients before it uses them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OptimizerPart
from cifar_tune.models.layers import norm_biases
from cifar_tune.models.stages import stages_of
from cifar_tune.models.uncompiled import leave_compiler_out
from cifar_tune.training.muon import MuonWithAdamW, hidden_weights
from cifar_tune.training.schedule_free import SCHEDULE_FREE_OPTIMIZERS


class GradientChange:
    """Clips the norm of the gradient of the loss, then adds the slope of an L1 penalty.

    Like weight decay, the penalty is outside the loss that is told and outside the norm that is clipped.

    Args:
        weights: all weights of the model.
        penalized: those that the penalty acts on.
        clip_norm: the longest gradient, over all weights together; 0 leaves it as it is (Pascanu, Mikolov and Bengio
            2013, arXiv:1211.5063).
        l1: times the sign of a weight is the slope; 0 is none.
    """

    def __init__(
        self, weights: Sequence[nn.Parameter], penalized: Sequence[nn.Parameter], clip_norm: float, l1: float
    ) -> None:
        self._weights = weights
        self._penalized = penalized
        self._clip_norm = clip_norm
        self._l1 = l1

    @torch.no_grad()
    def apply(self) -> None:
        """Change the gradients in place."""
        if self._clip_norm > 0:
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        if self._l1 > 0:
            for weight in self._penalized:
                if weight.grad is not None:
                    weight.grad.add_(weight.sign(), alpha=self._l1)


DEVICES_WITH_FUSED = frozenset({"cpu", "cuda"})
"""Where torch's fused optimizers are used. It has them on MPS too, but never measured here; meta tensors have none."""


def build_optimizer(config: Configuration, model: nn.Module, device: torch.device, in_graph: bool = False) -> Optimizer:
    """Return the configuration's optimizer over all parameters of `model`, which lies on `device`.

    One parameter group, another one where biases and norms are spared the weight decay, and another one, with the
    option `lr_factor`, where biases of norms learn at a rate of their own (`Schedule` multiplies it in). A registry
    entry that asks for the fused implementation gets torch's default one where the device has none.

    Args:
        config: what is trained.
        model: what it moves.
        device: where.
        in_graph: whether its steps are to be captured, so that all that changes from step to step is in tensors, also
            the learning rate of each group.

    Raises:
        UserError: biases of norms should have their own learning rate, and the model has none.
    """
    leave_compiler_out()
    part = config.part("optimizer")
    arguments = part.arguments_from(config)
    if device.type not in DEVICES_WITH_FUSED:
        arguments.pop("fused", None)
    if in_graph and isinstance(part, OptimizerPart):
        arguments |= part.graph_constants
    builds = part.resolve()
    if builds is MuonWithAdamW:
        arguments["hidden"] = hidden_weights(model)
    optimizer: Optimizer = builds(_groups(config, model), **arguments)
    if isinstance(optimizer, SCHEDULE_FREE_OPTIMIZERS):
        optimizer.train()  # else it refuses to take steps
    if in_graph:
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), group["lr"], device=device)
    return optimizer


_OF_GRAPHS: Mapping[str, bool | None] = {"capturable": False, "foreach": None}
"""Options that differ where the steps of an optimizer are captured, as they are elsewhere."""


def is_in_graph(optimizer: Optimizer) -> bool:
    """Whether it was built for steps that are captured."""
    return any(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)


def optimizer_state(optimizer: Optimizer, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """References to the optimizer's state, the same whether its steps are captured or not.

    Args:
        optimizer: whose.
        groups: its parameter groups as the schedule knows them (`Schedule.groups`), with numbers for learning rates.
    """
    state = optimizer.state_dict()
    if is_in_graph(optimizer):
        remaining = iter(groups)
        state = _with_groups(
            state,
            lambda group: (
                {name: _OF_GRAPHS.get(name, value) for name, value in group.items()}
                | {name: value for name, value in next(remaining).items() if name != "params"}
            ),
        )
    return state


def _with_groups(state: Mapping[str, Any], change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A state whose parameter groups are changed, one after the other: of an optimizer, or of several by name.

    The latter is what `MuonWithAdamW` has.
    """
    if "param_groups" in state:
        return {**state, "param_groups": [change(group) for group in state["param_groups"]]}
    return {name: _with_groups(part, change) for name, part in state.items()}


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take over what `optimizer_state` returned for the same configuration: it goes on in these very tensors."""
    if is_in_graph(optimizer):
        _load_into_tensors(optimizer, state)
        return
    optimizer.load_state_dict(dict(state))
    for moments in optimizer.state.values():
        # NAdam reads this product in every step and keeps it on the CPU; loading moves it to the device of the weight.
        if "mu_product" in moments:
            moments["mu_product"] = moments["mu_product"].cpu()


def _load_into_tensors(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """The same for an optimizer whose steps are captured: its learning rates stay tensors, and its options its own."""
    before = [dict(group) for group in optimizer.param_groups]
    options = iter([{name: group[name] for name in _OF_GRAPHS if name in group} for group in before])
    optimizer.load_state_dict(_with_groups(state, lambda group: {**group, **next(options, {})}))
    for group, old in zip(optimizer.param_groups, before, strict=True):
        group["lr"] = old["lr"].fill_(group["lr"])


def lr_shares(optimizer: Optimizer) -> list[float]:
    """The learning rate of each parameter group over that of the first one, `lr_factor` included.

    Args:
        optimizer: new, before a schedule has moved its learning rates.
    """
    factors: list[float] = [group.get("lr_factor", 1.0) for group in optimizer.param_groups]
    return [factor / factors[0] for factor in factors]


def decayed_parameters(config: Configuration, model: nn.Module) -> list[nn.Parameter]:
    """The parameters that weight decay and an L1 penalty act on: all, or only filters and matrices."""
    everything = config.flag("decay_norm_and_bias")
    return [weight for weight in model.parameters() if everything or weight.dim() > 1]


def _groups(config: Configuration, model: nn.Module) -> list[dict[str, Any]]:
    factor = config.number("norm_bias_lr_factor")
    decayed = decayed_parameters(config, model)
    quick = norm_biases(model) if factor != 1 else []
    if factor != 1 and not quick:
        rule = f"model {config.text('model')} has no norm with a bias that it could act on"
        raise UserError(Problem(rule, "norm_bias_lr_factor", factor))
    known, quick_ones = {id(weight) for weight in decayed}, {id(weight) for weight in quick}
    spared = [weight for weight in model.parameters() if id(weight) not in known | quick_ones]
    groups: list[dict[str, Any]] = [{"params": [weight for weight in decayed if id(weight) not in quick_ones]}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    if quick:
        # Weight decay acts through the learning rate: divided by the factor, it shrinks them as it does the others.
        decay = config.number("weight_decay") / factor if config.flag("decay_norm_and_bias") else 0.0
        groups.append({"params": quick, "weight_decay": decay, "lr_factor": factor})
    stage_decay = config.number("stage_lr_decay")
    return groups if stage_decay == 1 else _by_stage(groups, model, stage_decay)


def _by_stage(groups: Sequence[dict[str, Any]], model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """A group for each stage in place of each group; the last stage comes first, since its rate is reported.

    Clark et al. 2020 (arXiv:2003.10555) call it layer-wise learning-rate decay.
    """
    split = []
    for group in groups:
        own = {id(weight) for weight in group["params"]}
        for distance, stage in enumerate(reversed(stages_of(model))):
            weights = [weight for weight in stage.parameters if id(weight) in own]
            if weights:
                factor = group.get("lr_factor", 1.0) * decay**distance
                split.append({**group, "params": weights, "lr_factor": factor})
    return split
