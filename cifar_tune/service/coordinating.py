"""Runs one submission: `python -m cifar_tune.service.coordinating NUMBER --devices cpu,cuda:0`.

The server starts such a process for each active submission, in a session of its own and with a log file as its stdout
and stderr. The URL of the storage is in `CIFAR_TUNE_STORAGE`, since command lines can be read by everybody. The process
needs no server: it hears requests through the database (`storage.wishes`), parks at SIGTERM, and writes its end into
the submission itself. If it is killed before it has done so, the server notices that.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, NoResultFound, OperationalError

from cifar_tune.errors import CheckError, CifarTuneError
from cifar_tune.executors.options import ClusterAwayError, ExecutorOptions
from cifar_tune.service import submissions
from cifar_tune.service.ends import PARKED, PUT_OFF, note_end
from cifar_tune.service.submissions import INTERRUPTED, LATER, Submission
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import LeaseHeldError, LeaseLostError
from cifar_tune.storage.patience import Patience, open_patiently
from cifar_tune.storage.rdb import close
from cifar_tune.storage.urls import storage_url, without_secrets
from cifar_tune.streams import guard_streams, say
from cifar_tune.study.events import LAST_PATIENCE_SECONDS, StopRequests
from cifar_tune.study.plain_lines import PlainLines, stamp
from cifar_tune.study.run import Outcome, run_study
from cifar_tune.study.stop_signals import stop_signals
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import read_yaml
from cifar_tune.wording import metric_figure

_ENDINGS = {
    "budget": "its budget is used up",
    "elsewhere": "another program is running the last trials of its budget",
    "exhausted": "all of its configurations were tried",
    "stopped": "its rule has stopped it",
    "timeout": "its time is up",
    "interrupted": "parked",
}

NICENESS = 10
"""Of a run and its executors. They take all of the cores that nobody else uses; pages and other programs come first."""


@dataclass(frozen=True, slots=True)
class End:
    """How a run has ended.

    Attributes:
        exit_code: as that of `cifar-tune run`, or `submissions.LATER`.
        message: for people.
        stopped_by: the person who has stopped it with `cifar-tune stop`; None where it was the server, or nobody.
    """

    exit_code: int
    message: str
    stopped_by: str | None = None


def main() -> None:
    """Run the submission that the command line names; never returns."""
    guard_streams()
    _step_back()
    parser = argparse.ArgumentParser(prog="python -m cifar_tune.service.coordinating")
    parser.add_argument("number", type=int, help="of the submission")
    parser.add_argument("--devices", required=True, help="one name for each worker, with commas in between")
    parser.add_argument("--engine", default="local", help="these three as for `cifar-tune run`")
    parser.add_argument("--address")
    parser.add_argument("--gpus-per-worker", type=float)
    given = parser.parse_args()
    devices = tuple(given.devices.split(","))
    on_devices = devices if given.engine == "local" else ("auto",)  # Ray chooses them
    where = ExecutorOptions(given.engine, len(devices), on_devices, given.address, given.gpus_per_worker)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(optuna|PIL)\.")
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # Optuna's version is pinned
    url = storage_url(None)
    with stop_signals() as stop:
        end = coordinate(url, given.number, devices, stop, where)
    sys.exit(end.exit_code)


def _step_back() -> None:
    """Give this process, and those that it will start, a lower priority; one that is lower already stays."""
    with suppress(OSError):  # a system that forbids it
        if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)


def coordinate(
    url: URL, number: int, devices: Sequence[str], stop: StopRequests, where: ExecutorOptions | None = None
) -> End:
    """Run a submission until its study ends or is parked, and write how it ended.

    Args:
        url: of the storage.
        number: of the submission, whose state is `running`.
        devices: to train on, one for each worker, until somebody asks for others.
        stop: asks to park it.
        where: it runs; None for these devices of this machine.
    """
    where = where or ExecutorOptions(workers=len(devices), devices=tuple(devices))
    try:
        end = _run(url, number, devices, stop, where)
    except (LeaseHeldError, LeaseLostError) as error:  # the server begins it again when that run has ended
        end = End(INTERRUPTED, str(error))
    except CifarTuneError as error:
        end = End(LATER if _is_away(error) else error.exit_code, str(error))
    except Exception as error:  # noqa: BLE001 (whatever it is, people must learn that the study has ended)
        _log(without_secrets(traceback.format_exc(), url))
        words = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0], url)
        end = End(CheckError.exit_code, f"an unexpected error ended it: {words}")
    _log(end.message)
    _try_to_write_end(url, number, end)
    return end


def _is_away(error: BaseException | None) -> bool:
    """Whether a database or a cluster that cannot be used now is what has ended the run."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | TimeoutError | ClusterAwayError):
            return True
        error = error.__cause__
    return False


def _run(url: URL, number: int, devices: Sequence[str], stop: StopRequests, where: ExecutorOptions) -> End:
    submission = _read(url, number)
    read = read_study(read_yaml(submission.text, submission.file, with_faults=True), submission.file)
    observer = PlainLines(read.spec, stamped=True)
    observer.note(f"the study {read.spec.name} of {submission.owner} begins on {', '.join(devices)}")
    for text in read.notes:
        observer.note(text)
    with read.problems.placing():
        outcome = run_study(read.spec, url, observer, where, stop)
    return end_of(outcome, read.spec)


def _read(url: URL, number: int) -> Submission:
    storage = open_patiently(url, _log, lambda: None)
    try:
        with storage.engine.connect() as connection:
            return submissions.read(connection, number)
    except NoResultFound as error:
        raise CheckError(f"there is no submission {number}; it was deleted") from error
    finally:
        close(storage)


def end_of(outcome: Outcome, spec: StudySpec) -> End:
    """How a run has ended, in words for people and as the exit code of `cifar-tune run`."""
    words = _ENDINGS[outcome.ending]
    if outcome.ending == "interrupted":
        by = outcome.stopped_by
        person = by if by != SERVER_LEASE else None
        return End(INTERRUPTED, words if person is None else f"stopped by {person}", person)
    record = outcome.record
    if record is None or record.best is None:
        why = "" if record is None else f": {record.without_best_words}"
        return End(CheckError.exit_code, f"{words}{why}")
    best = ", ".join(
        f"{each.metric} {metric_figure(value)}" for each, value in zip(spec.objectives, record.best.values, strict=True)
    )
    return End(0, f"{words}; best {best} (trial {record.best.number})")


def _try_to_write_end(url: URL, number: int, end: End) -> None:
    """Otherwise the server reads it from the exit code."""
    try:
        _write_end(url, number, end)
    except Exception as error:  # noqa: BLE001 (whatever it is, the end itself is known)
        words = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0], url)
        _log(f"this end could not be written into the submission, and the server does that: {words}")


def _write_end(url: URL, number: int, end: End) -> None:
    """Write the end into the submission, with its event.

    Raises:
        CheckError: the database cannot be used.
    """
    storage = open_patiently(url, _log, lambda: None, is_durable=True)
    try:

        def write() -> None:
            with storage.engine.begin() as connection:
                _end(connection, number, end)

        Patience(url, _log, lambda: None).take(write, LAST_PATIENCE_SECONDS)
    finally:
        close(storage)


def _end(connection: Connection, number: int, end: End) -> None:
    if end.stopped_by is not None:  # otherwise the server would go on with it at once
        submissions.pause(connection, number)
    if not submissions.end(connection, number, end.exit_code, end.message):
        return  # the server was quicker, or the submission was deleted
    if end.stopped_by is None:
        note_end(connection, number, end.message, PUT_OFF if end.exit_code == LATER else PARKED)
    else:
        note_end(connection, number, end.message, ("stop", "done"), end.stopped_by)


def _log(text: str) -> None:
    for line in text.splitlines():
        say(f"{stamp()} {line}", err=True)


if __name__ == "__main__":
    main()
