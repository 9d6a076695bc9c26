"""Residual networks: those for ImageNet (reports A and B) and those for CIFAR (report D).

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016 (arXiv:1512.03385).
"""

from torch import Tensor, nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.convolution import convolution
from cifar_tune.models.image_size import ImageShape
from cifar_tune.models.initialization import initialize_like_he
from cifar_tune.models.norm import NormFactory
from cifar_tune.models.residual_block import BlockPlan, ShortcutFactory, padded, projected
from cifar_tune.models.stem import CIFAR, IMAGENET, imagenet_stem

EVERY = "every"


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the mean over the image, dropout and one linear layer.

    Each stage after the first doubles the channels and halves the image. Shortcuts that change shape are 1x1
    convolutions with a norm (option B of the paper). Bottleneck blocks have their stride in the 3x3 convolution, as
    torchvision's do. Convolutions are initialised by He's normal distribution of the fan-out.

    Args:
        image_shape: (3, H, W); any size.
        classes: number of logits.
        width: channels of the stem and of the convolutions of the first stage.
        activation: makes the module after each norm and each addition.
        norm: makes the norm after convolutions; None: without, the convolutions have a bias.
        norm_placement: `every`: a norm after each convolution; `first`: after the stem and the first one of each block.
        residual: whether there are shortcuts; without them it is the paper's plain net.
        dropout: share of the features dropped before the linear layer.
        blocks: how many of each stage.
        stem: `cifar`: one 3x3 convolution; `imagenet`: 7x7 of stride 2, and pooling.
        bottleneck: blocks of three convolutions instead of two.
        shortcut: makes the shortcuts where the shape changes.
    """

    def __init__(  # noqa: PLR0913 (one argument per knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        norm_placement: str,
        residual: bool,
        dropout: float,
        blocks: tuple[int, ...],
        stem: str = CIFAR,
        bottleneck: bool = False,
        shortcut: ShortcutFactory = projected,
    ) -> None:
        super().__init__()
        plan = BlockPlan(
            activation,
            norm=norm,
            later_norm=norm if norm_placement == EVERY else None,
            shortcut=shortcut if residual else None,
            bottleneck=bottleneck,
        )
        if stem == IMAGENET:
            first = imagenet_stem(image_shape[0], width, norm, activation)
        else:
            first = [*convolution(image_shape[0], width, 3, norm), activation()]
        self.stem = nn.Sequential(*first)
        layers: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            channels = width * 2**stage
            for block in range(count):
                layers.append(plan.block(inputs, channels, stride=2 if stage > 0 and block == 0 else 1))
                inputs = plan.outputs(channels)
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes))
        initialize_like_he(self, "fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.pool(self.blocks(self.stem(images))))
        return logits


class CifarResNet(ResNet):
    """The ResNets for CIFAR-10 (section 4.2 of the paper): three stages of 16, 32 and 64 channels.

    Shortcuts have no parameters (option A).
    """

    def __init__(  # noqa: PLR0913 (one argument per knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        norm_placement: str,
        residual: bool,
        dropout: float,
        blocks: tuple[int, int, int],
    ) -> None:
        super().__init__(
            image_shape,
            classes,
            width=width,
            activation=activation,
            norm=norm,
            norm_placement=norm_placement,
            residual=residual,
            dropout=dropout,
            blocks=blocks,
            shortcut=padded,
        )
