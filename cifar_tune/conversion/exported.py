"""The model as a graph of torch.export: what is inside the file that is made of it, and nothing of this machine."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils import parametrize

from cifar_tune.conversion.quiet import quiet
from cifar_tune.errors import CheckError

INPUT = "images"
OUTPUT = "logits"
BATCH = "batch"

_PLACES_IN_SOURCE = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What torch notes at every node. It names files of this machine, and nobody needs it in the file."""


class Normalizing(nn.Module):
    """A network with its normalisation in front.

    Args:
        network: takes normalised images.
        scale, shift: of each channel, for images in units of bytes: byte * scale + shift.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [N, classes] of images uint8 [N, 3, H, W]."""
        logits: Tensor = self.network(torch.addcmul(self.shift, images.float(), self.scale))
        return logits


class _AsFloat32(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.float()


def halve_weights(network: nn.Module) -> None:
    """Let the network keep its matrices and filters as float16; it computes in float32 as before.

    Vectors, such as biases and what norms learn and measure, stay float32: they take little room.

    Raises:
        CheckError: a weight is too large for float16.
    """
    for place, module in list(network.named_modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.dim() < 2 or weight.dtype != torch.float32:
                continue
            half = weight.detach().half()
            if not half.isfinite().all():
                largest = float(weight.detach().abs().max())
                raise CheckError(
                    f"fp16 cannot hold the weights of {place or 'the model'}: the largest is {largest:.3g}, and fp16 "
                    f"ends at 65,504. Convert without --weights fp16"
                )
            setattr(module, name, nn.Parameter(half, requires_grad=False))
            parametrize.register_parametrization(module, name, _AsFloat32(), unsafe=True)  # it changes the type


def export(network: nn.Module, example: Tensor) -> ExportedProgram:
    """Turn the network into a graph that takes any number of images.

    Args:
        network: in evaluation mode, on the CPU; its weights become contiguous.
        example: a batch as it will be given: its type and image size become those of the graph.

    Raises:
        CheckError: torch.export cannot follow the network. The message has torch's reason.
    """
    network.to(memory_format=torch.contiguous_format)
    two = example[:1].repeat(2, 1, 1, 1)  # torch.export takes a size of 1 for a constant
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(network, (two,), dynamic_shapes=({0: Dim(BATCH)},))
    except Exception as error:  # it raises almost any type, and what it names is the model's code
        raise CheckError(f"torch.export cannot follow the model: {reason(error)}") from error
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _PLACES_IN_SOURCE:
                    node.meta.pop(key, None)
    program.example_inputs = None  # a pt2 file would hold them as a pickle
    return program


def reason(error: BaseException) -> str:
    """The first line of the error at the bottom of a chain, which says most."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
