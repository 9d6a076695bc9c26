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


def pass_through(model: nn.Module) -> None:
    """Let each convolution begin by passing on its channels unchanged, as far as it has outputs for them.

    Outputs beyond the inputs keep the weights that they have. Zagoruyko and Komodakis 2017, "DiracNets"
    (arXiv:1706.00388), in the form of Jordan 2024 (arXiv:2404.00498, section 3.3).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight.detach()[: module.in_channels])
