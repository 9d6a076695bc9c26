"""The slots of this machine: places for one trial each.

On a CPU a slot is a core, and a trial takes as many as it has threads. On a GPU a slot is a share of it: as many trials
run there at a time as `run --workers auto` has found best on this machine, else one.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from joblib import cpu_count

from cifar_tune.data.cache import cache_folder
from cifar_tune.errors import CheckError, Problem, UserError, enumerate_names, nearest_name
from cifar_tune.executors.remembered import remembered_all
from cifar_tune.study_spec.yaml_reader import read_yaml

CPU: Final = "cpu"
_AUTO = "auto"
_MOST = 10_000
_LOOK_SECONDS = 120.0
_DRIVERS = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")))
"""Of NVIDIA's cards, of their small boards, of Windows' Linux, and of AMD's cards."""

_LOOK = "import json; from cifar_tune.training.device import existing_devices; print(json.dumps(existing_devices()))"


def find_slots(devices: Sequence[str] = (_AUTO,), each: int | None = None) -> tuple[str, ...]:
    """The slots that a server gives out: the name of a device for each.

    Args:
        devices: `auto` for all GPUs, or where there are none for the CPU; else their names.
        each: slots on each device; None for the cores of the CPU, and for what is known to suit its GPUs.

    Raises:
        UserError: there is no such device, or the names do not go together.
        CheckError: nobody can tell which devices there are.
    """
    if each is not None and not 1 <= each <= _MOST:
        raise UserError(Problem(f"must be a whole number from 1 to {_MOST:,}", "--slots", each))
    names = [CPU] if list(devices) == [CPU] else _chosen(list(devices))
    return tuple(name for name in names for _ in range(each or _usual(name)))


def slots_of_a_trial(text: str, devices: Sequence[str]) -> int:
    """How many slots a trial of a study takes at most.

    Args:
        text: of the study file. It is only read: no plugin that it names runs.
        devices: of the server's slots; those of a cluster are named after their machines, such as `cpu@lab1`.
    """
    if not any(device == CPU or device.startswith(f"{CPU}@") for device in devices):
        return 1
    raw = read_yaml(text, "the study file").value
    sections = raw if isinstance(raw, dict) else {}
    fixed = _section(sections, "train").get("threads")
    searched = _section(sections, "search_space").get("threads")
    dimension: Mapping[str, Any] = searched if isinstance(searched, dict) else {}
    choices = dimension.get("choices", ())
    found = [fixed, dimension.get("high"), *(choices if isinstance(choices, list) else ())]
    return max([1, *(threads for threads in found if type(threads) is int)])


def most_at_once(text: str) -> int | None:
    """How many trials of a study can run at a time: those of one batch with `deterministic`; None for any number.

    Args:
        text: of the study file, as for `slots_of_a_trial`.
    """
    raw = read_yaml(text, "the study file").value
    size = raw.get("deterministic") if isinstance(raw, dict) else None
    return size if type(size) is int and size > 0 else None


def _section(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _chosen(names: list[str]) -> list[str]:
    existing = _existing_devices()
    if names == [_AUTO]:
        gpus = [name for name in existing if name.startswith("cuda")]
        return gpus or existing[:1]
    names = ["cuda:0" if name == "cuda" else name for name in names]
    problems = [
        Problem(
            f"must be a device of this machine: {enumerate_names([_AUTO, *existing])}",
            "--devices",
            name,
            nearest=nearest_name(name, [_AUTO, *existing]),
        )
        for name in names
        if name not in existing
    ]
    if not problems and CPU in names and len(names) > 1:
        problems = [
            Problem("must be either cpu or GPUs: a slot is a core there, and a share of a GPU here", "--devices")
        ]
    if not problems and len(set(names)) < len(names):
        problems = [Problem("names a device twice; --slots says how many slots each one has", "--devices")]
    if problems:
        raise UserError(problems)
    return names


def _existing_devices() -> list[str]:
    """What PyTorch finds; where Linux has no driver of a GPU, PyTorch need not be asked, which takes seconds."""
    if sys.platform == "linux" and not any(driver.exists() for driver in _DRIVERS):
        return [CPU]
    return _asked_devices()


def _asked_devices() -> list[str]:
    """Ask a process that ends soon: PyTorch would take memory, and perhaps a GPU's, as long as the server lives."""
    try:
        done = subprocess.run(  # noqa: S603 (our own program)
            [sys.executable, "-P", "-c", _LOOK], capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True
        )
        return [str(name) for name in json.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise CheckError(
            f"it is not known which devices this machine has: {words}; name them with --devices"
        ) from error


def _usual(device: str) -> int:
    if device == CPU:
        return int(cpu_count())
    with suppress(UserError):
        return min((decision.each for decision in remembered_all(cache_folder())), default=1)
    return 1
