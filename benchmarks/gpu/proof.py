"""`python -m benchmarks gpu`: the parts of the proof one after the other, each in a process of its own.

Whatever happens to a part (an exception, a crash of the driver, too long a time), its rows so far are kept and the
others follow. Without a GPU it runs in a small form on the CPU, so that the script itself is tested.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

from benchmarks.gpu.setting import Row, Setting, read_rows
from benchmarks.images import Images, find_images
from benchmarks.machine import facts
from benchmarks.measuring import digits, table
from cifar_tune.data.spec import DataSpec
from cifar_tune.training.device import describe_device, environment, resolve_device

_ROOT = Path(__file__).parents[2]
_DIGITS = Images(DataSpec(name="digits"), "scikit-learn's digits")
_LEAST_SECONDS = 20.0
"""Of a part, so that one that others left little time for can at least begin."""

_MARK = "pytest.mark.gpu"

_TESTERS = 8
"""Processes that share the tests."""

_SMALL_SECONDS = 300.0
"""Of a part in the small form, which takes seconds unless the machine is busy."""


def gpu_tests(setting: Setting) -> None:
    """All tests that need a GPU; without one they are only collected."""
    if not Path(setting.root, "tests").is_dir():
        raise FileNotFoundError(f"there are no tests in {setting.root}")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    # Not all of them: to collect the others takes longer, and wants what a bare GPU machine may not have.
    command += sorted(str(file) for file in Path(setting.root, "tests").rglob("test_*.py") if _MARK in file.read_text())
    if setting.small:
        command += ["--collect-only"]
    elif find_spec("xdist"):
        command += ["-n", str(_TESTERS)]
    ended = subprocess.run(
        command, cwd=setting.root, capture_output=True, text=True, check=False, timeout=setting.seconds
    )
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            setting.write({"pytest": line})
    setting.write({"pytest": lines[-1] if lines else f"exit code {ended.returncode}"})


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the proof; `share` of the minutes is how long it may take.

    `measure` is the name of a function that takes the setting. Its module is imported by the process that measures,
    and by no other: the first import of a module that trains takes seconds.
    """

    title: str
    measure: str
    share: float


PARTS: Mapping[str, Part] = {
    "speed": Part("Images per second of a training", "benchmarks.gpu.speed:measure", 0.38),
    "first": Part("First epochs in a new executor", "benchmarks.gpu.trials:first_epochs", 0.08),
    "airbench": Part("Ten epochs of airbench_net in one executor", "benchmarks.gpu.trials:airbench", 0.14),
    "digits": Part("The same configuration in two processes", "benchmarks.gpu.trials:same_digits", 0.06),
    "memory": Part("What is held after each trial", "benchmarks.gpu.trials:memory", 0.06),
    "workers": Part("The same study with 1, 2, 4 and auto workers", "benchmarks.gpu.studies:workers", 0.30),
    "check": Part("`check` of studies/resnet.yaml", "benchmarks.gpu.studies:check", 0.06),
    "kills": Part("Killed and started again", "benchmarks.gpu.studies:kills", 0.06),
    "tests": Part("Tests that need a GPU", "benchmarks.gpu.proof:gpu_tests", 0.20),
}


def main(arguments: Sequence[str]) -> int:
    """Run the parts, print their tables, write `gpu-proof.json` and `gpu-proof.md`; 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together (default: 8)")
    parser.add_argument("--device", default="auto", help="auto, cuda:0, cpu, ... (default: auto)")
    parser.add_argument("--images", help="folder that holds train/<class>/*; else as for the other benchmarks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these (default: all)")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the two files (default: this one)")
    given = parser.parse_args(arguments)
    device = resolve_device(given.device)
    with tempfile.TemporaryDirectory(prefix="cifar-tune-gpu-") as scratch:
        os.environ.setdefault("CIFAR_TUNE_CACHE", str(Path(scratch, "cache")))
        is_small = device.type != "cuda"
        images = _DIGITS if is_small and not given.images else find_images(given.images, Path(scratch))
        setting = Setting(str(device), images.spec.model_dump_json(), 0.0, is_small, scratch, str(_ROOT))
        circumstances = {
            "device": describe_device(device),
            "images": images.words,
            "machine": facts(),
            "small": setting.small,
            **environment(device),
        }
        head = f"# On {circumstances['device']}\n\n{circumstances['machine']}; {images.words}."
        if setting.small:
            head += "\n\nA small form without a GPU: it shows that the script runs, and its figures mean nothing."
        print(head, flush=True)
        sections, answers = [head], {}
        until = time.monotonic() + 60 * given.minutes
        for name in given.parts:
            part = PARTS[name]
            left = max(_LEAST_SECONDS, until - time.monotonic())
            seconds = max(_LEAST_SECONDS, min(left, 60 * given.minutes * part.share))
            seconds = max(seconds, _SMALL_SECONDS) if is_small else seconds
            answers[name] = _answer(name, replace(setting, seconds=seconds, folder=str(Path(scratch, name))))
            sections.append(_section(part, answers[name]))
            print(f"\n{sections[-1]}", flush=True)
            given.output.mkdir(parents=True, exist_ok=True)
            _written(given.output, "\n\n".join(sections), {"circumstances": circumstances, "parts": answers})
    return 1 if any(answer["problem"] for answer in answers.values()) else 0


def _written(folder: Path, text: str, content: object) -> None:
    Path(folder, "gpu-proof.md").write_text(text + "\n")
    Path(folder, "gpu-proof.json").write_text(json.dumps(content, indent=2) + "\n")


def _answer(name: str, setting: Setting) -> dict[str, object]:
    """The rows of a part, the seconds that it took, and what went wrong with it, if anything did."""
    folder = Path(setting.folder)
    folder.mkdir(parents=True)
    started = time.monotonic()
    problem = ""
    # The package need not be installed: the folder that it lies in does.
    paths = [setting.root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "benchmarks.gpu.proof", name, setting.as_json()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        command, env=environment, cwd=setting.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=setting.seconds + _LEAST_SECONDS)
    except subprocess.TimeoutExpired:
        problem = f"it was ended after {setting.seconds + _LEAST_SECONDS:.0f} s"
    else:
        if process.returncode:
            lines = [line for line in said.splitlines() if line.strip()]
            problem = lines[-1] if lines else f"exit code {process.returncode}"
    finally:
        with suppress(ProcessLookupError):  # whatever it has started ends with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    rows = read_rows(setting.rows)
    return {"rows": rows, "seconds": round(time.monotonic() - started, 1), "problem": problem}


def _section(part: Part, answer: Mapping[str, object]) -> str:
    rows: Sequence[Row] = answer["rows"]  # type: ignore[assignment]
    lines = [f"## {part.title}", ""]
    if rows:
        header = list(dict.fromkeys(column for row in rows for column in row))
        lines += [table(header, [[_cell(row.get(column)) for column in header] for row in rows]), ""]
    if answer["problem"]:
        lines += [f"This part failed: {_one_line(str(answer['problem']))}", ""]
    return "\n".join([*lines, f"({answer['seconds']} s)"])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return digits(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _one_line(str(value))


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    resolve_name(PARTS[sys.argv[1]].measure)(Setting(**json.loads(sys.argv[2])))
