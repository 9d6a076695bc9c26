"""Devices: choosing one, describing it, and its process-wide settings, precision and compilation."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.memory import keep_freed_memory
from cifar_tune.training.repeatability import choose_algorithms
from cifar_tune.training.torch_internals import cpu_multiplies_bf16

AUTO = "auto"


def existing_devices() -> list[str]:
    """The names of the devices of this machine, the ones that `auto` prefers first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str) -> torch.device:
    """Return the device `auto`, `cpu`, `cuda` (the first), `cuda:1` or `mps`; `auto` prefers CUDA, then MPS.

    Raises:
        UserError: this machine has no such device; the message names those that exist.
    """
    existing = existing_devices()
    if name == AUTO:
        return torch.device(existing[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in existing:
        rule = f"must be a device of this machine: {enumerate_names([AUTO, *existing])}"
        raise UserError(Problem(rule, key="device", value=name, nearest=nearest_name(name, [AUTO, *existing])))
    return torch.device(wanted)


def describe_device(device: torch.device) -> str:
    """One line for people, such as `cuda:0 (NVIDIA H100, 80 GB)` or `cpu (AMD EPYC)`."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 1e9:.0f} GB)"
    return f"{device} ({_processor_name()})"


def environment(device: torch.device) -> dict[str, str | int]:
    """What results may depend on beside the configuration: versions, the device and its driver's libraries."""
    facts: dict[str, str | int] = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of torch's own: whoever unpickles it would have to import torch
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["device_name"] = properties.name
        facts["device_memory_bytes"] = properties.total_memory
        facts["cuda"] = str(torch.version.cuda or torch.version.hip)
        facts["cudnn"] = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
    else:
        facts["device_name"] = _processor_name()
        facts["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    return facts


def bind(device: torch.device) -> None:
    """Make a GPU the one that this thread uses where no device is named.

    Without it, some of CUDA's calls, such as that for giving memory back, would begin a context on the first GPU too,
    which takes some hundred megabytes there. Does nothing for other devices.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)


def configure(config: Configuration, device: torch.device) -> None:
    """Set what a training needs of the whole process (or, of the CPU's settings, of the calling thread).

    Args:
        config: names the CPU threads, among which sums are split, so that results depend on them, and the precision.
        device: where the model is trained.

    Raises:
        UserError: the device does not have the precision.
    """
    torch.set_num_threads(config.integer("threads"))
    set_float32_arithmetic(resolve_precision(config, device), device)
    if device.type == "cpu":
        keep_freed_memory()
        # The momentum of weights that get no more gradient decays into denormals and stays there: the smallest one
        # times 0.9 rounds to itself. Intel's cores take a slow path for each of them.
        torch.set_flush_denormal(True)
    if device.type == "cuda":
        bind(device)
        choose_algorithms(config.flag("repeatable"))


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


FP32 = "fp32"
TF32 = "tf32"
BF16 = "bf16"
FP16 = "fp16"

_AUTOCAST = {BF16: torch.bfloat16, FP16: torch.float16}

FIRST_CUDA_WITH_BF16 = (8, 0)
"""Compute capability (Ampere); TF32 came with it."""

_FIRST_CUDA_WITH_TENSOR_CORES = (7, 0)
"""Compute capability (Volta). With float16, older GPUs gain little (P100) or are many times slower (GTX 1080)."""


def resolve_precision(config: Configuration, device: torch.device) -> str:
    """Return `fp32`, `tf32`, `bf16` or `fp16`: what the configuration says, or for `auto` the fastest that is sound.

    That is bf16 where the device multiplies it. On the CPU that means the AVX-512 BF16 instructions, which every CPU
    with AMX has too. Without them every product is converted to float32 and back, which costs time instead of saving
    it. Images/s of forward, backward and step in bf16 over fp32, measured on an AMD Zen 4 (AVX-512 BF16, no AMX) with
    one and two threads, and with AMX: tutorial_net 1.3, 1.3, 1.1; cnn3 2.1, 2.3, 2.4; resnet18 of width 16 1.6, 1.7,
    2.3.

    On NVIDIA GPUs with tensor cores but no bf16 (V100, T4) it is fp16 with a scaled loss, as in nanoGPT. Everywhere
    else it is fp32. It is never tf32, since all GPUs with TF32 have bf16.

    In all of them weights, optimizer and loss are float32.

    Raises:
        UserError: TF32 is asked for, and the device has none.
    """
    chosen = config.text("precision")
    if chosen == TF32 and not _has_tf32(device):
        rule = (
            f"{TF32} needs an NVIDIA GPU of compute capability 8.0 (Ampere) or later, and {device} is none: take fp32"
        )
        raise UserError(Problem(rule, "precision", chosen))
    if chosen != "auto":
        return chosen
    if _multiplies_bf16(device):
        return BF16
    return FP16 if _capability(device) >= _FIRST_CUDA_WITH_TENSOR_CORES else FP32


def precision_elsewhere(precision: str, trained_on: str, device: torch.device) -> str:
    """What a model that was evaluated in this precision is best evaluated in on another device.

    Args:
        precision: that it was evaluated in.
        trained_on: the device then, such as `cuda:0`.
        device: the one now.

    Returns:
        The same precision on a device of the same type, and wherever it is as fast as it should be; else `fp32`.
    """
    if precision == TF32:
        return TF32 if _has_tf32(device) else FP32
    is_same = trained_on.partition(":")[0] == device.type
    if precision == BF16:
        return BF16 if is_same or _multiplies_bf16(device) else FP32
    if precision == FP16:
        return FP16 if is_same or _capability(device) >= _FIRST_CUDA_WITH_TENSOR_CORES else FP32
    return precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass; weights stay float32, and so must the loss, which belongs outside."""
    if precision in _AUTOCAST:
        return torch.autocast(device.type, dtype=_AUTOCAST[precision])
    return nullcontext()


def set_float32_arithmetic(precision: str, device: torch.device) -> None:
    """Let the process take float32 convolutions and products on a CUDA device in TF32, or in float32.

    The latter in all precisions but `tf32`, so that `fp32` means that, and so that what autocast leaves in float32 is.
    By default PyTorch takes convolutions in TF32. These settings replace the old ones (`allow_tf32`,
    `set_float32_matmul_precision`) since PyTorch 2.9; reading one after setting the other raises an error.
    """
    if device.type != "cuda":
        return
    arithmetic = "tf32" if precision == TF32 else "ieee"
    torch.backends.cuda.matmul.fp32_precision = arithmetic
    # One by one: not in all versions does a setting of all of cuDNN reach them.
    torch.backends.cudnn.conv.fp32_precision = arithmetic  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = arithmetic  # type: ignore[attr-defined]


def _multiplies_bf16(device: torch.device) -> bool:
    match device.type:
        case "cpu":
            return cpu_multiplies_bf16()
        case "cuda":
            return torch.version.hip is not None or _capability(device) >= FIRST_CUDA_WITH_BF16
        case _:
            return False


def _has_tf32(device: torch.device) -> bool:
    return _capability(device) >= FIRST_CUDA_WITH_BF16


def _capability(device: torch.device) -> tuple[int, int]:
    """The compute capability of an NVIDIA GPU; (0, 0) for everything else."""
    if device.type != "cuda" or torch.version.hip is not None:
        return (0, 0)
    return torch.cuda.get_device_capability(device)


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
