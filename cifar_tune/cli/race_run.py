"""`finalize` runs a race: who watches, and who may stop it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from cifar_tune.cli.progress import observer
from cifar_tune.cli.race_plan import plan_lines
from cifar_tune.data.prepared import prepare
from cifar_tune.errors import Problem, UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.linked import FINALS, linked_name, parent_of
from cifar_tune.storage.openings import BEST
from cifar_tune.storage.records import StudyRecord
from cifar_tune.streams import say
from cifar_tune.study.choosing import Choice, about_training, study_data, trial_of
from cifar_tune.study.events import Watch
from cifar_tune.study.finals import Course, begun_race, planned_race, run_race, why_no_race
from cifar_tune.study.race_result import result_of, stored_result
from cifar_tune.study.stop_signals import stop_signals

USUAL_NETWORKS = 5


@contextmanager
def course(record: StudyRecord, kind: str, url: URL, options: ExecutorOptions, quiet: bool) -> Iterator[Course]:
    """A block in which trainings are shown on stderr, and Ctrl-C parks them.

    Args:
        record: the study.
        kind: of the linked study that is trained.
        url: of the storage.
        options: where trainings run.
        quiet: show next to nothing.
    """
    spec = record.spec  # no time limit of the study holds for its linked studies
    spec = replace(spec, name=linked_name(spec.name, kind), budget=replace(spec.budget, timeout=None), repeats=None)
    with observer(spec, quiet) as watching, stop_signals() as stop, own_stdout():
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What `finalize` is to train.

    Attributes:
        trainings: of the race at most; None: as many as suit the number of candidates.
        networks: that are tested.
        quick: no race, and one network, in this process.
        options: where the others are trained.
    """

    trainings: int | None
    networks: int
    quick: bool
    options: ExecutorOptions


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where `finalize` works: its storage, the device of the test, the model folder, and what its options say."""

    url: URL
    device: str
    folder: Path
    again: bool
    quiet: bool


def asked(choice: Choice, trainings: int | None, networks: int | None, quick: bool, options: ExecutorOptions) -> Asked:
    """What these options ask for.

    Raises:
        UserError: they do not fit together.
    """
    problems = []
    if trainings is not None and choice.how != BEST:
        problems.append(Problem(f"there is nothing to race where{choice.options} says what is trained", "--trainings"))
    for key, value in (("--trainings", trainings), ("--networks", networks)):
        if quick and value is not None:
            problems.append(Problem("--quick races nothing, and trains one network: leave one of them out", key, value))
    if problems:
        raise UserError(problems)
    return Asked(trainings, 1 if quick else networks or USUAL_NETWORKS, quick, options)


def planned_lines(storage: RDBStorage, record: StudyRecord, choice: Choice, wanted: Asked) -> list[str]:
    """What would be trained now, of a choice that can be trained.

    Raises:
        UserError: as `planned_race`.
    """
    reason = why_no_race(record)
    if choice.how != BEST:
        reason = f"{choice.options.strip()} says what is trained, so nothing is raced"
    if wanted.quick:
        reason = "--quick races nothing"
    data = study_data(record, choice.settings)
    images = len(prepare(data).merged(with_unused=not choice.study_images).train_indices)
    if reason is not None:
        trial = None if choice.config is not None else trial_of(record, choice)
        sentence = None if trial is None else about_training(record, trial)
        notes = [f"note: {words}" for words in (sentence, about_quick(record, choice, wanted)) if words is not None]
        return [*notes, *plan_lines(record, reason, wanted.networks, images)]
    begun = begun_race(storage, record, wanted.trainings)
    race = planned_race(record, data, wanted.trainings) if begun is None else begun.race
    return plan_lines(record, race, wanted.networks, images, begun)


def about_quick(record: StudyRecord, choice: Choice, wanted: Asked) -> str | None:
    """A sentence where --quick would take the best trial although a race has found a better one; else None."""
    found = stored_result(record) if wanted.quick and choice.how == BEST else None
    if found is None or record.best is None or found.winner.trial == record.best.number:
        return None
    return (
        f"--quick takes the best trial of the study, {record.best.number}, although trial {found.winner.trial} has won "
        f"its race; take that one with --trial {found.winner.trial}"
    )


def raced(storage: RDBStorage, record: StudyRecord, choice: Choice, wanted: Asked, around: Surroundings) -> Choice:
    """Race the candidates of a study; where there is nothing to race, the best trial.

    Returns:
        What was chosen.

    Raises:
        Interrupted: somebody has stopped it.
        UserError, CheckError: as `run_race`.
    """
    reason = why_no_race(record)
    if choice.how != BEST:
        return choice
    trial_of(record, choice)
    if reason is not None:
        say(f"note: {reason}", err=True)
        return choice
    with course(record, FINALS, around.url, wanted.options, around.quiet) as where:
        found = run_race(storage, record, study_data(record, choice.settings), wanted.trainings, where)
    result = result_of(found)
    assert result is not None, "a race that is over has a winner"  # noqa: S101 (for mypy: run_race sees to it)
    return replace(choice, trial=result.winner.trial, raced=True)
