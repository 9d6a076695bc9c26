"""From a configuration to its model."""

from torch import nn

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.activation import activation_factory
from cifar_tune.models.image_size import ImageShape
from cifar_tune.models.norm import norm_factory


def build_model(config: Configuration, image_shape: ImageShape, classes: int) -> nn.Module:
    """Return the configuration's model on the CPU in float32, initialised from torch's default generator.

    The model maps images (N, 3, H, W) to logits (N, classes).

    Raises:
        UserError: the images are too small for the model, or timm has no such model.
    """
    part = config.part("model")
    arguments = part.arguments_from(config)
    if "activation" in part.arguments:
        arguments[part.arguments["activation"]] = activation_factory(config)
    if "norm" in part.arguments:
        arguments[part.arguments["norm"]] = norm_factory(config)
    model: nn.Module = part.resolve()(image_shape, classes, **arguments)
    return model


def count_parameters(model: nn.Module) -> int:
    """Learned parameters; running statistics of batch norms are not among them."""
    return sum(parameter.numel() for parameter in model.parameters())
