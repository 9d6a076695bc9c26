"""How long people wait before anything happens, and for the status and the export of a large study."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.made_study import store_study
from benchmarks.measuring import interleaved, ratios, spread, table
from benchmarks.noop_study import noop_spec, sqlite_url
from benchmarks.question import Options, run
from cifar_tune.storage.rdb import close, open_storage

_HEAVY = ("torch", "torchvision", "matplotlib", "sklearn", "scipy", "optuna")
_COMMANDS = ("--help", "knobs", "status")

_WATCHED = """
import runpy, sys
sys.argv = ["cifar-tune", *sys.argv[1:]]
try:
    runpy.run_module("cifar_tune", run_name="__main__")
except SystemExit:
    pass
print("imported:", *[name for name in {heavy!r}.split() if name in sys.modules], file=sys.stderr)
""".replace("{heavy!r}", repr(" ".join(_HEAVY)))

_FIRST_STEP = """
import os, sys
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.events import Observer, StopRequests
from cifar_tune.study.run import run_study
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

class First(Observer):
    def epoch(self, number, result, value):
        print("first step")
        sys.stdout.flush()

if __name__ == "__main__":
    train = {"model": "cnn2", "width": 4, "epochs": 1, "batch_size": 64}
    plain = {"name": "first", "budget": {"trials": 1}, "train": train,
             "data": {"name": "digits", "train_size": 64, "val_size": 10}}
    spec = read_study(Document(plain), None).spec
    run_study(spec, storage_url(sys.argv[1]), First(), ExecutorOptions(), StopRequests())
"""


def measure(options: Options) -> Sequence[str]:
    """Commands that train nothing, the first step of a run, and a study of many trials."""
    rounds = 2 if options.quick else 5
    trials = 1_000 if options.quick else 10_000
    return [
        "## Waiting",
        f"Wall time of whole processes, {rounds} rounds in turns. The ratio compares with `import torch` alone in the "
        "same round.",
        table(("command", "seconds", "ratio", f"imports of {', '.join(_HEAVY)}"), _commands(options.scratch, rounds)),
        '"First step" is the time from `cifar-tune run` to the result of the first epoch, which has one step (64 '
        "images), in a new database.",
        f"### A study of {trials:,} trials",
        "Each trial has at most 30 epochs, a third of them are pruned, and the database is SQLite.",
        table(("command", "seconds"), _large(options.scratch, trials, 1 if options.quick else 3)),
    ]


def _commands(scratch: Path, rounds: int) -> list[Sequence[object]]:
    script = scratch / "first_step.py"
    script.write_text(_FIRST_STEP)
    (scratch / "empty").mkdir()
    variants = {
        "import torch": _process(["-c", "import torch"], scratch),
        **{f"cifar-tune {name}": _process(["-m", "cifar_tune", name], scratch) for name in _COMMANDS},
        "first step": lambda number: _until_first_line(script, scratch, number),
    }
    found = interleaved(variants, rounds)
    rows: list[Sequence[object]] = []
    for name, seconds in found.items():
        command = name.removeprefix("cifar-tune ")
        imported = _imported(command, scratch) if command in _COMMANDS else ""
        rows.append((f"`{name}`" if name != "first step" else name, spread(seconds),
                     ratios(found["import torch"], seconds), imported))  # fmt: skip
    return rows


def _large(scratch: Path, trials: int, rounds: int) -> list[Sequence[object]]:
    url = sqlite_url(scratch, "large")
    storage = open_storage(make_url(url))
    spec = noop_spec(trials)
    store_study(storage, spec, trials)
    close(storage)
    environment = {"CIFAR_TUNE_STORAGE": url}
    variants = {
        f"cifar-tune {' '.join(arguments)}": _process(["-m", "cifar_tune", *arguments], scratch, environment)
        for arguments in (("status", spec.name), ("export", spec.name, "--output", "report"))
    }
    return [(f"`{name}`", spread(seconds)) for name, seconds in interleaved(variants, rounds).items()]


def _process(arguments: Sequence[str], folder: Path, more: Mapping[str, str] | None = None) -> Callable[[int], float]:
    """Runs a Python process and returns its seconds."""

    def timed(_round: int) -> float:
        started = time.perf_counter()
        _run(arguments, folder, more)
        return time.perf_counter() - started

    return timed


def _imported(command: str, folder: Path) -> str:
    said = _run(["-c", _WATCHED, command], folder).stderr.splitlines()[-1]
    return said.removeprefix("imported:").strip() or "none"


def _until_first_line(script: Path, folder: Path, number: int) -> float:
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(script), sqlite_url(folder, f"first-{number}")], cwd=folder / "empty",
        env=_environment({"CIFAR_TUNE_ARTIFACTS": str(folder / f"artifacts-{number}")}),
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if not line:
        raise RuntimeError("the run ended before its first step")
    return seconds


def _run(
    arguments: Sequence[str], folder: Path, more: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder / "empty", env=_environment(more), capture_output=True, text=True,
        check=True,
    )  # fmt: skip


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, with the package found from any folder."""
    path = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **(more or {})}


if __name__ == "__main__":
    run({"startup": measure})
