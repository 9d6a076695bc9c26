"""`cifar-tune finalize`: races the best candidates of a study, with the executors and the coordinator of any study."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from cifar_tune.data.folds import count_folds, fold_of
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.statistics.halving import usual_trainings
from cifar_tune.storage.linked import FINALS, linked_name
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import ForeignStudyError, load_optuna_study, study_names
from cifar_tune.study.events import Interrupted, Watch
from cifar_tune.study.race import FEWEST_FOLDS, Race, RaceRecord, RaceScript, candidates_of, plan_race
from cifar_tune.study.run import Plan, run_study
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.study_spec.settings import Budget, PrunerSpec, SamplerSpec
from cifar_tune.study_spec.specification import StudySpec


@dataclass(frozen=True, slots=True)
class Course:
    """Where the trainings of `finalize` run, and who watches.

    Attributes:
        url: of the storage.
        options: where trials run.
        watch: who is told, and who asks to stop.
    """

    url: URL
    options: ExecutorOptions
    watch: Watch


def why_no_race(record: StudyRecord) -> str | None:
    """Why there is nothing to race; None if there is."""
    metric = record.spec.objective.metric
    if metric in METRICS and METRICS[metric].is_known_before_training:
        return f"the objective {metric} is the same in every training, so nothing is raced"
    if len(candidates_of(record)) < 2:
        return "the study has one candidate, so nothing is raced"
    return None


def begun_race(storage: RDBStorage, record: StudyRecord, trainings: int | None = None) -> RaceRecord | None:
    """The race of a study, as far as it is; None where none has begun.

    Args:
        storage: holds both.
        record: the study.
        trainings: that somebody asks for; None: as many as the race has.

    Raises:
        UserError: it is the race of an earlier study of this name, or one with another number of trainings.
    """
    name = linked_name(record.name, FINALS)
    finals = linked_record(storage, name)
    if finals is None or finals.linked is None:
        return None
    race = Race.read(finals.linked)
    remove = f"remove it with: cifar-tune delete {name}"
    if race.identity != record.identity:
        raise UserError(Problem(f"is the race of an earlier study called {record.name!r}; {remove}", name))
    if trainings not in (None, race.trainings):
        rule = f"the race of {record.name!r} was begun with {race.trainings}; leave it out, or {remove}"
        raise UserError(Problem(rule, "--trainings", trainings))
    return RaceRecord(race, finals)


def linked_record(storage: RDBStorage, name: str) -> StudyRecord | None:
    """What the storage holds of a linked study; None where it is not there, or nothing of it was written yet.

    Raises:
        UserError, DamagedError: as `load_record`.
    """
    if name not in study_names(storage):
        return None
    try:
        return load_record(storage, name)
    except ForeignStudyError:
        study = load_optuna_study(storage, name)
        if study.user_attrs or study.get_trials(deepcopy=False):
            raise
        return None  # its creator was stopped between two statements


def planned_race(record: StudyRecord, data: DataSpec, trainings: int | None) -> Race:
    """The race that would begin now, of a study with something to race.

    Args:
        record: the study.
        data: its images.
        trainings: at most this many; None: as many as suit the number of candidates.

    Raises:
        UserError: the images cannot be used, or the trainings are too few.
    """
    count = usual_trainings(len(candidates_of(record))) if trainings is None else trainings
    return plan_race(record, count, 0 if _has_seen_all(record) else _usable_folds(record, data, count))


def _usable_folds(record: StudyRecord, data: DataSpec, trainings: int) -> int:
    """How many folds there are for this many trainings; 0 where one lacks a class that a metric of the study needs."""
    prepared, metrics = prepare(data), record.spec.known_metrics
    folds = count_folds(prepared)
    if any((part := metrics[name].part) is not None and part.needs_every_class for name in record.spec.metrics):
        taken = (fold_of(prepared, data, number) for number in range(1, min(folds, trainings) + 1))
        if not all(all(fold.val_counts) for fold in taken):
            return 0
    return folds


def _has_seen_all(record: StudyRecord) -> bool:
    """Whether the study has validated on all images that are not test images, so that none have chosen nothing."""
    return record.spec.repeats is not None and record.spec.repeats.on_folds


def run_race(
    storage: RDBStorage, record: StudyRecord, data: DataSpec, trainings: int | None, course: Course
) -> RaceRecord:
    """Race the candidates of a study that has some, or go on with its race, up to its end.

    Args:
        storage: holds the study.
        record: the study; the caller holds its lease.
        data: its images.
        trainings: see `planned_race`.
        course: where it runs.

    Returns:
        The race, which is over.

    Raises:
        Interrupted: somebody asked to stop; the next call goes on.
        UserError: see `begun_race`, `planned_race` and `run_study`.
        CheckError: every candidate was withdrawn, or see `run_study`.
    """
    found = begun_race(storage, record, trainings)
    race = planned_race(record, data, trainings) if found is None else found.race
    note = course.watch.observer.note
    for sentence in _about(race, record, has_begun=found is not None):
        note(sentence)
    if found is None or found.standing.ranked is None:
        params = {trial.number: trial.params for trial in record.trials}
        script = RaceScript(race, [params[number] for number in race.candidates])
        spec = _race_spec(record, data, race)
        observer, stop = course.watch.observer, course.watch.stop
        outcome = run_study(spec, course.url, observer, course.options, stop, plan=Plan(race.plain(), script))
        if outcome.ending == "interrupted":
            raise Interrupted
        found = begun_race(storage, record)
    if found is None or found.standing.ranked is None:
        raise CheckError(f"the race of {record.name} has not finished; see: cifar-tune status {record.name}")
    if not found.standing.ranked:
        raise CheckError(
            f"every candidate of {record.name} was withdrawn, since its training failed; see: cifar-tune status "
            f"{linked_name(record.name, FINALS)}"
        )
    return found


def _about(race: Race, record: StudyRecord, *, has_begun: bool) -> Sequence[str]:
    rungs = ", then ".join(f"{rung.candidates} x {rung.blocks}" for rung in race.rungs)
    goes_on = "the race goes on" if has_begun else "races"
    sentences = [
        f"{race.study}: {goes_on}: {race.planned} trainings of the best {len(race.candidates)} of {race.of} candidates "
        f"({rungs}), with fresh seeds, in the study {linked_name(race.study, FINALS)}"
    ]
    if _has_seen_all(record):
        sentences.append(
            "note: the study has validated on all images that are not test images (`repeats.folds`), so all trainings "
            "are validated on its first fold only"
        )
    elif not race.uses_folds:
        sentences.append(
            f"note: the images outside of test and validation split are too few, in all or of a class, for "
            f"{FEWEST_FOLDS} parts like it, so all trainings are validated on this split only"
        )
    later = record.finished - race.finished_trials
    if later > 0:
        sentences.append(
            f"note: {later:,} trials have finished since the race was planned, and take no part in it; to race them, "
            f"first remove the race: cifar-tune delete {linked_name(race.study, FINALS)}"
        )
    return sentences


def _race_spec(record: StudyRecord, data: DataSpec, race: Race) -> StudySpec:
    """What the linked study searches is what the study searches; its trials take it from the candidates."""
    return replace(
        linked_spec(record, data, FINALS, race.planned),
        listed=tuple(name for name in record.spec.metrics if name != record.spec.objective.metric),
    )


def linked_spec(record: StudyRecord, data: DataSpec, kind: str, trials: int) -> StudySpec:
    """The specification of a linked study, whose trials are planned: so nothing prunes, stops or constrains them.

    That goes for `budget.trial_timeout` too: it was meant for the images of the study, of which the networks have more,
    and a busy machine must not decide who wins.

    Args:
        record: the study that it is linked to.
        data: the images, where they are now.
        kind: of the linked study.
        trials: that it has.

    Raises:
        UserError: plugins of the study cannot be used.
    """
    spec = record.spec
    files = [plugin.reference for plugin in spec.plugins]
    plugins = read_plugins({"plugins": files}, f"the stored study {record.name!r}", {}, ()).plugins
    return replace(
        spec,
        name=linked_name(record.name, kind),
        objectives=spec.objectives[:1],
        constraints=(),
        budget=Budget(trials, None),
        sampler=SamplerSpec("random"),
        pruner=PrunerSpec("none"),
        data=data,
        start_from=(),
        vocabulary=vocabulary_with(plugins, spec.vocabulary.earlier),
        deterministic=None,
        stop=None,
        repeats=None,
        transfer_from=None,
    )
