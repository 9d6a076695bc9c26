"""The layers of a model: shapes, parameters and multiply-adds, as a table, text and plain values."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import FLOPS_PER_MULTIPLY_ADD, build_to_be_counted, count_parameters, one_image
from cifar_tune.models.layers import ImageShape
from cifar_tune.models.uncompiled import leave_compiler_out


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that holds parameters of its own, computes something, or has no parts.

    Attributes:
        name: where it is in the model, such as `features.0`.
        kind: its class.
        output: shape for one image, without the batch; None where the forward pass does not call the module itself.
        parameters: learned ones, of its own.
        multiply_adds: of matrix products, convolutions and attention, for one image, of its own. Biases, norms,
            activations, pooling and additions are not counted, as in most published figures.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class LayerTable:
    """The layers in the order in which they ran, those that the forward pass does not call behind them; and totals."""

    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int


def layer_table(config: Configuration, image_shape: ImageShape, classes: int) -> LayerTable:
    """Build the configuration's model, and let one image through; on the meta device where that is enough.

    Raises:
        UserError: the images are too small for the model.
    """
    return table_of(build_to_be_counted(config, image_shape, classes), image_shape)


def table_of(model: nn.Module, image_shape: ImageShape) -> LayerTable:
    """The table of a model; it is left in evaluation mode."""
    model.eval()
    outputs: dict[str, tuple[int, ...] | None] = {}
    handles = [module.register_forward_hook(_recorder(name, outputs)) for name, module in model.named_modules()]
    leave_compiler_out()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(one_image(model, image_shape))
    for handle in handles:
        handle.remove()
    multiply_adds = _multiply_adds(model, counter)
    modules = dict(model.named_modules())
    counted: set[int] = set()
    layers = []
    for name in (*outputs, *(name for name in modules if name not in outputs)):
        module = modules[name]
        parameters = sum(weight.numel() for weight in module.parameters(recurse=False) if id(weight) not in counted)
        counted |= {id(weight) for weight in module.parameters(recurse=False)}
        is_called_leaf = name in outputs and not any(module.children())
        if parameters or multiply_adds.get(name) or is_called_leaf:
            shown = name or "(model)"
            kind = type(module).__name__
            layers.append(Layer(shown, kind, outputs.get(name), parameters, multiply_adds.get(name, 0)))
    return LayerTable(tuple(layers), count_parameters(model), counter.get_total_flops() // FLOPS_PER_MULTIPLY_ADD)


def _recorder(name: str, outputs: dict[str, tuple[int, ...] | None]) -> Callable[[nn.Module, object, object], None]:
    """A hook that keeps the shape of what a module returned at its first call, where that is one tensor."""

    def record(_module: nn.Module, _inputs: object, output: object) -> None:
        outputs.setdefault(name, tuple(output.shape[1:]) if isinstance(output, Tensor) else None)

    return record


def _multiply_adds(model: nn.Module, counter: FlopCounterMode) -> dict[str, int]:
    """Of each module, without those of the modules within it."""
    root = type(model).__name__
    counts = counter.get_flop_counts()
    own: dict[str, int] = {}
    for name, _module in model.named_modules():
        own[name] = sum(counts.get(f"{root}.{name}" if name else root, {}).values()) // FLOPS_PER_MULTIPLY_ADD
    whole = dict(own)
    for name, inside in whole.items():
        if name:
            own[name.rpartition(".")[0]] -= inside
    return own


_HEADER = ("layer", "kind", "output", "parameters", "multiply-adds")


def as_lines(table: LayerTable) -> list[str]:
    """Aligned columns, with a header; numbers on the right."""
    rows = [
        (
            layer.name,
            layer.kind,
            "-" if layer.output is None else "x".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        )
        for layer in table.layers
    ]
    rows.append(("total", "", "", f"{table.parameters:,}", f"{table.multiply_adds:,}"))
    widths = [max(len(row[column]) for row in (_HEADER, *rows)) for column in range(len(_HEADER))]
    rule = tuple("-" * width for width in widths)
    return ["  ".join(_aligned(row, widths)).rstrip() for row in (_HEADER, rule, *rows[:-1], rule, rows[-1])]


def as_values(table: LayerTable) -> dict[str, Any]:
    """The table for JSON."""
    return {
        "layers": [asdict(layer) for layer in table.layers],
        "parameters": table.parameters,
        "multiply_adds": table.multiply_adds,
    }


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if column < 3 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
