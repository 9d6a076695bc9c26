"""`cifar-tune run`: everything around the coordinator."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.errors import CheckError
from cifar_tune.executors.gpu_sharing import OpenQuestion, SharingExecutors
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Rehearsal, WarmUp
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.executors.pool import Executors
from cifar_tune.knobs.initial_weights import FRESH
from cifar_tune.knobs.knob import Kind
from cifar_tune.model_files.learned import study_warnings
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.pruners.build import build_pruner
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import acquire, new_token
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.openings import read_openings, times
from cifar_tune.storage.patience import Patience, open_patiently
from cifar_tune.storage.rdb import close, unusable
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import require_artifacts_folder
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.budget import most_trials
from cifar_tune.study.control import listening
from cifar_tune.study.coordinator import Coordinator, Ending
from cifar_tune.study.events import (
    LAST_PATIENCE_SECONDS,
    Interrupted,
    Observer,
    ShieldedObserver,
    StopRequests,
    Watch,
)
from cifar_tune.study.evolving import Attempt, evolve_study, finish_evolution
from cifar_tune.study.finding_workers import FindingWorkers
from cifar_tune.study.folder_claim import claim_folder
from cifar_tune.study.opening import about_defaults, open_study, stored_study, with_its_defaults
from cifar_tune.study.script import Script
from cifar_tune.study.transfer import Transfer, find_transfer
from cifar_tune.study_spec.data_fit import require_fit
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.typical import largest, typical


def auto_executors(
    spec: StudySpec,
    devices: Sequence[str],
    note: Callable[[str], None],
    patience: float = math.inf,
    warm_up: WarmUp | None = None,
    rehearses: bool = True,
) -> LocalExecutors:
    """The executors of `--workers auto` on this machine; see `SharingExecutors`."""
    rehearsal = rehearsal_of(spec)
    if rehearsal is None:
        return LocalExecutors(None, devices, spec.largest_threads, note, warm_up=warm_up)
    threads = spec.largest_threads
    return SharingExecutors(rehearsal, devices, threads, note, patience=patience, warm_up=warm_up, rehearses=rehearses)


def rehearsal_of(spec: StudySpec) -> Rehearsal | None:
    """A configuration from the middle of the space for speed, the largest ones for memory.

    None where executors must not share a GPU, since how long an epoch takes is what the study measures.
    """
    if "seconds_per_epoch" in spec.metrics:
        return None
    plugins = tuple(plugin.file for plugin in spec.plugins if plugin.file is not None)
    most = min(spec.deterministic or spec.budget.trials, spec.budget.trials)
    middle = typical(spec, {})
    return Rehearsal(
        dict(middle),
        tuple(dict(each) for each in largest(spec)),
        spec.data,
        plugins,
        most,
        epochs=most_trials(spec) * middle.integer("epochs"),
        study_seconds=spec.budget.timeout,
    )


def warm_up_of(spec: StudySpec) -> WarmUp:
    """A configuration from the middle of the space, which is built and trained fast: to be run before the first trial.

    Only the images where plugins take part: their code runs in trials alone.
    """
    if spec.plugins:
        return WarmUp(None, spec.data)
    return WarmUp(dict(typical(spec, {}).replaced(compile=False, init_from=FRESH)), spec.data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `record` is None if it was interrupted before the study began, or with the database away.

    `has_begun` tells these two apart. `stopped_by` is who interrupted it through the database, if that is how it was.
    """

    ending: Ending
    record: StudyRecord | None
    has_begun: bool = True
    stopped_by: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """That the trials of a study are planned: what it is for, as `attributes.LINKED` has it, and who plans them."""

    linked: Mapping[str, Any]
    script: Script


def run_study(
    spec: StudySpec,
    url: URL,
    observer: Observer,
    options: ExecutorOptions,
    stop: StopRequests,
    evolve: bool = False,
    plan: Plan | None = None,
) -> Outcome:
    """Create the study or continue it, up to its budget. Any thread may do this.

    Args:
        spec: the study.
        url: of the storage.
        observer: is told what happens.
        options: where trials run, and how many at a time.
        stop: asks to stop, also from another thread.
        evolve: carry over the trials where the specification has changed.
        plan: of a linked study, whose trials no sampler draws.

    Raises:
        UserError: if the storage holds another study of that name, or data, device, cluster or storage cannot be
            used.
        CheckError: if another process runs the study, or executors cannot start.
    """
    observer = ShieldedObserver(observer)
    try:
        with ExitStack() as cleanup:
            outcome = _run(spec, url, Watch(observer, stop), options, evolve, plan, cleanup)
        return replace(outcome, stopped_by=stop.asked_by) if outcome.ending == "interrupted" else outcome
    except (Interrupted, KeyboardInterrupt):
        return Outcome("interrupted", None, has_begun=False, stopped_by=stop.asked_by)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise unusable(url, error.__cause__ or error) from error


def _run(
    spec: StudySpec,
    url: URL,
    watch: Watch,
    options: ExecutorOptions,
    evolve: bool,
    plan: Plan | None,
    cleanup: ExitStack,
) -> Outcome:
    observer, stop = watch.observer, watch.stop
    # first of all, since importing torch takes an executor longer than all that follows takes us
    executors = _begun(options, spec, observer.note)
    cleanup.callback(executors.close, lambda: stop.at_once)  # it may be closed twice
    require_artifacts_folder()
    storage = open_patiently(url, observer.note, stop.raise_if_any)
    cleanup.callback(close, storage)
    try:
        return _run_in(storage, spec, url, watch, executors, evolve, plan, cleanup)
    except DatabaseGoneError as error:
        raise CheckError(f"{error}{error.file.rescue()}") from error


def _run_in(
    storage: BatchStorage,
    spec: StudySpec,
    url: URL,
    watch: Watch,
    executors: Executors,
    evolve: bool,
    plan: Plan | None,
    cleanup: ExitStack,
) -> Outcome:
    observer, stop = watch.observer, watch.stop
    patience = Patience(url, observer.note, stop.raise_if_any)
    given = spec
    spec = patience.take(lambda: with_its_defaults(storage, given))
    known = patience.take(lambda: stored_study(storage, spec, evolve))  # refuse before images are decoded for nothing
    transfer = patience.take(lambda: find_transfer(storage, spec))  # likewise
    if transfer is not None and (known is None or transfer.notes):
        _say_all(observer, (f"note: {line}" for line in (*transfer.notes, *transfer.lines(spec))))
    token = new_token()
    lease = patience.take(lambda: acquire(storage.engine, spec.name, token))  # likewise
    cleanup.callback(lease.release_or_leave)
    cleanup.callback(executors.close, lambda: stop.at_once)  # before it is free, since others would write checkpoints
    cleanup.enter_context(listening(storage.engine, spec.name, lease.token, watch))
    with lease.renewed():  # a download may outlast it
        data = _prepared(spec, watch, is_first_time=known is None, is_planned=plan is not None)
        executors.wait_for_start(spec.data, data.fingerprint, stop.raise_if_any)
    patience.take(lease.renew)
    patience.renew = lease.renew
    said = patience.take(lambda: finish_evolution(storage, spec.name, url))
    if said:
        observer.important(said)
    spec = patience.take(lambda: with_its_defaults(storage, spec))
    _say_all(observer, (f"note: {sentence}" for sentence in about_defaults(given, spec)))
    if evolve:
        _say_all(observer, patience.take(lambda: _claimed(stored_study(storage, spec, evolve), storage, url)))
        attempt = Attempt()
        patience.take(lambda: evolve_study(storage, spec, data, lease, observer.important, attempt))
        patience.take(lambda: finish_evolution(storage, spec.name, url))
    stored = patience.take(lambda: _opened(storage, spec, data, plan, transfer))
    _say_all(observer, patience.take(lambda: _claimed(stored, storage, url)))
    if openings := read_openings(stored.user_attrs):
        observer.important(
            f"warning: the test set was opened {times(openings)} for this study (cifar-tune finalize); "
            f"what is chosen from now on may be influenced by its result"
        )
    with closing(patience.take(lambda: WriteBehindStorage(storage, spec.name, lease.renew_if_due, url=url))) as memory:
        pruner = build_pruner(spec.pruner, spec.largest_epochs)
        study = optuna.load_study(study_name=spec.name, storage=memory, pruner=pruner)
        script = None if plan is None else plan.script
        question = executors.question if isinstance(executors, SharingExecutors) else None
        finding = None if question is None else _finding(question, spec, observer)
        ending = Coordinator(memory, study, spec, executors, watch, script, finding).run()
        is_written = ending != "interrupted" or memory.flush(0.0)
    return _with_record(ending, storage, spec.name, url, watch) if is_written else Outcome(ending, None)


def _finding(question: OpenQuestion, spec: StudySpec, observer: Observer) -> FindingWorkers:
    """Finds out how many executors share a GPU. Our own knobs that are real numbers change no shape."""
    kinds = {spec.vocabulary.knobs[name].kind for name in spec.search_space}
    are_alike = kinds <= {Kind.FLOAT} and not spec.plugins
    return FindingWorkers(question, typical(spec, {}).integer("epochs"), are_alike, observer.note)


def _prepared(spec: StudySpec, watch: Watch, is_first_time: bool, is_planned: bool) -> PreparedData:
    """The images of the study, and what people should know of them."""
    observer = watch.observer

    def decoding(done: int, total: int) -> None:
        watch.stop.raise_if_any()
        observer.decoding(done, total)

    data = prepare(spec.data, decoding)
    require_fit(spec, data.classes, data.val_counts)
    for note in data.told(is_first_time=is_first_time):
        observer.note(f"note: {note}")
    for warning in study_warnings(spec, data) if not is_planned else ():
        observer.important(f"warning: {warning}")
    return data


def _opened(
    storage: BatchStorage, spec: StudySpec, data: PreparedData, plan: Plan | None, transfer: Transfer | None
) -> optuna.Study:
    """Create the study or take it up; a linked one says what it is for."""
    stored = open_study(storage, spec, data, transfer)
    if plan is not None and attributes.LINKED not in stored.user_attrs:
        stored.set_user_attr(attributes.LINKED, dict(plan.linked))
    return stored


def _claimed(study: optuna.Study | None, storage: BatchStorage, url: URL) -> list[str]:
    return [] if study is None else list(claim_folder(study, storage, url))


def _with_record(ending: Ending, storage: BatchStorage, name: str, url: URL, watch: Watch) -> Outcome:
    """Read what the database holds at the end: everything is written, but it may be away again."""

    def impatient() -> None:
        if watch.stop.at_once or (watch.stop.park and ending != "interrupted"):
            raise Interrupted

    patience = Patience(url, watch.observer.note, impatient)
    try:
        return Outcome(ending, patience.take(lambda: load_record(storage, name), LAST_PATIENCE_SECONDS))
    except Interrupted:
        return Outcome("interrupted", None)


def _say_all(observer: Observer, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        observer.note(sentence)


def _begun(options: ExecutorOptions, spec: StudySpec, note: Callable[[str], None]) -> Executors:
    threads = spec.largest_threads
    if options.engine == "ray":
        from cifar_tune.executors.ray_engine import RayExecutors  # noqa: PLC0415 (an extra, slow to import)

        return RayExecutors(options, threads, note)
    if options.workers is None:
        return auto_executors(spec, options.devices, note, warm_up=warm_up_of(spec), rehearses=False)
    return LocalExecutors(options.workers, options.devices, threads, note, warm_up=warm_up_of(spec))
