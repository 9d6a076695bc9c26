"""The model's training step as code made for it, by torch.compile."""

import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError


def forward_pass(model: nn.Module, compiled: bool) -> Callable[[Tensor], Tensor]:
    """Return what calls the model in training: the model itself, or its compiled form over the same weights.

    All batches of a training have one size, so that one graph serves; another comes where a model changes in the course
    of training, such as a bias that is learned no longer. Where several processes compile the same, the first one fills
    the cache on disk for all of them (`TORCHINDUCTOR_CACHE_DIR`).

    Raises:
        UserError: there is no compiler.
    """
    if not compiled:
        return model
    _require_compiler()
    # Graphs are counted per line of code, whoever's model it is: after eight trials in a process torch would give up.
    torch.compiler.reset()
    return torch.compile(model, dynamic=False)


def _require_compiler() -> None:
    """Inductor writes C++ for the CPU, and for other devices the code that starts their kernels."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        rule = f"needs a C++ compiler, and there is no {compiler} (the variable CXX names another)"
        raise UserError(Problem(rule, key="compile", value=True))
