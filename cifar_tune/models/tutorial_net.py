"""The net of PyTorch's CIFAR-10 tutorial (report A)."""

from torch import Tensor, nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.image_size import ImageShape, require_image_size
from cifar_tune.models.linear_head import LinearHead
from cifar_tune.models.norm import NormFactory, normalized

SMALLEST_IMAGE = 16
HIDDEN = (120, 84)


class TutorialNet(nn.Module):
    """Twice 5x5 convolution without padding, activation, max-pooling by 2; then linear layers of 120 and 84 units.

    The convolutions have `width` and `width * 16 / 6` channels (6 and 16 in the tutorial: 62,006 parameters on
    32x32 images and ten classes). A norm, if there is one, follows each convolution, which then has no bias. PyTorch's
    default initialisation.

    Raises:
        UserError: the images are smaller than 16x16.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
    ) -> None:
        super().__init__()
        require_image_size("tutorial_net", image_shape, SMALLEST_IMAGE)
        channels, height, columns = image_shape
        second = round(width * 16 / 6)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, bias=norm is None),
            *normalized(width, norm),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, second, 5, bias=norm is None),
            *normalized(second, norm),
            activation(),
            nn.MaxPool2d(2),
        )
        inputs = second * _pooled(height) * _pooled(columns)
        self.head = LinearHead((inputs, *HIDDEN, classes), activation, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _pooled(side: int) -> int:
    """Pixels per side after both convolutions and poolings."""
    return ((side - 4) // 2 - 4) // 2
