"""What a report says of a study that `finalize` has made: it is no search, and none of its trials is the best one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cifar_tune.errors import DamagedError
from cifar_tune.markdown import code, inert, table
from cifar_tune.reports.objective import Scale
from cifar_tune.storage.linked import is_networks, linked_words, parent_of
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race import Race

TRAINED_ON = "on images that it was trained on"
"""What a figure of one of the networks is of."""

COLUMNS = ("study_trial", "task_seed", "task_fold")
"""Of linked studies in `trials.csv`: the trial of the study whose configuration it is, in a race; seed and fold."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a trial of a linked study trains.

    Attributes:
        of: the trial of the study whose configuration it is; None where that is not told by its number.
        seed: with which seed.
        fold: which part of the images validates it, from 1; 0 for the study's own split.
    """

    of: int | None
    seed: int
    fold: int


def planned_of(record: StudyRecord) -> Mapping[int, Planned]:
    """What each planned trial of a linked study trains, by its number; empty for other studies."""
    if parent_of(record.name) is None:
        return {}
    candidates: Sequence[int] = ()
    if not is_networks(record.name):
        try:
            candidates = Race.read(record.linked or {}).candidates
        except DamagedError:  # whoever finalizes the study is told
            candidates = ()
    return {trial.number: _planned(trial.task, candidates) for trial in record.trials if trial.task is not None}


def _planned(task: Mapping[str, int], candidates: Sequence[int]) -> Planned:
    index = task["candidate"]
    return Planned(candidates[index] if index < len(candidates) else None, task["seed"], task["fold"])


def trained_on(scale: Scale) -> Scale:
    """The scale of a figure of one of the networks, which is validated on images that it was trained on."""
    if not scale.words.startswith("validation "):
        return scale
    label, words = (each.removeprefix("validation ") for each in (scale.label, scale.words))
    return replace(scale, label=f"{label}, images trained on", words=f"{words} {TRAINED_ON}", is_accuracy=False)


def linked_section(record: StudyRecord, scale: Scale) -> list[str]:
    """The section of `summary.md` that says what the study is, with a row per training; nothing for other studies."""
    parent = parent_of(record.name)
    if parent is None:
        return []
    planned = planned_of(record)
    parts = ["## What this is", f"{inert(linked_words(record.name))} {code(f'cifar-tune export {parent}')} writes it."]
    is_race = not is_networks(record.name)
    rows = [_row(trial, planned[trial.number], scale, is_race) for trial in record.trials if trial.number in planned]
    if rows:
        of = (f"trial of {inert(parent)}",) if is_race else ()
        fold = ("validated on",) if is_race else ()
        parts.append(table(("trial", *of, "seed", *fold, scale.label, "ended"), rows, right=range(2 + is_race)))
    return parts


def _row(trial: TrialRecord, planned: Planned, scale: Scale, is_race: bool) -> tuple[str, ...]:
    of = ("-" if planned.of is None else str(planned.of),) if is_race else ()
    fold = (f"fold {planned.fold}" if planned.fold else "the split of the study",) if is_race else ()
    ended = (trial.reason or trial.state.lower()).replace("_", " ")
    return (str(trial.number), *of, str(planned.seed), *fold, scale.shown(trial.value), ended)
