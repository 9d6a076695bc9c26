"""The layers that several models share: norms, activations, convolutions, stems, linear heads, and initial weights."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.norms import NO_NORM

ImageShape = tuple[int, int, int]
"""Channels, height and width of one image."""


def require_image_size(model: str, image_shape: ImageShape, smallest: int) -> None:
    """Refuse images that shrink to nothing on their way through the model.

    Raises:
        UserError: height or width is below `smallest` pixels.
    """
    _, height, width = image_shape
    if min(height, width) < smallest:
        rule = f"{model} needs images of at least {smallest}x{smallest} pixels; these have {height}x{width}"
        raise UserError(Problem(rule, "data.image_size"))


def initialize_like_he(model: nn.Module, mode: str) -> None:
    """Draw every convolution from He's normal distribution for ReLU, with biases of zero.

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015 (arXiv:1502.01852).

    Args:
        model: changed in place.
        mode: `fan_in` keeps the variance of the forward pass, `fan_out` that of the backward pass.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # where none are kept, torch takes longest
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pass_through(model: nn.Module) -> None:
    """Let each convolution begin by passing on its channels unchanged, as far as it has outputs for them.

    Outputs beyond the inputs keep the weights that they have. Zagoruyko and Komodakis 2017, "DiracNets"
    (arXiv:1706.00388), in the form of Jordan 2024 (arXiv:2404.00498, section 3.3).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight.detach()[: module.in_channels])


NormFactory = Callable[[int], nn.Module]
"""Makes the norm of that many channels."""


def norm_factory(config: Configuration) -> NormFactory | None:
    """Return what makes the configuration's norms; None where it has none."""
    if config.text("norm") == NO_NORM:
        return None
    part = config.part("norm")
    return partial(part.resolve(), **part.arguments_from(config))


def group_norm(channels: int, *, num_groups: int) -> nn.GroupNorm:
    """`torch.nn.GroupNorm`, called as the other norms are: channels first."""
    return nn.GroupNorm(num_groups, channels)


def normalized(channels: int, norm: NormFactory | None) -> list[nn.Module]:
    """The norm of a layer with that many channels: one module, or none at all."""
    return [] if norm is None else [norm(channels)]


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Modules that normalize by the batch, and keep running statistics; those of timm derive from them."""

NORM_LAYERS = (
    *BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm,
)  # fmt: skip
"""Modules that normalize, with a scale `weight` and a shift `bias` of their own; those of timm derive from them."""


def fix_scale(model: nn.Module) -> None:
    """Turn the learned scale of every norm into a constant, 1 as it begins; what is learned is the shift."""
    for module in model.modules():
        if isinstance(module, NORM_LAYERS) and module.weight is not None:
            scale = module.weight.detach()
            del module.weight
            module.register_buffer("weight", scale)


def norm_biases(model: nn.Module) -> list[nn.Parameter]:
    """The shifts of all norms."""
    biases = [module.bias for module in model.modules() if isinstance(module, NORM_LAYERS)]
    return [bias for bias in biases if isinstance(bias, nn.Parameter)]


ActivationFactory = Callable[[], nn.Module]
"""Makes a new activation module at each call: each place of a net has its own, as PReLU learns a slope."""


def activation_factory(config: Configuration) -> ActivationFactory:
    """Return what makes the configuration's activation."""
    part = config.part("activation")
    return partial(part.resolve(), **part.arguments_from(config))


NARROW = 8
"""Below this many input channels, strided 1x1 convolutions are changed by `skip_pixels_first`."""


def skip_pixels_first(model: nn.Module) -> None:
    """Let strided 1x1 convolutions with few input channels skip the pixels first, and convolve what is left.

    The results are the same; their `stride` is 1 from then on. In PyTorch 2.14, on processors with AVX2 and without
    AVX-512, the backward pass of oneDNN's own way (`brgconv_strided:avx2`, channels_last) writes past the end of its
    output where fewer than eight channels come in. Then the process crashes.

    Args:
        model: of any kind; changed in place.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _is_narrow(module):
            module.register_forward_pre_hook(partial(_without_skipped, stride=module.stride), with_kwargs=True)
            module.stride = (1, 1)


def _is_narrow(layer: nn.Conv2d) -> bool:
    is_point = tuple(layer.kernel_size) == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), 0, "valid")
    return is_point and tuple(layer.stride) != (1, 1) and layer.in_channels < NARROW


def _without_skipped(
    _layer: nn.Module, images: tuple[Tensor, ...], named: dict[str, Tensor], *, stride: tuple[int, ...]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    down, right = stride
    skipped = [each[..., ::down, ::right] for each in (*images, *named.values())]
    return tuple(skipped[: len(images)]), dict(zip(named, skipped[len(images) :], strict=True))


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


CIFAR = "cifar"
IMAGENET = "imagenet"


def imagenet_stem(
    inputs: int, outputs: int, norm: NormFactory | None, activation: ActivationFactory
) -> list[nn.Module]:
    """A 7x7 convolution of stride 2, norm, activation, 3x3 max-pooling of stride 2: a quarter of height and width."""
    return [
        *convolution(inputs, outputs, 7, norm, stride=2),
        activation(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]


class LinearHead(nn.Sequential):
    """Flatten, then linear layers with the activation between them and dropout before each.

    Args:
        sizes: features of the flattened input, units of each hidden layer, and classes.
        activation: makes the module that follows each linear layer but the last.
        dropout: share of the features dropped before each linear layer.
    """

    def __init__(self, sizes: Sequence[int], activation: ActivationFactory, dropout: float) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Dropout(dropout), nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])
