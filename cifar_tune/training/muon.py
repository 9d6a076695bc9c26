"""Muon for the hidden layers of a convolutional network, AdamW for the rest of it.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024, kellerjordan.github.io/posts/muon). As
there, a filter bank (out, in, height, width) is the matrix (out, in * height * width), and the first layer, the last
one, embeddings, biases and norms are left to AdamW.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

Group = dict[str, Any]
"""A parameter group: `params`, and options that differ from the optimizer's."""

_LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
"""Modules whose `weight` is a matrix or a filter bank."""


class MuonWithAdamW(Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW`, driven as one optimizer with one learning rate.

    One rate serves both since Muon's steps are scaled to the root mean square of AdamW's (`match_rms_adamw`; Liu et
    al. 2025, arXiv:2502.16982): a rate and a weight decay that suit adamw suit it too.

    `param_groups` are those of both, so schedulers move both. In Muon's, the weights are matrices that share their
    memory.

    Args:
        params: weights, or groups of them with a `weight_decay` of their own.
        hidden: those of them that are Muon's, see `hidden_weights`.
        lr: learning rate.
        weight_decay: decoupled.
        momentum, nesterov, ns_steps: of Muon.
        betas, eps: of AdamW.
        fused: whether AdamW's fused kernels are used.
        capturable: whether its steps are to be captured in a CUDA graph; learning rates are then tensors, (), from
            before the first step on.
    """

    def __init__(  # noqa: PLR0913  (the knobs of two optimizers)
        self,
        params: Iterable[Tensor] | Iterable[Group],
        *,
        hidden: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        betas: tuple[float, float],
        eps: float,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        groups = _as_groups(params)
        self._hidden: list[Tensor] = list(hidden)
        known = {id(weight) for weight in self._hidden}
        others = [
            {**group, "params": [weight for weight in group["params"] if id(weight) not in known]} for group in groups
        ]
        # view() and not reshape(), which might copy: the matrices share the memory of the weights.
        self._matrices = [_as_stored(weight.detach(), weight).view(len(weight), -1) for weight in self._hidden]
        self._optimizers: dict[str, Optimizer] = {}
        if self._matrices:
            self._optimizers["muon"] = Muon(
                self._matrices,
                lr=lr,
                weight_decay=weight_decay,
                momentum=momentum,
                nesterov=nesterov,
                ns_steps=ns_steps,
                adjust_lr_fn="match_rms_adamw",
            )
        self._optimizers["adamw"] = AdamW(
            others, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused, capturable=capturable
        )
        self._is_capturable = capturable
        super().__init__(self._groups_of_all(), {})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with both."""
        loss = None if closure is None else closure()
        for weight, matrix in zip(self._hidden, self._matrices, strict=True):
            matrix.grad = None if weight.grad is None else _as_stored(weight.grad, weight).reshape_as(matrix)
        for optimizer in self._optimizers.values():
            if self._is_capturable and isinstance(optimizer, Muon):
                _step_by_tensors(optimizer)
            else:
                optimizer.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for weight in self._hidden:
            weight.grad = None
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of both, by name."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state_dict[name])
        self.param_groups = self._groups_of_all()

    def _groups_of_all(self) -> list[Group]:
        """The very dictionaries of both: what is set in one is set in the other."""
        return [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]


def hidden_weights(model: nn.Module) -> list[Tensor]:
    """The filters and matrices of a model's layers, but for the first layer and the last one.

    Layers count in the order in which the model defines them. Other parameters of two and more dimensions, such as the
    position embeddings of a transformer, are no weights of a layer.
    """
    weights: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, _LAYERS):
            weights.append(module.weight)
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            weights.append(module.in_proj_weight)
    return weights[1:-1]


@torch.no_grad()
def _step_by_tensors(optimizer: Optimizer) -> None:
    """Take a step of Muon at learning rates that are tensors, which torch's own step would read on the host.

    So that one goes at a rate of 1 and without weight decay, and the weights follow it by the learning rate's share.
    """
    groups = optimizer.param_groups
    given = [(group["lr"], group["weight_decay"]) for group in groups]
    before = [[matrix.clone() for matrix in group["params"]] for group in groups]
    for group in groups:
        group |= {"lr": 1.0, "weight_decay": 0.0}
    try:
        optimizer.step()
    finally:
        for group, (lr, decay) in zip(groups, given, strict=True):
            group |= {"lr": lr, "weight_decay": decay}
    for group, olds in zip(groups, before, strict=True):
        for matrix, old in zip(group["params"], olds, strict=True):
            if matrix.grad is not None:
                matrix.sub_(old).mul_(group["lr"]).add_(old.mul_(1 - group["lr"] * group["weight_decay"]))


def _as_groups(params: Iterable[Tensor] | Iterable[Group]) -> list[Group]:
    given = list(params)
    return [item for item in given if isinstance(item, dict)] or [{"params": given}]


def _as_stored(values: Tensor, weight: Tensor) -> Tensor:
    """`values`, of the shape of `weight`, with its dimensions in the order of the weight's memory; outputs come first.

    That reorders the columns of a filter bank's matrix, which orthogonalization does not mind.
    """
    return values if weight.is_contiguous() else values.permute(0, 2, 3, 1)
