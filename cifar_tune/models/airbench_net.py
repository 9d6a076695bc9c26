"""A net that learns much in few steps."""

from torch import Tensor, nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.image_size import ImageShape, require_image_size
from cifar_tune.models.initialization import pass_through
from cifar_tune.models.norm import NormFactory, fix_scale, normalized
from cifar_tune.models.whitening import PATCH, Whitening

DIRAC = "dirac"
_SMALLEST = PATCH - 1 + 2**3


class AirbenchNet(nn.Module):
    """Whitening, then three blocks of two 3x3 convolutions, as in "94% on CIFAR-10 in 3.29 seconds on a single GPU".

    Jordan 2024, arXiv:2404.00498, section 3, of which this is an implementation from the text. A block is convolution,
    max-pooling by 2, norm, activation, convolution, norm, activation; the blocks have `width`, 4 `width` and 4 `width`
    channels. Scales of norms stay 1, so that only their biases are learned. Behind the blocks every channel's maximum
    goes into a linear layer without bias, and what comes out is multiplied by `output_scale`.

    Args:
        image_shape: (3, H, W).
        classes: how many.
        width: channels of the first block.
        activation: makes each activation.
        norm: makes each norm.
        dropout: share of the features dropped before the linear layer.
        init: `dirac` lets every convolution begin by passing on the channels that come in.
        output_scale: factor of the logits.
        whitening_bias_epochs: epochs in which the bias of the whitening is learned; from then on it stays.

    Raises:
        UserError: the images are too small for three poolings.
    """

    def __init__(  # noqa: PLR0913  (one argument for each knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
        init: str,
        output_scale: float,
        whitening_bias_epochs: int,
    ) -> None:
        super().__init__()
        require_image_size("airbench_net", image_shape, _SMALLEST)
        self.whitening = Whitening(image_shape[0])
        self.blocks = nn.Sequential(
            activation(),
            _block(self.whitening.outputs, width, activation, norm),
            _block(width, 4 * width, activation, norm),
            _block(4 * width, 4 * width, activation, norm),
            nn.AdaptiveMaxPool2d(1),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, classes, bias=False))
        self._output_scale = output_scale
        self._whitening_bias_epochs = whitening_bias_epochs
        fix_scale(self)
        if init == DIRAC:
            pass_through(self)

    def fit(self, images: Tensor) -> None:
        """Compute the whitening; see `FittedModel`."""
        self.whitening.fit(images)

    def begin_epoch(self, epoch: int) -> None:
        """Learn the bias of the whitening, or no longer; see `FollowsEpochs`."""
        self.whitening.bias.requires_grad_(epoch <= self._whitening_bias_epochs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.blocks(self.whitening(images)))
        return logits * self._output_scale


def _block(inputs: int, outputs: int, activation: ActivationFactory, norm: NormFactory | None) -> nn.Sequential:
    bias = norm is None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        nn.MaxPool2d(2),
        *normalized(outputs, norm),
        activation(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias),
        *normalized(outputs, norm),
        activation(),
    )
