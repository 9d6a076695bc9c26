"""The first layer of a model, and what one image becomes on its way through it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The last output of one size.

    Attributes:
        layer: the module that it comes from.
        maps: float32 [C, H, W].
    """

    layer: str
    maps: Maps


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One image's way through a model.

    Attributes:
        first_layer: the first module with weights that it meets, by name and class.
        filters: its weights, float32 [filters, channels, height, width]; None where it is no convolution of images.
        stages: in the order of the passage; none where no module returns maps.
    """

    first_layer: str
    filters: Maps | None
    stages: tuple[Stage, ...]


@torch.no_grad()
def passage(model: nn.Module, image: Tensor) -> Passage:
    """Let one image through, in evaluation mode and in the model's own arithmetic.

    Wherever the height or width of the outputs changes, a stage ends; its last output stands for it.

    Args:
        model: on the image's device.
        image: float32 (1, 3, H, W), normalised.
    """
    seen: list[tuple[str, nn.Module, Tensor | None]] = []
    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(_recorder(name, seen)) for name, module in leaves]
    model.eval()(image)
    for handle in handles:
        handle.remove()
    name, first = next((name, module) for name, module, _ in seen if _weight(module) is not None)
    weight = _weight(first)
    is_convolution = isinstance(first, nn.Conv2d) and first.in_channels == image.shape[1]
    filters = weight.detach().float().cpu().numpy() if is_convolution and weight is not None else None
    return Passage(f"{name} ({type(first).__name__})", filters, _stages(seen))


def _recorder(
    name: str, seen: list[tuple[str, nn.Module, Tensor | None]]
) -> Callable[[nn.Module, object, object], None]:
    def record(module: nn.Module, _inputs: object, output: object) -> None:
        is_maps = isinstance(output, Tensor) and output.dim() == 4
        # A copy, since an activation that follows may work in place.
        seen.append((name, module, output[0].float().cpu().clone() if is_maps else None))  # type: ignore[index]

    return record


def _weight(module: nn.Module) -> Tensor | None:
    return next((parameter for parameter in module.parameters(recurse=False) if parameter.dim() > 1), None)


def _stages(seen: list[tuple[str, nn.Module, Tensor | None]]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for name, _, maps in seen:
        if maps is None or maps.shape[1] * maps.shape[2] == 1:  # pooled to a point: nothing to look at
            continue
        stage = Stage(name, maps.numpy())
        if stages and stages[-1].maps.shape[1:] == stage.maps.shape[1:]:
            stages[-1] = stage
        else:
            stages.append(stage)
    return tuple(stages)
