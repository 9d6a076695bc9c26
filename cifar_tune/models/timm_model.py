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


def published_weights(image_shape: ImageShape, *, name: str) -> dict[str, Tensor]:
    """The weights that timm publishes for a model, from its cache or from the network, as a state of the model.

    Args:
        image_shape: (3, H, W); the weights of a model that is bound to one image size are fitted to it.
        name: such as `resnet18` or `resnet18.a1_in1k`.

    Raises:
        UserError: timm is not installed, publishes no weights for it, or they cannot be downloaded.
    """
    timm = _import_timm()
    published = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if published is None or not published.has_weights:
        rule = f"timm {timm.__version__} publishes no weights for it, so init_from timm has none to take"
        raise UserError(Problem(rule, "timm_name", name))
    arguments = {"img_size": image_shape[1:]} if published.fixed_input_size else {}
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            model: nn.Module = timm.create_model(name, pretrained=True, in_chans=image_shape[0], **arguments)
    except Exception as error:  # (whatever the libraries below raise without a network)
        rule = (
            f"timm's weights for {name} are not in its cache, and cannot be downloaded here ({_first_line(error)}). "
            f"Train once on a machine with a network, copy its cache (HF_HOME), or name a safetensors file"
        )
        raise UserError(Problem(rule, "init_from", "timm")) from error
    return model.state_dict()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
