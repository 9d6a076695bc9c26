"""`transfer_from`: looks up the best configurations of an earlier study, and keeps them with the new one.

They are enqueued as configurations that nobody has trained: the sampler learns what they give here, and never what they
gave there. Once the new study has begun, it needs the earlier one no more.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CheckError, DamagedError, Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.means import key_of
from cifar_tune.storage.rdb import close, open_existing, unusable, without_studies
from cifar_tune.storage.records import StudyRecord, TrialRecord, load_record
from cifar_tune.storage.stored_studies import find_optuna_study, while_it_is_there
from cifar_tune.storage.urls import shown, storage_url
from cifar_tune.study.race_result import WITHDRAWN, stored_result
from cifar_tune.study_spec.partial import partial_configuration
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import suggested
from cifar_tune.study_spec.transfer import TransferSpec
from cifar_tune.study_spec.transferring import Source, Transferred, select, words
from cifar_tune.wording import counted

_SECTION = "transfer_from"


@dataclass(frozen=True)
class Transfer:
    """What a study takes from an earlier one.

    Attributes:
        asked: the section that asks for it.
        metric: the first objective of the earlier study, which the values are of.
        sources: the configurations that were taken, best first.
        notes: what there is to say when they are taken for the first time.
    """

    asked: TransferSpec
    metric: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As `attributes.TRANSFER` keeps it."""
        return {
            "study": self.asked.study,
            "configurations": self.asked.configurations,
            "metric": self.metric,
            "sources": [source.plain() for source in self.sources],
        }

    def taken(self, spec: StudySpec) -> Sequence[Transferred]:
        """The configurations, for the search space that the study has now."""
        return select(spec, self.sources, self.asked.configurations).taken

    def lines(self, spec: StudySpec) -> Iterator[str]:
        """What is tried first, in words, one configuration per line."""
        taken = self.taken(spec)
        yield f"{_SECTION}: {counted(len(taken), 'configuration')} of {self.asked.study}, the best first:"
        for each in taken:
            yield f"  {words(each)} ({self.metric} {each.source.value:.6g} there)"


def kept_transfer(study_attributes: Mapping[str, Any], spec: StudySpec) -> Transfer | None:
    """What the study itself keeps of the transfer that its file asks for; None where it keeps none, or another one."""
    plain = study_attributes.get(attributes.TRANSFER)
    if plain is None or spec.transfer_from is None:
        return None
    if not spec.transfer_from.asks_the_same(TransferSpec(plain["study"], None, plain["configurations"])):
        return None
    sources = (Source(each["trial"], float(each["value"]), each["config"]) for each in plain["sources"])
    return Transfer(spec.transfer_from, plain["metric"], tuple(sources))


def find_transfer(storage: BatchStorage | None, spec: StudySpec) -> Transfer | None:
    """What a study takes from an earlier one: what it keeps already, or else what the storage holds of that study.

    Args:
        storage: that of the new study; None where there is none yet.
        spec: the new study.

    Returns:
        None where its file has no `transfer_from`.

    Raises:
        UserError: there is no such study, or nothing of it can be used.
        CheckError: it is damaged, has no completed trial, or its storage does not answer.
    """
    asked = spec.transfer_from
    if asked is None:
        return None
    study = None if storage is None else find_optuna_study(storage, spec.name)
    if storage is not None and study is not None:
        with while_it_is_there(storage, spec.name):
            kept = kept_transfer(study.user_attrs, spec)
        if kept is not None:
            return kept
    if asked.storage is None:
        if storage is None:
            raise UserError(Problem("there is no storage yet, so there is no earlier study", _SECTION, asked.study))
        return _transfer(_record(storage, asked.study), spec, asked)
    try:
        url = storage_url(asked.storage)
    except UserError as error:
        raise UserError(
            [Problem(each.rule, f"{_SECTION}.storage", asked.storage) for each in error.problems]
        ) from error
    other = open_existing(url)
    if other is None:
        raise UserError(Problem(without_studies(url), f"{_SECTION}.storage", shown(url)))
    try:
        return _transfer(_record(other, asked.study), spec, asked)
    finally:
        close(other)


def look_up_transfer(url: URL, spec: StudySpec) -> Transfer | None:
    """`find_transfer` in the storage at a URL, which is opened for it alone.

    Raises:
        UserError: as `find_transfer`.
        CheckError: likewise.
    """
    storage = open_existing(url)
    try:
        return find_transfer(storage, spec)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise unusable(url, error.__cause__ or error) from error
    finally:
        if storage is not None:
            close(storage)


def enqueue_transferred(study: optuna.Study, spec: StudySpec, transfer: Transfer) -> None:
    """Enqueue the configurations that the study has not tried yet; the caller holds its lease.

    Each carries where it comes from, written in one transaction with the trial itself, so that a run that was killed in
    between goes on with the next one. A configuration that the study has tried already, whoever gave it, is left out.
    """
    trials = study.get_trials(deepcopy=False)
    there = [trial.user_attrs.get(attributes.TRANSFERRED_FROM) for trial in trials]
    tried = {key_of(trial.params) for trial in trials if attributes.CONFIG in trial.user_attrs}
    for each in transfer.taken(spec):
        origin = {"study": transfer.asked.study, "trial": each.source.trial}
        params = suggested(spec.space, each.item)
        is_open = partial_configuration(spec.space, each.item).drawn
        if origin not in there and (is_open or key_of(params) not in tried):
            study.enqueue_trial(params, user_attrs={attributes.TRANSFERRED_FROM: origin})


def _record(storage: BatchStorage, name: str) -> StudyRecord:
    """The earlier study.

    Raises:
        UserError: there is none of that name, or another program made it.
        CheckError: it is damaged.
    """
    parent = parent_of(name)
    if parent is not None:
        rule = f"belongs to the study {parent}, and its trials have no search space of their own; name {parent}"
        raise UserError(Problem(rule, _SECTION, name))
    try:
        return load_record(storage, name)
    except DamagedError as error:
        raise DamagedError(f"{_SECTION}: {error}") from error
    except UserError as error:
        problems = [Problem(each.rule, _SECTION, nearest=each.nearest) for each in error.problems]
        raise UserError(problems) from error


def _transfer(record: StudyRecord, spec: StudySpec, asked: TransferSpec) -> Transfer:
    ours, theirs = spec.objective, record.spec.objective
    if ours.direction != theirs.direction:
        rule = (
            f"its objective, {theirs.metric}, is there to {theirs.direction}, and {ours.metric} here to "
            f"{ours.direction}; nothing says which of its trials are good here"
        )
        raise UserError(Problem(rule, _SECTION, asked.study))
    ranked, order = _in_order(record, spec, asked.configurations)
    if not ranked:
        raise CheckError(f"{_SECTION}: {record.without_best_words}; see: cifar-tune status {record.name}")
    sources = (Source(trial.number, float(trial.values[0]), trial.config) for trial in ranked)
    found = select(spec, sources, asked.configurations)
    if not found.taken:
        reasons = "; ".join(found.left_out[:3])
        raise UserError(Problem(f"nothing of it can be used here: {reasons}", _SECTION, asked.study))
    notes = [f"{asked.study}: {each}" for each in found.left_out]
    if ours.metric != theirs.metric:
        notes.append(f"{asked.study} is ranked by {theirs.metric}, its objective; that of this study is {ours.metric}")
    left = record.spec.budget.trials - record.finished
    if left > 0 and not record.ended_early:
        notes.append(f"{asked.study} is not finished, {counted(left, 'trial')} are left: it may find better ones later")
    if len(found.taken) < asked.configurations:
        notes.append(
            f"{asked.study} gives {counted(len(found.taken), 'configuration')}, fewer than the "
            f"{asked.configurations} that {_SECTION} asks for"
        )
    if order:
        notes.append(f"{asked.study} is ranked {order}")
    taken = tuple(each.source for each in found.taken)
    return Transfer(asked, theirs.metric, taken, tuple(f"{_SECTION}: {note}" for note in notes))


def _in_order(record: StudyRecord, spec: StudySpec, count: int) -> tuple[Sequence[TrialRecord], str]:
    """The trials of the earlier study that count, best first, and how they were ranked, if not by their objective.

    Those count that completed and keep the constraints; with `repeats`, configurations with all their trainings, by
    their means. After a race of `finalize` its order comes first. Where both studies have the same several objectives,
    trials from all along the Pareto front come first.
    """
    ranked = list(record.ranked)
    race = stored_result(record)
    if race is not None:
        by_number = {trial.number: trial for trial in ranked}
        withdrawn = {each.trial for each in race.candidates if each.verdict == WITHDRAWN}
        raced = [by_number[number] for index in race.ranked if (number := race.candidates[index].trial) in by_number]
        return _followed(raced, [trial for trial in ranked if trial.number not in withdrawn]), "by its race of finalize"
    if record.spec.has_several_objectives and record.spec.objectives == spec.objectives:
        front = list(record.front)
        spread = [front[round(index * (len(front) - 1) / max(1, count - 1))] for index in range(count)] if front else []
        return _followed(spread, [*front, *ranked]), "along its Pareto front"
    return ranked, ""


def _followed(first: Collection[TrialRecord], others: Collection[TrialRecord]) -> list[TrialRecord]:
    return list({trial.number: trial for trial in (*first, *others)}.values())
