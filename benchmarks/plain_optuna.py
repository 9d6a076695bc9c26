"""The same study without training, as a plain Optuna script runs it: `study.optimize` in many processes."""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.noop_study import EPOCHS, noop_spec, value_after
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.knobs.knob import stored
from cifar_tune.pruners.build import build_pruner
from cifar_tune.samplers.build import build_sampler
from cifar_tune.storage.rdb import open_storage
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.specification import StudySpec

_NAME = "plain"


@dataclass(frozen=True, slots=True)
class PlainResult:
    """Seconds for all trials, trials that the database holds whole, and errors of the database on the way."""

    seconds: float
    whole: int
    errors: int


def optimize(url: str, trials: int, processes: int, wal: bool, sampler: str = "tpe") -> PlainResult:
    """Run `trials` trials in all, shared out among `processes`.

    Args:
        url: an empty database.
        trials: how many in all.
        processes: all of them have started before the clock does.
        wal: open SQLite as cifar-tune does, with a write-ahead log; else as Optuna does by default.
        sampler: as in a study file.
    """
    quieten_optuna()
    optuna.create_study(study_name=_NAME, storage=_opened(url, wal), direction="maximize")
    context = multiprocessing.get_context("spawn")
    errors: Queue[int] = context.Queue()
    barrier = context.Barrier(processes + 1)
    shares = [trials // processes + (index < trials % processes) for index in range(processes)]
    workers = [
        context.Process(target=_work, args=(url, share, wal, sampler, barrier, errors), daemon=True) for share in shares
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.perf_counter()
    failed = sum(errors.get() for _ in workers)
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join()
    stored_trials = optuna.load_study(study_name=_NAME, storage=_opened(url, wal)).get_trials(deepcopy=False)
    whole = sum(len(trial.intermediate_values) == EPOCHS and trial.state.is_finished() for trial in stored_trials)
    return PlainResult(seconds, whole, failed)


def _opened(url: str, wal: bool) -> RDBStorage:
    return open_storage(make_url(url)) if wal else RDBStorage(url)


def _work(url: str, trials: int, wal: bool, sampler: str, barrier: Barrier, errors: "Queue[int]") -> None:
    """The target of a process."""
    quieten_optuna()
    spec = noop_spec(trials, sampler)
    study = optuna.load_study(
        study_name=_NAME,
        storage=_opened(url, wal),
        sampler=build_sampler(spec.sampler, multiprocessing.current_process().pid or 0),
        pruner=build_pruner(spec.pruner, spec.largest_epochs),
    )
    barrier.wait()
    failed = 0
    done = 0
    while done < trials:
        try:
            study.optimize(lambda trial: _objective(trial, spec), n_trials=1)
        except (StorageInternalError, SQLAlchemyError):
            failed += 1
        done += 1
    errors.put(failed)


def _objective(trial: optuna.Trial, spec: StudySpec) -> float:
    for name, dimension in spec.search_space.items():
        if isinstance(dimension, Choices):
            trial.suggest_categorical(name, [stored(choice) for choice in dimension.choices])
        else:
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    for epoch in range(1, EPOCHS + 1):
        trial.report(value_after(epoch), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value_after(EPOCHS)
