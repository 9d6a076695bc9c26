"""Any model of timm (PyTorch Image Models), by its name there. timm is an extra: it is imported only when asked for."""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.models.layers import ImageShape


def timm_model(image_shape: ImageShape, classes: int, *, name: str, dropout: float) -> nn.Module:
    """Return timm's model with fresh weights: pretrained ones are never loaded, nor anything downloaded.

    A model that is bound to one image size, as vision transformers are, is made for these images.

    Args:
        image_shape: (3, H, W).
        classes: number of logits.
        name: such as `convnext_atto` or `vit_tiny_patch16_224`.
        dropout: timm's `drop_rate`, most often of the classifier; given only where it is not 0, since some models
            do not take it.

    Raises:
        UserError: timm is not installed, has no such model, or cannot make it for these images.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        rule = f"is no model of timm {timm.__version__}"
        raise UserError(Problem(rule, "timm_name", name, nearest=nearest_name(name, timm.list_models())))
    published = timm.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {"num_classes": classes, "in_chans": image_shape[0]}
    if published is not None and published.fixed_input_size:
        arguments["img_size"] = image_shape[1:]
    if dropout:
        arguments["drop_rate"] = dropout
    try:
        with torch.device("cpu"):  # not every model of timm can be made on the meta device
            model = _proven(timm.create_model(name, pretrained=False, **arguments), image_shape, classes)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        knobs = f"images of {image_shape[1]}x{image_shape[2]} and dropout {dropout}"
        raise UserError(Problem(f"timm cannot make it for {knobs}: {error}", "timm_name", name)) from error
    return model


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        rule = "needs the package timm, which is not installed: pip install 'cifar-tune[timm]'"
        raise UserError(Problem(rule, "model", "timm")) from error


def _proven(model: nn.Module, image_shape: ImageShape, classes: int) -> nn.Module:
    """Let one image through, as the only proof that its size is large enough; return the model as it was.

    Raises:
        ValueError: something else than logits comes out.
        RuntimeError: torch finds the image too small.
    """
    model.eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, *image_shape))
    if not isinstance(logits, Tensor) or logits.shape != (1, classes):
        raise ValueError("it does not give one logit per class")
    return model.train()
