"""A convolution and the norm behind it."""

from torch import nn

from cifar_tune.models.norm import NormFactory, normalized


def convolution(
    inputs: int,
    outputs: int,
    size: int,
    norm: NormFactory | None,
    *,
    stride: int = 1,
    bias: bool | None = None,
) -> list[nn.Module]:
    """A square convolution that keeps the image's size (for stride 1), and its norm.

    Args:
        inputs: channels before it.
        outputs: channels behind it.
        size: pixels per side of the kernel, odd.
        norm: makes the norm; None: none follows.
        stride: pixels from one window to the next.
        bias: None: only where no norm follows, whose own would cancel it.
    """
    bias = norm is None if bias is None else bias
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)
    return [layer, *normalized(outputs, norm)]
