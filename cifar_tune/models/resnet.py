"""Residual networks for small images: ResNet-18 (report B) and ResNet-20 (report D).

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016 (arXiv:1512.03385).
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.image_size import ImageShape

ShortcutFactory = Callable[[int, int, int], nn.Module]
"""Makes the shortcut of a block whose output has another shape, from (channels in, channels out, stride)."""


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks, the mean over the image, dropout and one linear layer.

    Each stage after the first doubles the channels and halves the image. Convolutions are initialised by He's
    normal distribution of the fan-out (He et al. 2015, arXiv:1502.01852).

    Args:
        image_shape: (3, H, W); any size.
        classes: number of logits.
        width: channels of the stem and the first stage.
        activation: makes the module after each batch norm and each addition.
        dropout: share of the features dropped before the linear layer.
        blocks: basic blocks of each stage.
        shortcut: makes the shortcuts where the shape changes.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        dropout: float,
        blocks: tuple[int, ...],
        shortcut: ShortcutFactory,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3x3(image_shape[0], width), nn.BatchNorm2d(width), activation())
        layers: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(inputs, outputs, stride, activation, shortcut))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.pool(self.blocks(self.stem(images))))
        return logits


class ResNet18(ResNet):
    """ResNet-18 with a 3x3 stem of stride 1 and no stem pooling: two blocks in each of four stages.

    Shortcuts that change shape are 1x1 convolutions with batch norm (option B of the paper). 11,173,962 parameters
    at width 64 and ten classes.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        dropout: float,
    ) -> None:
        super().__init__(
            image_shape,
            classes,
            width=width,
            activation=activation,
            dropout=dropout,
            blocks=(2, 2, 2, 2),
            shortcut=_projection,
        )


class ResNet20(ResNet):
    """ResNet-20 for CIFAR-10 (section 4.2 of the paper): three blocks in each of three stages.

    Shortcuts have no parameters (option A). 269,722 parameters at width 16 and ten classes.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        dropout: float,
    ) -> None:
        super().__init__(
            image_shape,
            classes,
            width=width,
            activation=activation,
            dropout=dropout,
            blocks=(3, 3, 3),
            shortcut=PaddedShortcut,
        )


class BasicBlock(nn.Module):
    """Convolution, batch norm, activation, convolution, batch norm; plus the shortcut; activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activation: ActivationFactory,
        shortcut: ShortcutFactory,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(inputs, outputs, stride),
            nn.BatchNorm2d(outputs),
            activation(),
            _conv3x3(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        same_shape = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same_shape else shortcut(inputs, outputs, stride)
        self.activation = activation()

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, outputs, ceil(H / stride), ceil(W / stride)) of features (N, inputs, H, W)."""
        activated: Tensor = self.activation(self.residual(features) + self.shortcut(features))
        return activated


class PaddedShortcut(nn.Module):
    """Option A of the paper: every `stride`-th pixel, and zeros for the channels that are new."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.new_channels = outputs - inputs
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, outputs, ceil(H / stride), ceil(W / stride)) of features (N, inputs, H, W)."""
        pixels = features[:, :, :: self.stride, :: self.stride]
        return functional.pad(pixels, (0, 0, 0, 0, 0, self.new_channels))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option B of the paper: a 1x1 convolution and batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Padded 3x3 convolution without bias: a batch norm follows."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
