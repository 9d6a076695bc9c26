"""The networks of `finalize`: one configuration with fresh seeds on all images, as trials of the study `NAME/networks`.

No choice is left to make among them. One that diverges, or that fails twice, is replaced by one with the next unused
seed, and counted: what the others give is the accuracy of trainings that finish. What is said of a training
is told by images that it was trained on, so the value of such a trial shows whether it went well, and nothing about new
images.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.data.folds import Part
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, DamagedError
from cifar_tune.knobs.part import Scalar
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.linked import NETWORKS, linked_name
from cifar_tune.storage.records import FINISHED, StudyRecord, TrialRecord, load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.study.checkpoints import checkpoints_of, sweep
from cifar_tune.study.choosing import Candidate
from cifar_tune.study.events import Interrupted
from cifar_tune.study.finals import Course, linked_record, linked_spec
from cifar_tune.study.folder_claim import remove_study
from cifar_tune.study.race import race_of, unused_seeds
from cifar_tune.study.run import Plan, run_study
from cifar_tune.study.script import Task, task_of


@dataclass(frozen=True)
class Networks:
    """What is trained.

    Attributes:
        study: whose configuration it is.
        identity: of that study; None where it has none.
        opening: how often the test set had been opened before.
        config: all knobs; the seed is replaced.
        val_losses: of the trial; as many epochs are trained, and the schedule is told these.
        with_unused: train on the images too that the study left out.
        seeds: of the networks.
        spares: further seeds, as many, each for one network that cannot be trained. Where more than half of all
            trainings would fail, there is no result.
    """

    study: str
    identity: str | None
    opening: int
    config: Mapping[str, Scalar]
    val_losses: tuple[float, ...]
    with_unused: bool
    seeds: tuple[int, ...]
    spares: tuple[int, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As `attributes.LINKED` keeps it."""
        return {
            "kind": NETWORKS,
            "study": self.study,
            "identity": self.identity,
            "opening": self.opening,
            "config": dict(self.config),
            "epochs": len(self.val_losses),
            "with_unused": self.with_unused,
            "seeds": list(self.seeds),
            "spares": list(self.spares),
        }


class NetworkScript:
    """Plans one training for each seed, and one with a spare seed for each that has failed."""

    keeps_checkpoints = True

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self.told: tuple[float, ...] | None = networks.val_losses
        self._said: set[int] = set()

    def next(self, trials: Sequence[FrozenTrial]) -> Task | None:
        """The next seed; None where all have begun, or too many have failed."""
        seeds = (*self._networks.seeds, *self._networks.spares)
        failed = len(_failed(trials))
        if failed > len(self._networks.spares):
            return None
        begun = {task.block for trial in trials if (task := task_of(trial)) is not None}
        left = (block for block in range(len(self._networks.seeds) + failed) if block not in begun)
        block = next(left, None)
        return None if block is None else Task(0, block, seeds[block])

    def part(self, _task: Task) -> Part:
        """All images."""
        return Part(merged=True, with_unused=self._networks.with_unused)

    def news(self, trials: Sequence[FrozenTrial]) -> Sequence[str]:
        """Which networks have failed."""
        new = {block: trial for block, trial in _failed(trials).items() if block not in self._said}
        self._said |= new.keys()
        return [
            f"the network of trial {trial.number} could not be trained ({_reason(trial.user_attrs)}); another seed "
            f"takes its place, and the result says so"
            for trial in new.values()
        ]


def _failed(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The networks that could not be trained, by their block."""
    return {
        task.block: trial
        for trial in trials
        if (task := task_of(trial)) is not None and trial.state.is_finished() and trial.state != TrialState.COMPLETE
    }


def _reason(attrs: Mapping[str, Any]) -> str:
    return str(attrs.get(attributes.REASON) or "no reason is known").replace("_", " ")


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """One network: its seed, and the checkpoint that holds its weights."""

    seed: int
    checkpoint: Path


@dataclass(frozen=True, slots=True)
class TrainedNetworks:
    """All networks, and those that could not be trained: `seed` and `reason` of each."""

    networks: Sequence[TrainedNetwork]
    failed: Sequence[Mapping[str, str | int]]


def plan_networks(record: StudyRecord, chosen: Candidate, count: int, *, with_unused: bool) -> Networks:
    """Plan the networks of a configuration.

    Args:
        record: the study.
        chosen: what is trained.
        count: how many networks.
        with_unused: see `Networks`.
    """
    raced = set(race.seeds if (race := race_of(record)) is not None else ())
    free = (seed for seed in unused_seeds(record) if seed not in raced)
    return Networks(
        study=record.name,
        identity=record.identity,
        opening=len(record.openings),
        config=chosen.config.stored(),
        val_losses=tuple(chosen.val_losses),
        with_unused=with_unused,
        seeds=tuple(next(free) for _ in range(count)),
        spares=tuple(islice(free, count)),
    )


def train_networks(
    storage: RDBStorage, record: StudyRecord, chosen: Candidate, networks: Networks, data: DataSpec, course: Course
) -> TrainedNetworks:
    """Train them, or go on with those that were begun; returns them in the order of their seeds.

    Networks of an earlier choice make room.

    Args:
        storage: holds the study.
        record: the study; the caller holds its lease.
        chosen: what is trained.
        networks: of this configuration.
        data: the images of the study, where they are now.
        course: where it runs.

    Raises:
        Interrupted: somebody asked to stop; the next call goes on.
        CheckError: more of them could not be trained than there are, or see `run_study`.
        UserError: see `run_study`.
    """
    name = linked_name(record.name, NETWORKS)
    if name in study_names(storage) and not _is_same(storage, name, networks):
        course.watch.observer.note(
            f"note: {name} starts again, since it has the networks of an earlier opening or choice"
        )
        with acquire(storage.engine, name).kept():
            remove_study(storage, name, course.url)
    plan = Plan(networks.plain(), NetworkScript(networks))
    count, failed = len(networks.seeds), 0
    if (known := linked_record(storage, name)) is not None:
        failed = len(_failures(known))
    while True:
        spec = linked_spec(record, data, NETWORKS, count + min(failed, len(networks.spares)))
        spec = replace(spec, train=dict(chosen.config), search_space={})
        outcome = run_study(spec, course.url, course.watch.observer, course.options, course.watch.stop, plan=plan)
        if outcome.ending == "interrupted":
            raise Interrupted
        found = load_record(storage, name)
        before, failed = failed, len(_failures(found))
        if failed == before or failed > len(networks.spares):
            return _trained(found, networks)


def _is_same(storage: RDBStorage, name: str, networks: Networks) -> bool:
    try:
        record = linked_record(storage, name)
    except DamagedError:
        return False
    if record is None or (record.linked is None and not record.trials):  # its creator was stopped
        return True
    found = record.linked
    return found is not None and _without_seeds(found) == _without_seeds(networks.plain())


def _without_seeds(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What tells networks from others: their number, but not their seeds."""
    return {key: len(value) if key == "seeds" else value for key, value in plain.items() if key != "spares"}


def _failures(record: StudyRecord) -> list[TrialRecord]:
    return [
        trial
        for trial in record.trials
        if trial.task is not None and trial.state in FINISHED and trial.state != "COMPLETE"
    ]


def _trained(record: StudyRecord, networks: Networks) -> TrainedNetworks:
    """The networks in the order of their blocks.

    Raises:
        CheckError: there are fewer than were planned.
    """
    folder = checkpoints_of(record.study)
    by_block = {trial.task["block"]: trial for trial in record.trials if trial.task is not None}
    trained = [by_block[block] for block in sorted(by_block) if by_block[block].state == "COMPLETE"]
    failed: list[Mapping[str, str | int]] = [
        {"seed": int(trial.config["seed"]), "reason": (trial.reason or "unknown").replace("_", " ")}
        for trial in _failures(record)
    ]
    if len(trained) < len(networks.seeds):
        reasons = Counter(str(each["reason"]) for each in failed)
        words = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise CheckError(
            f"{len(failed)} of {len(failed) + len(trained)} networks could not be trained ({words}), and the test set "
            f"was not opened. Trainings of this configuration fail too often on all images: take another trial, with "
            f"cifar-tune finalize {networks.study} --trial N. See: cifar-tune status {record.name}; if something else "
            f"was the reason, start all of them again after: cifar-tune delete {record.name}"
        )
    found = [
        TrainedNetwork(int(trial.config["seed"]), folder / checkpoint_name(trial.number))
        for trial in trained[: len(networks.seeds)]
    ]
    return TrainedNetworks(found, failed)


def forget_weights(storage: RDBStorage, study: str) -> None:
    """Delete the checkpoints of networks that were tested. Their trials stay, for people."""
    record = load_record(storage, linked_name(study, NETWORKS))
    sweep(checkpoints_of(record.study), set())
