"""`finalize` runs a race: who watches, and who may stop it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from cifar_tune.cli.progress import observer
from cifar_tune.cli.race_lines import plan_lines, race_lines
from cifar_tune.cli.stop_signals import stop_signals
from cifar_tune.errors import Problem, UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.openings import BEST
from cifar_tune.storage.records import StudyRecord
from cifar_tune.streams import say
from cifar_tune.study.choosing import Choice, study_data, trial_of
from cifar_tune.study.events import Interrupted, Watch
from cifar_tune.study.finals import Course, begun_race, planned_race, run_race, why_no_race
from cifar_tune.study.race_result import result_of

_INTERRUPTED = 130


@contextmanager
def course(record: StudyRecord, url: URL, options: ExecutorOptions, quiet: bool) -> Iterator[Course]:
    """A block in which trainings are shown on stderr, and Ctrl-C parks them."""
    with observer(record.spec, quiet) as watching, stop_signals() as stop, own_stdout():
        yield Course(url, options, Watch(watching, stop))


@contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for the results: Ray reports dead machines there."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def require_own(name: str) -> None:
    """Refuse the name of a linked study, which `finalize` itself has made.

    Raises:
        UserError: it is one.
    """
    parent = parent_of(name)
    if parent is not None:
        rule = f"belongs to the study {parent!r}, which can be finalized"
        raise UserError(Problem(rule, name, nearest=parent))


def planned_lines(
    storage: RDBStorage, record: StudyRecord, choice: Choice, trainings: int | None, networks: int
) -> list[str]:
    """What would be trained now.

    Raises:
        UserError: as `planned_race`.
        CheckError: the study has no best trial.
    """
    if choice.how != BEST:
        return plan_lines(record, None, f"{choice.options.strip()} says what is trained, so nothing is raced", networks)
    trial_of(record, choice)
    reason = why_no_race(record)
    if reason is not None:
        return plan_lines(record, None, reason, networks)
    begun = begun_race(storage, record, trainings)
    if begun is not None:
        return plan_lines(record, begun.race, None, networks)
    return plan_lines(record, planned_race(record, study_data(record, choice.settings), trainings), None, networks)


def raced(
    storage: RDBStorage,
    record: StudyRecord,
    choice: Choice,
    trainings: int | None,
    url: URL,
    options: ExecutorOptions,
    quiet: bool,
) -> Choice:
    """Race the candidates of a study, and choose the winner; where there is nothing to race, the best trial.

    Ends the process with 130 where somebody has stopped it.

    Raises:
        UserError, CheckError: as `run_race`.
    """
    trial_of(record, choice)
    reason = why_no_race(record)
    if reason is not None:
        say(f"note: {reason}", err=True)
        return choice
    try:
        with course(record, url, options, quiet) as where:
            found = run_race(storage, record, study_data(record, choice.settings), trainings, where)
    except Interrupted:
        print(f"cifar-tune: interrupted; the same command goes on: cifar-tune finalize {record.name}", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    result = result_of(found)
    assert result is not None, "a race that is over has a winner"  # noqa: S101 (for mypy: run_race sees to it)
    for line in race_lines(record, result):
        say(line, err=True)
    return replace(choice, trial=result.winner.trial, raced=True)
