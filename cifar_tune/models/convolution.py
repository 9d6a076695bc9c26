"""A convolution and the norm behind it."""

from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.models.norm import NormFactory, normalized

NARROW = 8
"""Below so many input channels, a strided 1x1 convolution is computed by `NarrowShortcut`."""


class NarrowShortcut(nn.Conv2d):
    """A strided 1x1 convolution with few input channels: it skips the pixels first, then it convolves.

    The result is the same. In PyTorch 2.14, on processors with AVX2 and without AVX-512, the backward pass of oneDNN's
    own way (`brgconv_strided:avx2`, channels_last) writes past the end of its output where fewer than eight channels
    come in. Then the process crashes.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (N, outputs, H / stride, W / stride) of images (N, inputs, H, W)."""
        down, right = self.stride
        return functional.conv2d(images[:, :, ::down, ::right], self.weight, self.bias)


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
    kind = NarrowShortcut if size == 1 and stride > 1 and inputs < NARROW else nn.Conv2d
    layer = kind(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)
    return [layer, *normalized(outputs, norm)]
