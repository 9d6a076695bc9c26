"""VGG nets with small linear layers for 32x32 images (reports A, B and C).

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015
(arXiv:1409.1556).
"""

from torch import Tensor, nn

from cifar_tune.models.layers import (
    ActivationFactory,
    ImageShape,
    LinearHead,
    NormFactory,
    convolution,
    initialize_like_he,
    require_image_size,
)

STAGE_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of each stage, over those of the first."""


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each ending with max-pooling by 2; then three linear layers.

    The hidden linear layers have as many units as the last stage has channels: 512, 512, classes at width 64. As in
    torchvision's VGG the convolutions have a bias with every norm (which cancels it), and He's normal distribution of
    the fan-out initialises them; the linear layers have PyTorch's default.

    Args:
        image_shape: (3, H, W).
        classes: number of logits.
        name: of the model, for messages.
        width: channels of the first stage.
        activation: makes the module after each convolution and hidden linear layer.
        norm: makes the norm after each convolution; None: without.
        dropout: share of the features dropped before each linear layer.
        convolutions: how many of each stage.

    Raises:
        UserError: the images are smaller than 32x32.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        name: str,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
        convolutions: tuple[int, int, int, int, int],
    ) -> None:
        super().__init__()
        require_image_size(name, image_shape, 2 ** len(STAGE_WIDTHS))
        inputs, height, columns = image_shape
        layers: list[nn.Module] = []
        for factor, count in zip(STAGE_WIDTHS, convolutions, strict=True):
            for _ in range(count):
                layers += [*convolution(inputs, factor * width, 3, norm, bias=True), activation()]
                inputs = factor * width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        pixels = (height >> len(STAGE_WIDTHS)) * (columns >> len(STAGE_WIDTHS))
        self.head = LinearHead((inputs * pixels, inputs, inputs, classes), activation, dropout)
        initialize_like_he(self, "fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits
