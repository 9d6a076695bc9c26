"""The race of `finalize`: fresh trainings for the best candidates of a study, as trials of the study `NAME/finals`.

What is raced is decided once, when the race begins, and kept with it. Everything else follows from its trials: after a
kill, and with any number of workers, it goes on where it was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.data.folds import Part
from cifar_tune.errors import DamagedError, Problem, UserError
from cifar_tune.knobs.part import Scalar
from cifar_tune.knobs.table import KNOBS
from cifar_tune.statistics.halving import FEWEST_TRAININGS, Floats, Progress, Rung, plan_rungs, progress
from cifar_tune.storage.constraints import was_finished_elsewhere
from cifar_tune.storage.linked import FINALS
from cifar_tune.storage.means import Key, key_of
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.script import Task, read_task, task_of

FEWEST_FOLDS = 4
"""With fewer, all blocks are validated on the study's own split."""

_LARGEST_SEED = int(KNOBS["seed"].high or 0)


def candidates_of(record: StudyRecord) -> list[TrialRecord]:
    """The trials of a study that can be the best, best first; of those that differ in their seed alone, the best."""
    found: dict[Key, TrialRecord] = {}
    for trial in record.ranked:
        found.setdefault(key_of({name: value for name, value in trial.config.items() if name != "seed"}), trial)
    return list(found.values())


def unused_seeds(record: StudyRecord) -> Iterator[int]:
    """Seeds with which no trial of a study was trained, each once; the largest of those, and then upwards."""
    used = {int(trial.config["seed"]) for trial in record.trials if "seed" in trial.config}
    begin = max(used, default=0)
    for step in range(1, _LARGEST_SEED + 1):
        seed = (begin + step) % (_LARGEST_SEED + 1)
        if seed not in used:
            yield seed


@dataclass(frozen=True)
class Race:
    """What is raced.

    Attributes:
        study: whose candidates these are.
        identity: of that study; None where it has none.
        trainings: at most this many.
        rungs: as `plan_rungs` plans them.
        candidates: numbers of the study's trials, best first, as many as enter the first rung.
        studied: the objective of each of them in the study.
        maximizes: whether more is better.
        seeds: of the blocks.
        folds: of the blocks, from 1; 0 in all of them where the study's split is used.
        of: how many candidates there were.
        finished_trials: of the study, when the race began.
    """

    study: str
    identity: str | None
    trainings: int
    rungs: tuple[Rung, ...]
    candidates: tuple[int, ...]
    studied: tuple[float, ...]
    maximizes: bool
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    of: int
    finished_trials: int

    @property
    def planned(self) -> int:
        """How many trainings there are where none fails."""
        return sum(rung.trainings for rung in self.rungs)

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that more is better."""
        return 1.0 if self.maximizes else -1.0

    @property
    def uses_folds(self) -> bool:
        """Whether the blocks are validated on images that chose nothing."""
        return any(self.folds)

    def plain(self) -> dict[str, Any]:
        """As `attributes.LINKED` keeps it."""
        return {
            "kind": FINALS,
            "study": self.study,
            "identity": self.identity,
            "trainings": self.trainings,
            "rungs": [[rung.candidates, rung.blocks] for rung in self.rungs],
            "candidates": list(self.candidates),
            "studied": list(self.studied),
            "maximizes": self.maximizes,
            "seeds": list(self.seeds),
            "folds": list(self.folds),
            "of": self.of,
            "finished_trials": self.finished_trials,
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Race":
        """The race that `plain` has described.

        Raises:
            DamagedError: it makes no sense.
        """
        try:
            rungs = tuple(Rung(int(candidates), int(blocks)) for candidates, blocks in plain["rungs"])
            race = cls(
                study=str(plain["study"]),
                identity=plain["identity"],
                trainings=int(plain["trainings"]),
                rungs=rungs,
                candidates=tuple(map(int, plain["candidates"])),
                studied=tuple(map(float, plain["studied"])),
                maximizes=bool(plain["maximizes"]),
                seeds=tuple(map(int, plain["seeds"])),
                folds=tuple(map(int, plain["folds"])),
                of=int(plain["of"]),
                finished_trials=int(plain["finished_trials"]),
            )
            blocks = sum(rung.blocks for rung in rungs)
            if not rungs or {len(race.seeds), len(race.folds)} != {blocks}:
                raise ValueError("other blocks than rungs")
            if {len(race.candidates), len(race.studied)} != {rungs[0].candidates}:
                raise ValueError("other candidates than rungs")
        except (KeyError, TypeError, ValueError) as error:
            words = f"what is stored of the race of finalize makes no sense ({error})"
            raise DamagedError(f"{words}; remove it with: cifar-tune delete NAME/{FINALS}") from error
        return race


def plan_race(record: StudyRecord, trainings: int, folds: int) -> Race:
    """Plan a race among the candidates of a study, of which there are at least two.

    Args:
        record: the study.
        trainings: at most this many.
        folds: how many there are (`count_folds`).

    Raises:
        UserError: that are too few trainings.
    """
    if trainings < FEWEST_TRAININGS:
        raise UserError(Problem(f"must be at least {FEWEST_TRAININGS}", "--trainings", trainings))
    found = candidates_of(record)
    rungs = plan_rungs(trainings, len(found))
    blocks = sum(rung.blocks for rung in rungs)
    raced = found[: rungs[0].candidates] if rungs else []
    seeds = unused_seeds(record)
    return Race(
        study=record.name,
        identity=record.identity,
        trainings=trainings,
        rungs=rungs,
        candidates=tuple(trial.number for trial in raced),
        studied=tuple(float(trial.values[0]) for trial in raced),
        maximizes=record.spec.objective.direction == "maximize",
        seeds=tuple(next(seeds) for _ in range(blocks)),
        folds=tuple(1 + block % folds if folds >= FEWEST_FOLDS else 0 for block in range(blocks)),
        of=len(found),
        finished_trials=record.finished,
    )


def race_of(record: StudyRecord) -> Race | None:
    """What the race of a study races, as far as it has one of its own.

    Raises:
        DamagedError: what is stored of it makes no sense.
    """
    if record.finals is None or record.finals.linked is None:
        return None
    race = Race.read(record.finals.linked)
    return race if race.identity == record.identity else None


@dataclass(frozen=True)
class Values:
    """What the trials of a race have given so far.

    Attributes:
        fresh: objectives, more is better, [candidates, blocks]; NaN where there is none.
        begun: candidate and block of each training that has begun.
        failed: candidates of which a training failed, and the trial in which it did.
    """

    fresh: Floats
    begun: frozenset[tuple[int, int]]
    failed: Mapping[int, int]


class RaceScript:
    """Plans the trainings of a race, block by block.

    Args:
        race: what is raced.
        params: of each candidate, what a sampler suggested.
    """

    keeps_checkpoints = False
    told: tuple[float, ...] | None = None

    def __init__(self, race: Race, params: Sequence[Mapping[str, Scalar]]) -> None:
        self._race = race
        self._params = params
        self._told_rungs = 1
        self._told_failed: set[int] = set()

    def next(self, trials: Sequence[FrozenTrial]) -> Task | None:
        """The next training of the present rung; None where all of them have begun, or the race is over."""
        seen = values_of(self._race, map(_seen, trials))
        found = standing(self._race, seen)
        if found.ranked is not None:
            return None
        begin = sum(rung.blocks for rung in self._race.rungs[: len(found.entered) - 1])
        for block in range(begin, begin + self._race.rungs[len(found.entered) - 1].blocks):
            for candidate in sorted(found.entered[-1]):
                if candidate not in seen.failed and (candidate, block) not in seen.begun:
                    seed, fold = self._race.seeds[block], self._race.folds[block]
                    return Task(candidate, block, seed, fold, self._params[candidate])
        return None

    def part(self, task: Task) -> Part:
        """The fold of its block."""
        return Part(fold=task.fold)

    def news(self, trials: Sequence[FrozenTrial]) -> Sequence[str]:
        """Who has been withdrawn, and who goes on."""
        seen = values_of(self._race, map(_seen, trials))
        sentences = []
        for candidate in sorted(seen.failed.keys() - self._told_failed):
            self._told_failed.add(candidate)
            number = self._race.candidates[candidate]
            sentences.append(
                f"trial {number} of {self._race.study} is withdrawn: trial {seen.failed[candidate]} failed"
            )
        entered = standing(self._race, seen).entered
        for rung in range(self._told_rungs, len(entered)):
            stay = ", ".join(str(self._race.candidates[each]) for each in entered[rung])
            sentences.append(
                f"rung {rung} of {len(self._race.rungs)} is over; trial {stay} of {self._race.study} go on"
            )
        self._told_rungs = max(self._told_rungs, len(entered))
        return sentences


Seen = tuple[int, Task | None, TrialState, Sequence[float] | None]
"""Of a trial: its number, its task, its state, and its values where this program has ended it."""


def _seen(trial: FrozenTrial) -> Seen:
    return trial.number, task_of(trial), trial.state, None if was_finished_elsewhere(trial) else trial.values


def _seen_again(trial: TrialRecord) -> Seen:
    values = trial.values if trial.ended_here else None
    return trial.number, read_task(trial.task), TrialState[trial.state], values


def values_of(race: Race, trials: Iterable[Seen]) -> Values:
    """Gather what trials of the race have given. Those that another program made are no part of it.

    One of ours that another program has ended counts as failed: nobody knows what its value was trained with.
    """
    fresh = np.full((len(race.candidates), len(race.seeds)), np.nan)
    begun: set[tuple[int, int]] = set()
    failed: dict[int, int] = {}
    for number, task, state, values in trials:
        if task is None or task.candidate >= len(fresh) or task.block >= fresh.shape[1]:
            continue
        begun.add((task.candidate, task.block))
        if state == TrialState.COMPLETE and values:
            fresh[task.candidate, task.block] = race.sign * values[0]
        elif state.is_finished():
            failed.setdefault(task.candidate, number)
    return Values(fresh, frozenset(begun), failed)


def standing(race: Race, values: Values) -> Progress:
    """How far the race is."""
    return progress(race.sign * np.array(race.studied), values.fresh, race.rungs, set(values.failed))


@dataclass(frozen=True)
class RaceRecord:
    """A race with its trials, as the database holds them.

    Attributes:
        race: what is raced.
        finals: the linked study.
    """

    race: Race
    finals: StudyRecord

    @cached_property
    def values(self) -> Values:
        """What its trials have given."""
        return values_of(self.race, map(_seen_again, self.finals.trials))

    @cached_property
    def standing(self) -> Progress:
        """How far it is."""
        return standing(self.race, self.values)
