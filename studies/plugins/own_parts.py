"""Parts of one's own, one of each kind that is asked for most: see docs/plugins.md, and plugin.yaml."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.data.augmentation.draw import Draw
from cifar_tune.plugins import AugmentationPart, Kind, Knob, LossPart, ModelPart, Part, SchedulePart


class TrustSGD(torch.optim.Optimizer):
    """SGD with momentum whose step on each weight tensor is at most `trust_ratio` of the tensor's norm.

    After You, Gitman and Ginsburg, "Large batch training of convolutional networks" (arXiv:1708.03888).
    """

    def __init__(self, params, lr: float, momentum: float, weight_decay: float, trust_ratio: float) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust_ratio": trust_ratio}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Take one step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad.add(weight, alpha=group["weight_decay"])
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(group["momentum"]).add_(gradient, alpha=group["lr"])
                longest = group["trust_ratio"] * weight.norm().clamp_min(1e-3)
                weight.sub_(state["momentum"] * (longest / state["momentum"].norm().clamp_min(1e-12)).clamp_max(1.0))


class PatchMixer(nn.Module):
    """Patches, then blocks of a depthwise and a pointwise convolution: a small ConvMixer (arXiv:2201.09792)."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        depth: int,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 4, stride=4), activation(), nn.BatchNorm2d(width))
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), activation(), nn.BatchNorm2d(width))
            for _ in range(depth)
        )
        self.pointwise = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1), activation(), nn.BatchNorm2d(width)) for _ in range(depth)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        features = self.stem(images)
        for mixer, pointwise in zip(self.mixers, self.pointwise, strict=True):
            features = pointwise(features + mixer(features))
        return self.head(features.mean((2, 3)))


def poly_loss(logits: Tensor, targets: Tensor, *, epsilon: float) -> Tensor:
    """Cross entropy plus epsilon times the probability that the right class lacks (Leng et al., arXiv:2204.12511)."""
    shares = targets if targets.dim() == 2 else functional.one_hot(targets, logits.shape[1])
    right = (shares * logits.softmax(1)).sum(1)
    return functional.cross_entropy(logits, targets) + epsilon * (1 - right).mean()


class RootDecay(torch.optim.lr_scheduler.LRScheduler):
    """The learning rate falls as 1 / sqrt(1 + steps / offset), where the offset is a share of all steps."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, offset: float) -> None:
        self.offset = max(1.0, offset * steps)
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [rate / math.sqrt(1 + self.last_epoch / self.offset) for rate in self.base_lrs]


def channel_dropout(draw: Draw, probability: float) -> Callable[[Tensor, slice], Tensor]:
    """Blank one colour channel of an image, with some probability."""
    channel = draw.integers(3)
    blanked = draw.uniform(0, 1) < probability

    def apply(images: Tensor, batch: slice) -> Tensor:
        chosen = functional.one_hot(channel[batch].long(), 3).bool() & blanked[batch, None]
        return torch.where(chosen[:, :, None, None], images.new_zeros(()), images)

    return apply


MODELS = {
    "patch_mixer": ModelPart(
        PatchMixer,
        "4x4 patches, then depth blocks of a depthwise and a pointwise convolution",
        arguments={"width": "width", "activation": "activation", "depth": "depth"},
        defaults={"width": 32},
    ),
}
OPTIMIZERS = {
    "trust_sgd": Part(
        TrustSGD,
        "SGD whose step on a tensor is at most trust_ratio of its norm",
        arguments={
            "lr": "lr",
            "momentum": "momentum",
            "weight_decay": "weight_decay",
            "trust_ratio": "trust_ratio",
        },
        defaults={"lr": 0.1},
    ),
}
LOSSES = {
    "poly": LossPart(
        poly_loss, "cross entropy plus poly_epsilon * (1 - probability)", arguments={"poly_epsilon": "epsilon"}
    ),
}
SCHEDULES = {
    "root_decay": SchedulePart(
        RootDecay,
        "falls as one over the root of the steps",
        arguments={"root_offset": "offset"},
        length_argument="steps",
        per="step",
    ),
}
AUGMENTATIONS = {
    "channel_dropout": AugmentationPart(
        channel_dropout,
        "blank a colour channel with probability channel_dropout_probability",
        arguments={"channel_dropout_probability": "probability"},
        stage="pixels",
    ),
}
KNOBS = [
    Knob("depth", Kind.INT, 2, "blocks of patch_mixer", low=1, high=64, owner="model"),
    Knob("trust_ratio", Kind.FLOAT, 0.02, "longest step over a tensor's norm", low=0, low_open=True, owner="optimizer"),
    Knob("poly_epsilon", Kind.FLOAT, 1.0, "weight of the linear term of poly", low=-1, owner="loss"),
    Knob("root_offset", Kind.FLOAT, 0.1, "share of training before the decay shows", low=0, high=1, owner="schedule"),
    Knob("channel_dropout_probability", Kind.FLOAT, 0.2, "share of images", low=0, high=1, owner="augment"),
]  # fmt: skip
