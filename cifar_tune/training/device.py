"""Devices: choosing one by name, describing it, and the process-wide settings that training wants on it."""

import platform
from pathlib import Path

import torch

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.training.allocator import keep_freed_memory

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


def configure(threads: int, device: torch.device) -> None:
    """Set what holds for the whole process (or, of the CPU's settings, for the calling thread).

    Args:
        threads: CPU threads of this training; sums are split among them, so results depend on it.
        device: where the model is trained.
    """
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_freed_memory()
        # The momentum of weights that get no more gradient decays into denormals and stays there: the smallest one
        # times 0.9 rounds to itself. Intel's cores take a slow path for each of them.
        torch.set_flush_denormal(True)
    if device.type == "cuda":
        bind(device)
        # TF32: of the mantissa 10 bits in matrix products of float32, as cuDNN does in convolutions anyway.
        torch.set_float32_matmul_precision("high")
        # Every batch of a training has the same shape, so that trying out cuDNN's algorithms once pays. Their choice
        # may differ from run to run; CUDA's atomic additions make results differ in the last bits anyway.
        torch.backends.cudnn.benchmark = True


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
