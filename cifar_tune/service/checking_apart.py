"""Checks a study file that names plugins in a process of its own, since plugins run when it is read.

So their code never runs in the server, whatever it imports, and a plugin that hangs or ends its process does no harm
there. Neither does one that takes all memory: the process may have so much and no more, and where the machine has none
left, the system ends it first. The process starts in the folder in which the study's paths begin.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Semaphore
from typing import Any, Final

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.service.refusals import BusyError
from cifar_tune.service.study_text import Rule, StudyText, checked_text, require_allowed
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.storage.urls import STORAGE_VARIABLE
from cifar_tune.study_spec.overrides import parse_overrides

LONGEST_SECONDS: Final = 120.0
"""For Python, PyTorch and the plugins, on a machine that trains meanwhile."""

_LATER_SECONDS = 10

MEMORY_VARIABLE: Final = "CIFAR_TUNE_CHECK_MEMORY"
"""GiB that a process may have which checks plugins; 0 for no limit."""

_GIB = 2**30
_DEFAULT_GIB = 8.0  # with PyTorch and torchvision it has 1 GiB
_LEAST_GIB = 1.5
_AT_ONCE = Semaphore(2)
_MOST = 8
_PLACES = Semaphore(_MOST)
"""Of those who have plugins checked or wait for it. Each holds a thread of the server."""

_SECRETS = (STORAGE_VARIABLE, "CIFAR_TUNE_TOKEN")


def checked_for_server(
    text: str, name_of_file: str, settings: Sequence[str], folder: str | None, rule: Rule | None
) -> StudyText:
    """Check a study file; in a process of its own where its plugins are foreign, or lie beside another folder.

    Args:
        text: of the file.
        name_of_file: for messages.
        settings: overrides, as `--set` gives them.
        folder: in which its paths begin; None for the folder of this process.
        rule: what must hold of files of others; None for one's own.

    Raises:
        UserError: with all problems at once.
        CheckError, BusyError: as `checked_apart`.
    """
    overrides = parse_overrides(settings)
    names_plugins = require_allowed(text, name_of_file, overrides, rule)
    is_elsewhere = folder is not None and Path(folder) != Path.cwd()
    if names_plugins and (rule is not None or is_elsewhere):
        return checked_apart(text, name_of_file, settings, folder)
    return checked_text(text, name_of_file, overrides)


def checked_apart(text: str, name_of_file: str, settings: Sequence[str], folder: str | None) -> StudyText:
    """As `study_text.checked_text`; the plugins in what it returns are descriptions, which train nothing.

    Args:
        text: of the file.
        name_of_file: for messages.
        settings: overrides, as `--set` gives them.
        folder: relative paths begin here; None for the folder of this process.

    Raises:
        UserError: with all problems at once; also where the plugins hang, or end their process.
        CheckError: no process can be started.
        BusyError: too many others wait for it already.
    """
    most = memory_limit()
    given = json.dumps(
        {"text": text, "name_of_file": name_of_file, "settings": list(settings), "memory": most,
         "seconds": math.ceil(LONGEST_SECONDS) + _LATER_SECONDS}
    )  # fmt: skip
    if not _PLACES.acquire(blocking=False):
        raise BusyError(
            f"the plugins of {_MOST} other studies are being checked, or wait for it, so this study was not queued; "
            "submit it again in a minute"
        )
    try:
        with _AT_ONCE:
            said = _said(given, folder, most)
    finally:
        _PLACES.release()
    if "problems" in said:
        raise UserError([_problem(each) for each in said["problems"]])
    spec = read_stored_spec(said["name"], said["spec"])
    sampler = replace(spec.sampler, is_automatic=said["has_automatic_sampler"])
    pruner = replace(spec.pruner, is_default=said["has_default_pruner"])
    spec = replace(spec, sampler=sampler, pruner=pruner, notify=tuple(said["notify"]))
    return StudyText(said["text"], spec, tuple(said["notes"]))


def memory_limit() -> int | None:
    """How many bytes of memory a process may have that checks plugins; None for no limit.

    Raises:
        UserError: the variable makes no sense.
    """
    given = os.environ.get(MEMORY_VARIABLE, "")
    try:
        gib = float(given) if given else _DEFAULT_GIB
    except ValueError:
        gib = math.nan
    if gib == 0:
        return None
    if not _LEAST_GIB <= gib < math.inf:
        rule = f"must be a number of GiB from {_LEAST_GIB:g} (PyTorch needs about 1), or 0 for no limit"
        raise UserError(Problem(rule, MEMORY_VARIABLE, given))
    return int(gib * _GIB)


def main() -> None:
    """Check what stands in stdin, and write what comes of it to stdout; whatever plugins print goes elsewhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    given = json.load(sys.stdin)
    _limit_memory(given["memory"])
    if hasattr(signal, "alarm"):  # Windows has none
        signal.alarm(given["seconds"])  # ends this process if the server is killed, and cannot end it
    with answers:
        json.dump(_checked(given), answers, default=str)


def _limit_memory(most: int | None) -> None:
    """Let this process, and each one that it starts, have so many bytes; the system ends it before the server."""
    with suppress(OSError):  # Linux alone has this
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if most is not None and resource is not None:
        with suppress(OSError, ValueError):  # a lower limit holds already
            # what is private and can be written: address space would count the files of PyTorch and CUDA too
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        checked = checked_text(given["text"], given["name_of_file"], parse_overrides(given["settings"]))
    except UserError as error:
        return {"problems": [asdict(_with_limit(each, given["memory"])) for each in error.problems]}
    spec = checked.spec
    return {
        "name": spec.name,
        "spec": spec.stored(),
        "has_automatic_sampler": spec.sampler.is_automatic,
        "has_default_pruner": spec.pruner.is_default,
        "notify": spec.notify,
        "text": checked.text,
        "notes": checked.notes,
    }


def _with_limit(problem: Problem, most: int | None) -> Problem:
    """A problem, with how much memory there was if it is about that."""
    is_about_memory = most is not None and _NO_MEMORY.search(problem.rule)
    return replace(problem, more=(*problem.more, _limit_words(most))) if is_about_memory else problem


def _limit_words(most: int | None) -> str:
    return f"plugins may use {(most or 0) / _GIB:g} GiB of memory when they are checked ({MEMORY_VARIABLE})"


_NO_MEMORY = re.compile(r"MemoryError|allocate|bad_alloc|out of memory", re.IGNORECASE)
"""How Python, NumPy and PyTorch say so."""


def _said(given: str, folder: str | None, most: int | None) -> Mapping[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cifar_tune.service.checking_apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
    except OSError as error:
        raise CheckError(f"the plugins of the study cannot be read: {error}") from error
    try:
        with suppress(BrokenPipeError):
            out, _ = process.communicate(given, timeout=LONGEST_SECONDS)
            return _answer(out, process.returncode, most)
    except subprocess.TimeoutExpired as error:
        rule = f"do not come to an end within {LONGEST_SECONDS:.0f} s when they are imported"
        raise UserError(Problem(rule, "plugins")) from error
    finally:
        with suppress(ProcessLookupError):  # and whatever the plugins have started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()  # and not for the end of its output, which what they have let loose may hold for ever
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
    return _answer("", process.returncode, most)


def _answer(out: str, code: int, most: int | None) -> Mapping[str, Any]:
    with suppress(ValueError):
        answer = json.loads(out)
        if code == 0 and isinstance(answer, dict):
            return answer
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    more = () if most is None else (_limit_words(most),)
    raise UserError(Problem(f"end the process that imports them ({ended})", "plugins", more=more))


def _problem(said: Mapping[str, Any]) -> Problem:
    return Problem(**{**said, "more": tuple(said["more"])})


if __name__ == "__main__":
    main()
