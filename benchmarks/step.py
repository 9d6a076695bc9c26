"""Where the time of a training step goes on a CPU, and how much of it no program could save."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.limit import CASES, Case, recipe
from benchmarks.measuring import digits, seconds_of, table
from benchmarks.question import Options, run
from cifar_tune.models.build import multiply_adds_of
from cifar_tune.training.device import BF16, configure
from cifar_tune.training.learner import Learner

_BATCH = 128
_KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "matrix products": ("aten::mm", "aten::addmm"),
    "norms": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "pooling": ("aten::max_pool2d_with_indices", "aten::max_pool2d_with_indices_backward", "aten::fill_"),
    "activations": ("aten::threshold_backward", "aten::clamp_min_", "aten::relu_"),
}
"""Names of torch's operations; `fill_` clears gradients, nearly all of it those of pooling."""


def measure(options: Options) -> Sequence[str]:
    """Shares of a step by kind of operation, and the speed of convolutions beside that of a large matrix product."""
    rounds = 1 if options.quick else 3
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        rows = [process.submit(_measured, case, rounds).result() for case in CASES]
    header = (
        "network", "ms per step", *_KINDS, "rest",
        "convolutions and products, multiply-adds/s", "product of 2048 x 2048, multiply-adds/s",
    )  # fmt: skip
    return [
        "## Where the time of a step goes",
        f"Forward and backward pass and optimizer step on one batch of {_BATCH} that is already in memory, with one "
        "thread and `precision: auto`. The shares are those of torch's profiler. Convolutions include all their passes "
        "(the gradient for the input images is not computed). Where convolutions are as fast as a large matrix "
        "product, they cannot be made faster, and their share is the shortest time that a step could take.",
        table(header, rows),
    ]


def _measured(case: Case, rounds: int) -> Sequence[object]:
    """The target of a process."""
    device = torch.device("cpu")
    config = recipe(case.model, case.width, 3)
    configure(config, device)
    learner = Learner(config, (3, 32, 32), 10, device, 100)
    learner.begin_epoch(1)
    images = torch.randn(_BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (_BATCH,))
    several = max(5, 2000 // case.width**2)
    found = [_shares(learner, images, labels, several) for _ in range(rounds)]
    shares = {kind: median(each[kind] for _, each in found) for kind in _KINDS}
    seconds = median(each for each, _ in found)
    # forward, and the gradients of weights and inputs
    passes = _BATCH * (3 * multiply_adds_of(learner.model, (3, 32, 32)) - _first_convolution(learner.model))
    return (
        f"{case.model}, width {case.width}",
        digits(1000 * seconds),
        *(f"{100 * share:.0f} %" for share in shares.values()),
        f"{100 * (1 - sum(shares.values())):.0f} %",
        f"{digits(passes / (seconds * (shares['convolutions'] + shares['matrix products'])) / 1e9)} billion",
        f"{digits(_product(learner.precision) / 1e9)} billion",
    )


def _shares(learner: Learner, images: Tensor, labels: Tensor, steps: int) -> tuple[float, dict[str, float]]:
    """Seconds per step, and the share of each kind."""

    def step() -> None:
        learner.train_step(images, labels)

    seconds = seconds_of(step, steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            step()
    times = {each.key: each.self_cpu_time_total for each in profiler.key_averages()}
    total = sum(times.values())
    return seconds, {kind: sum(times.get(name, 0) for name in names) / total for kind, names in _KINDS.items()}


def _first_convolution(model: torch.nn.Module) -> int:
    """Multiply-adds of the first layer, for one image."""
    first = next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d))
    outputs = first(torch.zeros(1, 3, 32, 32))
    return int(first.weight.numel() * outputs[0, 0].numel())


def _product(precision: str) -> float:
    """Multiply-adds per second of one large matrix product."""
    size = 2048
    matrix = torch.randn(size, size, dtype=torch.bfloat16 if precision == BF16 else torch.float32)
    return size**3 / seconds_of(lambda: matrix @ matrix, 10)


if __name__ == "__main__":
    run({"step": measure})
