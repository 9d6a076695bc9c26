"""What the insight commands share: data on a device, the folder for the results, progress, and what is printed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.paths import is_stream
from cifar_tune.reports.summary_json import SUMMARY_FILE
from cifar_tune.streams import say
from cifar_tune.study_spec.run_config import RunConfig
from cifar_tune.training.device import configure, resolve_device
from cifar_tune.wording import result_line

_LINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A configuration with its data on a device."""

    config: Configuration
    data: ResidentData
    device: torch.device


def open_run(run: RunConfig, device_name: str) -> OpenRun:
    """Open data and device.

    Raises:
        UserError: data or device cannot be used.
    """
    device = resolve_device(device_name)
    configure(run.train, device)
    progress = now_and_then()
    with run.problems.placing():
        data = prepare(run.data, lambda done, total: progress(f"decoding images: {done:,} of {total:,}"))
    for note in data.told():
        say(f"note: {note}", err=True)
    return OpenRun(run.train, ResidentData(data, device), device)


def output_folder(config: Path, output: Path | None) -> Path:
    """`--output`, or `reports/` and the name of CONFIG; of a file of an export, a folder of its name beside it.

    Every export has a `best.yaml`, so its name alone would make them all write into the same folder.
    """
    if output is not None:
        return output
    if is_stream(config):
        return Path("reports", "stdin")
    is_exported = any((folder / SUMMARY_FILE).exists() for folder in (config.parent, config.parent.parent))
    return config.parent / config.stem if is_exported else Path("reports") / config.stem


def now_and_then() -> Callable[[str], None]:
    """A function that prints a line to stderr, unless it did so in the last five seconds."""
    last = time.monotonic()

    def sometimes(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            say(line, err=True)

    return sometimes


def print_lines(values: dict[str, object], files: list[Path]) -> None:
    """Print `key=value` lines at full precision, and the files that were written."""
    for name, value in values.items():
        say(result_line(name, value))
    for file in files:
        say(f"file={file}")


def class_count(spec: DataSpec) -> int:
    """The number of classes. Own images are opened for it; nothing is downloaded.

    Raises:
        UserError: the folder cannot be read.
    """
    known = SOURCES[spec.name].classes
    if known is not None:
        return known
    progress = now_and_then()
    return len(prepare(spec, lambda done, total: progress(f"decoding images: {done:,} of {total:,}")).classes)
