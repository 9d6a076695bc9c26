"""Initial weights where PyTorch's own are not the paper's."""

from torch import nn


def initialize_like_he(model: nn.Module, mode: str) -> None:
    """Draw every convolution from He's normal distribution for ReLU, with biases of zero.

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015 (arXiv:1502.01852).

    Args:
        model: changed in place.
        mode: `fan_in` keeps the variance of the forward pass, `fan_out` that of the backward pass.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
            if module.bias is not None:
                nn.init.zeros_(module.bias)
