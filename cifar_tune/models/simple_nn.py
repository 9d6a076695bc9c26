"""The small net of report D."""

from torch import Tensor, nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.image_size import ImageShape, require_image_size
from cifar_tune.models.linear_head import LinearHead
from cifar_tune.models.norm import NormFactory, normalized

SMALLEST_IMAGE = 12
HIDDEN = (120, 84)


class SimpleNN(nn.Module):
    """A 5x5 and a 3x3 convolution, each with activation and max-pooling by 2; then linear layers of 120 and 84 units.

    The convolutions have `width` and `2 * width` channels (8 and 16 in the report: 82,006 parameters on 32x32 images
    and ten classes), no padding and no bias: the report prints 1,152 parameters for the second. A norm, if there
    is one, follows each of them. PyTorch's default initialisation.

    Raises:
        UserError: the images are smaller than 12x12.
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
        require_image_size("simple_nn", image_shape, SMALLEST_IMAGE)
        channels, height, columns = image_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, bias=False),
            *normalized(width, norm),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, bias=False),
            *normalized(2 * width, norm),
            activation(),
            nn.MaxPool2d(2),
        )
        inputs = 2 * width * _pooled(height) * _pooled(columns)
        self.head = LinearHead((inputs, *HIDDEN, classes), activation, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _pooled(side: int) -> int:
    """Pixels per side after both convolutions and poolings."""
    return ((side - 4) // 2 - 2) // 2
