"""The smallest image that a model can take."""

from cifar_tune.errors import Problem, UserError

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
